"""The container of model files: the safetensors layout with a checksum, written and read as a stream.

    8 bytes       length of the header, little-endian
    header        JSON: {"__metadata__": {"checksum": "<64 hex digits>", ...},
                         name: {"dtype", "shape", "data_offsets"}, ...}
    data          the tensors, little-endian, row-major, one after the other with no gaps

The checksum is the SHA-256 of the whole file with its own 64 digits replaced by "0"; they always stand at
byte 37. Readers of safetensors need not know about it.
"""

import errno
import hashlib
import json
import os

import numpy as np

from .errors import FileAccessError, FileFormatError

MAX_HEADER = 100 << 20
MAX_TENSORS = 1 << 20
MAX_NAME = 1024
MAX_NDIM = 8
MAX_ELEMENTS = 1 << 40

_DTYPES = {
    "F64": "<f8",
    "F32": "<f4",
    "F16": "<f2",
    "I64": "<i8",
    "I32": "<i4",
    "I16": "<i2",
    "I8": "|i1",
    "U64": "<u8",
    "U32": "<u4",
    "U16": "<u2",
    "BF16": "<u2",  # its bits; fastnn writes no other uint16
    "U8": "|u1",
    "BOOL": "|b1",
}
_NAMES = {np.dtype(code): name for name, code in _DTYPES.items()}

_PREFIX = b'{"__metadata__":{"checksum":"'
_DIGITS_AT = 8 + len(_PREFIX)
_ZEROS = b"0" * 64
_CHUNK = 1 << 20

_FOREIGN = (
    (b"\x89HDF", "an HDF5 file", "read it with fastnn.from_keras, or its weights with model.load_weights"),
    (b"PK\x03\x04", "a zip archive, as Keras and PyTorch write", "read one of Keras with fastnn.from_keras"),
    (b"\x80\x02", "a pickle", "save tensors with safetensors and read them with model.load_weights"),
    (b"\x80\x04", "a pickle", "save tensors with safetensors and read them with model.load_weights"),
    (b"\x80\x05", "a pickle", "save tensors with safetensors and read them with model.load_weights"),
)


def write(file, tensors, metadata):
    """Writes to a seekable binary file.

    Parameters
    ----------
    tensors : list of (name, dtype, shape, read)
        `read()` gives the array; it is called when its turn comes, so that one array is held at a time.
    metadata : dict of str to str
    """
    tensors = sorted(tensors, key=lambda entry: -np.dtype(entry[1]).itemsize)  # keeps every tensor aligned
    header = {"__metadata__": {"checksum": _ZEROS.decode(), **metadata}}
    offset = 0
    for name, dtype, shape, _ in tensors:
        size = int(np.prod(shape, dtype=np.int64)) * np.dtype(dtype).itemsize
        header[name] = {
            "dtype": _NAMES[np.dtype(dtype).newbyteorder("<")],
            "shape": list(shape),
            "data_offsets": [offset, offset + size],
        }
        offset += size
    text = json.dumps(header, separators=(",", ":"), ensure_ascii=True, allow_nan=False).encode()
    text += b" " * (-len(text) % 8)
    if len(text) > MAX_HEADER:
        raise FileFormatError(
            f"a model file's header holds at most {MAX_HEADER} bytes, got {len(text)}; "
            "use fewer layers or shorter names"
        )
    digest = hashlib.sha256()

    def put(data):
        digest.update(data)
        file.write(data)

    put(len(text).to_bytes(8, "little"))
    put(text)
    for _, dtype, shape, read in tensors:
        array = np.ascontiguousarray(read(), np.dtype(dtype).newbyteorder("<")).reshape(shape)
        if array.size:
            put(memoryview(array).cast("B"))
    file.seek(_DIGITS_AT)
    file.write(digest.hexdigest().encode())


