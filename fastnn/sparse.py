"""Sparse arrays at the boundary: recognised by what SciPy's have, as SciPy is no dependency."""

import numpy as np


class Rows:
    """Rows of a sparse matrix: views of the arrays of a CSR array.

    The engine reads them in place, and checks row pointers and columns while it does.

    Attributes
    ----------
    data : ndarray, shape (values,)
    indices : ndarray of int32 or int64, shape (values,)
        The column of each value, in any order; values of one column add up.
    indptr : ndarray of int32 or int64, shape (rows + 1,)
        Row r has the values from indptr[r] to indptr[r + 1].
    shape : tuple of int
        (rows, columns)
    """

    __slots__ = ("data", "indices", "indptr", "shape")
    ndim = 2

    def __init__(self, data, indices, indptr, shape):
        self.data, self.indices, self.indptr, self.shape = data, indices, indptr, shape

    @property
    def dtype(self):
        return self.data.dtype

    def __len__(self):
        return self.shape[0]

    def __getitem__(self, rows):
        """Those of a slice without a step."""
        start, stop, _ = rows.indices(len(self))
        count = max(stop - start, 0)
        return Rows(self.data, self.indices, self.indptr[start : start + count + 1], (count, self.shape[1]))

    def astype(self, dtype):
        return Rows(self.data.astype(dtype), self.indices, self.indptr, self.shape)

    def dense(self, dtype=np.float64):
        """An ndarray with the same elements."""
        first, end = self.indptr[0], self.indptr[-1]
        row = np.repeat(np.arange(len(self)), np.diff(self.indptr))
        made = np.zeros(self.shape, dtype)
        np.add.at(made, (row, self.indices[first:end]), self.data[first:end])
        return made

    def __repr__(self):
        return f"<Rows shape={self.shape} dtype={self.dtype} values={len(self.data)}>"


def is_sparse(obj):
    """Whether `obj` is a sparse array: SciPy's of any format, or Rows."""
    return isinstance(obj, Rows) or (isinstance(getattr(obj, "format", None), str) and hasattr(obj, "tocsr"))


def wrong(rows, row):
    """(what a row needs, what it has instead) where its pointers or columns cannot be, else None."""
    first, end = int(rows.indptr[row]), int(rows.indptr[row + 1])
    if not 0 <= first <= end <= len(rows.data):
        return f"row pointers that rise from 0 to at most {len(rows.data)}", f"{first} and {end}"
    columns = rows.indices[first:end]
    outside = columns[(columns < 0) | (columns >= rows.shape[1])]
    return (f"column indices from 0 to {rows.shape[1] - 1}", int(outside[0])) if len(outside) else None


def densified(program, values):
    """A Program that reads its sparse inputs as dense ones, and those of `values` by tensor id as it wants them."""
    program = program.copy()
    program.tensors = [t._replace(type=program.dtype) if t.type == "csr" else t for t in program.tensors]
    program.nodes = [n._replace(op=n.op.replace("_csr", "")) for n in program.nodes]
    return program, {i: v.dense() if isinstance(v, Rows) else v for i, v in values.items()}
