# cython: language_level=3, boundscheck=False, wraparound=False, freethreading_compatible=True
"""The binding of libfastnn: buffers in, status codes out as exceptions. No mathematics, no NumPy C API."""

import os
import warnings
from collections import namedtuple

cimport cython
from cpython.buffer cimport (PyBUF_C_CONTIGUOUS, PyBUF_FORMAT, PyBUF_STRIDES, PyBUF_WRITABLE, PyBuffer_Release,
                             PyObject_GetBuffer)
from libc.stdint cimport int32_t, int64_t, uint32_t, uint64_t
from libc.stdlib cimport calloc, free

from fastnn import errors

import numpy as np

cdef extern from "internal.h" nogil:
    enum: FNN_OK, FNN_ERR_ARGUMENT, FNN_ERR_PROGRAM, FNN_ERR_LIMIT, FNN_ERR_MEMORY, FNN_ERR_DATA, FNN_ERR_NONFINITE
    enum: FNN_ERR_FORMAT
    enum: FNN_F32, FNN_F64, FNN_F16, FNN_BOOL, FNN_I8, FNN_I16, FNN_I32, FNN_I64, FNN_U8, FNN_U16, FNN_U32, FNN_U64
    enum: FNN_MAX_DIMS, FNN_FEW_ROWS, FNN_TRAINING, FNN_GUARD, FNN_EXCHANGE, OP_COUNT
    ctypedef struct fnn_error:
        int status
        int tensor
        int64_t row
        double value
        char text[256]
    ctypedef struct fnn_model
    ctypedef struct fnn_session
    ctypedef struct fnn_param
    ctypedef struct fnn_array:
        void *data
        int dtype, swapped, ndim
        int64_t shape[8]
        int64_t strides[8]
    ctypedef struct fnn_csr:
        const void *data
        const void *indices
        const void *indptr
        int dtype, index_dtype, pointer_dtype
        int64_t rows, cols, count
    ctypedef struct fnn_pass:
        int64_t n, batch_size
        int64_t shuffle
        int check_finite
        uint64_t seed, epoch
        int64_t first_step
    ctypedef struct fnn_op_info:
        const char *name
        int inputs, outputs, rule, needs
        const char *attrs
    const fnn_op_info *fnn_ops
    const char *fnn_isa()
    const char *fnn_isa_at(int i)
    const char *fnn_isa_built(int i, int *runs)
    int fnn_set_threads(int n)
    int fnn_get_threads()
    int fnn_model_create(const char *text, size_t length, const char *isa, fnn_param **params, int n_params, fnn_model **model,
                         fnn_error *err)
    int fnn_file_check(const char *header, size_t length, uint64_t size, int64_t updates, const char *label, fnn_error *err)
    void fnn_model_free(fnn_model *model)
    int fnn_model_slots(const fnn_model *model)
    int fnn_model_share_moments(fnn_model *model, fnn_model *lender, fnn_error *err)
    int64_t fnn_model_iterations(const fnn_model *model)
    void fnn_model_set_iterations(fnn_model *model, int64_t iterations)
    fnn_param *fnn_model_param(fnn_model *model, int tensor)
    void fnn_param_free(fnn_param *param)
    int fnn_param_shape(const fnn_param *param, int64_t *dims)
    int fnn_param_dtype(const fnn_param *param)
    int fnn_param_read(fnn_param *param, void *values, int64_t count, fnn_error *err)
    int fnn_param_write(fnn_param *param, const void *values, int64_t count, fnn_error *err)
    int fnn_slot_write(fnn_model *model, int tensor, int slot, const void *values, int64_t count, fnn_error *err)
    int fnn_model_read(fnn_model *model, int n, const int *tensors, const int *slots, void **values, const int64_t *counts,
                       int64_t *iterations, fnn_error *err)
    int fnn_model_snapshot(fnn_model *model, fnn_error *err)
    int fnn_model_restore(fnn_model *model, fnn_error *err)
    int fnn_session_create(fnn_model *model, int mode, int64_t max_rows, int flags, fnn_session **session, fnn_error *err)
    void fnn_session_free(fnn_session *session)
    size_t fnn_session_bytes(const fnn_session *session)
    double fnn_session_ns(const fnn_session *session, int64_t rows)
    int fnn_session_check(const fnn_session *session, fnn_error *err)
    bint fnn_session_writes(const fnn_session *session, int tensor)
    int fnn_bind(fnn_session *session, int tensor, const fnn_array *array, fnn_error *err)
    int fnn_bind_csr(fnn_session *session, int tensor, const fnn_csr *matrix, fnn_error *err)
    int fnn_select(fnn_session *session, const int64_t *rows, int64_t count, fnn_error *err)
    void fnn_pool_crowd(int change)
    int fnn_begin(fnn_session *session, const fnn_pass *a_pass, fnn_error *err)
    int fnn_run(fnn_session *session, int64_t max_steps, double max_ms, const double *lr, int64_t lr_count, int64_t *steps_done,
                int *finished, fnn_error *err)
    int fnn_results(const fnn_session *session, double *values, int count)
    int fnn_set_results(fnn_session *session, const double *values, int count, fnn_error *err)
    void fnn_exchange(const fnn_session *session, void **values, int64_t *count, int *pending)
    int fnn_take_share(fnn_session *session, int64_t part, int64_t parts, fnn_error *err)
    int fnn_gradient(fnn_session *session, int index, void *values, int64_t count, fnn_error *err)
    int fnn_predict(fnn_session *session, const void *x, void *y, int64_t n)
    ctypedef struct fnn_perceptron:
        int dtype, units
        int64_t n, features
        const void *x
        void *weights
        void *bias
        const int32_t *labels
        const double *rates
        const unsigned char *active
        int32_t *order
        double l1, l2, l1_before
        void *l1_done
    int fnn_perceptron_decide(const fnn_perceptron *p, void *out, fnn_error *err)
    int fnn_perceptron_epoch(const fnn_perceptron *p, uint64_t seed, uint64_t epoch, int64_t *mistakes, double *losses, fnn_error *err)
    int fnn_random(uint64_t seed, uint32_t stream, int distribution, double a, double b, double *out, int64_t n)
    int64_t fnn_permuted(uint64_t seed, uint64_t epoch, int64_t n, int64_t i)


