"""libfastnn through ctypes: the very build that the package carries, as a shared library."""

import ctypes
import os
import shlex
import subprocess
from ctypes import POINTER, byref, c_char, c_char_p, c_double, c_int, c_int64, c_size_t, c_uint64, c_void_p

import numpy as np

import fastnn as fnn

CC = shlex.split(os.environ.get("CC", "cc"))
INPUTS, OUTPUTS, TARGETS, SAMPLE_WEIGHTS, PARAMETERS = range(5)
PREDICT, EVALUATE, TRAIN = range(3)
ONE_THREAD = 2
OK = 0
_TYPES = {0: "f4", 1: "f8", 4: "i1", 6: "i4", 9: "u2"}


class Error(ctypes.Structure):
    _fields_ = [("status", c_int), ("tensor", c_int), ("row", c_int64), ("value", c_double), ("text", c_char * 256)]


class Info(ctypes.Structure):
    _fields_ = [
        ("id", c_int), ("dtype", c_int), ("sparse", c_int), ("trained", c_int), ("ndim", c_int), ("shape", c_int64 * 8),
        ("count", c_int64), ("name", c_char_p),
    ]  # fmt: skip


class Refused(Exception):
    """A status that is not FNN_OK."""

    def __init__(self, error):
        super().__init__(f"{error.status}: {error.text.decode()}")
        self.status = error.status


def build(folder):
    """The path of a shared library that holds all of the package's static one."""
    path = folder / "libfastnn.so"
    whole = ["-Wl,--whole-archive", fnn.get_library(), "-Wl,--no-whole-archive"]
    subprocess.run([*CC, "-shared", "-o", path, *whole, "-pthread", "-lm"], check=True)
    return path


class Library:
    """The functions of fastnn.h."""

    def __init__(self, path):
        self.c = ctypes.CDLL(str(path))
        self.c.fnn_isa.restype = c_char_p
        self.c.fnn_model_iterations.restype = c_int64
        self.c.fnn_model_iterations.argtypes = [c_void_p]
        self.c.fnn_model_learning_rate.restype = c_double
        self.c.fnn_model_learning_rate.argtypes = [c_void_p]
        self.c.fnn_open_memory.argtypes = [c_char_p, c_size_t, POINTER(c_void_p), POINTER(Error)]
        self.c.fnn_model_free.argtypes = self.c.fnn_session_free.argtypes = [c_void_p]
        self.c.fnn_model_count.argtypes = [c_void_p, c_int]
        self.c.fnn_model_tensor.argtypes = [c_void_p, c_int, c_int, POINTER(Info), POINTER(Error)]
        self.c.fnn_get_parameter.argtypes = [c_void_p, c_int, c_void_p, c_int64, POINTER(Error)]
        self.c.fnn_save_memory.argtypes = [c_void_p, c_void_p, c_size_t, POINTER(c_size_t), POINTER(Error)]
        self.c.fnn_session_create.argtypes = [c_void_p, c_int, c_int64, c_int, POINTER(c_void_p), POINTER(Error)]
        self.c.fnn_predict_many.argtypes = [c_void_p, c_void_p, c_void_p, c_int64, POINTER(Error)]
        self.c.fnn_train_batch.argtypes = [c_void_p, c_void_p, c_int64, c_double, POINTER(c_double), POINTER(Error)]
        self.c.fnn_train_epoch.argtypes = [
            c_void_p, c_void_p, c_int64, c_uint64, c_uint64, c_double, POINTER(c_double), POINTER(Error),
        ]  # fmt: skip

    def call(self, name, *arguments):
        error = Error()
        if getattr(self.c, name)(*arguments, byref(error)) != OK:
            raise Refused(error)

    def isa(self):
        return self.c.fnn_isa().decode()


class Model:
    """A model of a file's bytes."""

    def __init__(self, library, content):
        self.library, self.handle = library, c_void_p()
        library.call("fnn_open_memory", content, len(content), byref(self.handle))

    def __del__(self):
        self.library.c.fnn_model_free(self.handle)

    def tensors(self, kind):
        found = []
        for i in range(self.library.c.fnn_model_count(self.handle, kind)):
            found.append(Info())
            self.library.call("fnn_model_tensor", self.handle, kind, i, byref(found[-1]))
        return found

    def weights(self):
        """Arrays by name."""
        made = {}
        for info in self.tensors(PARAMETERS):
            array = np.empty(tuple(info.shape[: info.ndim]), _TYPES[info.dtype])
            self.library.call("fnn_get_parameter", self.handle, info.id, array.ctypes.data, array.size)
            made[info.name.decode()] = array
        return made

    def content(self):
        """The bytes of its file."""
        size = c_size_t()
        self.library.c.fnn_save_memory(self.handle, None, 0, byref(size), None)
        made = ctypes.create_string_buffer(size.value)
        self.library.call("fnn_save_memory", self.handle, made, size.value, byref(size))
        return made.raw

    def session(self, mode, rows, flags=0):
        return Session(self, mode, rows, flags)

    @property
    def iterations(self):
        return self.library.c.fnn_model_iterations(self.handle)

    @property
    def learning_rate(self):
        return self.library.c.fnn_model_learning_rate(self.handle)


class Session:
    def __init__(self, model, mode, rows, flags):
        self.model, self.library, self.handle = model, model.library, c_void_p()
        self.library.call("fnn_session_create", model.handle, mode, rows, flags, byref(self.handle))

    def __del__(self):
        self.library.c.fnn_session_free(self.handle)

    def _arrays(self, kinds, arrays):
        infos = [info for kind in kinds for info in self.model.tensors(kind)]
        made = [
            np.ascontiguousarray(np.asarray(a, _TYPES[i.dtype]).reshape(-1, *i.shape[1 : i.ndim]))
            for a, i in zip(arrays, infos, strict=True)
        ]
        return made, _pointers(made)

    def predict(self, *inputs):
        inputs, pointers = self._arrays([INPUTS], inputs)
        made = [np.empty((len(inputs[0]), *i.shape[1 : i.ndim]), _TYPES[i.dtype]) for i in self.model.tensors(OUTPUTS)]
        self.library.call("fnn_predict_many", self.handle, pointers, _pointers(made), len(inputs[0]))
        return made

    def train_batch(self, arrays, rate):
        arrays, pointers = self._arrays([INPUTS, TARGETS], arrays)
        loss = c_double()
        self.library.call("fnn_train_batch", self.handle, pointers, len(arrays[0]), rate, byref(loss))
        return loss.value

    def train_epoch(self, arrays, seed, epoch, rate):
        arrays, pointers = self._arrays([INPUTS, TARGETS], arrays)
        loss = c_double()
        self.library.call("fnn_train_epoch", self.handle, pointers, len(arrays[0]), seed, epoch, rate, byref(loss))
        return loss.value


def _pointers(arrays):
    return (c_void_p * len(arrays))(*(a.ctypes.data for a in arrays))
