"""Arrays at the boundary: whatever the caller holds becomes an ndarray view that the engine reads in place.

Nothing here copies or scans data. Strides, byte order and dtype are converted, and NaN and infinities looked
for, while the engine gathers a batch.
"""

import sys

import numpy as np

from .arguments import check_float, check_int
from .errors import ArgumentError, ArgumentTypeError, DtypeError, ShapeError
from .sparse import Rows, is_sparse


def as_array(obj, what):
    """A view of `obj` as an ndarray of numbers.

    Parameters
    ----------
    obj : array_like
        Anything with the buffer protocol, `__array__` or DLPack (on the CPU), or nested lists of numbers.
    what : str
        How errors name it, such as "input 'x'".

    Returns
    -------
    ndarray
        At least one dimension; bool, integer or floating point of at most 64 bits. A view where `obj` allows
        one.

    Raises
    ------
    DtypeError
        If the elements are not real numbers of at most 64 bits.
    ShapeError
        If `obj` is a single number or nested lists of unequal lengths.
    ArgumentTypeError
        If `obj` is not an array at all, or a masked array with masked values.
    """
    if type(obj) is np.ndarray:
        array = obj
    else:
        array = _convert(obj, what)
    dtype = array.dtype
    if dtype.kind not in "fiub" or dtype.itemsize > 8:
        raise DtypeError(
            f"{what} needs real numbers of at most 64 bits, got dtype {dtype}; {_dtype_hint(dtype)}"
        )
    if array.ndim == 0:
        raise ShapeError(
            f"{what} needs an array of samples, got the single number {array}; "
            "put it in a batch: np.array([[value]])"
        )
    return array


def _dtype_hint(dtype):
    if dtype.kind == "O":
        return (
            "an object array often comes from text, missing values or unequal rows: convert it with "
            ".astype('float32')"
        )
    if dtype.kind in "US":
        return "encode text as numbers first"
    if dtype.kind == "c":
        return "pass real and imaginary parts as separate features"
    return "convert it with .astype('float32')"


def as_samples(obj, what):
    """`as_array`, but sparse arrays become `sparse.Rows`."""
    if type(obj) is np.ndarray or not is_sparse(obj):
        return as_array(obj, what)
    return as_rows(obj, what)


def _convert(obj, what):
    if isinstance(obj, np.ma.MaskedArray) and np.ma.is_masked(obj):
        raise ArgumentTypeError(
            f"{what} is a masked array with masked values, which a network cannot read; "
            "fill them: x.filled(value)"
        )
    if obj is None:
        raise ArgumentTypeError(f"{what} needs an array, got None; pass an array of numbers")
    if is_sparse(obj):
        raise ArgumentTypeError(
            f"{what} needs a dense array, got a sparse one ({type(obj).__name__}); pass x.toarray(), or give a "
            "model whose first layer is Dense a sparse input: Input(shape, sparse=True)"
        )
    if hasattr(obj, "to_numpy"):
        return _of_frame(obj, what)
    try:
        if hasattr(obj, "__dlpack__") and not hasattr(obj, "__array__"):
            return np.from_dlpack(obj)
        array = np.asarray(obj)
    except ValueError as error:
        if isinstance(obj, (list, tuple)):
            raise ShapeError(
                f"{what} needs rows of one length, got nested lists that form no array ({error}); "
                "check the length of each row"
            ) from error
        raise ArgumentTypeError(_unreadable(obj, what, error)) from error
    except (TypeError, RuntimeError, BufferError, AttributeError) as error:
        raise ArgumentTypeError(_unreadable(obj, what, error)) from error
    if array.dtype == object and array.ndim == 0:
        raise ArgumentTypeError(
            f"{what} needs an array or nested lists of numbers, got {type(obj).__name__}; "
            f"{'collect it' if hasattr(obj, 'collect') else 'make an array of it'}"
        )
    return array


def _of_frame(obj, what):
    """The numbers of a data frame, or of a column of one."""
    from .preprocessing.tables import is_frame, numbers, read_series, table_of

    if is_frame(obj):
        from .tabular import matrix

        return matrix(table_of(obj, what), None, what)
    column = read_series(obj, what)
    return column if column.dtype.kind in "fiub" else numbers(column, what)


def _unreadable(obj, what, error):
    return f"{what} needs an array in the host's memory, got {type(obj).__name__} ({error}); use numpy"


