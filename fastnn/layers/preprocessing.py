"""Layers that prepare data: scaling of features, encoding of integers."""

import math

import numpy as np

from ..arguments import check_int
from ..errors import ArgumentError, ArgumentTypeError, DtypeError, ShapeError
from ..graph import emit
from .base import Layer, registry

_LEAST_DEVIATION = 1e-7  # Keras 3's epsilon: what a deviation of 0 is taken for


def _real(x):
    return emit("to_real", x) if x.dtype == "int32" else x


@registry.add
class Normalization(Layer):
    """(x - mean) / max(sqrt(variance), 1e-7): features of mean 0 and variance 1.

    Mean and variance are given, or found by `adapt`. `Model.freeze` folds the layer into a product after it.

    Parameters
    ----------
    axis : int, sequence of int or None, default -1
        Dimensions whose every index has a mean and variance of its own, not the batch; None for one of each
        for all elements.
    mean, variance : float or array_like, optional
        Both or none; broadcast to the kept dimensions.
    invert : bool, default False
        The way back: mean + x max(sqrt(variance), 1e-7).
    name, trainable, dtype
        See `Layer`.

    Attributes
    ----------
    mean, variance : Parameter, or ndarray where they were given
    """

    def __init__(self, axis=-1, mean=None, variance=None, invert=False, **kwargs):
        super().__init__(**kwargs)
        axes = () if axis is None else axis if isinstance(axis, (list, tuple)) else (axis,)
        self.axis = tuple(check_int(self._label, "axis", a) for a in axes)
        self.invert = bool(invert)
        if (mean is None) != (variance is None):
            raise ArgumentError(
                f"{self._label}: mean and variance are given together, "
                f"got mean={mean!r} and variance={variance!r}."
            )
        self._given = (
            None if mean is None else (self._numbers("mean", mean), self._numbers("variance", variance))
        )
        if self._given is not None:
            shapes = [a.shape for a in self._given]
            if shapes[0] != shapes[1] or len(shapes[0]) > len(self.axis):
                raise ShapeError(
                    f"{self._label}: mean and variance have one shape, of at most {len(self.axis)} "
                    f"dimensions for axis={self.axis}, got {shapes[0]} and {shapes[1]}."
                )
        self.mean = self.variance = self.count = None

    def _numbers(self, name, value):
        array = np.asarray(value)
        if array.dtype.kind not in "fiub":
            raise DtypeError(f"{self._label}: {name} must hold numbers, got an array of {array.dtype}.")
        array = array.astype(np.float64)
        if not np.isfinite(array).all() or (name == "variance" and (array < 0).any()):
            needed = "finite numbers of at least 0" if name == "variance" else "finite numbers"
            raise ArgumentError(f"{self._label}: {name} must hold {needed}, got {value!r}.")
        return array

    def _kept(self, rank):
        """The dimensions that have statistics of their own, ascending."""
        kept = sorted(a + rank if a < 0 else a for a in self.axis)
        if any(not 0 < a < rank for a in kept) or len(set(kept)) < len(kept):
            raise ArgumentError(
                f"{self._label}: axis must name dimensions after the batch of inputs of {rank} dimensions, "
                f"each once, got {self.axis}; axis=None has one mean for all."
            )
        return kept

    def build(self, shape):
        self._needs_one(shape)
        kept = self._kept(len(shape))
        self._features = tuple(shape[a] for a in kept)
        if self._given is None:
            self.mean = self.add_weight(self._features, "zeros", trainable=False, name="mean")
            self.variance = self.add_weight(self._features, "ones", trainable=False, name="variance")
            self.count = self.add_weight((), "zeros", trainable=False, name="count")
            return
        try:
            self.mean, self.variance = (np.broadcast_to(a, self._features) for a in self._given)
        except ValueError:
            raise ShapeError(
                f"{self._label}: mean and variance must broadcast to {self._features}, "
                f"got {self._given[0].shape}."
            ) from None

    def adapt(self, data):
        """Set mean and variance to those of data, in double precision.

        Parameters
        ----------
        data : array_like, shape (n, ...), or iterable of such batches
            A batch may be a tuple (x, ...), whose first item counts. Builds the layer where that has not
            happened.

        Raises
        ------
        ArgumentError
            If mean and variance were given to the constructor, or there are no data.
        ShapeError
            If the data do not have the layer's features.
        """
        if self._given is not None:
            raise ArgumentError(f"{self._label} was given mean and variance, so it does not adapt.")
        batches = [data] if hasattr(data, "__array__") else data
        total = mean = squares = None
        for batch in batches if hasattr(batches, "__iter__") else [data]:
            batch = batch[0] if isinstance(batch, tuple) and batch else batch
            if not hasattr(batch, "__array__"):
                raise ArgumentTypeError(
                    f"{self._label}: adapt takes an array or an iterable of arrays, got "
                    f"{type(batch).__name__} in {type(data).__name__}; make an array with numpy.array."
                )
            x = np.asarray(batch)
            if x.dtype.kind not in "fiub":
                raise DtypeError(f"{self._label}: adapt takes arrays of numbers, got {x.dtype}.")
            if x.ndim == 0:
                raise ShapeError(f"{self._label}: adapt takes arrays (n, ...), got a single number.")
            self.ensure_built((None, *x.shape[1:]))
            kept = self._kept(x.ndim)
            if tuple(x.shape[a] for a in kept) != self._features:
                raise ShapeError(
                    f"{self._label} has statistics of shape {self._features} for axis={self.axis}, "
                    f"got data of shape {x.shape}."
                )
            reduced = tuple(a for a in range(x.ndim) if a not in kept)
            count = math.prod(x.shape[a] for a in reduced)
            if count == 0:
                continue
            m = x.mean(axis=reduced, dtype=np.float64)
            s = x.var(axis=reduced, dtype=np.float64) * count
            if total is None:
                total, mean, squares = count, m, s
            else:  # Chan et al., 1983
                step = m - mean
                mean = mean + step * (count / (total + count))
                squares = squares + s + step * step * (total * count / (total + count))
                total += count
        if total is None:
            raise ArgumentError(f"{self._label}: adapt needs at least one sample, got none.")
        self.mean.assign(mean)
        self.variance.assign(squares / total)

    def call(self, x):
        self._needs_one(x)
        kept = self._kept(x.ndim)
        if tuple(x.shape[a] for a in kept) != self._features:
            raise ShapeError(
                f"{self._label} has statistics of shape {self._features} for axis={self.axis}, "
                f"got inputs {x.shape}."
            )
        x, builder = _real(x), x.builder
        # Laid along the dimensions they belong to; those in front of the first need not be spelled out.
        shape = tuple(d if a in kept else 1 for a, d in enumerate(x.shape))[kept[0] :] if kept else ()
        mean, variance = (
            p if p.shape == shape else builder.emit("reshape", p, shape=shape)
            for p in (v if self._given is None else builder.constant(v) for v in (self.mean, self.variance))
        )
        least = builder.emit("full", value=_LEAST_DEVIATION, shape=())
        deviation = builder.emit("maximum", builder.emit("sqrt", variance), least)
        if self.invert:
            return emit("add", emit("multiply", x, deviation), mean)
        return emit("divide", emit("subtract", x, mean), deviation)

    def get_config(self):
        given = self._given or (None, None)
        return {
            **super().get_config(),
            "axis": list(self.axis),
            "invert": self.invert,
            "mean": None if given[0] is None else given[0].tolist(),
            "variance": None if given[1] is None else given[1].tolist(),
        }