def write_atomically(path, write_to):
    """Calls `write_to(file)` on a temporary file beside `path`, which then takes the place of `path`.

    Raises
    ------
    FileAccessError
        If the folder or the disk refuses; the old file, if any, stays as it was.
    """
    target = os.path.realpath(path)
    temporary = f"{target}.{os.urandom(6).hex()}.tmp"
    if os.path.exists(target) and not os.path.isfile(target):
        raise FileAccessError(
            f"cannot write '{path}': a folder or device is there; choose the path of a file",
            errno=errno.EISDIR if os.path.isdir(target) else errno.EEXIST,
            filename=path,
        )
    try:
        descriptor = os.open(
            temporary, os.O_RDWR | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0), 0o666
        )
        try:
            with os.fdopen(descriptor, "w+b") as file:
                write_to(file)
                file.flush()
                os.fsync(file.fileno())
            if os.path.exists(target):
                os.chmod(temporary, os.stat(target).st_mode & 0o777)
            os.replace(temporary, target)
        except BaseException:
            os.unlink(temporary)
            raise
        if os.name == "posix":
            folder = os.open(os.path.dirname(target), os.O_RDONLY)
            try:
                os.fsync(folder)
            finally:
                os.close(folder)
    except OSError as error:
        if isinstance(error, FileAccessError):
            raise
        raise FileAccessError(
            f"cannot write '{path}': {error.strerror or error}; "
            "check that the folder exists, may be written to and has room",
            errno=error.errno,
            filename=path,
        ) from error


def _unique(pairs):
    result = dict(pairs)
    if len(result) != len(pairs):
        raise ValueError("a key stands twice")
    return result


def _no_constant(text):
    raise ValueError(f"{text} is not a number of JSON")


def parse_json(text, what):
    """`text` as JSON: no duplicate keys, no NaN, no nesting beyond what the interpreter can follow."""
    try:
        return json.loads(text, object_pairs_hook=_unique, parse_constant=_no_constant)
    except (ValueError, RecursionError) as error:
        raise FileFormatError(f"{what} is no valid JSON ({error}); the file is damaged or foreign") from error


