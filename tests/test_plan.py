"""Random Programs, far odder than those that fastnn.compile writes.

Whatever the planner fuses, places in the memory of dead tensors or spreads over threads, each mode gives what
one op after the other gives in plain NumPy.
"""

import contextlib
import math
import time
import warnings

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from fastnn import _core, graph
from fastnn.backends import xp
from fastnn.errors import ProgramError
from fastnn.graph import Program

# Widths: tails of vectors, and 128 doubles, which the planner sets apart by more than a row.
WIDTHS = (1, 3, 17, 128)
# One sample, a few, and so many that phases are long enough to be shared among threads.
BATCHES = (1, 6, 2000)

# Smooth ops, or with kinks that rounding does not reach, which leave the zeros in a kernel's padding alone.
UNARY = {"tanh": {}, "softsign": {}, "relu": {}, "silu": {}, "leaky_relu": {"negative_slope": 0.2}}
ROW_UNARY = {
    **UNARY,
    "sigmoid": {},
    "softplus": {},
    "softmax": {},
    "log_softmax": {},
    "dropout": {"rate": 0.4, "key": 3},
}
BINARY = {"add": {}, "multiply": {}, "tanh_grad": {}, "relu_grad": {}, "softsign_grad": {}}
SMOOTH = {
    "affine": {"scale": -0.7, "shift": 0.2}, "square": {}, "abs": {}, "sin": {}, "cos": {},
}  # fmt: skip
OF_POSITIVE = ("log", "log1p", "sqrt", "rsqrt")
JOINING = ("add", "subtract", "multiply", "maximum", "minimum")
ROW_BINARY = {**BINARY, "sigmoid_grad": {}, "softmax_grad": {}, "log_softmax_grad": {}}
LOSSES = {"squared_error": {}, "huber": {"delta": 0.7}, "bce_logits": {}, "cce_logits": {}}
UPDATES = {
    "sgd": {"momentum": 0.9, "nesterov": 1, "weight_decay": 0.01},
    "rmsprop": {"rho": 0.9, "momentum": 0.5, "epsilon": 1e-3, "centered": 0, "weight_decay": 0},
    "adam": {"beta_1": 0.9, "beta_2": 0.99, "epsilon": 1e-3, "amsgrad": 1, "weight_decay": 0.01},
    "adagrad": {"initial_accumulator_value": 0.1, "epsilon": 1e-3, "weight_decay": 0.01},
    "nadam": {"beta_1": 0.9, "beta_2": 0.99, "epsilon": 1e-3, "weight_decay": 0},
    "moving_average": {"momentum": 0.9},
}
KINDS = (
    "unary binary flat_unary flat_binary matmul matmul_nt matmul_tn kernel dense bias sum_rows concat slice "
    "reshape loss index_loss loss_grad seed penalty penalty_grad sum_squares clip_value clip_norm "
    "smooth positive joining choosing reduce argmax broadcast transpose pad mean_rows moments layer_norm "
    "full random index in_training mix"
).split()