@registry.add
class Rescaling(Layer):
    """scale x + offset, of numbers or integers.

    `Model.freeze` folds the layer into a product after it.

    Parameters
    ----------
    scale : float or array_like
        Broadcast against a sample, aligned at the last dimension.
    offset : float or array_like, default 0.0
    name, trainable, dtype
        See `Layer`.
    """

    def __init__(self, scale, offset=0.0, **kwargs):
        super().__init__(**kwargs)
        self.scale, self.offset = self._numbers("scale", scale), self._numbers("offset", offset)
        self.built = True

    def _numbers(self, name, value):
        array = np.asarray(value)
        if array.dtype.kind not in "fiub" or not np.isfinite(array).all():
            raise ArgumentTypeError(f"{self._label}: {name} must hold finite numbers, got {value!r}.")
        return float(array) if array.ndim == 0 else array.astype(np.float64)

    def call(self, x):
        self._needs_one(x)
        x, builder = _real(x), x.builder
        if isinstance(self.scale, float) and isinstance(self.offset, float):
            return emit("affine", x, scale=self.scale, shift=self.offset)
        for name, value in (("scale", self.scale), ("offset", self.offset)):
            shape = np.shape(value)
            if len(shape) >= x.ndim or any(a not in (1, d) for a, d in zip(shape[::-1], x.shape[::-1])):
                raise ShapeError(
                    f"{self._label}: {name} of shape {shape} does not fit samples of shape {x.shape[1:]}."
                )
        return emit("add", emit("multiply", x, builder.constant(self.scale)), builder.constant(self.offset))

    def get_config(self):
        plain = {
            n: v if isinstance(v, float) else v.tolist()
            for n, v in vars(self).items()
            if n in ("scale", "offset")
        }
        return {**super().get_config(), **plain}


