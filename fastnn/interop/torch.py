"""Chains of PyTorch modules in, any network out.

The tables say which layer stands for which module. PyTorch is imported only on the way out.
"""

import operator

import numpy as np

from ..errors import ArgumentError, ArgumentTypeError, MissingExtraError, UnsupportedError
from ..graph import calls_between
from ..layers import (
    Activation,
    AlphaDropout,
    BatchNormalization,
    Dense,
    Dropout,
    Embedding,
    Flatten,
    Input,
    LayerNormalization,
    PReLU,
    Reshape,
)
from ..layers.base import registry
from ..model import Model, Sequential
from . import weights

# ---- in ----


class _Unknown(Exception):
    """A module or an argument that fastnn does not have; holds what it has not."""


def _only(**arguments):
    """Raises for an argument, given as (value, the one that is possible), that is another one."""
    for name, (value, needed) in arguments.items():
        if value != needed:
            raise _Unknown(f"{name}={value!r}, possible is {needed!r}")


def _linear(m, shape, **common):
    return Dense(m.out_features, use_bias=m.bias is not None, **common)


def _batch_norm(m, shape, **common):
    _only(track_running_stats=(m.track_running_stats, True), dimensions=(len(shape), 2))
    if m.momentum is None:
        raise _Unknown("momentum=None, a cumulative mean")
    return BatchNormalization(
        momentum=1 - m.momentum, epsilon=m.eps, center=m.affine, scale=m.affine, **common
    )


def _layer_norm(m, shape, **common):
    _only(dimensions=(len(m.normalized_shape), 1))
    return LayerNormalization(
        epsilon=m.eps, scale=m.weight is not None, center=m.bias is not None, **common
    )


def _embedding(m, shape, **common):
    _only(padding_idx=(m.padding_idx, None), max_norm=(m.max_norm, None), scale_grad_by_freq=(m.scale_grad_by_freq, False))
    return Embedding(m.num_embeddings, m.embedding_dim, **common)


def _flatten(m, shape, **common):
    _only(start_dim=(m.start_dim, 1), end_dim=(m.end_dim % len(shape), len(shape) - 1))
    return Flatten(**common)


def _unflatten(m, shape, **common):
    if not isinstance(m.dim, int) or not 0 < m.dim % len(shape):
        raise _Unknown(f"dim={m.dim!r}")
    at = m.dim % len(shape)
    return Reshape((*shape[1:at], *m.unflattened_size, *shape[at + 1 :]), **common)


def _prelu(m, shape, **common):
    first = 1 if m.num_parameters == 1 else 2  # one alpha for all, or one a channel
    return PReLU(shared_axes=list(range(first, len(shape))) or None, **common)


def _softplus(m, shape, **common):
    _only(beta=(m.beta, 1))
    return Activation("softplus", **common)


def _over_last(name):
    def make(m, shape, **common):
        dim = m.dim if m.dim is not None else (0 if len(shape) in (1, 3) else 1)
        _only(dim=(dim % len(shape), len(shape) - 1))
        return Activation(name, **common)

    return make


def _plain(name, **arguments):
    """An activation, its arguments from the module's attributes."""

    def make(m, shape, **common):
        given = {own: getattr(m, theirs) for own, theirs in arguments.items()}
        return Activation({"name": name, **given} if given else name, **common)

    return make


def _rate(cls):
    def make(m, shape, **common):
        if m.p == 1:
            raise _Unknown("p=1, which leaves nothing")
        return cls(m.p, **common)

    return make


# Modules of torch.nn by class name: a function of (module, shape, name=...) that makes the layer. `torch.nn.GELU`'s
# `approximate` is a word there.
MODULES = {
    "AlphaDropout": _rate(AlphaDropout),
    "BatchNorm1d": _batch_norm,
    "Dropout": _rate(Dropout),
    "ELU": _plain("elu", alpha="alpha"),
    "Embedding": _embedding,
    "Flatten": _flatten,
    "GELU": lambda m, shape, **common: Activation(
        {"name": "gelu", "approximate": m.approximate == "tanh"}, **common
    ),
    "Hardsigmoid": _plain("hard_sigmoid"),
    "Identity": _plain("linear"),
    "LayerNorm": _layer_norm,
    "LeakyReLU": _plain("leaky_relu", negative_slope="negative_slope"),
    "Linear": _linear,
    "LogSoftmax": _over_last("log_softmax"),
    "Mish": _plain("mish"),
    "PReLU": _prelu,
    "ReLU": _plain("relu"),
    "SELU": _plain("selu"),
    "SiLU": _plain("silu"),
    "Sigmoid": _plain("sigmoid"),
    "Softmax": _over_last("softmax"),
    "Softplus": _softplus,
    "Softsign": _plain("softsign"),
    "Tanh": _plain("tanh"),
    "Unflatten": _unflatten,
}