class Maker:
    """Draws a Program node by node."""

    def __init__(self, draw):
        self.draw, self.program = draw, Program("float64")
        add = self.program.add_tensor
        for width in draw(st.lists(st.sampled_from(WIDTHS), min_size=1, max_size=3)):
            add("input", (None, width))
        add("input", (None, 2, 3))
        self.weight = add("weight", (None,))
        self.classes, self.gradients = {}, {}
        for shape in draw(
            st.lists(
                st.sampled_from([(3, 17), (17, 3), (128, 3), (3, 128), (3, 3), (17,), (3,), ()]), max_size=4
            )
        ):
            add("param", shape)
        for _ in range(draw(st.integers(4, 24))):
            getattr(self, draw(st.sampled_from(KINDS)))()
        self.add_roots()
        self.add_updates()
        self.program.verify()

    # -- choosing --

    def pick(self, condition):
        """A tensor that meets the condition, later ones more often; None where there is none."""
        ids = [t.id for t in self.program.tensors if t.type != "int32" and condition(t)]
        return max(self.draw(st.sampled_from(ids)), self.draw(st.sampled_from(ids))) if ids else None

    def any(self, rank=0):
        return self.pick(lambda t: len(t.shape) >= rank)

    def rows(self, rank=2):
        return self.pick(lambda t: t.batched and len(t.shape) >= rank)

    def flat(self):
        """A parameter, or something of a parameter's shape."""
        known = self.pick(lambda t: not t.batched)
        return (
            known
            if known is not None and self.draw(st.booleans())
            else self.param(self.draw(st.sampled_from([(3, 17), (17,)])))
        )

    def like(self, i):
        shape = self.shape(i)
        return self.pick(lambda t: t.shape == shape)

    def param(self, shape):
        """A parameter or a gradient of this shape, or a new parameter."""
        known = self.pick(lambda t: t.shape == shape)
        return (
            known
            if known is not None and self.draw(st.booleans())
            else self.program.add_tensor("param", shape)
        )

    def shape(self, i):
        return self.program.tensors[i].shape

    def node(self, op, *inputs, shape=None, **attrs):
        return self.program.add_node(op, inputs, attrs, shape)

    def any_of(self, ops, *inputs):
        op = self.draw(st.sampled_from(sorted(ops)))
        return self.node(op, *inputs, **ops[op])

    # -- one node, or a few that belong together --

    def unary(self):
        self.any_of(ROW_UNARY, self.rows())

    def binary(self):
        x = self.rows()
        self.any_of(ROW_BINARY, x, self.like(x))

    def flat_unary(self):
        self.any_of(UNARY, self.flat())

    def flat_binary(self):
        x = self.flat()
        self.any_of(BINARY, x, self.like(x))

    def matmul(self):
        x = self.any(2)
        return self.node("matmul", x, self.param((self.shape(x)[-1], self.draw(st.sampled_from(WIDTHS)))))

    def matmul_nt(self):
        dy = self.any(2)
        self.node("matmul_nt", dy, self.param((self.draw(st.sampled_from(WIDTHS)), self.shape(dy)[-1])))

    def matmul_tn(self):
        x = self.any(2)
        lead = self.shape(x)[:-1]
        dy = self.pick(lambda t: t.shape[:-1] == lead and len(t.shape) >= 2)
        g = self.node("matmul_tn", x, dy)
        if self.draw(st.booleans()):
            g = self.node("penalty_grad", g, self.param(self.shape(g)), l1=0.1, l2=0.2)

    def kernel(self):
        """A product with a kernel, that kernel's gradient and its update."""
        x = self.rows()
        w = self.program.add_tensor("param", (self.shape(x)[-1], self.draw(st.sampled_from(WIDTHS))))
        g = self.node("matmul_tn", x, self.node("tanh", self.node("matmul", x, w)))
        if self.draw(st.booleans()):
            g = self.node("penalty_grad", g, self.draw(st.sampled_from([w, self.like(w)])), l1=0.1, l2=0.2)
        self.gradients[w] = g

    def dense(self):
        x = self.rows()
        x = self.node("matmul", x, self.param((self.shape(x)[-1], 17)))
        y = self.node("bias_add", x, self.param((self.shape(x)[-1],)))
        if self.draw(st.booleans()):
            self.node("relu", y)

    def bias(self):
        x = self.rows()
        self.node("bias_add", x, self.param((self.shape(x)[-1],)))

    def sum_rows(self):
        self.node("sum_rows", self.rows())

    def axis(self, x):
        batched = self.program.tensors[x].batched
        return self.draw(st.integers(int(batched), len(self.shape(x)) - 1))

    def concat(self):
        x = self.rows() if self.draw(st.booleans()) else self.any(2)
        axis = self.axis(x)
        self.node("concat", x, self.like(x), self.like(x), axis=axis)

    def slice(self):
        x = self.any(2)
        shape = self.shape(x)
        axis = self.axis(x)
        start = self.draw(st.integers(0, shape[axis] - 1))
        size = self.draw(st.integers(1, shape[axis] - start))
        self.node("slice", x, shape=(*shape[:axis], size, *shape[axis + 1 :]), axis=axis, start=start)

    def reshape(self):
        x = self.any(1)
        start, fixed = self.split(self.shape(x))
        size = math.prod(fixed)
        self.node("reshape", x, shape=(*start, *self.draw(st.sampled_from([(size,), (1, size), (size, 1)]))))

    # -- elementwise work with broadcasting, reductions, general shapes --

    def split(self, shape):
        """The batch, if there is one, and the rest."""
        return (shape[:1], shape[1:]) if shape[:1] == (None,) else ((), shape)

    def smooth(self):
        self.any_of(SMOOTH, self.any())

    def positive(self):
        x = self.node("affine", self.node("square", self.any()), scale=1, shift=0.5)
        if self.draw(st.booleans()):
            self.node(self.draw(st.sampled_from(OF_POSITIVE)), x)
        else:
            y = self.partner(x)
            exponent = self.node("tanh", y)
            self.node("power", x, exponent)
            self.node("divide", exponent, x)

    def partner(self, x):
        """Something that an elementwise op takes beside x."""
        start, fixed = self.split(self.shape(x))
        kept = [d if self.draw(st.booleans()) else 1 for d in fixed]
        known = self.pick(lambda t: graph.broadcast_shapes([self.shape(x), t.shape]) is not None)
        if self.draw(st.integers(0, 2)):
            return known
        return self.param(tuple(kept[self.draw(st.integers(0, len(kept))) :]))

    def joining(self):
        x = self.any()
        pair = [x, self.partner(x)]
        self.node(self.draw(st.sampled_from(JOINING)), *self.draw(st.permutations(pair)))

    def choosing(self):
        x = self.any()
        test = self.node(self.draw(st.sampled_from(["less", "less_equal", "equal"])), x, self.partner(x))
        y = self.partner(test)
        self.node("where", test, y, x)

    def reduced(self, x):
        start, fixed = self.split(self.shape(x))
        return (*start, *(d if self.draw(st.booleans()) else 1 for d in fixed))

    def reduce(self):
        x = self.any()
        self.node(self.draw(st.sampled_from(["sum_to", "max_to"])), x, shape=self.reduced(x))

    def argmax(self):
        x = self.any(2)
        self.node("argmax", x, shape=(*self.shape(x)[:-1], 1))

    def broadcast(self):
        x = self.any()
        start, fixed = self.split(self.shape(x))
        wide = tuple(self.draw(st.sampled_from([1, 2, 3])) if d == 1 else d for d in fixed)
        if not start and len(fixed) < 3:
            start = self.draw(st.sampled_from([(), (2,), (None,)]))
        self.node("broadcast", x, shape=start + wide)

    def transpose(self):
        x = self.any(1)
        start, fixed = self.split(self.shape(x))
        perm = [*range(len(start)), *(i + len(start) for i in self.draw(st.permutations(range(len(fixed)))))]
        self.node("transpose", x, perm=sum(p << 3 * i for i, p in enumerate(perm)))

    def pad(self):
        x = self.any(2)
        shape, axis = self.shape(x), self.axis(x)
        start = self.draw(st.integers(0, 2))
        size = shape[axis] + start + self.draw(st.integers(0, 2))
        self.node("pad", x, shape=(*shape[:axis], size, *shape[axis + 1 :]), axis=axis, start=start)

    def mean_rows(self):
        x = self.rows()
        self.node("mean_rows_grad", self.node("mean_rows", x), shape=self.shape(x))

    def moments(self):
        x = self.rows()
        mean, variance = self.node("batch_moments", x)
        shape = self.shape(mean)
        self.node("batch_moments_grad", self.param(shape), self.param(shape), x, mean)

    def layer_norm(self):
        y, scale = self.node("layer_norm", self.rows(), epsilon=0.1)
        self.node("layer_norm_grad", self.like(y), y, scale)

    def full(self):
        self.node("full", value=0.3, shape=self.draw(st.sampled_from([(), (3,), (3, 17), (3, 3), (17, 3)])))

    def random(self):
        shape = (None, *self.draw(st.sampled_from([(), (3,), (17,), (2, 3)])))
        if self.draw(st.booleans()):
            self.node("random_uniform", shape=shape, low=-1, high=2, key=5)
        else:
            self.node("random_normal", shape=shape, mean=0.1, stddev=0.7, key=6)

    def index(self):
        shape = (None, *self.draw(st.sampled_from([(), (2,)])))
        target = self.program.add_tensor("target", shape, "int32")
        self.classes[target], width = 3, self.draw(st.sampled_from([3, 17]))
        self.node("embedding", self.param((3, width)), target)
        self.node("to_real", target)
        dy = self.node("one_hot", target, shape=(*shape, width))
        self.node("embedding_grad", dy, target, shape=(3, width))

    def in_training(self):
        x = self.any()
        self.node("in_training", x, self.like(x))

    def mix(self):
        x = self.rows(1)
        self.node(self.draw(st.sampled_from(["mix", "mix_grad"])), x, alpha=0.4, key=2)

    def loss(self):
        x = self.rows()
        self.any_of(LOSSES, x, self.like(x))

    def index_loss(self):
        x = self.rows()
        target = self.program.add_tensor("target", self.shape(x)[:-1], "int32")
        self.classes[target] = self.shape(x)[-1]
        op = self.draw(st.sampled_from(["scce_logits", "sparse_categorical_accuracy"]))
        made = self.node(op, x, target)
        if op == "scce_logits" and self.draw(st.booleans()):
            seed = self.node("loss_seed", self.weight, shape=self.shape(x)[:-1], loss_weight=0.7)
            self.node("scce_logits_grad", seed, made[1], target)

    def loss_grad(self):
        x = self.rows()
        seed = self.pick(lambda t: t.shape == self.shape(x)[:-1])
        if seed is None:
            seed = self.node("loss_seed", self.weight, shape=self.shape(x)[:-1], loss_weight=0.7)
        op = self.draw(
            st.sampled_from(["squared_error_grad", "huber_grad", "bce_logits_grad", "cce_logits_grad"])
        )
        self.node(op, seed, x, self.like(x), **({"delta": 0.7} if op == "huber_grad" else {}))

    def seed(self):
        self.node(
            "loss_seed",
            self.weight,
            shape=self.draw(st.sampled_from([(None,), (None, 3), (None, 2, 3)])),
            loss_weight=1.3,
        )

    def penalty(self):
        self.node("penalty", self.flat(), l1=0.1, l2=0.2)

    def penalty_grad(self):
        g = self.flat()
        self.node("penalty_grad", g, self.like(g), l1=0.1, l2=0.2)

    def sum_squares(self):
        self.node("sum_squares", self.flat())

    def clip_value(self):
        self.node("clip_value", self.flat(), clip=0.5)

    def clip_norm(self):
        squares = self.node("sum_squares", self.flat())
        self.node("clip_norm", self.flat(), squares, clip=0.3)

    # -- what is asked for --

    def add_roots(self):
        program, draw = self.program, self.draw
        temps = [t for t in program.tensors if t.kind == "temp"]
        for t in temps:
            if not draw(st.booleans()):
                continue
            if t.batched and len(t.shape) > 1:
                program.add_root("output", t.id)
            elif t.batched:
                program.add_root(
                    draw(st.sampled_from(["loss", "metric"])),
                    t.id,
                    draw(st.sampled_from([-1, self.weight])),
                    0.8,
                )
            elif draw(st.booleans()):
                program.add_root("tally", t.id)
            elif t.shape == ():
                program.add_root("penalty", t.id)
            else:
                same = [p.id for p in program.of_kind("param") if p.shape == t.shape]
                if same:
                    program.add_root("grad", t.id, same[0])

    def add_updates(self):
        program, draw = self.program, self.draw
        updated = set()
        for p in draw(st.permutations(program.of_kind("param"))):
            same = [
                t.id for t in program.tensors if t.shape == p.shape and t.id != p.id and t.id not in updated
            ]
            if not same or not draw(st.booleans()):
                continue
            op = draw(st.sampled_from(sorted(UPDATES)))
            g = self.gradients[p.id] if p.id in self.gradients else draw(st.sampled_from(same[-3:]))
            program.add_node(op, (p.id, g), UPDATES[op])
            updated.add(p.id)


