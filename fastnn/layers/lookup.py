"""Lookups: text and integers of a vocabulary as positions, found where arrays enter a model.

The engine reads numbers alone. So a lookup reads an Input directly, and the model that this Input belongs to
puts positions in the place of what the caller gives; `call` makes of them what `output_mode` says.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from ..arguments import check_int
from ..errors import ArgumentError, ArgumentTypeError, DataError, DtypeError, GraphError, NotFittedError, ShapeError
from ..graph import Tensor, Value
from .base import Layer, registry
from .preprocessing import encoded

if TYPE_CHECKING:
    from .._typing import Any

_MODES = ("int", "one_hot", "multi_hot", "count")
_MAX_OOV = 1 << 20


class Lookup(Layer):
    """What StringLookup and IntegerLookup share.

    These say with `_text` what their tokens are, check a token by `_token(what, token)` and a column by
    `_readable(column, name)`, and choose among several positions for unknown values by `_bucket(value)`.
    """

    _text: bool
    _token: Any
    _readable: Any
    _bucket: Any
    _tokens: Any
    _vocabulary: Any

    def __init__(self, max_tokens, num_oov_indices, mask_token, oov_token, vocabulary, idf_weights, invert,
                 output_mode, sparse, pad_to_max_tokens, **kwargs):  # fmt: skip
        super().__init__(**kwargs)
        label = self._label
        self._refuse(idf_weights=idf_weights, sparse=sparse)
        self.max_tokens = None if max_tokens is None else check_int(label, "max_tokens", max_tokens, 2)
        self.num_oov_indices = check_int(label, "num_oov_indices", num_oov_indices, 0)
        if self.num_oov_indices > _MAX_OOV:
            raise ArgumentError(f"{label}: num_oov_indices must be at most {_MAX_OOV}, got {num_oov_indices}.")
        self.mask_token = None if mask_token is None else self._token("mask_token", mask_token)
        self.oov_token = None if oov_token is None else self._token("oov_token", oov_token)
        if output_mode not in _MODES:
            raise ArgumentError(
                f"{label}: output_mode must be one of {', '.join(map(repr, _MODES))}, got {output_mode!r:.80}."
            )
        self.output_mode = output_mode
        self.invert = bool(invert)
        if self.invert and output_mode != "int":
            raise ArgumentError(f"{label}: invert goes with output_mode='int', got {output_mode!r}.")
        self.pad_to_max_tokens = bool(pad_to_max_tokens)
        if self.pad_to_max_tokens and self.max_tokens is None:
            raise ArgumentError(f"{label}: pad_to_max_tokens needs max_tokens; give it too.")
        self._tokens = self._vocabulary = None
        self._given = vocabulary is not None
        if self._given:
            self._use(self._checked(vocabulary))
        self.built = True

    # -- the vocabulary --

    @property
    def _first_oov(self):
        return int(self.mask_token is not None and self.output_mode == "int")

    @property
    def _first_token(self):
        return self._first_oov + self.num_oov_indices

    @property
    def _specials(self):
        return [self.mask_token] * self._first_oov + [self.oov_token] * self.num_oov_indices

    @property
    def _mask(self):
        """The position of the mask's token: beyond all others where it sets nothing in a row."""
        return 0 if self.output_mode == "int" else self._depth()

    def _checked(self, vocabulary):
        """The tokens of a vocabulary as the caller gives it, those for masked and unknown values left out."""
        if not isinstance(vocabulary, (list, tuple)) and not hasattr(vocabulary, "__array__"):
            raise ArgumentTypeError(
                f"{self._label}: vocabulary must be a list of tokens, got {vocabulary!r:.80}; read a file of one "
                "token a line by open(path).read().splitlines()."
            )
        tokens = np.asarray(vocabulary).tolist() if hasattr(vocabulary, "__array__") else list(vocabulary)
        tokens = [self._token("vocabulary", token) for token in tokens]
        if self._specials and tokens[: self._first_token] == self._specials:
            tokens = tokens[self._first_token :]
        if not tokens:
            raise ArgumentError(f"{self._label}: vocabulary must hold a token, got none.")
        return tokens

    def _use(self, tokens):
        """Look up these tokens from now on."""
        from ..preprocessing.vocabulary import Vocabulary  # with the first vocabulary, not with fastnn

        label, size = self._label, self._first_token + len(tokens)
        for name, token in (("mask_token", self.mask_token), ("oov_token", self.oov_token if self.invert else None)):
            if token is not None and token in tokens:
                raise ArgumentError(
                    f"{label}: the {name} {token!r:.80} stands in the vocabulary at {tokens.index(token)}; leave it out, "
                    f"or begin the vocabulary with {self._specials!r:.200}."
                )
        if self.max_tokens is not None and size > self.max_tokens:
            raise ArgumentError(
                f"{label}: max_tokens={self.max_tokens} must hold the vocabulary of {size}, "
                f"{self._first_token} for masked and unknown values among them."
            )
        if self._tokens is not None and self._calls and self.output_mode != "int" and self._depth(size) != self._depth():
            raise ArgumentError(
                f"{label} makes rows of {self._depth()} numbers in the models that it is part of, got a vocabulary "
                f"for {self._depth(size)}; adapt it before it is called."
            )
        try:
            # The mask's token stands behind all others.
            vocabulary = Vocabulary([*tokens, *([] if self.mask_token is None else [self.mask_token])])
        except ArgumentError as error:
            raise ArgumentError(f"{label}: {error}.") from None
        self._tokens, self._vocabulary = tokens, vocabulary

    def _needs_vocabulary(self, what):
        if self._tokens is None:
            raise NotFittedError(
                f"{self._label} needs a vocabulary {what}; call adapt(data) first, or give vocabulary=[...]."
            )

    def adapt(self, data, steps: int | None = None) -> None:
        """Take the vocabulary of data: tokens by frequency, those of one frequency in descending order.

        Parameters
        ----------
        data : array_like of any shape, column of a data frame, or iterable of such batches
        steps : int, optional
            At most so many batches of an iterable.

        Raises
        ------
        ArgumentError
            If the constructor was given a vocabulary, there are no tokens, or the layer is part of a model which
            needs another number of them.
        DtypeError
            If the data are not text, or not integers.

        Notes
        -----
        Missing values, the mask's token and that for unknown values are not counted. What an earlier `adapt` found
        is forgotten.
        """
        from ..preprocessing.vocabulary import Counts

        if self._given:
            raise ArgumentError(f"{self._label} was given a vocabulary, so it does not adapt.")
        counts, name = Counts(self._text), f"the data of {self._label}"
        if steps is not None:
            steps = check_int(self._label, "steps", steps, 1)
        for i, batch in enumerate(_batches(data)):
            if i == steps:
                break
            for column in _columns(raw_array(batch, name)):
                counts.add(self._readable(column, name))
        for token in (self.mask_token, self.oov_token):
            counts.counts.pop(token, None)
        limit = None if self.max_tokens is None else self.max_tokens - self._first_token
        tokens = counts.most_frequent(limit, ties_down=True)
        if not tokens:
            raise ArgumentError(f"{self._label}: adapt needs at least one token, got none.")
        self._use([self._token("data", token) for token in tokens])

    def get_vocabulary(self, include_special_tokens: bool = True) -> list[Any]:
        """list: the tokens in the order of their positions, led by those for masked and unknown values."""
        return (self._specials if include_special_tokens else []) + list(self._tokens or ())

    def set_vocabulary(self, vocabulary) -> None:
        """Use this vocabulary in place of another, as the constructor does."""
        self._use(self._checked(vocabulary))
        self._given = True

    def _take_adapted(self, tokens):
        """Use the vocabulary that `adapt` found elsewhere: tokens, or their text, those of `get_vocabulary`."""
        self._use(self._checked(tokens if self._text else [int(t) for t in tokens]))

    def vocabulary_size(self) -> int:
        """int: number of tokens, those for masked and unknown values included."""
        return self._first_token + len(self._tokens or ())

    def _depth(self, size=None):
        return self.max_tokens if self.pad_to_max_tokens else self.vocabulary_size() if size is None else size

    # -- values --

    def _positions(self, data, name):
        """int32 positions of values, in an array of their shape; the mask's is `_depth()` where it is dropped.

        Parameters
        ----------
        data : array_like, shape (n, ...)
        name : str
            What errors call it.

        Raises
        ------
        DtypeError
            For values of another kind.
        DataError
            For an unknown value where there is no position for such.
        """
        self._needs_vocabulary("to look values up")
        array = raw_array(data, name)
        made = np.empty(array.shape, np.int32)
        for column, out in zip(_columns(array), _columns(made)):
            out[:] = self._find(self._readable(column, name), name)
        return made

    def _find(self, column, name):
        from ..preprocessing.vocabulary import MISSING

        found, count = self._vocabulary.find(column, name), len(self._tokens)
        made = found + self._first_token
        if self.mask_token is not None:
            made[(found == count) | (found == MISSING)] = self._mask
            unknown = (found < 0) & (found != MISSING)
        else:
            unknown = found < 0
        if not unknown.any():
            return made
        rows = np.flatnonzero(unknown)
        if self.num_oov_indices == 0:
            row, value = int(rows[0]), column[rows[0]]
            raise DataError(
                f"{name} holds {value!r:.80} in row {row}, which is none of the {count} tokens of {self._label}; "
                "num_oov_indices=1 gives unknown values a position",
                tensor=name, row=row,
            )  # fmt: skip
        made[rows] = self._first_oov
        if self.num_oov_indices > 1:
            known = rows[found[rows] != MISSING]
            made[known] += np.fromiter(map(self._bucket, column[known].tolist()), np.int64, len(known))
        return made

    def _table(self):
        """(values, their positions); all others have the first position for unknown ones, where there is one alone."""
        self._needs_vocabulary("to look values up")
        values, positions = list(self._tokens), list(range(self._first_token, self.vocabulary_size()))
        if self.mask_token is not None:
            values, positions = [*values, self.mask_token], [*positions, self._mask]
        return values, positions

    def _inverted(self, data):
        """The tokens of positions."""
        self._needs_vocabulary("to find tokens")
        array = np.asarray(data)
        if array.dtype.kind not in "iu":
            raise DtypeError(f"{self._label} inverts integers, got an array of {array.dtype}.")
        size = self.vocabulary_size()
        table = np.empty(size + 1, object if self._text else np.int64)
        if self.oov_token is None and (self.num_oov_indices or ((array < 0) | (array >= size)).any()):
            raise ArgumentError(f"{self._label} needs an oov_token for positions without a token.")
        table[:] = [*self.get_vocabulary(), self.oov_token or 0]
        return table[np.where((array < 0) | (array >= size), size, array)]

    # -- calls --

    def _lookups_for(self, count):
        """The lookup that reads each of the tensors that the layer is called on."""
        return [self]

    def __call__(self, *inputs, training=None, **named) -> Any:
        """On the Input of a model: a symbolic tensor. On an array: an array of what `output_mode` says.

        Parameters
        ----------
        *inputs : Tensor or array_like
        """
        if len(inputs) == 1 and not named and not isinstance(inputs[0], (Tensor, Value)) and not _symbolic(inputs[0]):
            return self._of_array(inputs[0])
        if self.invert:
            raise GraphError(
                f"{self._label} makes text of positions, which no model can go on with; call it on arrays, such "
                "as predictions."
                if self._text
                else f"{self._label} with invert=True is called on arrays, such as predictions."
            )
        return super().__call__(*inputs, training=training, **named)

    def _of_array(self, x):
        if self.invert:
            return self._inverted(x)
        made = self._positions(x, f"the input of {self._label}").astype(np.int64)
        if self.output_mode == "int":
            return made
        depth = self._depth()
        hot = (made[..., None] == np.arange(depth)).astype(np.float32)
        if self.output_mode == "one_hot":
            return hot[..., 0, :] if made.ndim > 1 and made.shape[-1] == 1 else hot
        return hot.max(-2) if self.output_mode == "multi_hot" else hot.sum(-2)

    def call(self, x):
        self._needs_one(x)
        if self.output_mode == "int":
            return x
        if not self.pad_to_max_tokens:
            self._needs_vocabulary(f"before it is called, as output_mode={self.output_mode!r} makes rows of its size")
        return encoded(self, x, self._depth(), self.output_mode, dropped=self.mask_token is not None)

    # -- plain data --

    def get_config(self):
        tokens, specials = self._tokens, self._specials
        if tokens is not None and specials and tokens[: len(specials)] == specials:
            tokens = specials + tokens  # as `_checked` takes them for such
        return {
            **super().get_config(),
            "max_tokens": self.max_tokens,
            "num_oov_indices": self.num_oov_indices,
            "mask_token": self.mask_token,
            "oov_token": self.oov_token,
            "vocabulary": tokens,
            "adapted": self._tokens is not None and not self._given,
            "invert": self.invert,
            "output_mode": self.output_mode,
            "pad_to_max_tokens": self.pad_to_max_tokens,
        }

    @classmethod
    def from_config(cls, config):
        """Make a layer from what `get_config` returned."""
        config = dict(config)
        adapted = config.pop("adapted", False)
        layer = cls(**config)
        layer._given = layer._given and adapted is not True
        return layer


