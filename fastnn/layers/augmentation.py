"""Layers that change samples at random in training, so that few of them go further.

Pictures are (height, width, channels). Every sample has draws of its own, see `Dropout`; outside training
the layers are the identity.
"""

import math

import numpy as np

from ..arguments import check_float
from ..errors import ArgumentError, ShapeError
from ..graph import emit
from .base import registry
from .regularization import RandomLayer

_FILL_MODES = {"constant": 0, "nearest": 1, "reflect": 2, "wrap": 3}  # as the op `warp` numbers them


def _range(layer, name, value, low=-1.0, high=1.0, exclusive=()):
    """(lower, upper) of a factor: two numbers, or one for both directions; each in [low, high]."""
    owner = layer._label
    if isinstance(value, (list, tuple)):
        if len(value) != 2:
            raise ArgumentError(f"{owner}: {name} must be a number or two, got {value!r}.")
        return tuple(sorted(check_float(owner, name, v, low, high, exclusive) for v in value))
    size = abs(check_float(owner, name, value, low, high, exclusive))
    return max(-size, low), size


def _plain(value):
    return list(value) if isinstance(value, tuple) else value


class _PictureLayer(RandomLayer):
    """What layers on pictures share."""

    def __init__(self, seed, data_format, **kwargs):
        super().__init__(seed=seed, **kwargs)
        if data_format not in (None, "channels_last"):
            raise ArgumentError(f"{self._label}: data_format must be 'channels_last', got {data_format!r}.")
        self.built = True

    def call(self, x):
        self._needs_one(x)
        if x.ndim != 4:
            raise ShapeError(
                f"{self._label} expects pictures (batch, height, width, channels), got {x.shape}."
            )
        if x.dtype == "int32":
            x = emit("to_real", x)
        return emit("in_training", self._changed(x), x)

    def _draws(self, x, *ranges):
        """For each (lower, upper) a column (batch, 1) of draws between them."""
        shape = (None, len(ranges))
        drawn = x.builder.emit("random_uniform", shape=shape, low=0, high=1, key=self._key(x))
        return [
            emit("affine", _column(drawn, i), scale=upper - lower, shift=lower)
            for i, (lower, upper) in enumerate(ranges)
        ]


def _column(x, i):
    return emit("slice", x, shape=(None, 1), axis=1, start=i)


class _Warp(_PictureLayer):
    """Moves pixels by an affine map of their coordinates."""

    def __init__(self, fill_mode, interpolation, seed, fill_value, data_format, **kwargs):
        super().__init__(seed, data_format, **kwargs)
        if fill_mode not in _FILL_MODES:
            raise ArgumentError(
                f"{self._label}: fill_mode must be one of {', '.join(map(repr, _FILL_MODES))}, "
                f"got {fill_mode!r}."
            )
        if interpolation not in ("bilinear", "nearest"):
            raise ArgumentError(
                f"{self._label}: interpolation must be 'bilinear' or 'nearest', got {interpolation!r}."
            )
        self.fill_mode, self.interpolation = fill_mode, interpolation
        self.fill_value = check_float(self._label, "fill_value", fill_value)

    def _changed(self, x):
        return emit(
            "warp",
            x,
            emit("concat", *self._map(x), axis=1),
            fill_mode=_FILL_MODES[self.fill_mode],
            fill_value=self.fill_value,
            nearest=float(self.interpolation == "nearest"),
        )

    def _map(self, x):
        """Six columns m: the pixel at (r, c) comes from (m0 r + m1 c + m2, m3 r + m4 c + m5)."""
        raise NotImplementedError

    def get_config(self):
        return {
            **super().get_config(),
            "fill_mode": self.fill_mode,
            "interpolation": self.interpolation,
            "fill_value": self.fill_value,
        }


