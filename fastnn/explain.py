"""Looking inside a network: what its outputs depend on, what its layers compute, what its neurons look for.

Everything is derived from the Program that the layers emit and runs in the C engine, as outside training:
dropout rests, and BatchNormalization uses its running statistics. The model is not changed. Names and
meanings are those of Captum.
"""

import numpy as np

from . import _core, ops, seeds
from ._engine import Runtime
from .arguments import check_float, check_int
from .data import by_name
from .differentiate import differentiate
from .errors import ArgumentError, ArgumentTypeError, DtypeError, GraphError, ShapeError, UnknownNameError
from .graph import Value, trace_calls
from .layers.base import Layer
from .model import Model
from .structure import shape_like

__all__ = ["activations", "gradient_norms", "integrated_gradients", "maximize", "relevance", "saliency"]

_ROWS = 1024  # samples at a time


def saliency(model, x, target=None, abs=True):
    """The gradient of one output by the inputs: how much each input moves it here (Simonyan et al., 2013).

    Parameters
    ----------
    model : Model
        Of one output.
    x : array_like, shape (n, ...), or list or dict of them
    target : int, tuple of int, or sequence of n of them, optional
        Index of the output that is explained, the same for all samples or one for each: a class for outputs
        (n, classes), a tuple for outputs of more dimensions. May be left out where a sample has one output.
    abs : bool, default True
        The absolute values.

    Returns
    -------
    ndarray, shape (n, ...), or list or dict of them
        Like `x`, in the model's dtype.

    Raises
    ------
    ArgumentError, ArgumentTypeError
        A target that is missing or out of range; a model of several outputs.
    ShapeError, DataError
        Data that do not fit the model; NaN and infinities.
    DtypeError
        An input of integers, which has no gradient.

    References
    ----------
    K. Simonyan, A. Vedaldi, A. Zisserman, arXiv:1312.6034.

    Examples
    --------
    >>> import fastnn as fnn
    >>> model = fnn.Sequential([fnn.Input((2,)), fnn.layers.Dense(1)])
    >>> model.set_weights([[[3.0], [-2.0]], [0.5]])
    >>> fnn.explain.saliency(model, [[1.0, 1.0]], abs=False)
    array([[ 3., -2.]], dtype=float32)
    """
    graph = _Graph(model, "saliency", x)
    arrays, count = graph.bind(x)
    pull = _Pullback(graph, graph.output("saliency"), min(count, _ROWS))
    found = pull(arrays, _one_hot("saliency", pull.shape, target, count))
    return graph.like_inputs([np.abs(a) for a in found] if abs else found)