@registry.add
class StringLookup(Lookup):
    """Text as positions in a vocabulary, or as rows of 0 and 1.

    Parameters
    ----------
    max_tokens : int, optional
        Size that the vocabulary has at most, tokens for masked and unknown values included.
    num_oov_indices : int, default 1
        Positions for values that are not in the vocabulary. With several, FarmHash chooses one by the value; with
        none, such a value is an error.
    mask_token : str, optional
        A value that counts as missing: position 0 for ``output_mode="int"``, a row of zeros else. So do None and
        NaN then, which are unknown values otherwise.
    oov_token : str, default "[UNK]"
        What stands for unknown values in `get_vocabulary`, and is what `invert` gives.
    vocabulary : list of str, optional
        By default that which `adapt` finds.
    idf_weights, sparse
        Not supported.
    invert : bool, default False
        From positions to text: for arrays alone, such as predictions.
    output_mode : {"int", "one_hot", "multi_hot", "count"}
        "int": positions, of the input's shape, as an Embedding reads them. The others are those of
        `CategoryEncoding`.
    pad_to_max_tokens : bool, default False
        Whether rows have `max_tokens` numbers even where the vocabulary is smaller.
    encoding : str
        Only "utf-8" is supported.
    name, trainable, dtype
        See `Layer`.

    Notes
    -----
    The layer reads an Input directly: ``Input((1,), dtype="string")``. Text is looked up where an array enters the
    model: in `fit`, `predict`, `freeze()` and so on. Arrays may be of objects, of NumPy's types of text, lists, or
    columns of data frames. The vocabulary is part of the model's file; `libfastnn`, which has no text, takes positions.

    Examples
    --------
    >>> import fastnn as fnn
    >>> lookup = fnn.layers.StringLookup()
    >>> lookup.adapt(["Oslo", "Bern", "Oslo"])
    >>> lookup.get_vocabulary()
    ['[UNK]', 'Oslo', 'Bern']
    >>> lookup(["Bern", "Rome"])
    array([2, 0])
    """

    input_dtype = "string"
    _text = True

    def __init__(self, max_tokens: int | None = None, num_oov_indices: int = 1, mask_token: str | None = None,
                 oov_token: str | None = "[UNK]", vocabulary=None, idf_weights=None, invert: bool = False,
                 output_mode: str = "int", pad_to_max_tokens: bool = False, sparse=False, encoding: str = "utf-8",
                 **kwargs) -> None:  # fmt: skip
        super().__init__(max_tokens, num_oov_indices, mask_token, oov_token, vocabulary, idf_weights, invert,
                         output_mode, sparse, pad_to_max_tokens, **kwargs)  # fmt: skip
        if encoding != "utf-8":
            raise ArgumentError(f"{self._label}: encoding must be 'utf-8', got {encoding!r:.80}.")

    def _token(self, what, token):
        if not isinstance(token, str):
            raise ArgumentTypeError(f"{self._label}: {what} must be text, got {token!r:.80}.")
        return str(token)

    def _readable(self, column, name):
        from ..preprocessing.tables import kind_of

        kind = kind_of(column, name)
        if kind not in ("text", None):
            raise DtypeError(
                f"{name} needs text for {self._label}, got {column.dtype if column.dtype != object else kind}; convert it "
                "with .astype(str), or use IntegerLookup"
            )
        return column

    def _bucket(self, value):
        return fingerprint(value.encode("utf-8", "surrogatepass")) % self.num_oov_indices