_FEATURES = {"Linear": "in_features", "BatchNorm1d": "num_features"}
_SHAPELESS = {"Flatten", "Embedding", "Unflatten", "LayerNorm", "PReLU"}  # say too little about the shape before them


def _walk(sequential, path=""):
    """Pairs of path and module, nested Sequentials opened."""
    for name, module in sequential.named_children():
        if _is_sequential(module):
            yield from _walk(module, f"{path}{name}.")
        else:
            yield f"{path}{name}", module


def _is_sequential(module):
    return type(module).__name__ == "Sequential" and _of_torch(module)


def _of_torch(module):
    """Whether the class is PyTorch's own, which no forward of the user's replaces."""
    return type(module).__module__.startswith("torch.nn.modules.")


def _hooked(module):
    return any(getattr(module, name, None) for name in ("_forward_hooks", "_forward_pre_hooks"))


def _inferred(modules):
    """The shape of a sample, from the first module that tells."""
    for _, module in modules:
        kind = type(module).__name__
        if kind in _FEATURES:
            return (getattr(module, _FEATURES[kind]),)
        if kind == "LayerNorm" and len(module.normalized_shape) == 1:
            return tuple(module.normalized_shape)
        if kind in _SHAPELESS:
            break
    return None


def from_torch(module, input_shape=None):
    """A Sequential with the weights and names of a chain of PyTorch modules, giving the same predictions.

    Parameters
    ----------
    module : torch.nn.Sequential
        Live, its Sequentials nested or not. Linear, Embedding, BatchNorm1d, LayerNorm, Dropout, AlphaDropout,
        Flatten, Unflatten, Identity, PReLU and the activations that fastnn has.
    input_shape : tuple of int, optional
        Of one sample; by default that which the first Linear, BatchNorm1d or LayerNorm takes.

    Returns
    -------
    Sequential
        Not compiled. Layers are named by their path, such as "encoder.0"; "encoder.0.weight" is
        ``parameters["encoder.0/kernel"]``, transposed. The dtype is float64 where all weights are, else float32.

    Raises
    ------
    UnsupportedError
        If it holds other modules or arguments; the message lists all of them with their paths. `fastnn.from_onnx` may
        read what `torch.onnx.export` writes of such a module.
    ArgumentError
        If the input shape is not known.

    Notes
    -----
    In training, BatchNormalization moves its variance by that of the population, PyTorch by that of the sample:
    n / (n - 1) times larger. Softplus of PyTorch is the identity beyond 20, which is the same number in float32.
    """
    if not _is_sequential(module):
        raise UnsupportedError.of(
            f"from_torch takes a torch.nn.Sequential, got {type(module).__module__}.{type(module).__name__}",
            [f"the module itself ({type(module).__name__})"],
            "Other modules say what they compute only while they run: write one with torch.onnx.export and read it with "
            "fastnn.from_onnx, or build the network with fastnn and pass the module's state_dict to model.load_weights.",
        )
    modules = list(_walk(module))
    shape = _inferred(modules) if input_shape is None else input_shape
    if shape is None:
        raise ArgumentError(
            "from_torch cannot tell the shape of the inputs, as no Linear comes first; pass input_shape=, that of one "
            "sample, such as (28, 28)"
        )
    if isinstance(shape, int):
        raise ArgumentTypeError(f"from_torch: input_shape must be a tuple, got {shape}; write ({shape},)")
    dtypes = {str(p.dtype) for p in module.parameters()}
    made = Sequential(dtype="float64" if dtypes == {"torch.float64"} else "float32")
    integers = modules and type(modules[0][1]).__name__ == "Embedding"
    tensor = Input(tuple(shape), dtype="int32" if integers else None)
    made.add(tensor)
    missing, pairs = [], []
    for path, inner in modules:
        kind = type(inner).__name__
        try:
            if kind not in MODULES or not _of_torch(inner):
                raise _Unknown("no layer of fastnn")
            if _hooked(inner):
                raise _Unknown("hooks, which fastnn would not run")
            if missing:
                MODULES[kind](inner, tensor.shape)  # the shapes are not known any more, the arguments are
                continue
            layer = MODULES[kind](inner, tensor.shape, name=path)
            made.add(layer)
            tensor = made.outputs[0]
            pairs += _pairs(inner, layer)
        except _Unknown as error:
            missing.append(f"{path} ({kind}): {error}")
    if missing:
        raise UnsupportedError.of(
            "the torch.nn.Sequential holds what fastnn does not have",
            missing,
            "Leave it out, write the module with torch.onnx.export and read it with fastnn.from_onnx, or build the network "
            "with fastnn and pass the state_dict to model.load_weights.",
        )
    if not modules:
        raise ArgumentError("from_torch needs at least one module, got an empty Sequential")
    weights.assign(pairs)
    return made