def integrated_gradients(
    model, x, baselines=None, target=None, n_steps=50, method="gausslegendre", return_convergence_delta=False
):
    """Each input's share of f(x) - f(baseline): its gradient, averaged on the straight way between them.

    Parameters
    ----------
    model : Model
        Of one output.
    x : array_like, shape (n, ...), or list or dict of them
    baselines : float, array_like, or list or dict of them, optional
        Where the way begins: a number, one sample or n of them, for each input; 0 by default.
    target
        As in `saliency`.
    n_steps : int, default 50
        Points at which the gradient is taken.
    method : str, default "gausslegendre"
        Rule of the integral over [0, 1]: also "riemann_left", "riemann_right", "riemann_middle" and
        "riemann_trapezoid".
    return_convergence_delta : bool, default False
        Also return by how much the sums miss f(x) - f(baseline).

    Returns
    -------
    attributions : ndarray, shape (n, ...), or list or dict of them
        Like `x`, in the model's dtype. Of a sample they sum to f(x) - f(baseline) (completeness), but for
        the error of the integral, which more steps make smaller.
    delta : ndarray, shape (n,)
        Only for `return_convergence_delta`: sum of the attributions - (f(x) - f(baseline)).

    Raises
    ------
    ArgumentError, ArgumentTypeError, ShapeError, DtypeError, DataError
        As in `saliency`; baselines of another shape; an unknown method.

    Notes
    -----
    (x - x0) times the integral over a from 0 to 1 of grad f(x0 + a (x - x0)).

    References
    ----------
    M. Sundararajan, A. Taly, Q. Yan, "Axiomatic attribution for deep networks", arXiv:1703.01365.

    Examples
    --------
    >>> import fastnn as fnn
    >>> x = fnn.Input((2,))
    >>> product = fnn.Model(x, x[:, :1] * x[:, 1:])
    >>> fnn.explain.integrated_gradients(product, [[2.0, 3.0]])
    array([[3., 3.]], dtype=float32)
    """
    steps, weights = _integral(method, check_int("integrated_gradients", "n_steps", n_steps, 1))
    graph = _Graph(model, "integrated_gradients", x)
    arrays, count = graph.bind(x)
    bases = graph.baselines(baselines, count)
    output = graph.output("integrated_gradients")
    each = max(1, _ROWS // len(steps))  # samples at a time, each at all its steps
    pull = _Pullback(graph, output, min(count, each) * len(steps))
    seed = _one_hot("integrated_gradients", pull.shape, target, count)
    made = [np.empty((count, *t.shape[1:]), graph.dtype) for t in graph.inputs]
    for lo in range(0, count, each):
        part = slice(lo, min(lo + each, count))
        points, ways = [], []
        for array, base in zip(arrays, bases):
            start = base[part].astype(np.float64)
            ways.append(array[part].astype(np.float64) - start)
            on = steps.reshape(-1, *(1,) * array.ndim)
            points.append((start + on * ways[-1]).reshape(-1, *array.shape[1:]))
        slopes = pull(points, np.tile(seed[part], (len(steps), *(1,) * (seed.ndim - 1))), lo)
        for out, way, slope in zip(made, ways, slopes):
            slope = slope.reshape(len(steps), *way.shape)
            out[part] = way * np.tensordot(weights, slope, 1)
    if not return_convergence_delta:
        return graph.like_inputs(made)
    ends = (model.predict(graph.like_inputs(a)).astype(np.float64) for a in (arrays, bases))
    end, start = ((f * seed).reshape(count, -1).sum(1) for f in ends)
    delta = sum(a.astype(np.float64).reshape(count, -1).sum(1) for a in made) - (end - start)
    return graph.like_inputs(made), delta


def relevance(model, x, target=None, epsilon=1e-9):
    """Layer-wise relevance propagation: an output handed back, layer by layer, in shares to the inputs.

    Parameters
    ----------
    model : Model
        Of one output. If the last step is a softmax or sigmoid, the value before it is explained.
    x : array_like, shape (n, ...), or list or dict of them
    target
        As in `saliency`.
    epsilon : float, default 1e-9
        Added to the size of what is divided by; a larger one takes up weak and contradicting shares.

    Returns
    -------
    ndarray, shape (n, ...), or list or dict of them
        Like `x`, in the model's dtype. Without biases they sum to the output that is explained, but for
        what epsilon takes up; each bias keeps its share.

    Raises
    ------
    GraphError
        A layer without a rule; the message names it.
    ArgumentError, ArgumentTypeError, ShapeError, DtypeError, DataError
        As in `saliency`.

    Notes
    -----
    The epsilon rule, for layers that are affine functions z(x) of their input (Dense, BatchNormalization,
    Rescaling, Add, Average, ...): R(x_i) = x_i sum_j (dz_j / dx_i) R(z_j) / (z_j + epsilon sign(z_j)),
    sign(0) being 1. Relevance passes unchanged through activations that work element by element, and goes
    with the element where layers only move or choose elements (Flatten, Concatenate, Maximum, ...). These
    are what Captum does by default for the layers that it knows.

    References
    ----------
    S. Bach et al., "On pixel-wise explanations for non-linear classifier decisions by layer-wise relevance
    propagation", PLOS ONE 10(7), 2015.

    Examples
    --------
    >>> import fastnn as fnn
    >>> model = fnn.Sequential([fnn.Input((2,)), fnn.layers.Dense(1)])
    >>> model.set_weights([[[3.0], [-2.0]], [0.0]])
    >>> fnn.explain.relevance(model, [[1.0, 1.0]])
    array([[ 3., -2.]], dtype=float32)
    """
    epsilon = check_float("relevance", "epsilon", epsilon, 0, exclusive=("low",))
    graph = _Graph(model, "relevance", x)
    arrays, count = graph.bind(x)
    output = graph.output("relevance")
    last = graph.builder.producer(output.id)
    if last is not None and last.op in ("softmax", "log_softmax", "sigmoid"):
        output = Value(graph.builder, last.inputs[0])

    def back(seed):
        return _Relevance(graph, epsilon).run(output, seed * output)

    pull = _Pullback(graph, output, min(count, _ROWS), back)
    return graph.like_inputs(pull(arrays, _one_hot("relevance", pull.shape, target, count)))


def activations(model, x, layer=None):
    """What layers return for `x`.

    Parameters
    ----------
    model : Model
    x : array_like, shape (n, ...), or list or dict of them
    layer : str or Layer, optional
        One of the model's; all of them by default, but the inputs.

    Returns
    -------
    ndarray, shape (n, ...), or dict of str to ndarray
        In the model's dtype; by layer name, in the order of the network, where `layer` is left out. A layer
        that was called several times, or returns several tensors, gives a list.

    Raises
    ------
    UnknownNameError
        If the model has no such layer.
    ShapeError, DtypeError, DataError
        Data that do not fit the model; NaN and infinities.

    Examples
    --------
    >>> import fastnn as fnn
    >>> model = fnn.Sequential([fnn.Input((2,)), fnn.layers.Dense(1, name="z"), fnn.layers.ReLU(name="y")])
    >>> model.set_weights([[[3.0], [-2.0]], [0.0]])
    >>> fnn.explain.activations(model, [[1.0, 2.0]])
    {'z': array([[-1.]], dtype=float32), 'y': array([[0.]], dtype=float32)}
    """
    graph = _Graph(model, "activations", x)
    arrays, count = graph.bind(x)
    if layer is None:
        wanted = list(dict.fromkeys(call.layer for call, _ in graph.calls))
    else:
        wanted = [graph.layer(layer)]
    values = {one: graph.values_of(one) for one in wanted}
    made = iter(graph.run([v for found in values.values() for v in found], arrays, count))
    found = {one.name: [next(made) for _ in of] for one, of in values.items()}
    found = {name: of[0] if len(of) == 1 else of for name, of in found.items()}
    return found if layer is None else found[wanted[0].name]


def maximize(
    model, layer=None, neuron=0, x=None, steps=100, learning_rate=0.1, l2=0.0, bounds=None, seed=None
):
    """The input that excites a neuron most, found by gradient ascent on the input (Erhan et al., 2009).

    Parameters
    ----------
    model : Model
    layer : str or Layer, optional
        The last one by default.
    neuron : int or tuple of int, default 0
        Index among the layer's outputs of one sample. Its value before the layer's activation counts: it
        still has a gradient where the activation is flat, and a class's softmax also grows where the other
        classes shrink.
    x : array_like, or list or dict of them, optional
        Where to start: one sample, or several (n, ...). By default small random numbers, in the middle of
        the bounds.
    steps : int, default 100
    learning_rate : float, default 0.1
        Length of the first step, as the root of the mean square over the inputs; it falls linearly to 0.
    l2 : float, default 0.0
        This times the sum of squares of the input is taken off what is maximised. Without it and without
        bounds most neurons have no maximum, and the input grows with the steps.
    bounds : (float, float), optional
        Least and largest value of the inputs.
    seed : int, optional
        Of the start; the next one of `fastnn.set_seed` by default.

    Returns
    -------
    ndarray, or list or dict of them
        Like `x`; one sample without the batch dimension where `x` is left out.

    Raises
    ------
    ArgumentError
        If the neuron has no gradient anywhere where the ascent starts.
    UnknownNameError, ShapeError, DtypeError, ArgumentTypeError
        A layer that the model does not have, a start of the wrong shape, inputs of integers.

    References
    ----------
    D. Erhan, Y. Bengio, A. Courville, P. Vincent, "Visualizing higher-layer features of a deep network",
    Technical Report 1341, University of Montreal, 2009.

    Examples
    --------
    >>> import fastnn as fnn
    >>> model = fnn.Sequential([fnn.Input((2,)), fnn.layers.Dense(1, name="y")])
    >>> model.set_weights([[[3.0], [-2.0]], [0.0]])
    >>> fnn.explain.maximize(model, "y", bounds=(-1, 1), steps=200)
    array([ 1., -1.], dtype=float32)
    """
    steps = check_int("maximize", "steps", steps, 1)
    learning_rate = check_float("maximize", "learning_rate", learning_rate, 0, exclusive=("low",))
    l2 = check_float("maximize", "l2", l2, 0)
    low, high = _bounds(bounds)
    graph = _Graph(model, "maximize", x)
    arrays, single = graph.start(x, low, high, seed)
    layer = model.outputs[0].call.layer if layer is None else graph.layer(layer)
    value = graph.only_value(layer)
    last = graph.builder.producer(value.id)
    if last is not None and last.op in (*_ELEMENTWISE, "softmax", "log_softmax"):
        value = Value(graph.builder, last.inputs[0])
    count = len(arrays[0])
    pull = _Pullback(graph, value, count)
    one = _one_hot("maximize", pull.shape, neuron, count, "neuron")
    for step in range(steps):
        slopes = [g - 2 * l2 * a for g, a in zip(pull(arrays, one), arrays)]
        rows = [g.reshape(count, -1).astype(np.float64) for g in slopes]
        size = np.sqrt(sum((r**2).sum(1) for r in rows) / sum(r.shape[1] for r in rows))
        if step == 0 and not size.any():
            raise ArgumentError(
                f"maximize: neuron {neuron} of layer {layer.name!r} does not change with the input where "
                "the ascent starts; start from another x, such as a sample of the data"
            )
        rate = learning_rate * (1 - step / steps) / np.where(size > 0, size, 1)
        for array, slope in zip(arrays, slopes):
            array += rate.reshape(-1, *(1,) * (array.ndim - 1)) * slope
            np.clip(array, low, high, out=array)
    return graph.like_inputs([a[0] for a in arrays] if single else arrays)


def gradient_norms(model, x, y=None, sample_weight=None):
    """How large the loss's gradient is in each layer: where it vanishes or explodes shows at a glance.

    Parameters
    ----------
    model : Model
        Compiled with a loss.
    x, y, sample_weight
        As in `Model.fit`.

    Returns
    -------
    dict of str to float
        By layer name, in the order of the network: the Euclidean norm of the gradient of the total loss by
        the layer's trainable weights; layers without any are left out.

    Raises
    ------
    NotCompiledError
        Without `compile`, or compiled without a loss.
    ShapeError, DtypeError, DataError, ArgumentTypeError
        As `Model.gradients`.
    """
    _check_model("gradient_norms", model)
    gradients = model.gradients(x, y, sample_weight)
    found = {}
    for layer in model.layers:
        own = [np.float64(np.linalg.norm(gradients[p.name])) for p in layer.trainable_weights]
        if own:
            found[layer.name] = float(np.linalg.norm(own))
    return found


def _check_model(what, model):
    if not isinstance(model, Model):
        raise ArgumentTypeError(f"{what} takes a fastnn.Model or Sequential, got {type(model).__name__}")


class _Graph:
    """A model's layers, traced as they act outside training into a Builder that explanations append to.

    Attributes
    ----------
    calls : list of (LayerCall, slice)
        In the order of the network, each with the Program's nodes that it emitted.
    inputs : list of Tensor
    """

    def __init__(self, model, what, x):
        _check_model(what, model)
        model._build_for(x)
        self.model, self.dtype, self.inputs = model, np.dtype(model.dtype), model.inputs
        self.builder, self._known, self.calls = trace_calls(self.inputs, model.outputs, model.dtype)
        self.program = self.builder.program
        self.input_ids = [self._known[id(t)].id for t in self.inputs]
        self.builder.scope = "explain"

    # -- tensors --

    def output(self, what):
        """The Value of the only output."""
        if len(self.model.outputs) > 1:
            raise ArgumentError(
                f"{what} explains a model of one output, got {self.model.output_names}; make a model of "
                f"one: fastnn.Model(model.input, model.outputs[0])"
            )
        return self._known[id(self.model.outputs[0])]

    def layer(self, layer):
        """The layer of the model that a user gave by name or as itself."""
        if isinstance(layer, str):
            return self.model.get_layer(layer)
        if not isinstance(layer, Layer):
            raise ArgumentTypeError(f"a layer is given by name or as itself, got {type(layer).__name__}")
        if layer not in self.model.layers:
            raise UnknownNameError.among("layer", layer.name, [one.name for one in self.model.layers])
        return layer

    def values_of(self, layer):
        """What the layer returned at each of its calls in this model."""
        tensors = [t for t in self.inputs if t.call.layer is layer]
        tensors += [t for call, _ in self.calls if call.layer is layer for t in call.outputs]
        return [self._known[id(t)] for t in tensors]

    def only_value(self, layer):
        """The one tensor that a layer returned."""
        values = self.values_of(layer)
        if len(values) != 1:
            raise GraphError(
                f"layer {layer.name!r} returned {len(values)} tensors in this model, where one is needed"
            )
        return values[0]

    # -- arrays --

    def bind(self, x):
        """(arrays in the order of the inputs, number of samples)."""
        found, count = self.model._bind_inputs(x)
        return list(found.values()), count

    def like_inputs(self, arrays):
        """Arrays as the model's inputs are given."""
        return shape_like(self.model._input_form, arrays)

    def check_real(self, what):
        """Raises where an input has no derivative."""
        for tensor in self.inputs:
            if tensor.sparse:
                raise DtypeError(
                    f"{what}: input {tensor.name!r} of {self.model._label} is sparse, and no derivative by it is "
                    "computed; copy the weights with set_weights to a model with a dense Input"
                )
            if tensor.dtype in ("int32", "string"):
                held = "text" if tensor.dtype == "string" else "integers"
                raise DtypeError(
                    f"{what}: input {tensor.name!r} of {self.model._label} holds {held}, which have no "
                    "derivative; explain the model from the vectors on that stand for them: "
                    "fastnn.Model(embedding.output, model.output)"
                )

    def baselines(self, given, count):
        """An array of samples for each input."""
        given = 0.0 if given is None else given
        names = self.model.input_names
        parts = (
            [given] * len(names) if np.ndim(given) == 0 and not isinstance(given, dict)
            else by_name(given, names, "baselines")
        )  # fmt: skip
        found = []
        for name, tensor, part in zip(names, self.inputs, parts):
            part, shape = np.asarray(part), (count, *tensor.shape[1:])
            if part.dtype.kind not in "fiub":
                raise DtypeError(f"the baseline of {name!r} needs real numbers, got dtype {part.dtype}")
            if part.shape not in ((), shape[1:], (1, *shape[1:]), shape):
                raise ShapeError(
                    f"the baseline of {name!r} needs a number, one sample of shape {shape[1:]} or "
                    f"{count} of them, got {part.shape}"
                )
            found.append(np.broadcast_to(part, shape))
        return found

    def start(self, x, low, high, seed):
        """(arrays to climb from, whether they are one sample without a batch)."""
        if x is None:
            seed = seeds.next_seed() if seed is None else check_int("maximize", "seed", seed, 0)
            draw = np.random.default_rng(seed)
            middle = (low + high) / 2 if np.isfinite([low, high]).all() else np.clip(0.0, low, high)
            spread = min(0.1, (high - low) / 10)
            arrays = [middle + draw.normal(0, spread, (1, *t.shape[1:])) for t in self.inputs]
        else:
            parts = [np.asarray(a) for a in by_name(x, self.model.input_names, "x")]
            alone = all(a.shape == t.shape[1:] for a, t in zip(parts, self.inputs))
            arrays, _ = self.bind(self.like_inputs([a[None] for a in parts] if alone else parts))
        return [np.clip(np.array(a, self.dtype, order="C"), low, high) for a in arrays], x is None or alone

    def run(self, values, arrays, count):
        """The values of tensors for arrays, in batches."""
        ids = []
        for value in values:  # an output is a tensor of its own, and no input
            if value.id in (*ids, *self.input_ids):
                op = "to_real" if value.dtype == "int32" else "reshape"
                value = self.builder.emit(op, value, **({} if op == "to_real" else {"shape": value.shape}))
            ids.append(value.id)
            self.program.add_root("output", value.id)
        made = [np.empty((count, *self.program.tensors[i].shape[1:]), self.dtype) for i in ids]
        rows = min(count, _ROWS)
        with self.engine().session("predict", rows) as session:
            session.bind(dict(zip(self.input_ids, arrays)))
            session.bind(dict(zip(ids, made)))
            for _ in session.walk(count, rows, True):
                pass
        return made

    def engine(self):
        """A Runtime of the Program as it is now; parameters live on in the model's own store."""
        self.program.verify()
        self.model._engine()
        return Runtime(self.program, [(i, p) for p, i in self.builder.params.items()])


class _Pullback:
    """From seeds by a tensor's elements to arrays like the inputs: gradients, or what `back` makes instead.

    Parameters
    ----------
    graph : _Graph
    value : Value
    rows : int
        Samples at a time.
    back : callable, optional
        From the Value of the seeds to {input id: Value}; the gradient by default.
    """

    def __init__(self, graph, value, rows, back=None):
        graph.check_real("explain")
        self._graph, self._rows, self.shape = graph, rows, value.shape
        builder, program = graph.builder, graph.program
        seed = builder.input(value.shape, None, "seed")
        if back is None:
            gradients, _ = differentiate(builder, [(value.id, seed.id)], graph.input_ids)
            found = {i: gradients[i] for i in graph.input_ids if i in gradients}
        else:
            found = {i: v.id for i, v in back(seed).items()}
        self._index = {}
        for i, g in found.items():
            if builder.producer(g) is None:  # a root is a tensor of its own
                g = builder.node("reshape", (g,), None, program.tensors[i].shape)
            self._index[i] = len(self._index)
            program.add_root("grad", g, i)
        self._seed, self._runtime = seed.id, graph.engine()

    def __call__(self, arrays, seed, first_row=0):
        """Arrays like the inputs; errors name the first row as `first_row`."""
        count, graph = len(seed), self._graph
        made = [np.zeros((count, *t.shape[1:]), graph.dtype) for t in graph.inputs]
        with self._runtime.session("gradients", self._rows) as session:
            for lo in range(0, count, self._rows):
                part = slice(lo, min(lo + self._rows, count))
                session.bind({i: a[part] for i, a in zip(graph.input_ids, arrays)}, first_row + lo)
                session.bind({self._seed: seed[part]})
                session.begin(part.stop - lo, part.stop - lo, False, True)
                session.run(-1, -1.0, 0.0)
                for i, out in zip(graph.input_ids, made):
                    if i in self._index:
                        session.session.gradient(self._index[i], out[part])
        return made


# ---- relevance ----

# Elementwise activations: their relevance is that of their input.
_ELEMENTWISE = tuple(
    name for name, op in _core.OPS.items() if op.needs != "NONE" and name not in ("softmax", "log_softmax")
)
# Ops that move or choose elements: relevance goes with the element, which is what their gradient does.
_ROUTING = (
    "reshape", "transpose", "concat", "slice", "pad", "broadcast", "maximum", "minimum", "max_to", "where",
    "in_training",
)  # fmt: skip
# Affine in each batched input; of multiply and divide where the other operand has no batch.
_AFFINE = ("matmul", "matmul_nt", "bias_add", "add", "subtract", "affine", "sum_to", "multiply", "divide")


class _Relevance:
    """Appends the nodes that hand relevance back through a graph; see `relevance`."""

    def __init__(self, graph, epsilon):
        self.graph, self.builder, self.program = graph, graph.builder, graph.program
        self.epsilon, self.found = epsilon, {}
        self.nodes = list(self.program.nodes)
        self.owner = {}
        for call, part in graph.calls:
            self.owner.update(dict.fromkeys(range(part.start, part.stop), call))
        self.readers = {}
        for i, node in enumerate(self.nodes):
            for t in node.inputs:
                self.readers.setdefault(t, []).append(i)

    def run(self, value, relevance):
        """{input id: Value of its relevance} from the relevance of the elements of `value`."""
        self.give(value.id, relevance)
        done = set()
        for i in range(len(self.nodes) - 1, -1, -1):
            node = self.nodes[i]
            reached = [t for t in node.outputs if t in self.found]
            if i in done or not reached:
                continue
            if node.op in _ELEMENTWISE:
                self.give(node.inputs[0], self.found[reached[0]])
            elif node.op in _ROUTING:
                self.hand_back([i], reached[0], self.found[reached[0]], shares=False)
            elif self.is_affine(node):
                region = self.region(i)
                done.update(region)
                z = Value(self.builder, reached[0])
                sign = ops.where(z < 0.0, -self.epsilon, self.epsilon)
                self.hand_back(region, z.id, self.found[z.id] / (z + sign), shares=True)
            else:
                raise GraphError(
                    f"relevance has no rule for {self.label(i)} (its op {node.op}); it passes through Dense, "
                    "elementwise activations, BatchNormalization, Rescaling, sums, and layers that move or "
                    "choose elements: use integrated_gradients, which treats every layer"
                )
        zero = self.builder.once("full", shape=(), value=0.0)
        return {
            i: self.found[i] if i in self.found
            else self.builder.once("broadcast", zero, shape=self.program.tensors[i].shape)
            for i in self.graph.input_ids
        }  # fmt: skip

    def give(self, tensor, relevance):
        self.found[tensor] = self.found[tensor] + relevance if tensor in self.found else relevance

    def batched(self, tensor):
        return self.program.tensors[tensor].batched

    def is_affine(self, node):
        if node.op in ("multiply", "divide") and sum(map(self.batched, node.inputs)) != 1:
            return False
        return node.op in _AFFINE and (node.op != "divide" or self.batched(node.inputs[0]))

    def region(self, last):
        """The affine nodes of one layer that lead to node `last` and to nothing else, in order."""
        region, scope = {last}, self.scope(last)
        for i in range(last - 1, -1, -1):
            node = self.nodes[i]
            readers = {r for t in node.outputs for r in self.readers.get(t, ())}
            if readers and readers <= region and self.is_affine(node) and self.scope(i) == scope:
                if not any(t in self.found for t in node.outputs):
                    region.add(i)
        return sorted(region)

    def hand_back(self, region, tensor, seed, shares):
        """Give a region's inputs the gradient from `seed` by `tensor`, times the input where it `shares`."""
        nodes = [self.nodes[i] for i in region]
        made = {t for node in nodes for t in node.outputs}
        sources = [t for node in nodes for t in node.inputs if self.batched(t) and t not in made]
        sources = list(dict.fromkeys(sources))
        gradients, _ = differentiate(self.builder, [(tensor, seed.id)], sources, nodes=nodes)
        for t in sources:
            if t not in gradients:
                continue
            g = Value(self.builder, gradients[t])
            self.give(t, g * Value(self.builder, t) if shares else g)

    def scope(self, i):
        """The call and the name of the layer, perhaps one within it, that emitted a node."""
        return self.owner[i], self.program.tensors[self.nodes[i].outputs[0]].name

    def label(self, i):
        call, name = self.scope(i)
        return call.layer._label if name == call.layer.name else f"layer {name!r} in {call.layer._label}"


# ---- arguments ----


def _one_hot(what, shape, target, count, argument="target"):
    """Rows of zeros of a tensor's shape, with 1 where each sample's target is."""
    shape, several = shape[1:], False
    needed = f"an index below {shape[0]}" if len(shape) == 1 else f"a tuple of indices into {shape}"
    if target is None:
        if np.prod(shape) != 1:
            hint = "; for the classes predicted: model.predict(x).argmax(-1)" if len(shape) == 1 else ""
            raise ArgumentError(f"{what}: a target is needed, {needed}, for outputs of shape {shape}{hint}")
        target = (0,) * len(shape)
    try:
        index = np.asarray(target)
    except ValueError:
        index = np.asarray(None)
    if index.dtype.kind not in "iu":
        raise ArgumentTypeError(f"{what}: {argument} must be {needed}, got {target!r}")
    index = index.astype(np.int64)
    if len(shape) == 1 and index.ndim == 0:
        index = index[None]
    if len(shape) == 1 and argument == "target" and not isinstance(target, tuple) and np.ndim(target) == 1:
        several, index = True, index[:, None]
    several = several or index.ndim == 2
    if index.shape not in ((len(shape),), (count, len(shape))):
        raise ShapeError(
            f"{what}: {argument} must be {needed}"
            + (f", or one for each of the {count} samples" if argument == "target" else "")
            + f", got {'an array of shape ' + str(np.shape(target)) if np.ndim(target) else target}"
        )
    if (index < 0).any() or (index >= np.array(shape)).any():
        raise ArgumentError(f"{what}: {argument} must be {needed}, got {target!r}")
    made = np.zeros((count, *shape), np.float32)
    made[(np.arange(count), *(index.T if several else index))] = 1
    return made


def _integral(method, n):
    """(points in [0, 1], weights) of a rule of n points."""
    if method == "gausslegendre":
        points, weights = np.polynomial.legendre.leggauss(n)
        return (1 + points) / 2, weights / 2
    weights = np.full(n, 1 / n)
    if method == "riemann_trapezoid":
        weights[[0, -1]] /= 2
        return np.linspace(0, 1, n), weights
    shifts = {"riemann_left": 0.0, "riemann_middle": 0.5, "riemann_right": 1.0}
    if method not in shifts:
        raise UnknownNameError.among("method", method, ["gausslegendre", "riemann_trapezoid", *shifts])
    return (np.arange(n) + shifts[method]) / n, weights


def _bounds(bounds):
    if bounds is None:
        return -np.inf, np.inf
    if not isinstance(bounds, (list, tuple)) or len(bounds) != 2:
        raise ArgumentTypeError(f"maximize: bounds must be two numbers (low, high), got {bounds!r}")
    low, high = (check_float("maximize", "bounds", b) for b in bounds)
    if low >= high:
        raise ArgumentError(f"maximize: bounds must rise, got {bounds!r}")
    return low, high