@st.composite
def programs(draw):
    maker = Maker(draw)
    return maker.program, maker.classes


def values_for(program, classes, rows, seed):
    rng = np.random.default_rng(seed)
    values = {}
    for t in program.tensors:
        shape = tuple(rows if d is None else d for d in t.shape)
        if t.id in classes:
            values[t.id] = rng.integers(0, classes[t.id], shape)
        elif t.kind == "weight":
            values[t.id] = rng.uniform(0.5, 1.5, shape)
        elif t.kind in ("input", "param"):
            values[t.id] = rng.normal(size=shape) * 0.4
    return values


def run(program, values, mode, rows, threads):
    """All that one batch gives, by name; the session is guarded."""
    _core.set_threads(threads)
    engine = _core.Engine(program.text())
    params = [t for t in program.of_kind("param")]
    for t in params:
        engine.param(t.id).write(np.ascontiguousarray(values[t.id]))
    session = engine.session(mode, rows, training=mode == "train", guard=True)
    for t in program.tensors:
        if t.kind in ("input", "target", "weight"):
            session.bind(t.id, values[t.id])
    made = {}
    if mode == "predict":
        for r in program.roots_of("output"):
            made[f"output {r.tensor}"] = out = np.full((rows, *program.tensors[r.tensor].shape[1:]), np.nan)
            session.bind(r.tensor, out)
    session.begin(rows, rows, seed=7, epoch=2)
    assert session.run(-1, -1.0, 0.05) == (1, True)
    session.check()
    if mode != "predict":
        made["results"] = np.array(session.results())
    if mode == "gradients":
        for i, r in enumerate(program.roots_of("grad")):
            made[f"gradient {i}"] = out = np.full(program.tensors[r.tensor].shape, np.nan)
            session.gradient(i, out)
    for t in params:
        made[f"param {t.id}"] = out = np.full(t.shape, np.nan)
        engine.param(t.id).read(out)
    return made