def as_rows(obj, what):
    """The Rows of a CSR array, without a copy where it has types that the engine reads.

    A dense array is scanned and its nonzero values are copied.

    Raises
    ------
    ArgumentTypeError
        If it is sparse in another format.
    DtypeError
        If the values are no real numbers of at most 64 bits, or the indices no integers.
    ShapeError
        If the lengths of its arrays do not go together, or a dense array has not two dimensions.
    """
    if isinstance(obj, Rows):
        return obj
    if not is_sparse(obj):
        return _of_dense(as_array(obj, what), what)
    if obj.format != "csr":
        raise ArgumentTypeError(f"{what} needs a CSR array, got a sparse {obj.format} array; pass x.tocsr()")
    parts = ("data", "indices", "indptr")
    values, indices, indptr = (_native(as_array(getattr(obj, a), f"{a} of {what}")) for a in parts)
    shape = tuple(int(n) for n in obj.shape)
    if len(shape) != 2 or not values.ndim == indices.ndim == indptr.ndim == 1:
        raise ShapeError(f"{what} needs a CSR array of shape (rows, columns), got {shape}; reshape it")
    if len(indptr) != shape[0] + 1 or len(indices) != len(values):
        raise ShapeError(
            f"{what} needs {shape[0] + 1} row pointers and as many indices as values, got {len(indptr)} row "
            f"pointers, {len(indices)} indices and {len(values)} values; the array was put together wrongly"
        )
    return Rows(values, _index(indices, f"indices of {what}"), _index(indptr, f"indptr of {what}"), shape)


def _native(array):
    """The array contiguous, aligned and in this machine's byte order."""
    return np.require(array, array.dtype.newbyteorder("="), ["C", "A"])


def _index(array, what):
    if array.dtype.kind not in "iu":
        raise DtypeError(f"{what} needs integers, got dtype {array.dtype}")
    return array if array.dtype in (np.int32, np.int64) else array.astype(np.int64)


def _of_dense(array, what):
    if array.ndim != 2:
        raise ShapeError(f"{what} needs rows, shape (n, features), got {tuple(array.shape)}; reshape it")
    row, column = np.nonzero(array)
    indptr = np.zeros(len(array) + 1, np.int64)
    np.cumsum(np.bincount(row, minlength=len(array)), out=indptr[1:])
    return Rows(_native(array[row, column]), np.ascontiguousarray(column, np.int64), indptr, array.shape)


def like(x, made):
    """`made`, an array or a list, tuple or dict of such, as arrays of the library that `x` comes from.

    It shares the memory. Libraries are known by `__array_namespace__`, or by a function `from_dlpack` beside
    the array's class, as PyTorch has it; what has neither, such as lists and data frames, gets NumPy's arrays.
    """
    while isinstance(x, (list, tuple, dict)) and x:
        x = next(iter(x.values() if isinstance(x, dict) else x))
    if isinstance(x, np.ndarray) or not hasattr(x, "__dlpack__"):
        return made
    if hasattr(x, "__array_namespace__"):
        library = x.__array_namespace__()
    else:
        library = sys.modules.get(type(x).__module__.partition(".")[0])
    convert = getattr(library, "from_dlpack", None)
    return made if convert is None else _mapped(convert, made)


def _mapped(convert, made):
    if isinstance(made, dict):
        return {name: convert(array) for name, array in made.items()}
    if isinstance(made, (list, tuple)):
        return type(made)(map(convert, made))
    return convert(made)


def shape_text(shape):
    """A shape with the batch as Keras prints it: (None, 64)."""
    return f"({', '.join(['None', *map(str, shape)])}{',' if not shape else ''})"


def fit_input(array, shape, what):
    """`array` as a batch of `shape` (without the batch); (n,) becomes (n, 1) for the shape (1,)."""
    if array.shape[1:] == shape:
        return array
    if shape == (1,) and array.ndim == 1:
        return array[:, None]
    seen = tuple(array.shape)
    if seen == shape:
        hint = "add the batch dimension: x[None]"
    elif array.ndim != len(shape) + 1:
        hint = "reshape it, or change Input's shape"
    else:
        hint = "the model was built for another number of features"
    raise ShapeError(f"{what} needs shape {shape_text(shape)}, got {seen}; {hint}")


def fit_samples(obj, tensor, lookup, what):
    """What the caller gave for a symbolic input: an ndarray, or `sparse.Rows` where that is sparse.

    Of what a `lookup` reads, the positions.
    """
    if lookup is not None:
        array = lookup._positions(obj, what)
    else:
        array = as_rows(obj, what) if tensor.sparse else as_array(obj, what)
    return fit_input(array, tensor.shape[1:], what)