class Reader:
    """A checked container, open for reading.

    Parameters
    ----------
    file : seekable binary file
    label : str
        How errors name it.

    Attributes
    ----------
    metadata : dict of str to str
    tensors : dict of str to (dtype, shape, first byte)

    Raises
    ------
    FileFormatError
        If any byte is not as it was written.
    """

    def __init__(self, file, label):
        self._file, self._label = file, label
        size = file.seek(0, os.SEEK_END)
        file.seek(0)
        start = file.read(_DIGITS_AT)
        if start[8:] != _PREFIX:
            self._fail_foreign(start)
        header = self._header(start, size)
        digest = hashlib.sha256(start[:8])
        digits = header[len(_PREFIX) : len(_PREFIX) + 64]
        digest.update(_PREFIX + _ZEROS + header[len(_PREFIX) + 64 :])
        while chunk := file.read(_CHUNK):
            digest.update(chunk)
        if digest.hexdigest().encode() != digits:
            self._fail("does not match its checksum", "it is truncated or damaged: copy it again")
        self._parse(header, size - 8 - len(header))

    def _header(self, start, size):
        length = int.from_bytes(start[:8], "little")
        if length > min(MAX_HEADER, size - 8):
            self._fail(
                f"announces a header of {length} bytes, but at most {max(min(MAX_HEADER, size - 8), 0)} fit",
                "it is truncated or damaged",
            )
        self._file.seek(8)
        self._data_at = 8 + length
        return self._file.read(length)

    def check(self, with_header, *more):
        """Call `with_header(header, bytes of the file, label, *more)`, which raises where it does not take that."""
        size = self._file.seek(0, os.SEEK_END)
        self._file.seek(8)
        with_header(self._file.read(self._data_at - 8), size, self._label, *more)

    def _fail(self, what, hint):
        raise FileFormatError(f"{self._label} {what}; {hint}")

    def _fail_foreign(self, start):
        for magic, what, hint in _FOREIGN:
            if start.startswith(magic):
                self._fail(f"is {what}, not a fastnn model file", hint)
        if start[8:10] == b'{"' and not _PREFIX.startswith(start[8:]):
            self._fail(
                "is a safetensors file of another program, not a fastnn model file",
                "read its tensors into a model with model.load_weights(path)",
            )
        self._fail("is not a fastnn model file", "fastnn.load reads files that Model.save wrote")

    def _parse(self, header, size):
        try:
            text = header.decode("utf-8")
        except UnicodeDecodeError as error:
            raise FileFormatError(
                f"{self._label} has a header that is not UTF-8; it is damaged or foreign"
            ) from error
        entries = parse_json(text, f"the header of {self._label}")
        if not isinstance(entries, dict):
            self._fail("has a header that is no table of tensors", "it is damaged or foreign")
        self.metadata = entries.pop("__metadata__", {})
        if not (isinstance(self.metadata, dict) and all(isinstance(v, str) for v in self.metadata.values())):
            self._fail("has metadata that are not text", "it is damaged or foreign")
        if len(entries) > MAX_TENSORS:
            self._fail(f"holds {len(entries)} tensors, more than {MAX_TENSORS}", "it is damaged or foreign")
        self.tensors = {}
        extents = []
        for name, entry in entries.items():
            dtype, shape, begin, end = self._entry(name, entry)
            self.tensors[name] = (dtype, shape, begin)
            extents.append((begin, end))
        at = 0
        for begin, end in sorted(extents):
            if begin != at:
                self._fail(
                    f"has tensors that overlap or leave a gap at byte {at}", "it is damaged or foreign"
                )
            at = end
        if at != size:
            self._fail(
                f"holds {size} bytes of data where its header names {at}", "it is truncated or damaged"
            )

    def _entry(self, name, entry):
        def natural(value):
            return type(value) is int and 0 <= value <= 1 << 62

        if len(name.encode("utf-8", "surrogatepass")) > MAX_NAME:
            self._fail(f"has a tensor name longer than {MAX_NAME} bytes", "it is damaged or foreign")
        if not isinstance(entry, dict) or set(entry) != {"dtype", "shape", "data_offsets"}:
            self._fail(
                f"describes tensor {name!r} without dtype, shape and data_offsets", "it is damaged or foreign"
            )
        code, shape, offsets = entry["dtype"], entry["shape"], entry["data_offsets"]
        if not isinstance(code, str) or code not in _DTYPES:
            self._fail(f"gives tensor {name!r} the unknown dtype {code!r}", f"known are {', '.join(_DTYPES)}")
        if not (isinstance(shape, list) and len(shape) <= MAX_NDIM and all(map(natural, shape))):
            self._fail(
                f"gives tensor {name!r} the shape {shape!r}",
                f"at most {MAX_NDIM} sizes of 0 or more are valid",
            )
        if not (isinstance(offsets, list) and len(offsets) == 2 and all(map(natural, offsets))):
            self._fail(f"gives tensor {name!r} the offsets {offsets!r}", "it is damaged or foreign")
        dtype = np.dtype(_DTYPES[code])
        count = 1
        for dim in shape:
            count *= dim
        if count > MAX_ELEMENTS or offsets[1] - offsets[0] != count * dtype.itemsize:
            self._fail(
                f"gives tensor {name!r} of shape {tuple(shape)} the bytes {offsets[0]} to {offsets[1]}",
                "it is damaged or foreign",
            )
        return dtype, tuple(shape), *offsets

    def read(self, name):
        """The tensor as a new array."""
        dtype, shape, begin = self.tensors[name]
        out = np.empty(shape, dtype)
        self._file.seek(self._data_at + begin)
        if out.size and self._file.readinto(memoryview(out).cast("B")) != out.nbytes:
            self._fail("became shorter while it was read", "read it again")
        return out


def is_own(start):
    """Whether a file that begins so was written by `write`; `start` holds 37 bytes."""
    return start[8:_DIGITS_AT] == _PREFIX


class ForeignReader(Reader):
    """A container that another program wrote, without a checksum; bfloat16 becomes float32."""

    def __init__(self, file, label):
        self._file, self._label, self._codes = file, label, {}
        size = file.seek(0, os.SEEK_END)
        file.seek(0)
        header = self._header(file.read(8), size)
        self._parse(header, size - 8 - len(header))

    def _entry(self, name, entry):
        found = super()._entry(name, entry)
        self._codes[name] = entry["dtype"]
        return found

    def read(self, name):
        """The tensor as a new array."""
        array = super().read(name)
        return (array.astype("<u4") << 16).view("<f4") if self._codes[name] == "BF16" else array