def settled(program, known):
    """Is every value moderate, and none so near to a jump of the op that reads it that rounding decides?"""
    if not all(np.abs(v).max(initial=0) < 1e6 for v in known.values()):
        return False
    for node in program.nodes:
        if any(i not in known for i in node.inputs):
            continue
        ins, gaps = [known[i] for i in node.inputs], np.inf
        if node.op in ("argmax", "sparse_categorical_accuracy") and ins[0].shape[-1] > 1:
            gaps = np.diff(np.sort(ins[0], axis=-1)[..., -2:])
        elif node.op in ("less", "less_equal", "equal") and node.inputs[0] != node.inputs[1]:
            gaps = np.abs(ins[0] - ins[1])
        if np.min(gaps) < 1e-9:
            return False
    return True


def oracle(program, values, mode):
    return xp.run(program, values, mode, lr=0.05, seed=7, epoch=2)


def expected(program, known, mode, rows):
    """What `run` should give."""
    made = {}
    if mode == "predict":
        made.update((f"output {r.tensor}", known[r.tensor]) for r in program.roots_of("output"))
    else:
        results = []
        for kind in ("loss", "metric"):
            for r in program.roots_of(kind):
                if kind == "metric" and mode == "gradients":  # which is after losses, penalties and gradients
                    results += [0, 0]
                    continue
                weight = known[r.other] if r.other >= 0 else np.ones(rows)
                results += [(weight * known[r.tensor]).sum(), rows if kind == "loss" else weight.sum()]
        for r in program.roots_of("penalty"):
            results += [float(known[r.tensor]) * rows, rows]
        for r in program.roots_of("tally"):
            size = math.prod(program.tensors[r.tensor].shape)
            results += [0] * size if mode == "gradients" else known[r.tensor].ravel().tolist()
        made["results"] = np.array(results)
    if mode == "gradients":
        made.update((f"gradient {i}", known[r.tensor]) for i, r in enumerate(program.roots_of("grad")))
    made.update((f"param {t.id}", known[t.id]) for t in program.of_kind("param"))
    return made