def _pairs(module, layer):
    """Pairs of Parameter and a function that reads it, of one module."""
    for parameter in layer.weights:
        role = parameter.name.rpartition("/")[2]
        tensor = getattr(module, weights.ROLES[role])
        yield (
            parameter,
            lambda t=tensor, p=parameter, r=role: (
                weights.array_of(t).T if r == "kernel" else weights.array_of(t).reshape(p.shape)
            ),
        )


# ---- out ----

_LOOKUP = (
    "PyTorch has no lookups; convert fastnn.Model(lookup.output, model.output), with the other inputs where there are "
    "some, and give it lookup(x)"
)

# Layers of fastnn that PyTorch has not, and why.
NOT_IN_TORCH = {
    "GaussianDropout": "PyTorch has no module for it",
    "GaussianNoise": "PyTorch has no module for it",
    "IntegerLookup": _LOOKUP,
    "MixUp": "PyTorch changes samples outside of the network",
    "RandomErasing": "PyTorch changes samples outside of the network",
    "RandomFlip": "PyTorch changes samples outside of the network",
    "RandomRotation": "PyTorch changes samples outside of the network",
    "RandomTranslation": "PyTorch changes samples outside of the network",
    "RandomZoom": "PyTorch changes samples outside of the network",
    "StoredProgram": "it is a Program without layers",
    "StringLookup": _LOOKUP,
    "TracedLayer": "it was made by a class of the user's own",
}


def to_torch(model):
    """See `Model.to_torch`."""
    try:
        import torch
    except ImportError:
        raise MissingExtraError("to_torch needs PyTorch: pip install torch") from None
    model._needs_built("to_torch")
    writer = _Writer(torch, "float32" if model.dtype == "float32" else "float64")
    outputs = writer.model(model, [writer.placeholder(t, n) for t, n in zip(model._inputs, model._input_names)])
    if writer.missing:
        raise UnsupportedError.of(
            f"PyTorch does not have what {model._label} holds",
            list(dict.fromkeys(writer.missing)),
            "Leave it out; the rest may become a model of its own, fastnn.Model(model.inputs, layer.output).",
        )
    return writer.finish(model, outputs).eval()