@registry.add
class IntegerLookup(Lookup):
    """Integers as positions in a vocabulary, or as rows of 0 and 1.

    Parameters
    ----------
    max_tokens : int, optional
        Size that the vocabulary has at most, tokens for masked and unknown values included.
    num_oov_indices : int, default 1
        Positions for values that are not in the vocabulary. With several, a value's remainder chooses one; with
        none, such a value is an error.
    mask_token : int, optional
        A value that counts as missing: position 0 for ``output_mode="int"``, a row of zeros else. So do None and
        NaN then, which are unknown values otherwise.
    oov_token : int, default -1
        What stands for unknown values in `get_vocabulary`, and is what `invert` gives.
    vocabulary : list of int, optional
        By default that which `adapt` finds.
    vocabulary_dtype : str
        Only "int64" is supported.
    idf_weights, sparse
        Not supported.
    invert : bool, default False
        From positions to integers: for arrays alone, such as predictions.
    output_mode : {"int", "one_hot", "multi_hot", "count"}
        See `StringLookup`.
    pad_to_max_tokens : bool, default False
        Whether rows have `max_tokens` numbers even where the vocabulary is smaller.
    oov_method : str
        Only "floormod" is supported.
    name, trainable, dtype
        See `Layer`.

    Notes
    -----
    The layer reads an Input directly, which no other layer reads: ``Input((1,), dtype="int64")``. See
    `StringLookup`.

    Examples
    --------
    >>> import fastnn as fnn
    >>> lookup = fnn.layers.IntegerLookup(vocabulary=[8001, 3000], output_mode="one_hot")
    >>> lookup([[3000], [1]]).tolist()
    [[0.0, 0.0, 1.0], [1.0, 0.0, 0.0]]
    """

    input_dtype = "int32"
    _text = False

    def __init__(self, max_tokens: int | None = None, num_oov_indices: int = 1, mask_token: int | None = None,
                 oov_token: int | None = -1, vocabulary=None, vocabulary_dtype: str = "int64", idf_weights=None,
                 invert: bool = False, output_mode: str = "int", sparse=False, pad_to_max_tokens: bool = False,
                 oov_method: str = "floormod", **kwargs) -> None:  # fmt: skip
        super().__init__(max_tokens, num_oov_indices, mask_token, oov_token, vocabulary, idf_weights, invert,
                         output_mode, sparse, pad_to_max_tokens, **kwargs)  # fmt: skip
        for what, value, only in (("vocabulary_dtype", vocabulary_dtype, "int64"), ("oov_method", oov_method, "floormod")):
            if value != only:
                raise ArgumentError(f"{self._label}: {what} must be {only!r}, got {value!r:.80}.")

    def _token(self, what, token):
        token = check_int(self._label, what, token)
        if not -(1 << 63) <= token < 1 << 63:
            raise ArgumentError(f"{self._label}: {what} must be of 64 bits, got {token}.")
        return token

    def _readable(self, column, name):
        from ..preprocessing.tables import kind_of, numbers

        if column.dtype.kind in "iub":
            return column
        kind = kind_of(column, name)
        if kind not in ("number", "bool", None):
            raise DtypeError(f"{name} needs integers for {self._label}, got {kind}; StringLookup reads text")
        if column.dtype == object and all(isinstance(v, (int, np.integer)) for v in column.tolist()):
            try:
                return column.astype(np.int64)
            except OverflowError:
                pass
        x = numbers(column, name)
        broken = np.flatnonzero((x != np.rint(x)) & ~np.isnan(x))
        if len(broken):
            raise DtypeError(
                f"{name} needs integers for {self._label}, got {x[broken[0]]:g} in row {broken[0]}; round it"
            )
        return x

    def _bucket(self, value):
        return int(value) % self.num_oov_indices