# ---- errors ----

_ERRORS = {FNN_ERR_ARGUMENT: errors.ArgumentError, FNN_ERR_PROGRAM: errors.ProgramError, FNN_ERR_LIMIT: errors.ArgumentError,
           FNN_ERR_MEMORY: errors.OutOfMemoryError, FNN_ERR_FORMAT: errors.FileFormatError}

cdef int check(int status, fnn_error *err) except -1:
    if status == FNN_OK:
        return 0
    message = err.text.decode("utf-8", "replace")
    if status == FNN_ERR_DATA:
        raise errors.DataError(message, tensor=err.tensor, row=err.row, value=err.value)
    if status == FNN_ERR_NONFINITE:
        raise errors.NonFiniteLossError(message, step=err.row)
    raise _ERRORS.get(status, errors.ArgumentError)(message)


# ---- the registry of ops ----

OpInfo = namedtuple("OpInfo", "name inputs outputs rule attrs needs")
_RULES = ("SAME MAP MATMUL MATMUL_INT8 MATMUL_NT MATMUL_TN MATMUL_CSR MATMUL_CSR_TN BIAS SUM_ROWS REDUCE BROADCAST SPREAD MOMENTS MOMENTS_GRAD NORM NORM_GRAD "
          "CONCAT SLICE PAD RESHAPE TRANSPOSE FULL EMBED EMBED_GRAD ONE_HOT TO_REAL RANDOM WARP LOSS LOSS_GRAD LOSS_IDX "
          "LOSS_IDX_GRAD SEED SCALAR CLIP UPDATE LAYOUT").split()
OPS = {}
for _i in range(OP_COUNT):
    if _RULES[fnn_ops[_i].rule] == "LAYOUT":  # the library's own, in no Program
        continue
    _attrs = fnn_ops[_i].attrs.decode()
    OPS[fnn_ops[_i].name.decode()] = OpInfo(fnn_ops[_i].name.decode(), fnn_ops[_i].inputs, fnn_ops[_i].outputs,
                                            _RULES[fnn_ops[_i].rule], tuple(_attrs.split(",")) if _attrs else (),
                                            ("NONE", "X", "Y")[fnn_ops[_i].needs])


# ---- the library ----

def active_isa():
    return fnn_isa().decode()


def isas():
    names = []
    cdef int i = 0
    while fnn_isa_at(i) != NULL:
        names.append(fnn_isa_at(i).decode())
        i += 1
    return names


def built_isas():
    """(name, whether this CPU runs it) of each instruction set that is built in, best first."""
    made = []
    cdef int i = 0, runs = 0
    while fnn_isa_built(i, &runs) != NULL:
        made.append((fnn_isa_built(i, &runs).decode(), runs != 0))
        i += 1
    return made


_forced = os.environ.get("FASTNN_ISA")
if _forced and _forced != active_isa():
    warnings.warn(f"FASTNN_ISA={_forced!r} is no instruction set of this build and CPU, so {active_isa()!r} is used; "
                  f"there are {', '.join(isas())}.", RuntimeWarning)