@registry.add
class RandomTranslation(_Warp):
    """Moves pictures up or down and left or right.

    Parameters
    ----------
    height_factor : float or (float, float)
        Bounds of the way down as a fraction of the height, each in [-1, 1]; negative is up. One number f
        means (-f, f).
    width_factor : float or (float, float)
        The same for the way to the right.
    fill_mode : {"reflect", "constant", "wrap", "nearest"}, default "reflect"
        What stands beyond the edge of abcd: reflect dcba|abcd|dcba, constant `fill_value`, wrap
        abcd|abcd|abcd, nearest aaaa|abcd|dddd.
    interpolation : {"bilinear", "nearest"}, default "bilinear"
    seed : int, optional
        As in `Dropout`.
    fill_value : float, default 0.0
    data_format : {None, "channels_last"}
    name, trainable, dtype
        See `Layer`.
    """

    def __init__(
        self,
        height_factor,
        width_factor,
        fill_mode="reflect",
        interpolation="bilinear",
        seed=None,
        fill_value=0.0,
        data_format=None,
        **kwargs,
    ):
        super().__init__(fill_mode, interpolation, seed, fill_value, data_format, **kwargs)
        self.height_factor, self.width_factor = _plain(height_factor), _plain(width_factor)
        self._rows = _range(self, "height_factor", height_factor)
        self._columns = _range(self, "width_factor", width_factor)

    def _map(self, x):
        (row_low, row_high), (column_low, column_high) = (
            tuple(-size * f for f in bounds) for size, bounds in zip(x.shape[1:], (self._rows, self._columns))
        )
        down, right = self._draws(x, (row_low, row_high), (column_low, column_high))
        one, zero = (emit("affine", down, scale=0, shift=value) for value in (1, 0))
        return one, zero, down, zero, one, right

    def get_config(self):
        return {
            **super().get_config(),
            "height_factor": self.height_factor,
            "width_factor": self.width_factor,
        }


@registry.add
class RandomRotation(_Warp):
    """Turns pictures about their centre.

    Parameters
    ----------
    factor : float or (float, float)
        Bounds of the angle as a fraction of the full circle, each in [-1, 1]; positive is counter-clockwise.
        One number f means (-f, f).
    fill_mode, interpolation, seed, fill_value, data_format
        As in `RandomTranslation`.
    name, trainable, dtype
        See `Layer`.
    """

    def __init__(
        self,
        factor,
        fill_mode="reflect",
        interpolation="bilinear",
        seed=None,
        fill_value=0.0,
        data_format=None,
        **kwargs,
    ):
        super().__init__(fill_mode, interpolation, seed, fill_value, data_format, **kwargs)
        self.factor = _plain(factor)
        self._turns = _range(self, "factor", factor)

    def _map(self, x):
        [angle] = self._draws(x, tuple(2 * math.pi * f for f in self._turns))
        cosine, sine = emit("cos", angle), emit("sin", angle)
        minus_sine = emit("affine", sine, scale=-1, shift=0)
        row, column = ((size - 1) / 2 for size in x.shape[1:3])
        # The centre stays where it is: m2 = row - (cosine row + sine column), and likewise m5.
        m2 = emit(
            "add",
            emit("affine", cosine, scale=-row, shift=row),
            emit("affine", sine, scale=-column, shift=0),
        )
        m5 = emit(
            "add",
            emit("affine", cosine, scale=-column, shift=column),
            emit("affine", sine, scale=row, shift=0),
        )
        return cosine, sine, m2, minus_sine, cosine, m5

    def get_config(self):
        return {**super().get_config(), "factor": self.factor}


@registry.add
class RandomZoom(_Warp):
    """Zooms pictures out or in about their centre.

    Parameters
    ----------
    height_factor : float or (float, float)
        Bounds of the zoom, each in (-1, 1]: positive zooms out, negative in; 0.2 shows 1.2 times the height.
        One number f means (-f, f).
    width_factor : float or (float, float), optional
        The same for the width; by default that of the height, so that the aspect ratio stays.
    fill_mode, interpolation, seed, fill_value, data_format
        As in `RandomTranslation`.
    name, trainable, dtype
        See `Layer`.
    """

    def __init__(
        self,
        height_factor,
        width_factor=None,
        fill_mode="reflect",
        interpolation="bilinear",
        seed=None,
        fill_value=0.0,
        data_format=None,
        **kwargs,
    ):
        super().__init__(fill_mode, interpolation, seed, fill_value, data_format, **kwargs)
        self.height_factor, self.width_factor = _plain(height_factor), _plain(width_factor)
        self._rows = _range(self, "height_factor", height_factor, exclusive=("low",))
        self._columns = None
        if width_factor is not None:
            self._columns = _range(self, "width_factor", width_factor, exclusive=("low",))

    def _map(self, x):
        bounds = [self._rows] if self._columns is None else [self._rows, self._columns]
        drawn = self._draws(x, *((1 + lower, 1 + upper) for lower, upper in bounds))
        down, right = drawn[0], drawn[-1]
        zero = emit("affine", down, scale=0, shift=0)
        row, column = ((size - 1) / 2 for size in x.shape[1:3])
        m2 = emit("affine", down, scale=-row, shift=row)
        m5 = emit("affine", right, scale=-column, shift=column)
        return down, zero, m2, zero, right, m5

    def get_config(self):
        return {
            **super().get_config(),
            "height_factor": self.height_factor,
            "width_factor": self.width_factor,
        }