def encoded(layer, x, depth, mode, dropped=False):
    """Integers in [0, depth) as `CategoryEncoding` has them; with `dropped`, `depth` itself sets nothing."""
    width = depth + dropped
    hot = emit("one_hot", x, shape=(*x.shape, width))
    if mode == "one_hot":
        made = emit("reshape", hot, shape=(*x.shape[:-1], width)) if x.ndim > 1 and x.shape[-1] == 1 else hot
    else:
        if x.ndim != 2:
            raise ShapeError(
                f"{layer._label} with output_mode={mode!r} expects inputs (batch, tokens), got {x.shape}."
            )
        made = emit("max_to" if mode == "multi_hot" else "sum_to", hot, shape=(None, 1, width))
        made = emit("reshape", made, shape=(None, width))
    return made[..., :depth] if dropped else made


@registry.add
class CategoryEncoding(Layer):
    """Integers in [0, num_tokens) as vectors of num_tokens numbers.

    Parameters
    ----------
    num_tokens : int
    output_mode : {"multi_hot", "one_hot", "count"}
        "one_hot": a 1 at the index of each element; a last dimension of 1 is replaced, else a new one
        appended. "multi_hot": (batch, k) -> (batch, num_tokens), a 1 for each token that is among the k.
        "count": the same with how often it is among them.
    sparse : bool
        Only False is supported.
    name, trainable, dtype
        See `Layer`.

    Notes
    -----
    The input is of integers: ``Input((10,), dtype="int32")``.
    """

    input_dtype = "int32"

    def __init__(self, num_tokens=None, output_mode="multi_hot", sparse=False, **kwargs):
        super().__init__(**kwargs)
        if num_tokens is None:
            raise ArgumentError(f"{self._label} needs num_tokens, the number of different integers.")
        self.num_tokens = check_int(self._label, "num_tokens", num_tokens, low=1)
        if output_mode not in ("multi_hot", "one_hot", "count"):
            raise ArgumentError(
                f"{self._label}: output_mode must be 'multi_hot', 'one_hot' or 'count', got {output_mode!r}."
            )
        self.output_mode = output_mode
        self._refuse(sparse=sparse)
        self.built = True

    def call(self, x):
        self._needs_one(x)
        self._needs_integers(x)
        return encoded(self, x, self.num_tokens, self.output_mode)

    def get_config(self):
        return {**super().get_config(), "num_tokens": self.num_tokens, "output_mode": self.output_mode}