class _Writer:
    """Collects modules and the graph of their calls.

    Attributes
    ----------
    missing : list of str
        What PyTorch does not have.
    """

    def __init__(self, torch, dtype):
        self.torch, self.nn = torch, torch.nn
        self.dtype = getattr(torch, dtype)
        self._root = torch.nn.Module()
        self._graph = torch.fx.Graph()
        self._modules = {}  # layer -> names of its modules
        self._chain = []  # (name, module) while every call is of a module on what came before it
        self.missing = []

    def placeholder(self, tensor, name):
        node = self._graph.placeholder("".join(c if c.isalnum() else "_" for c in name))
        return _described(node, tensor)

    def model(self, model, inputs):
        """The nodes of a model's outputs."""
        values = {id(t): node for t, node in zip(model._inputs, inputs)}
        for call in calls_between(model._inputs, model._outputs):
            read = [values[id(t)] for t in call.inputs]
            result = self._call(call.layer, call, read)
            values.update(zip(map(id, call.outputs), result))
        return [values[id(t)] for t in model._outputs]

    def finish(self, model, outputs):
        if self._chain is not None and len(model._inputs) == 1 and model._output_form is None:
            return self._sequential()
        form = model._output_form
        structure = outputs[0] if form is None else tuple(outputs)
        if isinstance(form, list):
            structure = dict(zip(form, outputs))
        self._graph.output(structure)
        self._graph.lint()
        return self.torch.fx.GraphModule(self._root, self._graph, model.name)

    def _sequential(self):
        """The chain, opened at the dots of names into nested Sequentials where that keeps the order."""
        root = self.nn.Sequential()
        for name, module in self._chain:
            *outer, last = name.split(".")
            at = root
            for part in outer:
                if part not in at._modules:
                    at.add_module(part, self.nn.Sequential())
                elif part != next(reversed(at._modules)):
                    return self._flat()
                at = at._modules[part]
            at.add_module(self._free(last, at) if hasattr(at, last) else last, module)
        return root

    def _flat(self):
        root = self.nn.Sequential()
        for name, module in self._chain:
            root.add_module(self._free(name, root), module)
        return root

    # -- what layers emit --

    def _call(self, layer, call, read):
        if isinstance(layer, Model):
            return self.model(layer, read)
        kind = type(layer).__name__
        if call.training is False:
            self.missing.append(f"{layer.name} ({kind}): a call with training=False")
        write = LAYERS.get(kind) if registry.holds(layer) else None
        if write is None:
            self.missing.append(f"{layer.name} ({kind}): {NOT_IN_TORCH.get(kind, NOT_IN_TORCH['TracedLayer'])}")
            return [self.placeholder(t, "missing") for t in call.outputs]
        try:
            made = write(self, layer, read if call.listed else read[0])
        except _Unknown as error:
            self.missing.append(f"{layer.name} ({kind}): {error}")
            made = self.placeholder(call.outputs[0], "missing")
        return [_described(made, call.outputs[0])]

    def module(self, layer, role, make, x):
        """Calls the module of a layer that `make` gives; `role` sets it apart from its others."""
        key = (layer, role)
        fresh = key not in self._modules
        if fresh:
            name = layer.name if not role else f"{layer.name}_{role}"
            self._modules[key] = (self._free(name, self._root), name), make()
        (target, name), module = self._modules[key]
        if fresh:
            self._root.add_module(target, module)
        if self._chain is not None:
            chained = fresh and x is next(reversed(self._graph.nodes))
            self._chain = [*self._chain, (name, module)] if chained else None
        return self._graph.call_module(target, (x,))

    @staticmethod
    def _free(name, root):
        """A name that Python and PyTorch take, and that nothing else in a module has."""
        name = "".join(c if c.isalnum() else "_" for c in name)
        name = name if name[:1].isalpha() or name[:1] == "_" else f"_{name}"
        candidate, i = name, 0
        while hasattr(root, candidate):
            i += 1
            candidate = f"{name}_{i}"
        return candidate

    def function(self, function, *arguments, **keywords):
        """Calls a function of PyTorch."""
        self._chain = None
        return self._graph.call_function(function, arguments, keywords)

    def held(self, layer, role, array, trainable=False):
        """A parameter or buffer of the network."""
        key = (layer, role)
        if key not in self._modules:
            name = self._free(f"{layer.name}_{role}", self._root)
            self._modules[key] = name
            tensor = self.tensor(array)
            if trainable:
                self._root.register_parameter(name, self.nn.Parameter(tensor))
            else:
                self._root.register_buffer(name, tensor)
        return self._graph.get_attr(self._modules[key])

    def tensor(self, array):
        return self.torch.tensor(np.asarray(array), dtype=self.dtype)

    def filled(self, module, **arrays):
        """A module with its parameters and buffers overwritten."""
        module = module.to(self.dtype)
        with self.torch.no_grad():
            for name, parameter in arrays.items():
                own = getattr(module, name)
                value = parameter if isinstance(parameter, np.ndarray) else parameter.value
                own.copy_(self.tensor(value.T if name == "weight" and isinstance(module, self.nn.Linear) else value))
                if own.requires_grad and not isinstance(parameter, np.ndarray):
                    own.requires_grad_(parameter.trainable)
        return module

    def real(self, x):
        """Integers as real numbers."""
        return x if _dtype(x) != "int32" else self.function(self.torch.Tensor.to, x, self.dtype)