@registry.add
class RandomFlip(_PictureLayer):
    """Mirrors half of the pictures.

    Parameters
    ----------
    mode : {"horizontal_and_vertical", "horizontal", "vertical"}
        Left to right, upside down, or by default both at once.
    seed : int, optional
        As in `Dropout`.
    data_format : {None, "channels_last"}
    name, trainable, dtype
        See `Layer`.
    """

    _MODES = {"horizontal_and_vertical": (1, 1), "horizontal": (0, 1), "vertical": (1, 0)}

    def __init__(self, mode="horizontal_and_vertical", seed=None, data_format=None, **kwargs):
        super().__init__(seed, data_format, **kwargs)
        if mode not in self._MODES:
            raise ArgumentError(
                f"{self._label}: mode must be one of {', '.join(map(repr, self._MODES))}, got {mode!r}."
            )
        self.mode = mode

    def _changed(self, x):
        [draw] = self._draws(x, (0, 1))
        flipped = emit("less_equal", draw, x.builder.emit("full", value=0.5, shape=()))
        zero, columns = emit("affine", flipped, scale=0, shift=0), []
        for flips, size in zip(self._MODES[self.mode], x.shape[1:3]):
            columns.append(emit("affine", flipped, scale=-2 * flips, shift=1))
            columns.append(emit("affine", flipped, scale=(size - 1) * flips, shift=0))
        (rows, first_row), (across, first_column) = columns[:2], columns[2:]
        m = emit("concat", rows, zero, first_row, zero, across, first_column, axis=1)
        return emit("warp", x, m, fill_mode=_FILL_MODES["nearest"], fill_value=0, nearest=1)

    def get_config(self):
        return {**super().get_config(), "mode": self.mode}