def set_threads(int n):
    fnn_set_threads(n)


def get_threads():
    return fnn_get_threads()


def crowd(int change):
    """+1 as a thread begins to work beside others, -1 as it ends: while there are several, each uses one core."""
    fnn_pool_crowd(change)


_DISTRIBUTIONS = {"uniform": 0, "normal": 1, "truncated_normal": 2}


def check_file(const unsigned char[::1] header not None, uint64_t size, str label not None, int64_t updates):
    """Raises unless libfastnn's own reader takes a file of `size` bytes with this header, in which so many updates are
    counted."""
    cdef fnn_error err
    text = label.encode("utf-8", "surrogateescape")
    check(fnn_file_check(<const char *>&header[0], header.shape[0], size, updates, text, &err), &err)

def random(seed, stream, distribution, double a, double b, out):
    """Fills the contiguous float64 buffer `out` from the counter-based generator keyed by (seed, stream)."""
    cdef _Held held = _Held(out, PyBUF_FORMAT | PyBUF_C_CONTIGUOUS | PyBUF_WRITABLE)
    if held.dtype() != FNN_F64:
        raise errors.DtypeError("random draws fill a float64 array")
    fnn_random(seed, stream, _DISTRIBUTIONS[distribution], a, b, <double *>held.view.buf, held.view.len // 8)


def permuted(seed, epoch, int64_t n, int64_t i):
    """Where the shuffle of [0, n) keyed by (seed, epoch) puts position i."""
    return fnn_permuted(seed, epoch, n, i)


# ---- buffers ----

cdef int dtype_of(const char *format, Py_ssize_t size, bint *swapped) noexcept:
    """The library's code for a buffer's element type, -1 if it has none."""
    swapped[0] = False
    if format == NULL:
        return FNN_U8
    cdef char c = format[0]
    if c in (b'@', b'=', b'<', b'>', b'!', b'^'):
        swapped[0] = c in (b'>', b'!') and size > 1
        format += 1
        c = format[0]
    if c == 0 or format[1] != 0:
        return -1
    if c in (b'e', b'f', b'd'):
        return FNN_F16 if size == 2 else FNN_F32 if size == 4 else FNN_F64
    if c == b'?':
        return FNN_BOOL
    if c in (b'b', b'h', b'i', b'l', b'q', b'n'):
        return FNN_I8 if size == 1 else FNN_I16 if size == 2 else FNN_I32 if size == 4 else FNN_I64
    if c in (b'B', b'H', b'I', b'L', b'Q', b'N'):
        return FNN_U8 if size == 1 else FNN_U16 if size == 2 else FNN_U32 if size == 4 else FNN_U64
    return -1


cdef class _Held:
    """A buffer that is kept as long as this object."""

    cdef Py_buffer view
    cdef bint got

    def __cinit__(self, obj, int flags):
        PyObject_GetBuffer(obj, &self.view, flags)
        self.got = True

    def __dealloc__(self):
        if self.got:
            PyBuffer_Release(&self.view)

    cdef int dtype(self) except -2:
        cdef bint swapped = False
        cdef int code = dtype_of(self.view.format, self.view.itemsize, &swapped)
        return -1 if swapped else code

    cdef int describe(self, fnn_array *array) except -1:
        cdef bint swapped = False
        cdef int i
        array.data = self.view.buf
        array.dtype = dtype_of(self.view.format, self.view.itemsize, &swapped)
        array.swapped = swapped
        array.ndim = self.view.ndim
        if array.dtype < 0:
            raise errors.DtypeError(f"arrays of format {self.view.format.decode()!r} cannot be read; convert to float32")
        if not 1 <= self.view.ndim <= FNN_MAX_DIMS:
            raise errors.ShapeError(f"arrays have 1 to {FNN_MAX_DIMS} dimensions, got {self.view.ndim}")
        for i in range(self.view.ndim):
            array.shape[i] = self.view.shape[i]
            array.strides[i] = self.view.strides[i]
        return 0


# NumPy's names of types; bfloat16 goes as the bits that it has.
_NAMES = {FNN_F32: "float32", FNN_F64: "float64", FNN_I64: "int64", FNN_I8: "int8", FNN_U16: "uint16"}


cdef _Held contiguous(obj, int dtype, bint writable):
    """A C-contiguous buffer of exactly this type."""
    cdef _Held held = _Held(obj, PyBUF_FORMAT | PyBUF_C_CONTIGUOUS | (PyBUF_WRITABLE if writable else 0))
    if held.dtype() != dtype:
        raise errors.DtypeError(f"needs a {_NAMES[dtype]} array, "
                                f"got format {held.view.format.decode()!r}")
    return held


# ---- parameters, engines, sessions ----

cdef class Param:
    """One parameter's values in the layout that the kernels want; may serve several engines."""

    cdef fnn_param *c

    def __dealloc__(self):
        fnn_param_free(self.c)

    @property
    def shape(self):
        cdef int64_t dims[8]
        cdef int n = fnn_param_shape(self.c, dims)
        return tuple([dims[i] for i in range(n)])

    @property
    def dtype(self):
        """NumPy's name of its type; bfloat16 goes as the bits that it has, uint16."""
        return _NAMES[fnn_param_dtype(self.c)]

    def read(self, out):
        cdef fnn_error err
        cdef _Held held = contiguous(out, fnn_param_dtype(self.c), True)
        cdef int64_t count = held.view.len // held.view.itemsize
        cdef int status
        with nogil:
            status = fnn_param_read(self.c, held.view.buf, count, &err)
        check(status, &err)

    def write(self, array):
        cdef fnn_error err
        cdef _Held held = contiguous(array, fnn_param_dtype(self.c), False)
        cdef int64_t count = held.view.len // held.view.itemsize
        cdef int status
        with nogil:
            status = fnn_param_write(self.c, held.view.buf, count, &err)
        check(status, &err)


cdef class Engine:
    """A verified Program with its parameters.

    Parameters
    ----------
    text : str
        The Program.
    params : dict of int to Param, optional
        Parameters to share, by tensor id; the others are made, as zeros.
    isa : str, optional
        An instruction set of `isas()`; the active one by default.
    """

    cdef fnn_model *c
    cdef readonly str dtype

    def __cinit__(self, str text, params=None, isa=None):
        cdef fnn_error err
        cdef bytes raw = text.encode(), isa_name = isa.encode() if isa is not None else b""
        cdef int n = max(params) + 1 if params and min(params) >= 0 else 0
        cdef fnn_param **shared = <fnn_param **>calloc(n + 1, sizeof(fnn_param *))
        if shared == NULL:
            raise errors.OutOfMemoryError("out of memory")
        try:
            for tensor, param in (params or {}).items():
                if not 0 <= tensor < n:
                    raise errors.ArgumentError(f"tensor {tensor} is no parameter")
                shared[<int>tensor] = (<Param?>param).c
            status = fnn_model_create(raw, len(raw), <const char *>isa_name if isa is not None else NULL, shared, n, &self.c, &err)
        finally:
            free(shared)
        if status == FNN_ERR_LIMIT:
            raise errors.ProgramError(err.text.decode("utf-8", "replace"))
        check(status, &err)
        self.dtype = "float64" if "\ndtype float64\n" in text else "float32"

    def __dealloc__(self):
        fnn_model_free(self.c)

    def param(self, int tensor):
        cdef Param param = Param.__new__(Param)
        param.c = fnn_model_param(self.c, tensor)
        if param.c == NULL:
            raise errors.ArgumentError(f"tensor {tensor} is no parameter")
        return param

    @property
    def slots(self):
        return fnn_model_slots(self.c)

    def share_moments(self, Engine lender not None):
        cdef fnn_error err
        check(fnn_model_share_moments(self.c, lender.c, &err), &err)

    @property
    def iterations(self):
        return fnn_model_iterations(self.c)

    @iterations.setter
    def iterations(self, int64_t value):
        fnn_model_set_iterations(self.c, value)

    def write_slot(self, int tensor, int slot, array):
        cdef fnn_error err
        cdef _Held held = contiguous(array, FNN_F64 if self.dtype == "float64" else FNN_F32, False)
        cdef int64_t count = held.view.len // held.view.itemsize
        cdef int status
        with nogil:
            status = fnn_slot_write(self.c, tensor, slot, held.view.buf, count, &err)
        check(status, &err)

    def read(self, list items):
        """Fills arrays with parameters and moments, all of the same step: items are (tensor, slot or -1, array).

        Returns the number of updates made by then.
        """
        cdef fnn_error err
        cdef int n = len(items), status, i
        cdef int64_t iterations = 0
        cdef list held = [contiguous(out, FNN_F64 if self.dtype == "float64" else FNN_F32, True) for _, _, out in items]
        cdef int *ids = <int *>calloc(2 * n + 1, sizeof(int))
        cdef void **values = <void **>calloc(n + 1, sizeof(void *))
        cdef int64_t *counts = <int64_t *>calloc(n + 1, sizeof(int64_t))
        try:
            if ids == NULL or values == NULL or counts == NULL:
                raise errors.OutOfMemoryError("out of memory")
            for i in range(n):
                ids[i], ids[n + i] = items[i][0], items[i][1]
                values[i] = (<_Held>held[i]).view.buf
                counts[i] = (<_Held>held[i]).view.len // (<_Held>held[i]).view.itemsize
            with nogil:
                status = fnn_model_read(self.c, n, ids, ids + n, values, counts, &iterations, &err)
            check(status, &err)
        finally:
            free(ids)
            free(values)
            free(counts)
        return iterations

    def snapshot(self):
        cdef fnn_error err
        cdef int status
        with nogil:
            status = fnn_model_snapshot(self.c, &err)
        check(status, &err)

    def restore(self):
        cdef fnn_error err
        cdef int status
        with nogil:
            status = fnn_model_restore(self.c, &err)
        check(status, &err)

    def session(self, str mode, int64_t max_rows, bint training=False, bint guard=False, bint exchange=False):
        return Session(self, mode, max_rows, training, guard, exchange)


_MODES = {"predict": 0, "evaluate": 1, "train": 2, "gradients": 3}


cdef class Session:
    """A plan for batches of up to `max_rows` samples with all its memory; one thread at a time."""

    cdef fnn_session *c
    cdef readonly Engine engine
    cdef readonly int64_t max_rows
    cdef dict held
    cdef _Held selected

    def __cinit__(self, Engine engine not None, str mode, int64_t max_rows, bint training, bint guard, bint exchange):
        cdef fnn_error err
        self.engine, self.max_rows, self.held = engine, max_rows, {}
        check(fnn_session_create(engine.c, _MODES[mode], max_rows, (FNN_TRAINING if training else 0) | (FNN_GUARD if guard else 0)
                                 | (FNN_EXCHANGE if exchange else 0), &self.c, &err), &err)

    def __dealloc__(self):
        fnn_session_free(self.c)

    @property
    def nbytes(self):
        return fnn_session_bytes(self.c)

    def bind(self, int tensor, array):
        cdef fnn_error err
        cdef fnn_array described
        cdef _Held held
        if array is None:
            with cython.critical_section(self):
                check(fnn_bind(self.c, tensor, NULL, &err), &err)
                self.held.pop(tensor, None)
            return
        if hasattr(array, "indptr"):
            self.bind_rows(tensor, array)
            return
        held = _Held(array, PyBUF_FORMAT | PyBUF_STRIDES | (PyBUF_WRITABLE if fnn_session_writes(self.c, tensor) else 0))
        held.describe(&described)
        # What the session reads is held: the two change together.
        with cython.critical_section(self):
            check(fnn_bind(self.c, tensor, &described, &err), &err)
            self.held[tensor] = held

    cdef bind_rows(self, int tensor, rows):
        """Binds sparse.Rows, whose three arrays are held."""
        cdef fnn_error err
        cdef fnn_csr described
        cdef _Held data = _Held(rows.data, PyBUF_FORMAT | PyBUF_C_CONTIGUOUS)
        cdef _Held indices = _Held(rows.indices, PyBUF_FORMAT | PyBUF_C_CONTIGUOUS)
        cdef _Held indptr = _Held(rows.indptr, PyBUF_FORMAT | PyBUF_C_CONTIGUOUS)
        described.data, described.indices, described.indptr = data.view.buf, indices.view.buf, indptr.view.buf
        described.dtype, described.index_dtype, described.pointer_dtype = data.dtype(), indices.dtype(), indptr.dtype()
        described.rows, described.cols = rows.shape
        described.count = data.view.len // data.view.itemsize
        if (indices.view.len // indices.view.itemsize != described.count
                or indptr.view.len // indptr.view.itemsize != described.rows + 1):
            raise errors.ShapeError("sparse rows need an index for each value, and one row pointer more than rows")
        with cython.critical_section(self):
            check(fnn_bind_csr(self.c, tensor, &described, &err), &err)
            self.held[tensor] = data, indices, indptr

    def select(self, rows):
        """Sample i of a pass is row rows[i] (int64) of what is bound for reading; None: row i again."""
        cdef fnn_error err
        cdef _Held held
        if rows is None:
            with cython.critical_section(self):
                check(fnn_select(self.c, NULL, 0, &err), &err)
                self.selected = None
            return
        held = contiguous(rows, FNN_I64, False)
        with cython.critical_section(self):
            check(fnn_select(self.c, <const int64_t *>held.view.buf, held.view.len // 8, &err), &err)
            self.selected = held

    def begin(self, int64_t n, int64_t batch_size, int64_t shuffle=0, bint check_finite=True, uint64_t seed=0, uint64_t epoch=0,
              int64_t first_step=0):
        cdef fnn_error err
        cdef fnn_pass a_pass
        a_pass.n, a_pass.batch_size, a_pass.shuffle, a_pass.check_finite = n, batch_size, shuffle, check_finite
        a_pass.seed, a_pass.epoch, a_pass.first_step = seed, epoch, first_step
        check(fnn_begin(self.c, &a_pass, &err), &err)

    def run(self, int64_t max_steps, double max_ms, lr):
        cdef fnn_error err
        cdef _Held held
        cdef double one
        cdef const double *rates
        cdef int64_t count = 1, done = 0
        cdef int finished = 0, status
        if isinstance(lr, float):
            one = lr
            rates = &one
        else:
            held = contiguous(lr, FNN_F64, False)
            rates, count = <const double *>held.view.buf, held.view.len // 8
        with nogil:
            status = fnn_run(self.c, max_steps, max_ms, rates, count, &done, &finished, &err)
        check(status, &err)
        return done, finished != 0

    def results(self):
        """(sum, weight) of each loss, then metric, then penalty, and the elements of each tally, since `begin`."""
        cdef int n = fnn_results(self.c, NULL, 0)
        cdef double *values = <double *>calloc(n + 1, sizeof(double))
        if values == NULL:
            raise errors.OutOfMemoryError("out of memory")
        try:
            fnn_results(self.c, values, n)
            return [values[i] for i in range(n)]
        finally:
            free(values)

    def set_results(self, values):
        """Puts back what `results` gave in an interrupted pass: after `begin` with its first_step, before `run`."""
        cdef fnn_error err
        cdef _Held held = contiguous(np.array(values, np.float64), FNN_F64, False)
        check(fnn_set_results(self.c, <const double *>held.view.buf, held.view.len // 8, &err), &err)

    def share(self, int64_t part, int64_t parts):
        """From the next pass on the session takes its part of the rows of each batch."""
        cdef fnn_error err
        check(fnn_take_share(self.c, part, parts, &err), &err)

    @property
    def pending(self):
        """Does a step wait for its sums over rows to be added to those of other sessions?"""
        cdef void *values
        cdef int64_t count
        cdef int pending
        fnn_exchange(self.c, &values, &count, &pending)
        return pending != 0

    def exchange(self):
        """The sums of a pending step, one writable buffer, with three notes at its end; it is always the same one."""
        return _Exchange.__new__(_Exchange, self)

    def gradient(self, int index, out):
        cdef fnn_error err
        cdef _Held held = contiguous(out, FNN_F64 if self.engine.dtype == "float64" else FNN_F32, True)
        check(fnn_gradient(self.c, index, held.view.buf, held.view.len // held.view.itemsize, &err), &err)

    def check(self):
        """Raises if a kernel wrote beyond a buffer of this guarded session."""
        cdef fnn_error err
        check(fnn_session_check(self.c, &err), &err)


cdef class _Exchange:
    """The buffer of `Session.exchange`, which keeps the session."""

    cdef Session session
    cdef Py_ssize_t size, stride
    cdef bytes format

    def __cinit__(self, Session session not None):
        self.session = session

    def __getbuffer__(self, Py_buffer *view, int flags):
        cdef void *values
        cdef int64_t count
        cdef int pending
        fnn_exchange(self.session.c, &values, &count, &pending)
        if values == NULL:
            raise errors.ArgumentError("only a session made with exchange=True has sums to exchange")
        wide = self.session.engine.dtype == "float64"
        self.format = b"d" if wide else b"f"
        self.size, self.stride = count, 8 if wide else 4
        view.buf, view.len, view.itemsize, view.readonly = values, self.size * self.stride, self.stride, 0
        view.ndim, view.shape, view.strides, view.suboffsets = 1, &self.size, &self.stride, NULL
        view.format = <char *>self.format
        view.internal, view.obj = NULL, self


# ---- perceptrons ----

cdef class Perceptron:
    """Linear units on the samples of one array. All arrays are C-contiguous and held; with labels, which allow `epoch`, weights and
    bias have to be writable.

    Parameters
    ----------
    x : array of float32 or float64, shape (n, features)
    weights : array of the same type, shape (units, features)
    bias : array of the same type, shape (units,), optional
    labels : array of int32, shape (n,), optional
    rates : array of float64, shape (max(2, units),), optional
    order : array of int32, shape (n,), optional
        Overwritten in each epoch by the order of its samples, which without it come as they lie.
    l1, l2 : float
        Penalties of one sample, see fastnn.h.
    l1_done : array of the type of the weights, of their shape, optional
        For `l1`.
    """

    cdef fnn_perceptron c
    cdef list held

    def __init__(self, x, weights, bias=None, labels=None, rates=None, order=None, l1=0.0, l2=0.0, l1_done=None):
        self.held = []
        cdef _Held rows = _Held(x, PyBUF_FORMAT | PyBUF_C_CONTIGUOUS), units = _Held(weights, PyBUF_FORMAT | PyBUF_C_CONTIGUOUS)
        if rows.view.ndim != 2 or units.view.ndim != 2 or rows.view.shape[1] != units.view.shape[1]:
            raise errors.ShapeError("a perceptron needs samples (n, features) and weights (units, features)")
        self.c.dtype = FNN_F64 if rows.dtype() == FNN_F64 else FNN_F32
        self.c.n, self.c.features, self.c.units = rows.view.shape[0], rows.view.shape[1], units.view.shape[0]
        self.c.x = self.hold(x, self.c.dtype, self.c.n * self.c.features, False)
        self.c.weights = self.hold(weights, self.c.dtype, self.c.units * self.c.features, labels is not None)
        self.c.bias = self.hold(bias, self.c.dtype, self.c.units, labels is not None)
        self.c.labels = <const int32_t *>self.hold(labels, FNN_I32, self.c.n, False)
        self.c.order = <int32_t *>self.hold(order, FNN_I32, self.c.n, True)
        self.c.rates = <const double *>self.hold(rates, FNN_F64, max(2, self.c.units), False)
        self.c.l1, self.c.l2, self.c.l1_before = l1, l2, 0.0
        self.c.l1_done = self.hold(l1_done, self.c.dtype, self.c.units * self.c.features, True)

    cdef void *hold(self, obj, int dtype, int64_t count, bint writable) except? NULL:
        """The array's memory, kept for as long as this object; NULL for None."""
        if obj is None:
            return NULL
        cdef _Held held = exactly(obj, dtype, count, writable)
        self.held.append(held)
        return held.view.buf

    def decide(self, out):
        """Fills `out` (n, units) with w x + b."""
        cdef fnn_error err
        cdef _Held held = exactly(out, self.c.dtype, self.c.n * self.c.units, True)
        cdef int status
        with nogil:
            status = fnn_perceptron_decide(&self.c, held.view.buf, &err)
        check(status, &err)

    def epoch(self, active, mistakes, losses, uint64_t seed=0, uint64_t epoch=0):
        """One epoch of the units that `active` (bool) names; adds up mistakes (int64) and losses (float64) of each."""
        cdef fnn_error err
        cdef _Held on = exactly(active, FNN_BOOL, self.c.units, False), counts = exactly(mistakes, FNN_I64, self.c.units, True)
        cdef _Held sums = exactly(losses, FNN_F64, self.c.units, True)
        cdef fnn_perceptron c = self.c
        cdef int status
        c.active = <const unsigned char *>on.view.buf
        with nogil:
            status = fnn_perceptron_epoch(&c, seed, epoch, <int64_t *>counts.view.buf, <double *>sums.view.buf, &err)
        check(status, &err)
        self.c.l1_before += self.c.l1 * <double>self.c.n


cdef _Held exactly(obj, int dtype, int64_t count, bint writable):
    """A C-contiguous buffer of so many elements of this type."""
    cdef _Held held = _Held(obj, PyBUF_FORMAT | PyBUF_C_CONTIGUOUS | (PyBUF_WRITABLE if writable else 0))
    if held.dtype() != dtype:
        raise errors.DtypeError(f"a perceptron cannot use an array of format {held.view.format.decode()!r} here")
    if held.view.len // held.view.itemsize != count:
        raise errors.ShapeError(f"a perceptron needs {count} elements here, got {held.view.len // held.view.itemsize}")
    return held


# ---- prediction with nothing left to decide ----

cdef enum: MANY_ROWS = 256

cdef class Predictor:
    """Predicts with the weights that an engine of its own holds. Safe to call from any number of threads.

    Parameters
    ----------
    engine : Engine
        Never trained or written to again.
    input_id, output_id : int
        Tensor ids of the one input and the one output.
    features, out_shape : tuple of int
        Shape of one sample, in and out.

    A subclass gives `convert(x)`, which makes a contiguous array of the right type and shape of anything else,
    and `returned(x, out)`, what is returned for it.
    """

    cdef readonly Engine engine
    cdef readonly int input_id, output_id
    cdef readonly tuple features, out_shape
    cdef readonly object dtype
    cdef list few, many              # sessions that nobody uses now, by how many samples they take at a time
    cdef object empty
    cdef int code, ndim, out_ndim
    cdef Py_ssize_t size_in[8]
    cdef Py_ssize_t size_out[8]
    cdef double ns_row

    def __init__(self, Engine engine not None, int input_id, int output_id, tuple features, tuple out_shape):
        self.engine, self.input_id, self.output_id = engine, input_id, output_id
        self.features, self.out_shape = features, out_shape
        self.dtype, self.empty = np.dtype(engine.dtype), np.empty
        self.code = FNN_F64 if engine.dtype == "float64" else FNN_F32
        self.ndim, self.out_ndim = len(features), len(out_shape)
        if self.ndim >= FNN_MAX_DIMS or self.out_ndim >= FNN_MAX_DIMS:
            raise errors.ShapeError(f"samples have at most {FNN_MAX_DIMS - 1} dimensions, got {features} and {out_shape}")
        for i in range(self.ndim):
            self.size_in[i] = features[i]
        for i in range(self.out_ndim):
            self.size_out[i] = out_shape[i]
        self.few, self.many = [self.engine.session("predict", FNN_FEW_ROWS)], []
        self.ns_row = fnn_session_ns((<Session>self.few[0]).c, 1)

    def __call__(self, x, out=None):
        """Outputs for one sample (features,) or several (n, features): a new array, or `out`, filled."""
        cdef Py_buffer given, made
        cdef Session session
        cdef int64_t n = 1
        cdef int status
        cdef bint converted = not self.take(x, &given), made_here = out is None
        if converted:
            PyObject_GetBuffer(self.convert(x), &given, PyBUF_C_CONTIGUOUS)
        try:
            if given.ndim > self.ndim:
                n = given.shape[0]
            if out is None:
                out = self.empty((n,) + self.out_shape if given.ndim > self.ndim else self.out_shape, self.dtype)
            self.open_out(out, &made)
            try:
                self.check_out(&made, n, given.ndim > self.ndim)
                session = self.lend(n)
                # Short calls keep the GIL: giving it back and taking it costs more than they last.
                if n * self.ns_row < 5000:
                    status = fnn_predict(session.c, given.buf, made.buf, n)
                else:
                    with nogil:
                        status = fnn_predict(session.c, given.buf, made.buf, n)
                self.give_back(session, n)
                if status != FNN_OK:
                    raise errors.ArgumentError("a Predictor needs exactly one input and one output")
            finally:
                PyBuffer_Release(&made)
        finally:
            PyBuffer_Release(&given)
        return self.returned(x, out) if converted and made_here else out

    cdef Session lend(self, int64_t n):
        cdef list idle = self.few if n <= FNN_FEW_ROWS else self.many
        with cython.critical_section(self):
            if idle:
                return <Session>idle.pop()
        return self.engine.session("predict", FNN_FEW_ROWS if n <= FNN_FEW_ROWS else MANY_ROWS)

    cdef int give_back(self, Session session, int64_t n) except -1:
        with cython.critical_section(self):
            (self.few if n <= FNN_FEW_ROWS else self.many).append(session)
        return 0

    cdef bint take(self, x, Py_buffer *view) except -1:
        """Opens the array's buffer if it can be read as it is."""
        cdef bint swapped = False, good
        cdef int i, extra
        try:
            PyObject_GetBuffer(x, view, PyBUF_FORMAT | PyBUF_C_CONTIGUOUS)
        except (TypeError, ValueError, BufferError):
            return False
        extra = view.ndim - self.ndim
        good = 0 <= extra <= 1 and dtype_of(view.format, view.itemsize, &swapped) == self.code and not swapped
        if good:
            for i in range(self.ndim):
                good = good and view.shape[i + extra] == self.size_in[i]
        if not good:
            PyBuffer_Release(view)
        return good

    cdef int open_out(self, out, Py_buffer *view) except -1:
        try:
            PyObject_GetBuffer(out, view, PyBUF_C_CONTIGUOUS | PyBUF_WRITABLE | PyBUF_FORMAT)
        except (TypeError, ValueError, BufferError) as error:
            raise errors.ArgumentTypeError(f"out must be a writable, C-contiguous {self.dtype} array, got "
                                           f"{type(out).__name__} ({error})") from None
        return 0

    cdef int check_out(self, Py_buffer *view, int64_t n, bint batch) except -1:
        cdef bint swapped = False
        cdef int extra = 1 if batch else 0, i
        cdef bint good = view.ndim == self.out_ndim + extra
        if good and batch:
            good = view.shape[0] == n
        if good:
            for i in range(self.out_ndim):
                good = good and view.shape[i + extra] == self.size_out[i]
        if not good or dtype_of(view.format, view.itemsize, &swapped) != self.code or swapped:
            needed = ((n,) if batch else ()) + self.out_shape
            raise errors.ShapeError(f"out must be a contiguous {self.dtype} array of shape {needed}, got shape "
                                    f"{tuple([view.shape[i] for i in range(view.ndim)])}, format {view.format.decode()!r}")
        return 0