def _symbolic(x):
    return isinstance(x, (list, tuple)) and any(isinstance(v, (Tensor, Value)) for v in x)


def _batches(data):
    """The batches of `adapt`'s data: one where that is an array."""
    from ..preprocessing.tables import is_frame, is_series

    whole = isinstance(data, (np.ndarray, list, tuple, dict, str, bytes)) or is_series(data) or is_frame(data)
    if whole or hasattr(data, "__array__") or hasattr(data, "__dlpack__") or not hasattr(data, "__iter__"):
        return [data]
    return data


def raw_array(data, name):
    """Values of any kind as an array of numbers, dates or objects."""
    from ..preprocessing.tables import _plain, filled, is_frame, is_series, read_series

    if isinstance(data, dict) or is_frame(data):
        raise ArgumentTypeError(f"{name} needs one column, got {type(data).__name__}; choose one, such as data['city']")
    if is_series(data):
        return read_series(data, name)
    if isinstance(data, (list, tuple)):
        array = np.array(data, dtype=object)
    elif hasattr(data, "__dlpack__") and not hasattr(data, "__array__"):
        array = np.from_dlpack(data)
    else:
        array = np.asarray(filled(data))
    if array.ndim == 0:
        raise ShapeError(f"{name} needs an array of values, got the single value {data!r:.80}; put it in a list")
    return _plain(array, name)


