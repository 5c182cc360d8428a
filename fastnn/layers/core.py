"""Input, Dense, Activation."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .. import activations, initializers, regularizers
from ..arguments import check_int, check_shape
from ..errors import ArgumentError, DtypeError, GraphError, ShapeError
from ..graph import MAX_RANK, LayerCall, Tensor, emit, product_of
from .base import Layer, registry

if TYPE_CHECKING:
    from .._typing import Any, Named

_INPUT_DTYPES = ("float16", "float32", "float64", "int32", "int64", "string")


@registry.add
class InputLayer(Layer):
    """The layer behind `Input`; its `output` is the symbolic tensor.

    Parameters
    ----------
    shape : tuple of int
        Without the batch.
    batch_size : int, optional
        Taken for Keras's sake; the batch stays open.
    dtype : str, optional
        A floating type stands for the model's dtype; "int32" or "int64" for integers; "string" for text, which a
        StringLookup reads.
    name : str, optional
    batch_shape : tuple, optional
        `(batch, *shape)` in place of `shape`.
    sparse : bool, default False
        Whether the arrays are sparse rows.
    """

    def __init__(
        self,
        shape=None,
        batch_size: int | str | None = None,
        dtype: str | None = None,
        name: str | None = None,
        batch_shape=None,
        sparse=False,
        **kwargs,
    ) -> None:
        if batch_shape is not None:
            if shape is not None:
                raise ArgumentError("Input takes shape or batch_shape, not both.")
            shape = tuple(batch_shape)[1:]
        if shape is None:
            raise ArgumentError("Input needs the shape of one sample, such as Input((64,)).")
        if isinstance(shape, int):
            raise ArgumentError(f"Input: shape must be a tuple, got {shape}; write Input(({shape},)).")
        if batch_size is not None:
            check_int("Input", "batch_size", batch_size, low=1)
        super().__init__(name=name, **kwargs)
        self.shape = check_shape(self._label, "shape", shape, MAX_RANK - 1)
        name_of_dtype = getattr(dtype, "__name__", None) or getattr(dtype, "name", None) or str(dtype)
        if dtype is not None and name_of_dtype not in _INPUT_DTYPES:
            raise DtypeError(
                f"{self._label}: dtype must be one of {', '.join(_INPUT_DTYPES)} or None, "
                f"got {dtype!r}. Arrays of any real type are converted when they are read."
            )
        name_of_dtype = {"int64": "int32"}.get(name_of_dtype, name_of_dtype)
        self._given_dtype = None if dtype is None else name_of_dtype
        self.sparse = bool(sparse)
        if self.sparse and (len(self.shape) != 1 or self._given_dtype in ("int32", "string")):
            raise ArgumentError(
                f"{self._label}: a sparse input has rows of real numbers, such as Input((10_000,), sparse=True), "
                f"got shape {self.shape} and dtype {self._given_dtype or 'float32'}."
            )
        self.built = True
        call = LayerCall(self, (), False, [])
        dtype = self._given_dtype or "float32"
        call.outputs.append(Tensor((None, *self.shape), dtype, self.name, call, sparse=self.sparse))
        self._calls.append(call)

    @property
    def batch_shape(self):
        """tuple: `(None, *shape)`."""
        return (None, *self.shape)

    def __call__(self, *inputs) -> Any:  # type: ignore[override]
        raise GraphError(f"{self._label} is not called on tensors: it is where they begin.")

    def get_config(self) -> dict[str, Any]:
        config = {"shape": list(self.shape), "dtype": self._given_dtype, "name": self.name}
        return config | ({"sparse": True} if self.sparse else {})


def Input(
    shape=None,
    batch_size: int | str | None = None,
    dtype: str | None = None,
    name: str | None = None,
    batch_shape=None,
    sparse=False,
) -> Tensor:
    """Return a symbolic tensor for arrays of shape `(samples, *shape)`.

    Parameters
    ----------
    shape : tuple of int
        Of one sample: (64,) for 64 features.
    batch_size : int, optional
        Taken for Keras's sake; the batch stays open.
    dtype : str, optional
        A floating type stands for the model's dtype; "int32" or "int64" for integers; "string" for text, which a
        StringLookup reads.
    name : str, optional
        By default input_layer, input_layer_1, ...
    batch_shape : tuple, optional
        `(batch, *shape)` in place of `shape`.
    sparse : bool, default False
        For sparse arrays of shape (samples, features), SciPy's CSR: the rows of a batch are read where they lie,
        and multiplied as what they are. Only products read such an input, so a Dense layer comes first; there
        is no gradient by it. Of a dense array the nonzero values are copied.

    Returns
    -------
    Tensor
        Of shape `(None, *shape)`.

    Examples
    --------
    >>> import fastnn as fnn
    >>> x = fnn.Input((10_000,), sparse=True)
    >>> fnn.layers.Dense(64, "relu")(x).shape
    (None, 64)
    """
    return InputLayer(shape, batch_size, dtype, name, batch_shape, sparse).output


@registry.add
class Dense(Layer):
    """activation(x kernel + bias) over the last dimension.

    Parameters
    ----------
    units : int
        Size of the last dimension of the output.
    activation : str or callable, optional
    use_bias : bool, default True
    kernel_initializer, bias_initializer : str or Initializer, default "glorot_uniform" and "zeros"
    kernel_regularizer, bias_regularizer : str or Regularizer, optional
    name, trainable, dtype
        See `Layer`.

    Attributes
    ----------
    kernel : Parameter
        Shape (features, units).
    bias : Parameter or None
        Shape (units,).
    """

    def __init__(
        self,
        units: int,
        activation: Named = None,
        use_bias: bool = True,
        kernel_initializer: Named = "glorot_uniform",
        bias_initializer: Named = "zeros",
        kernel_regularizer: Named = None,
        bias_regularizer: Named = None,
        **kwargs,
    ) -> None:
        super().__init__(**kwargs)
        self.units = check_int(self._label, "units", units, low=1)
        self.activation = activations.get(activation)
        self.use_bias = bool(use_bias)
        self.kernel_initializer = initializers.get(kernel_initializer)
        self.bias_initializer = initializers.get(bias_initializer)
        self.kernel_regularizer = regularizers.get(kernel_regularizer)
        self.bias_regularizer = regularizers.get(bias_regularizer)
        self.kernel = self.bias = None

    def build(self, shape) -> None:
        self._needs_one(shape)
        self._needs_rank(2, shape)
        self.kernel = self.add_weight(
            (shape[-1], self.units), self.kernel_initializer, self.kernel_regularizer, name="kernel"
        )
        if self.use_bias:
            self.bias = self.add_weight(
                (self.units,), self.bias_initializer, self.bias_regularizer, name="bias"
            )

    def call(self, x):
        self._needs_one(x)
        self._needs_rank(2, x.shape)
        if x.shape[-1] != self.kernel.shape[0]:
            raise ShapeError(
                f"{self._label} expects inputs of {self.kernel.shape[0]} features, got {x.shape}."
            )
        y = emit(product_of(x), x, self.kernel)
        if self.bias is not None:
            y = emit("bias_add", y, self.bias)
        return self.activation(y)

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "units": self.units,
            "activation": activations.serialize(self.activation),
            "use_bias": self.use_bias,
            "kernel_initializer": initializers.serialize(self.kernel_initializer),
            "bias_initializer": initializers.serialize(self.bias_initializer),
            "kernel_regularizer": regularizers.serialize(self.kernel_regularizer),
            "bias_regularizer": regularizers.serialize(self.bias_regularizer),
        }


@registry.add
class Activation(Layer):
    """An activation as a layer of its own.

    Parameters
    ----------
    activation : str or callable
    name, trainable, dtype
        See `Layer`.
    """

    def __init__(self, activation: Named, **kwargs) -> None:
        super().__init__(**kwargs)
        self.activation = activations.get(activation)
        self.built = True

    def call(self, x):
        self._needs_one(x)
        return self.activation(x)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "activation": activations.serialize(self.activation)}


@registry.add
class Embedding(Layer):
    """Vectors for integers: output[..., :] = embeddings[input[...], :].

    Parameters
    ----------
    input_dim : int
        Number of vectors; inputs lie in [0, input_dim).
    output_dim : int
        Length of a vector.
    embeddings_initializer : str or Initializer, default "uniform"
    embeddings_regularizer : str or Regularizer, optional
    embeddings_constraint : None
        Not supported.
    mask_zero : bool
        Only False is supported.
    weights : array_like, shape (input_dim, output_dim), optional
        Initial values in place of the initializer's.
    lora_rank, lora_alpha : None
        Not supported.
    name, trainable, dtype
        See `Layer`.

    Attributes
    ----------
    embeddings : Parameter
        Shape (input_dim, output_dim).

    Notes
    -----
    The input is of integers, of any shape: ``Input((10,), dtype="int32")``. A Sequential that begins with an
    Embedding makes such an Input by itself.
    """

    input_dtype = "int32"

    def __init__(
        self,
        input_dim: int,
        output_dim: int,
        embeddings_initializer: Named = "uniform",
        embeddings_regularizer: Named = None,
        embeddings_constraint: Named = None,
        mask_zero=False,
        weights=None,
        lora_rank=None,
        lora_alpha=None,
        **kwargs,
    ) -> None:
        kwargs.pop("input_length", None)  # without meaning in Keras 3
        super().__init__(**kwargs)
        self.input_dim = check_int(self._label, "input_dim", input_dim, low=1)
        self.output_dim = check_int(self._label, "output_dim", output_dim, low=1)
        self.embeddings_initializer = initializers.get(embeddings_initializer)
        self.embeddings_regularizer = regularizers.get(embeddings_regularizer)
        self._refuse(
            embeddings_constraint=embeddings_constraint,
            mask_zero=mask_zero,
            lora_rank=lora_rank,
            lora_alpha=lora_alpha,
        )
        self.embeddings: Any = None
        self._given = weights

    def build(self, shape) -> None:
        self._needs_one(shape)
        self.embeddings = self.add_weight(
            (self.input_dim, self.output_dim),
            self.embeddings_initializer,
            self.embeddings_regularizer,
            name="embeddings",
        )
        if self._given is not None:
            given = self._given
            self.embeddings.assign(given[0] if isinstance(given, list) and len(given) == 1 else given)

    def call(self, x):
        self._needs_one(x)
        self._needs_integers(x)
        return emit("embedding", self.embeddings, x)

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "input_dim": self.input_dim,
            "output_dim": self.output_dim,
            "embeddings_initializer": initializers.serialize(self.embeddings_initializer),
            "embeddings_regularizer": regularizers.serialize(self.embeddings_regularizer),
        }