def _described(node, tensor):
    """A node that knows the shape and dtype of the tensor it stands for."""
    node.meta.update(shape=tensor.shape, dtype=tensor.dtype)
    return node


def _shape(node):
    return node.meta["shape"]


def _dtype(node):
    return node.meta["dtype"]


def _given(**parameters):
    """The parameters that exist."""
    return {name: p for name, p in parameters.items() if p is not None}


def _activation(w, layer, role, function, x):
    """The module of an activation."""
    from ..activations import serialize

    described = serialize(function)
    name, arguments = (described, {}) if isinstance(described, str) else (described["name"], dict(described))
    arguments.pop("name", None)
    if name == "relu" and arguments.get("negative_slope"):
        name = "leaky_relu"
    make = {
        "relu": lambda: w.nn.ReLU(),
        "leaky_relu": lambda: w.nn.LeakyReLU(arguments.get("negative_slope", 0.2)),
        "elu": lambda: w.nn.ELU(arguments.get("alpha", 1.0)),
        "gelu": lambda: w.nn.GELU("tanh" if arguments.get("approximate") else "none"),
        "hard_sigmoid": lambda: w.nn.Hardsigmoid(),
        "linear": lambda: w.nn.Identity(),
        "log_softmax": lambda: w.nn.LogSoftmax(-1),
        "mish": lambda: w.nn.Mish(),
        "selu": lambda: w.nn.SELU(),
        "sigmoid": lambda: w.nn.Sigmoid(),
        "silu": lambda: w.nn.SiLU(),
        "softmax": lambda: w.nn.Softmax(-1),
        "softplus": lambda: w.nn.Softplus(),
        "softsign": lambda: w.nn.Softsign(),
        "tanh": lambda: w.nn.Tanh(),
    }.get(name)
    if make is None:
        raise _Unknown(f"the activation {name!r}")
    return w.module(layer, role, make, x)


def _write_dense(w, layer, x):
    def make():
        module = w.nn.Linear(*layer.kernel.shape, bias=layer.bias is not None)
        return w.filled(module, **_given(weight=layer.kernel, bias=layer.bias))

    y = w.module(layer, "", make, x)
    from ..activations import linear

    return y if layer.activation is linear else _activation(w, layer, "activation", layer.activation, y)


def _write_batch_norm(w, layer, x):
    features = layer.moving_mean.shape[0]

    def make():
        affine = layer.gamma is not None or layer.beta is not None
        module = w.nn.BatchNorm1d(features, layer.epsilon, 1 - layer.momentum, affine)
        return _affine(w, module, layer, running_mean=layer.moving_mean, running_var=layer.moving_variance)

    if len(_shape(x)) == 2:
        return w.module(layer, "", make, x)
    rows = w.module(layer, "rows", lambda: w.nn.Flatten(0, -2), x)
    y = w.module(layer, "", make, rows)
    return w.module(layer, "shape", lambda: w.nn.Unflatten(0, (-1, *_shape(x)[1:-1])), y)


def _affine(w, module, layer, **more):
    """Fills weight and bias; one of them that the layer has not is fixed at what changes nothing."""
    module = w.filled(module, **_given(weight=layer.gamma, bias=layer.beta, **more))
    for own, parameter in (("weight", layer.gamma), ("bias", layer.beta)):
        if parameter is None and getattr(module, own) is not None:
            getattr(module, own).requires_grad_(False)
    return module


def _write_layer_norm(w, layer, x):
    def make():
        features = _shape(x)[-1]
        scaled = layer.gamma is not None or layer.beta is not None
        module = w.nn.LayerNorm(features, layer.epsilon, scaled, bias=layer.beta is not None)
        return _affine(w, module, layer)

    return w.module(layer, "", make, x)