def _columns(array):
    """Views of an array (n, ...) as columns (n,)."""
    return array.reshape(len(array), -1).T if array.size else ()


def lookups_of(inputs, calls):
    """The lookup that reads each input of a model, None for inputs of numbers.

    Raises
    ------
    GraphError
        If an input is read by a lookup and by something else.
    """
    readers = {id(t): [] for t in inputs}
    for call in calls:
        for t, lookup in zip(call.inputs, call.layer._lookups_for(len(call.inputs))):
            if id(t) in readers and lookup not in readers[id(t)]:
                readers[id(t)].append(lookup)
    for t in inputs:
        if len(readers[id(t)]) > 1:
            names = [call.layer.name for call in calls if any(i is t for i in call.inputs)]
            raise GraphError(
                f"The input {t.name!r} is read by the layers {', '.join(map(repr, names))}, but an input has one "
                "lookup or none; give each an Input of its own, and the values twice."
            )
    return [next(iter(readers[id(t)]), None) for t in inputs]


# ---- FarmHash ----

_K0, _K1, _K2 = 0xC3A5C85C97CB3127, 0xB492B66FBE98F273, 0x9AE16A3B2F90404F
_64 = (1 << 64) - 1


def fingerprint(text):
    """FarmHash's Fingerprint64 of bytes, by which TensorFlow and Keras spread unknown text.

    G. Pike, 2014: https://github.com/google/farmhash. A hash of short text, up to 64 bytes, takes some
    microseconds.
    """
    n = len(text)
    if n <= 16:
        return _up_to_16(text, n)
    if n <= 64:
        return _up_to_64(text, n)
    return _long(text, n)