@pytest.fixture(autouse=True)
def threads_as_before():
    before = _core.get_threads()
    yield
    _core.set_threads(before)


@pytest.mark.parametrize("mode", ["predict", "evaluate", "gradients", "train"])
@settings(max_examples=settings.default.max_examples // 2)
@given(programs(), st.sampled_from(BATCHES), st.integers(0, 99))
def test_random_programs(mode, made, rows, seed):
    program, classes = made
    # Joins can double again and again.
    assume(rows * sum(math.prod(t.shape[1:]) for t in program.tensors if t.batched) < 2_000_000)
    values = values_for(program, classes, rows, seed)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        known = oracle(program, values, mode)
    assume(settled(program, known))
    right = expected(program, known, mode, rows)
    alone = run(program, values, mode, rows, 1)
    assert alone.keys() == right.keys()
    for name, value in alone.items():
        scale = max(1, np.abs(right[name]).max(initial=0))
        assert np.abs(value - right[name]).max(initial=0) <= 1e-9 * scale, name
    for threads in (2, 3):
        for name, value in run(program, values, mode, rows, threads).items():
            assert value.tobytes() == alone[name].tobytes(), (name, threads)


@pytest.mark.parametrize("shape", [(3,), (3, 5)])
def test_a_tally_of_a_parameter_is_that_before_the_update(shape):
    program = Program("float64")
    x, w = program.add_tensor("input", (None, 3)), program.add_tensor("param", shape)
    g = program.add_tensor("param", shape)
    program.add_root("tally", program.add_node("in_training", (w, w)))
    program.add_node("sgd", (w, g), {"momentum": 0, "nesterov": 0, "weight_decay": 0})
    engine = _core.Engine(program.text())
    value = np.arange(1.0, 1 + math.prod(shape)).reshape(shape)
    engine.param(w).write(value)
    engine.param(g).write(np.ones(shape))
    session = engine.session("train", 2, guard=True)
    session.bind(x, np.ones((2, 3)))
    session.begin(2, 2, False, True, 0, 0, 0)
    session.run(1, -1.0, 0.5)
    assert session.results() == value.ravel().tolist()
    out = np.empty(shape)
    engine.param(w).read(out)
    assert np.array_equal(out, value - 0.5)
    session.check()


# ---- the rules of shapes, which stand in two languages ----

# Inputs that fit, of rules that chance seldom meets; the last shape is the output's where the rule asks for
# it.
FITTING = {
    "BIAS": [(None, 2), (2,)],
    "SPREAD": [(2,), (None, 2)],
    "LOSS_IDX": [(None, 2), (None,)],
    "MATMUL_INT8": [(None, 3), (3, 2), (2,)],
    "MATMUL_CSR": [(None, 3), (3, 2)],
    "MATMUL_CSR_TN": [(None, 3), (None, 2)],
    "MOMENTS_GRAD": [(2,), (2,), (None, 2), (2,)],
    "LOSS_GRAD": [(None,), (None, 2), (None, 2)],
    "LOSS_IDX_GRAD": [(None,), (None, 2), (None,)],
    "EMBED": [(3, 2), (None, 2)],
    "EMBED_GRAD": [(None, 2), (None,), (3, 2)],
    "WARP": [(None, 2, 3, 1), (None, 6)],
}


def an_attribute(rng, name):
    small = {"axis": 4, "start": 3, "fill_mode": 5, "key": 4}
    if name == "perm":
        return float(sum(int(p) << 3 * i for i, p in enumerate(rng.permutation(rng.integers(1, 4)))))
    if name in small:
        return float(rng.integers(-1, small[name]))
    return float(rng.choice([-1.0, 0.0, 0.25, 1.0, 2.5, 70000.0]))


def a_shape(rng, rank=None):
    rank = rng.integers(0, 5) if rank is None else rank
    shape = [int(d) for d in rng.integers(1, 4, rank)]
    if rank and rng.random() < 0.6:
        shape[0] = None
    return tuple(shape)


def a_relative(rng, shapes):
    """A shape that has much in common with one of these."""
    shape = list(shapes[rng.integers(len(shapes))]) if shapes and rng.random() < 0.8 else list(a_shape(rng))
    for _ in range(rng.integers(0, 3)):
        change, at = rng.integers(4), rng.integers(len(shape)) if shape else 0
        if change == 0 and shape:
            shape[at] = None if at == 0 and rng.random() < 0.3 else int(rng.integers(1, 4))
        elif change == 1:
            shape.append(int(rng.integers(1, 4)))
        elif change == 2 and shape:
            shape.pop(at)
        elif change == 3 and len(shape) > 1:
            i, j = rng.integers(1, len(shape), 2)
            shape[i], shape[j] = shape[j], shape[i]
    return tuple(None if i == 0 and d is None else d or 1 for i, d in enumerate(shape))


@pytest.mark.parametrize("op", sorted(_core.OPS))
def test_python_and_c_accept_the_same_nodes(op):
    info, rng = _core.OPS[op], np.random.default_rng(list(op.encode()))
    counts = {True: 0, False: 0}
    for _ in range(80):
        program, shapes = Program("float32" if info.rule == "MATMUL_INT8" else "float64"), []
        fitting = FITTING.get(info.rule, []) if rng.random() < 0.5 else []
        for k in range(info.inputs if info.inputs >= 0 else rng.integers(1, 4)):
            shapes.append(fitting[k] if fitting else a_relative(rng, shapes))
            batched = shapes[-1][:1] == (None,)
            integers = batched and rng.random() < (0.8 if graph._INDEX.get(info.rule) == k else 0.05)
            narrow = info.rule == "MATMUL_INT8" and k == 1 and len(shapes[-1]) == 2 and rng.random() < 0.8
            type = "int32" if integers else "int8" if narrow and not batched else None
            expected = k == 0 and info.rule in graph._SPARSE
            sparse = batched and len(shapes[-1]) == 2 and expected and rng.random() < 0.9
            kind = "input" if sparse else "target" if batched else "param"
            program.add_tensor(kind, shapes[-1], "csr" if sparse else type)
        attrs = tuple(an_attribute(rng, a) for a in info.attrs)
        given, made = fitting[-1] if fitting else a_relative(rng, shapes), None
        with contextlib.suppress(ProgramError):
            made = graph._output_shapes(info, program.tensors, attrs, given)
        if made is None or rng.random() < 0.3:
            made = [a_relative(rng, made or shapes) for _ in range(info.outputs)]
        inputs = tuple(t.id for t in program.tensors)
        outputs = tuple(program.add_tensor("temp", s) for s in made)
        program.nodes.append(graph.Node(op, inputs, outputs, attrs))
        accepted = []
        for check in (program.verify, lambda: _core.Engine(program.text())):
            try:
                check()
                accepted.append(True)
            except ProgramError:
                accepted.append(False)
        assert accepted[0] == accepted[1], str(program)
        counts[accepted[0]] += 1
    assert all(counts.values()), counts


# ---- single Programs that have gone wrong, or would without a rule of their own ----


def test_dropout_between_rows_set_apart_is_the_identity_outside_training():
    """Rows a multiple of 512 bytes long lie further apart than they are long."""
    program = Program("float32")
    x = program.add_tensor("input", (None, 256))
    y = program.add_node("dropout", (program.add_node("tanh", (x,)),), {"rate": 0.5, "key": 0})
    program.add_root("output", program.add_node("relu", (y,)))
    session = _core.Engine(program.text()).session("predict", 3)
    given, made = (
        np.random.default_rng(0).normal(size=(3, 256)).astype("float32"),
        np.empty((3, 256), "float32"),
    )
    session.bind(x, given)
    session.bind(y + 1, made)
    session.begin(3, 3)
    session.run(-1, -1.0, 0.0)
    np.testing.assert_allclose(made, np.maximum(np.tanh(given), 0), rtol=1e-5)


def updated(build, rows=20000):
    """One training step of a Program against plain NumPy, on 1 to 3 threads."""
    program = Program("float64")
    build(program)
    values = values_for(program, {}, rows, 1)
    right = expected(program, oracle(program, values, "train"), "train", rows)
    for threads in (1, 2, 3):
        for name, value in run(program, values, "train", rows, threads).items():
            np.testing.assert_allclose(value, right[name], rtol=1e-9, atol=1e-12, err_msg=name)


def test_the_penalty_of_another_parameter_is_not_taken_for_the_own():
    def build(p):
        x, v, w = (
            p.add_tensor("input", (None, 17)),
            p.add_tensor("param", (17, 17)),
            p.add_tensor("param", (17, 17)),
        )
        g = p.add_node("penalty_grad", (p.add_node("matmul_tn", (x, x)), v), {"l1": 0.1, "l2": 0.2})
        p.add_node("sgd", (w, g), UPDATES["sgd"])

    updated(build)


def test_a_product_that_waits_for_its_bias_still_reads_the_old_kernel():
    def build(p):
        x, w = p.add_tensor("input", (None, 17)), p.add_tensor("param", (17, 17))
        bias = p.add_node("sum_rows", (p.add_node("bias_add", (x, p.add_node("sum_rows", (x,)))),))
        y = p.add_node("bias_add", (p.add_node("matmul", (x, w)), bias))
        p.add_root("penalty", p.add_node("sum_squares", (p.add_node("sum_rows", (y,)),)))
        p.add_node("sgd", (w, p.add_node("matmul_tn", (x, x))), UPDATES["sgd"])

    updated(build)


def test_work_on_a_parameter_comes_before_its_update():
    def build(p):
        x, w = p.add_tensor("input", (None, 17)), p.add_tensor("param", (17, 17))
        g = p.add_node("matmul_tn", (x, x))
        other = p.add_node("multiply", (p.add_node("matmul_tn", (x, x)), w))
        p.add_root("penalty", p.add_node("sum_squares", (other,)))
        p.add_node("sgd", (w, g), UPDATES["sgd"])

    updated(build)


def test_memory_that_all_threads_still_read_is_not_taken_over():
    """`v` could stand in the place of `u`, but for the thread that sums all rows of `u` in the same phase."""

    def build(p):
        x, b, w = (
            p.add_tensor("input", (None, 17)),
            p.add_tensor("param", (17,)),
            p.add_tensor("param", (17,)),
        )
        u = p.add_node("bias_add", (x, p.add_node("tanh", (b,))))
        first = p.add_node("sum_rows", (x,))
        total = p.add_node("sum_rows", (u,))
        v = p.add_node("bias_add", (x, first))
        p.add_root("loss", p.add_node("squared_error", (v, x)))
        p.add_node("sgd", (w, total), UPDATES["sgd"])

    updated(build)


def test_no_update_reads_what_another_has_changed():
    p = Program("float64")
    a, b = p.add_tensor("param", (3,)), p.add_tensor("param", (3,))
    for w, g in ((a, b), (b, a)):
        p.add_node("sgd", (w, g), UPDATES["sgd"])
    with pytest.raises(ProgramError, match="after its update"):
        _core.Engine(p.text())


def test_an_output_does_not_stand_where_a_broadcast_input_is_still_read():
    """`u` has one row of `v`'s two, at the same distance from each other."""

    def build(p):
        x = p.add_tensor("input", (None, 2, 3))
        u = p.add_node("tanh", (p.add_node("slice", (x,), {"axis": 1, "start": 0}, (None, 1, 3)),))
        v = p.add_node("reshape", (p.add_node("add", (u, x)),), shape=(None, 6))
        p.add_root("loss", p.add_node("squared_error", (v, p.add_node("reshape", (x,), shape=(None, 6)))))

    updated(build)


def test_samples_are_mixed_when_all_threads_have_theirs():
    def build(p):
        x = p.add_tensor("input", (None, 17))
        attrs = {"alpha": 0.4, "key": 1}
        mixed = p.add_node("mix", (p.add_node("tanh", (x,)),), attrs)
        back = p.add_node("mix_grad", (p.add_node("mix", (x,), attrs),), attrs)
        p.add_root("loss", p.add_node("squared_error", (mixed, back)))

    updated(build, rows=2000)


def test_the_other_branch_of_in_training_is_not_run():
    """Nothing is bound to what only the other branch reads."""
    p = Program("float64")
    a, b = p.add_tensor("input", (None, 3)), p.add_tensor("input", (None, 3))
    y = p.add_node("in_training", (p.add_node("tanh", (a,)), p.add_node("sin", (b,))))
    p.add_root("output", y)
    x = np.random.default_rng(1).normal(size=(4, 3))
    for training, read, op in ((True, a, np.tanh), (False, b, np.sin)):
        session, made = _core.Engine(p.text()).session("predict", 4, training), np.empty((4, 3))
        session.bind(read, x)
        session.bind(y, made)
        session.begin(4, 4)
        session.run(-1, -1.0, 0.0)
        np.testing.assert_allclose(made, op(x), rtol=1e-14)


def test_an_input_may_be_all_that_in_training_gives():
    p = Program("float64")
    x = p.add_tensor("input", (None, 3))
    y = p.add_node("in_training", (p.add_node("tanh", (x,)), x))
    p.add_root("output", y)
    given, made = np.random.default_rng(1).normal(size=(4, 3)), np.empty((4, 3))
    session = _core.Engine(p.text()).session("predict", 4)
    session.bind(x, given)
    session.bind(y, made)
    session.begin(4, 4)
    session.run(-1, -1.0, 0.0)
    np.testing.assert_array_equal(made, given)


def test_rows_do_not_depend_on_the_blocks_of_a_chain():
    """Forty stages on rows of 1.5 KB, alone, by a few and in many blocks."""
    p = Program("float32")
    x = y = p.add_tensor("input", (None, 384))
    for _ in range(10):
        y = p.add_node("softmax", (p.add_node("sin", (y,)),))
        y = p.add_node("multiply", (p.add_node("layer_norm", (y,), {"epsilon": 0.1})[0], y))
    p.add_root("output", y)
    given, made = np.random.default_rng(2).normal(size=(1000, 384)).astype("float32"), {}
    for rows in (1, 7, 1000):
        made[rows] = np.empty((1000, 384), "float32")
        session = _core.Engine(p.text()).session("predict", rows)
        session.bind(x, given)
        session.bind(y, made[rows])
        session.begin(1000, rows)
        session.run(-1, -1.0, 0.0)
    assert made[1].tobytes() == made[7].tobytes() == made[1000].tobytes()


def test_planning_takes_linear_time():
    """64,000 nodes in 16,000 phases, half of their buffers alive to the end, plan in less than a second."""
    tensors, nodes, roots = ["fastnn-program 1", "dtype float32", "tensor 0 input float32 B,3"], [], []
    for x in range(0, 64000, 4):
        tensors += [
            f"tensor {x + i} temp float32 {shape}"
            for i, shape in enumerate(["3", "B,3", "B,3", "B,3"], start=1)
        ]
        nodes += [f"node sum_rows {x} {x + 1} -", f"node bias_add {x},{x + 1} {x + 2} -"]
        nodes += [f"node tanh {i} {i + 1} -" for i in (x + 2, x + 3)]
        roots += [f"root output {x + 2}", f"root output {x + 3}"]
    start = time.perf_counter()
    engine = _core.Engine("\n".join([*tensors, *nodes, *roots, ""]))
    engine.session("predict", 1)
    assert time.perf_counter() - start < 1