@registry.add
class RandomErasing(_PictureLayer):
    """Fills a rectangle of a picture (Zhong et al., arXiv:1708.04896).

    Parameters
    ----------
    factor : float or (float, float), default 1.0
        Bounds between which the probability of erasing is drawn, in [0, 1]; one number f means (0, f).
    scale : float or (float, float), default (0.02, 0.33)
        Bounds, in [0, 1], of two draws whose square roots are the rectangle's width and height as fractions
        of the picture's; one number f means (0, f).
    fill_value : float or list of three float, optional
        Number or colour to fill with; by default normal noise times ``value_range[1]``. All are kept within
        `value_range`.
    value_range : (float, float), default (0, 255)
        Of the pictures.
    seed : int, optional
        As in `Dropout`.
    data_format : {None, "channels_last"}
    name, trainable, dtype
        See `Layer`.
    """

    def __init__(
        self,
        factor=1.0,
        scale=(0.02, 0.33),
        fill_value=None,
        value_range=(0, 255),
        seed=None,
        data_format=None,
        **kwargs,
    ):
        super().__init__(seed, data_format, **kwargs)
        self.factor, self.scale = _plain(factor), _plain(scale)
        self._probability = _range(self, "factor", factor, low=0.0)
        self._area = _range(self, "scale", scale, low=0.0)
        if not isinstance(value_range, (list, tuple)) or len(value_range) != 2:
            raise ArgumentError(f"{self._label}: value_range must be two numbers, got {value_range!r}.")
        low, high = (check_float(self._label, "value_range", v) for v in value_range)
        if low > high:
            raise ArgumentError(f"{self._label}: value_range must be (low, high), got {value_range!r}.")
        self.value_range = [low, high]
        if isinstance(fill_value, (list, tuple)):
            if len(fill_value) != 3:
                raise ArgumentError(
                    f"{self._label}: fill_value must be one number or three, got {fill_value!r}."
                )
            fill_value = [check_float(self._label, "fill_value", v) for v in fill_value]
        elif fill_value is not None:
            fill_value = check_float(self._label, "fill_value", fill_value)
        self.fill_value = fill_value

    def _changed(self, x):
        height, width = x.shape[1:3]
        unit = (0, 1)
        across, down, left, top, threshold, probability = self._draws(
            x, self._area, self._area, unit, unit, unit, self._probability
        )
        columns = self._between(x, across, left, width, (1, width, 1))
        rows = self._between(x, down, top, height, (height, 1, 1))
        erased = _picture(emit("less", threshold, probability))
        inside = emit("multiply", emit("multiply", rows, erased), columns)
        return emit("where", inside, self._filling(x), x)

    def _between(self, x, area, start, size, shape):
        """1 at the pixels of one dimension that lie in the rectangle; (batch, height or 1, width or 1, 1)."""
        fraction = emit("sqrt", area)
        first = emit("multiply", start, emit("affine", fraction, scale=-size, shift=size))
        last = emit("add", first, emit("affine", fraction, scale=size, shift=0))
        pixels = x.builder.constant(np.arange(size).reshape(shape))
        after, before = emit("less_equal", _picture(first), pixels), emit("less", pixels, _picture(last))
        return emit("multiply", after, before)

    def _filling(self, x):
        low, high = self.value_range
        if self.fill_value is None:
            key = self._key(x, stream=1)
            noise = x.builder.emit("random_normal", shape=x.shape, mean=0, stddev=abs(high), key=key)
            floor, ceiling = (x.builder.emit("full", value=v, shape=()) for v in (low, high))
            return emit("minimum", emit("maximum", noise, floor), ceiling)
        if isinstance(self.fill_value, float):
            return x.builder.emit("full", value=min(max(self.fill_value, low), high), shape=())
        if x.shape[-1] != 3:
            raise ShapeError(
                f"{self._label}: fill_value has three numbers, so pictures need three channels, "
                f"got {x.shape}."
            )
        return x.builder.constant(np.clip(self.fill_value, low, high))

    def get_config(self):
        return {
            **super().get_config(),
            "factor": self.factor,
            "scale": self.scale,
            "fill_value": self.fill_value,
            "value_range": self.value_range,
        }


def _picture(column):
    return emit("reshape", column, shape=(None, 1, 1, 1))


@registry.add
class MixUp(RandomLayer):
    """Mixes samples in pairs, and their targets with them (Zhang et al., arXiv:1710.09412).

    x[i] becomes l x[i] + (1 - l) x[j], where j is the sample's partner in the batch and l is drawn from
    Beta(alpha, alpha), once for each pair. In `fit` the targets of every output are mixed by the same
    numbers; integer labels of sparse losses are mixed as one-hot vectors. Metrics see mixed targets as far
    as those are not integers.

    Parameters
    ----------
    alpha : float, default 0.2
        Above 0: the larger, the more is mixed.
    data_format : {None, "channels_last"}
        Without meaning, as samples may have any shape.
    seed : int, optional
        As in `Dropout`.
    name, trainable, dtype
        See `Layer`.

    Notes
    -----
    The layer stands directly behind an Input or behind other augmentation: what comes before it is not mixed.
    Shuffling makes the pairs, so `fit` with ``shuffle=False`` mixes the same samples in every epoch.
    """

    def __init__(self, alpha=0.2, data_format=None, seed=None, **kwargs):
        super().__init__(seed=seed, **kwargs)
        self.alpha = check_float(self._label, "alpha", alpha, low=0, exclusive=("low",))
        if data_format not in (None, "channels_last"):
            raise ArgumentError(f"{self._label}: data_format must be 'channels_last', got {data_format!r}.")
        self.built = True

    def call(self, x):
        self._needs_one(x)
        if x.dtype == "int32":
            x = emit("to_real", x)
        if x.builder.training is False:  # a `mix` in a Program means mixed targets
            return x
        return emit("in_training", emit("mix", x, alpha=self.alpha, key=self._key(x)), x)

    def get_config(self):
        return {**super().get_config(), "alpha": self.alpha}