def _write_prelu(w, layer, x):
    alpha = layer.alpha
    if alpha.size == 1 or (alpha.shape[0] == alpha.size):
        def make():
            module = w.nn.PReLU(alpha.size)
            return w.filled(module, weight=alpha.value.reshape(-1))

        return w.module(layer, "", make, x)
    held = w.held(layer, "alpha", alpha.value, alpha.trainable)
    below = w.function(w.torch.mul, w.function(w.torch.clamp, x, max=0), held)
    return w.function(w.torch.add, w.function(w.torch.relu, x), below)


def _write_embedding(w, layer, x):
    def make():
        return w.filled(w.nn.Embedding(*layer.embeddings.shape), weight=layer.embeddings)

    return w.module(layer, "", make, x)


def _write_flatten(w, layer, x):
    if len(_shape(x)) == 1:
        return w.function(w.torch.unsqueeze, x, 1)
    return w.module(layer, "", lambda: w.nn.Flatten(), x)


def _write_reshape(w, layer, x):
    size = int(np.prod(_shape(x)[1:]))
    known = -int(np.prod(layer.target_shape))
    shape = tuple(size // known if d == -1 else d for d in layer.target_shape)
    if len(_shape(x)) != 2:
        x = w.module(layer, "flat", lambda: w.nn.Flatten(), x) if len(_shape(x)) > 2 else w.function(w.torch.unsqueeze, x, 1)
    return w.module(layer, "", lambda: w.nn.Unflatten(1, shape), x) if shape else w.function(w.torch.squeeze, x, 1)


def _write_merging(function, last=None):
    def write(w, layer, xs):
        rank = max(len(_shape(x)) for x in xs)
        laid = [
            x if len(_shape(x)) == rank
            else w.function(w.torch.reshape, x, (-1, *(1,) * (rank - len(_shape(x))), *_shape(x)[1:]))
            for x in xs
        ]  # fmt: skip
        total = laid[0]
        for x in laid[1:]:
            total = w.function(getattr(w.torch, function), total, x)
        return total if last is None else last(w, total, len(xs))

    return write


def _write_concatenate(w, layer, xs):
    return w.function(w.torch.cat, list(xs), layer.axis)


def _write_dot(w, layer, xs):
    ranks = [len(_shape(x)) for x in xs]
    axes = [a % rank for a, rank in zip(layer._pair, ranks)]
    if layer.normalize:
        xs = [w.function(w.nn.functional.normalize, x, dim=a, eps=1e-7) for x, a in zip(xs, axes)]
    letters = iter("abcdefghijklmnopqrstuvwxy")
    terms, kept = [], ""
    for rank, axis in zip(ranks, axes):
        term = "".join("z" if d == axis else next(letters) for d in range(1, rank))
        terms.append("B" + term)
        kept += term.replace("z", "")
    y = w.function(w.torch.einsum, f"{','.join(terms)}->B{kept}", *xs)
    return y if kept else w.function(w.torch.unsqueeze, y, 1)


def _write_unit(w, layer, x):
    axes = layer.axis if isinstance(layer.axis, list) else [layer.axis]
    length = w.function(w.torch.linalg.vector_norm, x, dim=tuple(axes), keepdim=True)
    return w.function(w.torch.div, x, w.function(w.torch.clamp, length, min=1e-12))


def _write_rescaling(w, layer, x):
    x = w.real(x)
    scale, offset = (
        value if isinstance(value, float) else w.held(layer, name, value)
        for name, value in (("scale", layer.scale), ("offset", layer.offset))
    )
    return w.function(w.torch.add, w.function(w.torch.mul, x, scale), offset)


def _write_normalization(w, layer, x):
    kept = layer._kept(len(_shape(x)))
    shape = tuple(d if a in kept else 1 for a, d in enumerate(_shape(x)))[kept[0] :] if kept else ()
    mean, variance = (np.asarray(v if isinstance(v, np.ndarray) else v.value, np.float64) for v in (layer.mean, layer.variance))
    mean = w.held(layer, "mean", mean.reshape(shape))
    deviation = w.held(layer, "deviation", np.maximum(np.sqrt(variance), 1e-7).reshape(shape))
    x = w.real(x)
    if layer.invert:
        return w.function(w.torch.add, w.function(w.torch.mul, x, deviation), mean)
    return w.function(w.torch.div, w.function(w.torch.sub, x, mean), deviation)


def _write_encoding(w, layer, x):
    rank = len(_shape(x))
    hot = w.function(w.nn.functional.one_hot, w.function(w.torch.Tensor.long, x), layer.num_tokens)
    hot = w.function(w.torch.Tensor.to, hot, w.dtype)
    if layer.output_mode == "one_hot":
        return w.function(w.torch.squeeze, hot, -2) if rank > 1 and _shape(x)[-1] == 1 else hot
    return w.function(w.torch.amax if layer.output_mode == "multi_hot" else w.torch.sum, hot, 1)



# Functions of fastnn.ops, of tensors and numbers: Python's operators, and functions of one tensor in PyTorch.
_OPERATORS = {
    "add": operator.add, "subtract": operator.sub, "multiply": operator.mul, "divide": operator.truediv,
    "true_divide": operator.truediv, "power": operator.pow,
}  # fmt: skip
_FUNCTIONS = {
    "negative": "neg", "abs": "abs", "absolute": "abs", "sign": "sign", "square": "square", "sqrt": "sqrt",
    "rsqrt": "rsqrt", "reciprocal": "reciprocal", "exp": "exp", "expm1": "expm1", "log": "log", "log1p": "log1p",
    "sin": "sin", "cos": "cos", "erf": "erf", "floor": "floor", "ceil": "ceil", "relu": "relu", "sigmoid": "sigmoid",
    "tanh": "tanh",
}  # fmt: skip


def _write_operation(w, layer, xs):
    arguments = [xs[a["tensor"]] if isinstance(a, dict) and "tensor" in a else a for a in layer.arguments]
    count = 2 if layer.function in _OPERATORS else 1
    known = layer.function in _OPERATORS or layer.function in _FUNCTIONS
    if not known or len(arguments) != count or layer.keywords or any(isinstance(a, (dict, list)) for a in arguments):
        raise _Unknown(f"the function ops.{layer.function}, or its arguments")
    return w.function(_OPERATORS.get(layer.function) or getattr(w.torch, _FUNCTIONS[layer.function]), *arguments)


# Layers of fastnn by class name: a function of (writer, layer, node or list of nodes) that emits what they are there.
LAYERS = {
    "Activation": lambda w, layer, x: _activation(w, layer, "", layer.activation, x),
    "Add": _write_merging("add"),
    "AlphaDropout": lambda w, layer, x: w.module(layer, "", lambda: w.nn.AlphaDropout(layer.rate), x),
    "Average": _write_merging("add", lambda w, total, count: w.function(w.torch.div, total, count)),
    "BatchNormalization": _write_batch_norm,
    "CategoryEncoding": _write_encoding,
    "Concatenate": _write_concatenate,
    "Dense": _write_dense,
    "Dot": _write_dot,
    "Dropout": lambda w, layer, x: w.module(layer, "", lambda: w.nn.Dropout(layer.rate), x),
    "ELU": lambda w, layer, x: w.module(layer, "", lambda: w.nn.ELU(layer.alpha), x),
    "Embedding": _write_embedding,
    "Flatten": _write_flatten,
    "LayerNormalization": _write_layer_norm,
    "LeakyReLU": lambda w, layer, x: w.module(layer, "", lambda: w.nn.LeakyReLU(layer.negative_slope), x),
    "Maximum": _write_merging("maximum"),
    "Minimum": _write_merging("minimum"),
    "Multiply": _write_merging("mul"),
    "Normalization": _write_normalization,
    "Operation": _write_operation,
    "PReLU": _write_prelu,
    "ReLU": lambda w, layer, x: w.module(
        layer, "", lambda: w.nn.LeakyReLU(layer.negative_slope) if layer.negative_slope else w.nn.ReLU(), x
    ),
    "Rescaling": _write_rescaling,
    "Reshape": _write_reshape,
    "Softmax": lambda w, layer, x: w.module(layer, "", lambda: w.nn.Softmax(-1), x),
    "Subtract": _write_merging("sub"),
    "UnitNormalization": _write_unit,
}