def fit_weight(array, what):
    """`array` as one weight for each sample, (n,) or (n, 1)."""
    if array.shape[1:] not in ((), (1,)):
        raise ShapeError(f"{what} needs shape (None,), got {tuple(array.shape)}; give each sample one number")
    return array[:, 0] if array.ndim > 1 else array


def fit_target(array, shape, integer, what):
    """`array` as targets of `shape` (without the batch); a last dimension of 1 is added or dropped."""
    seen = array.shape[1:]
    if seen == shape:
        return array
    if seen == (*shape, 1):
        return array[..., 0]
    if shape == (*seen, 1):
        return array[..., None]
    if integer and seen and len(seen) == len(shape) + 1:
        hint = "these look like one-hot targets: use categorical_crossentropy or pass y.argmax(-1)"
    elif not integer and seen in (shape[:-1], (*shape[:-1], 1)):
        hint = "class indices go with sparse_categorical_crossentropy, or one-hot: utils.to_categorical(y)"
    else:
        hint = "targets need the shape that the loss takes, for most the shape of the model's output"
    raise ShapeError(f"{what} needs shape {shape_text(shape)}, got {tuple(array.shape)}; {hint}")


def by_name(data, names, what):
    """Orders `data` (one object, a list or tuple, or a dict by name) as `names`, as a list."""
    count = len(names)
    if isinstance(data, dict):
        missing = [name for name in names if name not in data]
        if missing or len(data) != count:
            extra = [str(key) for key in data if key not in names]
            raise ArgumentError(
                f"{what} needs the keys {list(names)}, got {[str(key) for key in data]}; "
                + (f"missing: {missing}" if missing else f"remove {extra}")
            )
        return [data[name] for name in names]
    if count == 1:
        if (
            isinstance(data, (list, tuple))
            and len(data) == 1
            and hasattr(data[0], "__len__")
            and not isinstance(data[0], (list, tuple, str))
        ):
            return [data[0]]
        return [data]
    if not isinstance(data, (list, tuple)):
        raise ArgumentTypeError(
            f"{what} needs a list or dict of {count} arrays ({', '.join(names)}), "
            f"got {type(data).__name__}; pass one array for each"
        )
    if len(data) != count:
        raise ArgumentError(
            f"{what} needs {count} arrays ({', '.join(names)}), got {len(data)}; pass one array for each"
        )
    return list(data)


def common_length(labelled):
    """The number of samples of (what, array) pairs, which must agree and not be 0."""
    first, head = labelled[0]
    count = head.shape[0]
    for what, array in labelled:
        if array.shape[0] != count:
            raise ShapeError(
                f"{what} needs as many samples as {first}, {count}, got {array.shape[0]}; "
                "each row of one belongs to the same row of the other"
            )
    if count == 0:
        raise ShapeError(
            f"{first} needs at least one sample, got an empty array of shape {tuple(head.shape)}; "
            "check how it was selected"
        )
    return count


def selection(indices, count, what):
    """The rows that `indices`, integers or a mask, pick out of `count`: int64, in memory of their own."""
    array = as_array(indices, what) if len(indices) else np.empty(0, np.int64)
    if array.ndim != 1:
        raise ShapeError(f"{what} needs one row number a sample, shape (n,), got {tuple(array.shape)}")
    if array.dtype.kind == "b":
        if len(array) != count:
            raise ShapeError(f"{what} needs a mask of all {count} samples, got one of {len(array)}")
        array = np.flatnonzero(array)
    elif array.dtype.kind not in "iu":
        raise DtypeError(f"{what} needs integers or a mask of bools, got dtype {array.dtype}")
    if not len(array):
        raise ArgumentError(f"{what} needs at least one row, got none; check how they were selected")
    for row in (array.min(), array.max()):
        if not 0 <= row < count:
            raise ArgumentError(f"{what} needs rows from 0 to {count - 1}, got {row}")
    return np.array(array, np.int64)


def selections(indices, count, what):
    """(rows to train on, rows to validate on or None) of the `indices` of `Model.fit`."""
    if isinstance(indices, (list, tuple)) and len(indices) == 2 and all(np.ndim(part) for part in indices):
        return tuple(
            selection(part, count, f"{what}{part_name}")
            for part, part_name in zip(indices, ("[0]", "[1]"))
        )
    if not hasattr(indices, "__len__"):
        raise ArgumentTypeError(
            f"{what} needs an array of row numbers, or a pair of them, got {type(indices).__name__}"
        )
    return selection(indices, count, what), None