def _word(text, at, size=8):
    return int.from_bytes(text[at : at + size], "little")


def _turned(x, by):
    x &= _64
    return (x >> by | x << 64 - by) & _64


def _shifted(x):
    x &= _64
    return x ^ x >> 47


def _mixed(u, v, factor):
    a = _shifted(((u ^ v) & _64) * factor)
    return _shifted(((v ^ a) & _64) * factor) * factor & _64


def _up_to_16(s, n):
    factor = _K2 + 2 * n & _64
    if n >= 8:
        a, b = _word(s, 0) + _K2, _word(s, n - 8)
        return _mixed(_turned(b, 37) * factor + a, (_turned(a, 25) + b) * factor, factor)
    if n >= 4:
        return _mixed(n + (_word(s, 0, 4) << 3), _word(s, n - 4, 4), factor)
    if n:
        y, z = s[0] + (s[n >> 1] << 8), n + (s[n - 1] << 2)
        return _shifted(y * _K2 ^ z * _K0) * _K2 & _64
    return _K2


def _up_to_64(s, n):
    factor = _K2 + 2 * n & _64
    long = n > 32
    a, b = _word(s, 0) * (_K2 if long else _K1), _word(s, 8)
    c, d = _word(s, n - 8) * factor, _word(s, n - 16) * _K2
    y = _turned(a + b, 43) + _turned(c, 30) + d
    z = _mixed(y, a + _turned(b + _K2, 18) + c, factor)
    if not long:
        return z
    e, f = _word(s, 16) * factor, _word(s, 24)
    g, h = (y + _word(s, n - 32)) * factor, (z + _word(s, n - 24)) * factor
    return _mixed(_turned(e + f, 43) + _turned(g, 30) + h, e + _turned(f + a, 18) + g, factor)