def shuffle_of(shuffle):
    """What the engine takes: 0 for no shuffle, 1 for one of all samples, or the samples of a window.

    A function of the epoch stays what it is; see `order_of`.
    """
    if isinstance(shuffle, (bool, np.bool_)):
        return int(shuffle)
    if callable(shuffle):
        return shuffle
    try:
        return check_int("fit", "shuffle", shuffle, 0)
    except ArgumentTypeError:
        raise ArgumentTypeError(
            f"fit: shuffle must be True, False, the samples of a window such as 100_000, or a function of the "
            f"epoch, got {shuffle!r}"
        ) from None


def order_of(shuffle, epoch, count):
    """The order of an epoch's samples (count,) int64 that the function given as `shuffle` returns."""
    order = np.ascontiguousarray(shuffle(epoch))
    if order.shape != (count,) or order.dtype.kind not in "iu":
        raise ArgumentError(
            f"fit: the function given as shuffle must return the positions of {count} samples as integers, got an "
            f"array of {order.dtype} of shape {order.shape}"
        )
    order = order.astype(np.int64, copy=False)
    if count and not (order.min() >= 0 and order.max() < count):
        raise ArgumentError(
            f"fit: the function given as shuffle must return positions from 0 to {count - 1}, got "
            f"{order.min()} to {order.max()}"
        )
    return order


def class_weights(class_weight, target, what):
    """Weights (n,) float64 by the class in `target`: indices (n,) or (n, 1), or one-hot (n, classes)."""
    if not isinstance(class_weight, dict):
        raise ArgumentTypeError(
            f"class_weight needs a dict of class index to weight, got {type(class_weight).__name__}; "
            "for example {0: 1.0, 1: 5.0}"
        )
    if target.ndim == 2 and target.shape[1] > 1:
        labels, classes = np.argmax(target, axis=1), target.shape[1]
    elif target.ndim <= 2:
        labels, classes = target.reshape(len(target)), None
    else:
        raise ShapeError(
            f"class_weight needs {what} of one class a sample, got shape {tuple(target.shape)}; "
            "use sample_weight"
        )
    weights = np.ones(len(labels))
    for label, weight in class_weight.items():
        if (
            not isinstance(label, (int, np.integer))
            or label < 0
            or (classes is not None and label >= classes)
        ):
            raise ArgumentError(
                f"class_weight needs class indices{f' below {classes}' if classes else ''} as keys, "
                f"got {label!r}; use the integers that stand in {what}"
            )
        weights[labels == label] = check_float("class_weight", f"the weight of class {label}", weight)
    return weights


def split(arrays, fraction):
    """(first parts, last parts) of arrays of one length: the last holds `fraction` of the samples."""
    if not 0 < fraction < 1:
        raise ArgumentError(
            f"validation_split needs a fraction between 0 and 1, got {fraction!r}; for example 0.2"
        )
    count = arrays[0].shape[0]
    at = int(count * (1.0 - fraction))
    if not 0 < at < count:
        raise ArgumentError(
            f"validation_split={fraction} of {count} samples leaves {at} to train and {count - at} to "
            "validate on, and both need one; use more samples or another fraction"
        )
    return [array[:at] for array in arrays], [array[at:] for array in arrays]


def to_categorical(x, num_classes=None):
    """One-hot rows of class indices.

    Parameters
    ----------
    x : array_like of int, shape (...) or (..., 1)
        Class indices, 0 or more.
    num_classes : int, optional
        Number of classes; the largest index + 1 by default.

    Returns
    -------
    ndarray of float32, shape (..., num_classes)

    Raises
    ------
    ArgumentError
        If an index is negative or not below `num_classes`.
    """
    x = np.asarray(x)
    if x.dtype.kind not in "iub":
        if x.dtype.kind != "f" or not np.all(np.isfinite(x) & (x == np.floor(x))):
            raise DtypeError(
                f"to_categorical needs integer class indices, got dtype {x.dtype}; round or encode them"
            )
    x = x.astype(np.int64)
    if x.ndim > 1 and x.shape[-1] == 1:
        x = x[..., 0]
    if num_classes is None:
        num_classes = int(x.max()) + 1 if x.size else 0
    if x.size and (x.min() < 0 or x.max() >= num_classes):
        wrong = int(x.min()) if x.min() < 0 else int(x.max())
        raise ArgumentError(
            f"to_categorical needs indices of at least 0 and below {max(num_classes, 1)}, got {wrong}; "
            "raise num_classes or check the labels"
        )
    out = np.zeros((x.size, num_classes), np.float32)
    out[np.arange(x.size), x.ravel()] = 1
    return out.reshape(*x.shape, num_classes)