def _pair(s, at, a, b):
    w, x, y, z = (_word(s, at + i) for i in (0, 8, 16, 24))
    a += w
    b, c = _turned(b + a + z, 21), a
    a += x + y
    return a + z & _64, b + _turned(a, 44) + c & _64


def _round(s, at, x, y, z, v, w, factor, weight):
    x = _turned(x + y + v[0] + _word(s, at + 8), 37) * factor ^ w[1] * weight
    y = _turned(y + v[1] + _word(s, at + 48), 42) * factor + v[0] * weight + _word(s, at + 40)
    z = _turned(z + w[0], 33) * factor
    v = _pair(s, at, v[1] * factor, x + w[0])
    w = _pair(s, at + 32, z + w[1], y + _word(s, at + 16))
    return z & _64, y & _64, x & _64, v, w


def _long(s, n):
    seed = 81
    x, y = seed * _K2 + _word(s, 0) & _64, seed * _K1 + 113 & _64
    z, v, w = _shifted(y * _K2 + 113) * _K2 & _64, (0, 0), (0, 0)
    end = (n - 1) // 64 * 64
    for at in range(0, end, 64):
        x, y, z, v, w = _round(s, at, x, y, z, v, w, _K1, 1)
    factor = _K1 + ((z & 0xFF) << 1) & _64
    first = w[0] + (n - 1 & 63)
    v = v[0] + first & _64, v[1]
    w = first + v[0] & _64, w[1]
    x, y, z, v, w = _round(s, n - 64, x, y, z, v, w, factor, 9)
    last = _mixed(v[0], w[0], factor) + _shifted(y) * _K0 + z
    return _mixed(last & _64, _mixed(v[1], w[1], factor) + x & _64, factor)
