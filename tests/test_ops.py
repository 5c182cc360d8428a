"""Every op of the registry, on every instruction set, type and awkward size: values against plain NumPy, derivatives against
finite differences, and sentinels round every buffer. A new op is covered as soon as it has a row, or fails for want of a case."""

import math

import numpy as np
import pytest

from fastnn import _core
from fastnn.backends import xp
from fastnn.differentiate import differentiate
from fastnn.graph import Builder, Program
from fastnn.sparse import Rows

DTYPES = ("float32", "float64")
TOLERANCE = {"float32": 4e-6, "float64": 1e-12}

# Batch sizes and row shapes: one, tails of vectors and tiles, more than one block of rows, rank 3, and rows a power of two
# of bytes apart (which the planner pads).
BATCHED = [(1, 1), (2, 3), (7, 17), (33, 40), (5, 3, 9), (130, 7), (6, 256)]
# rows, k, n of products: also longer than a block of k.
PRODUCTS = [(1, 1, 1), (3, 5, 7), (6, 16, 16), (13, 33, 47), (29, 300, 40), (1, 128, 257), (101, 64, 10), (4, 3, 8, 9), (3, 700, 1024)]
FLAT = [(1,), (7,), (300,), (3, 5), (20, 37), ()]

ATTRS = {
    "step": {"straight_through": 0, "clip_value": 0}, "leaky_relu": {"negative_slope": 0.2}, "elu": {"alpha": 1.3}, "gelu": {"approximate": 0},
    "huber": {"delta": 0.6}, "loss_seed": {"loss_weight": 0.7}, "binary_accuracy": {"threshold": 0.5},
    "penalty": {"l1": 0.02, "l2": 0.3}, "clip_value": {"clip": 0.4}, "clip_norm": {"clip": 0.9}, "dropout": {"rate": 0.3, "key": 5},
}  # fmt: skip
VARIANTS = {"gelu": [{"approximate": 0}, {"approximate": 1}], "step": [{"straight_through": s, "clip_value": c} for s, c in ((0, 0), (1, 0), (1, 0.75))],
            "mix": [{"alpha": a, "key": 9} for a in (0.2, 1, 3.5)]}
OPTIMIZERS = {
    "sgd": [dict(momentum=0, nesterov=0, weight_decay=0), dict(momentum=0.9, nesterov=0, weight_decay=0.1),
            dict(momentum=0.8, nesterov=1, weight_decay=0)],
    "rmsprop": [dict(rho=0.9, momentum=0, epsilon=1e-7, centered=0, weight_decay=0),
                dict(rho=0.9, momentum=0.5, epsilon=1e-7, centered=0, weight_decay=0.01),
                dict(rho=0.8, momentum=0.5, epsilon=1e-6, centered=1, weight_decay=0)],
    "adam": [dict(beta_1=0.9, beta_2=0.999, epsilon=1e-7, amsgrad=0, weight_decay=0),
             dict(beta_1=0.8, beta_2=0.99, epsilon=1e-5, amsgrad=1, weight_decay=0.02)],
    "adagrad": [dict(initial_accumulator_value=0.1, epsilon=1e-7, weight_decay=0),
                dict(initial_accumulator_value=0, epsilon=1e-3, weight_decay=0.02)],
    "adadelta": [dict(rho=0.95, epsilon=1e-7, weight_decay=0), dict(rho=0.8, epsilon=1e-3, weight_decay=0.02)],
    "nadam": [dict(beta_1=0.9, beta_2=0.999, epsilon=1e-7, weight_decay=0),
              dict(beta_1=0.8, beta_2=0.99, epsilon=1e-5, weight_decay=0.02)],
    "lion": [dict(beta_1=0.9, beta_2=0.99, weight_decay=0), dict(beta_1=0.8, beta_2=0.9, weight_decay=0.02)],
    "rprop": [dict(eta_minus=0.5, eta_plus=1.2, step_min=1e-6, step_max=50),
              dict(eta_minus=0.3, eta_plus=1.5, step_min=0.02, step_max=0.11)],
    "moving_average": [dict(momentum=0.99), dict(momentum=0)],
}  # fmt: skip

# Shapes of elementwise ops, a parameter's without a batch: alike, repeated along the last dimension, the first, both, in between,
# along rows that the planner pads; on parameters alone, of which those of two dimensions lie in panels.
I, P = "input", "param"
BROADCASTS = [
    *([(I, s), (I, s)] for s in [(1,), *BATCHED]), [(I, (33, 40)), (I, (33, 1))], [(I, (33, 1)), (I, (33, 40))], [(I, (5, 3, 9)), (P, (9,))],
    [(P, (3, 1)), (I, (5, 3, 9))], [(I, (5, 1, 9)), (P, (3, 1))], [(I, (7,)), (P, ())], [(P, ()), (I, (3, 512))], [(I, (6, 512)), (P, (512,))],
    [(I, (6, 512)), (I, (6, 1))], [(I, (2, 3, 1, 5)), (I, (2, 1, 4, 5))], [(I, (2, 3, 4, 5)), (P, (3, 1, 5))],
    *([(P, s), (P, s)] for s in FLAT), [(P, (20, 37)), (P, (37,))], [(P, (3, 1)), (P, (1, 5))], [(P, ()), (P, (7,))], [(P, (2, 3, 4)), (P, (3, 1))],
]  # fmt: skip
ONE_SHAPE = [[(I, s)] for s in [(5,), (3, 512), *BATCHED]] + [[(P, s)] for s in FLAT]
REDUCED = [
    *((I, (33, 40), s) for s in [(33, 1), (33, 40)]), (I, (6, 512), (6, 1)), (I, (130, 1), (130, 1)), (I, (7,), (7,)), (I, (2, 3000), (2, 1)),
    *((I, (5, 3, 9), s) for s in [(5, 1, 9), (5, 3, 1), (5, 1, 1)]), *((I, (2, 3, 4, 40), s) for s in [(2, 1, 4, 1), (2, 3, 1, 40), (2, 3, 4, 1), (2, 1, 4, 40)]),
    *((P, (20, 37), s) for s in [(20, 1), (1, 37), (1, 1)]), (P, (300,), (1,)), (P, (2, 3, 4), (1, 3, 1)), (P, (), ()),
]  # fmt: skip
TRANSPOSED = [((3, 4, 5), (0, 2, 1)), ((2, 70, 33), (0, 2, 1)), *(((2, 3, 4, 5), (0, *p)) for p in [(1, 3, 2), (2, 1, 3), (2, 3, 1), (3, 1, 2), (3, 2, 1)]),
              ((5, 7), (0, 1)), ((20, 37), (1, 0)), ((2, 3, 4), (2, 0, 1)), ((7,), (0,))]  # fmt: skip


def ties(rng, shape):
    return rng.integers(0, 4, shape).astype(float)


def map_case(op, operands, rng):
    """An elementwise op where it is defined, and where comparisons meet equals."""
    inputs = []
    for k, (kind, shape) in enumerate(operands):
        x = rng.normal(size=shape) * 2
        x = np.where(np.abs(x) < 0.05, 0.5, x)
        if op in ("power", "sqrt", "rsqrt", "log", "log1p") and k == 0:
            x = np.abs(x)
        if op in ("less", "less_equal", "equal", "where") and k < 2:
            x = ties(rng, shape) - 1
        inputs.append((kind, np.asarray(x)))
    return Case(op, inputs, {"scale": 1.5, "shift": -0.25} if op == "affine" else {})


def variants(op):
    base = op.removesuffix("_grad")
    return VARIANTS.get(base, [ATTRS.get(op, ATTRS.get(base, {}))])


def probabilities(rng, shape):
    p = rng.uniform(0.05, 1, shape)
    return p / p.sum(axis=-1, keepdims=True)


class Case:
    """One node on its own: its inputs by name of kind, its attributes, and the shape of an output that has to be given,
    which begins with the batch or not."""

    def __init__(self, op, inputs, attrs=None, shape=None, batched=True):
        self.op, self.inputs, self.attrs, self.shape = op, inputs, attrs or {}, shape
        self.given = (None, *shape[1:]) if shape is not None and batched else shape

    def program(self, dtype):
        """The Program, the ids of its inputs and of its outputs."""
        program = Program(dtype)
        ids = []
        for kind, value in self.inputs:
            batched = kind != "param"
            shape = (None, *value.shape[1:]) if batched else value.shape
            type = "csr" if isinstance(value, Rows) else {"int8": "int8", "int64": "int32"}.get(value.dtype.name, dtype)
            ids.append(program.add_tensor(kind, shape, type))
        made = program.add_node(self.op, ids, self.attrs, self.given)
        made = made if isinstance(made, tuple) else (made,)
        for m in made:
            tensor = program.tensors[m]
            if tensor.batched:
                program.add_root("output", m, name=f"out{m}")
            else:
                program.add_root("grad", m, program.add_tensor("param", tensor.shape))
        program.verify()
        return program, ids, made

    def run(self, dtype, isa, threads=1, wrap=lambda a: a, text=None):
        """The outputs as the engine computes them; the session is guarded."""
        program, ids, made = self.program(dtype)
        _core.set_threads(threads)
        engine = _core.Engine(program.text(), isa=isa)
        rows = max([len(v) for kind, v in self.inputs if kind != "param"], default=self.shape[0] if self.shape else 1)
        batched = program.tensors[made[0]].batched
        session = engine.session("predict" if batched else "gradients", rows, training=self.op in ("dropout", "in_training"), guard=True)
        kept = []
        for i, (kind, value) in zip(ids, self.inputs):
            value = value if value.dtype.kind == "i" else value.astype(dtype)
            if kind == "param":
                engine.param(i).write(np.ascontiguousarray(value))
            else:
                kept.append(wrap(value))
                session.bind(i, kept[-1])
        outs = []
        for m in made if batched else ():
            outs.append(np.full((rows, *program.tensors[m].shape[1:]), np.nan, dtype))
            session.bind(m, outs[-1])
        session.begin(rows, rows, seed=11, epoch=3)
        assert session.run(-1, -1.0, 0.0) == (1, True)
        session.check()
        for i, m in enumerate(() if batched else made):
            outs.append(np.full(program.tensors[m].shape, np.nan, dtype))
            session.gradient(i, outs[-1])
        return outs

    def expected(self, dtype):
        """What plain NumPy makes of the same inputs in float64, after the same rounding of them."""
        values = [v if v.dtype.kind == "i" else v.astype(dtype).astype("float64") for _, v in self.inputs]
        extra = {"shape": self.shape} if self.shape is not None else {}
        if self.op == "in_training":
            extra = {"training": True}
        if "key" in self.attrs:
            extra |= {"seed": 11, "epoch": 3}
        made = getattr(xp, self.op)(*values, **self.attrs, **extra)
        return made if isinstance(made, tuple) else (made,)


def cases_of(op):
    """Cases of an op, by its rule."""
    info, rng = _core.OPS[op], np.random.default_rng(list(op.encode()))
    rule = info.rule

    def normal(shape):
        x = rng.normal(size=shape) * 2
        return np.where(np.abs(x) < 0.05, 0.5, x)  # away from the kinks

    if rule == "SAME" and op in ("penalty_grad", "clip_value"):
        return [Case(op, [("param", normal(s))] * info.inputs, a) for s in FLAT for a in variants(op)]
    if rule == "SAME":
        made = []
        for shape in BATCHED:
            for attrs in variants(op):
                x = normal(shape)
                if op.endswith("_grad") and op != "mix_grad":
                    forward = op.removesuffix("_grad")
                    known = x if _core.OPS[forward].needs == "X" else getattr(xp, forward)(x, **attrs)
                    made.append(Case(op, [("input", normal(shape)), ("input", known)], attrs))
                else:
                    made.append(Case(op, [("input", x)] + [("input", normal(shape))] * (info.inputs - 1), attrs))
        return made
    if rule == "MAP":
        shapes = ONE_SHAPE if info.inputs == 1 else BROADCASTS
        return [map_case(op, [shapes_[k % len(shapes_)] for k in range(info.inputs)], rng) for shapes_ in shapes]
    if rule == "REDUCE":
        return [Case(op, [(kind, ties(rng, x) if op == "argmax" else normal(x))], None, y, kind == "input")
                for kind, x, y in REDUCED if op != "argmax" or y == (*x[:-1], 1)]  # fmt: skip
    if rule == "BROADCAST":
        spread = [((4, 1), (4, 9)), ((3, 1, 5), (3, 4, 5)), ((6, 1), (6, 512)), ((2, 3, 1, 1), (2, 3, 4, 5)), ((5, 7), (5, 7))]
        flat = [((9,), (4, 9)), ((), (5,)), ((3, 1), (5, 3, 7)), ((300,), (2, 300))]
        lone = [((), (2, 3)), ((3, 1), (3, 7)), ((7,), (20, 7)), ((1, 37), (20, 37)), ((2, 1, 5), (2, 6, 5))]
        return ([Case(op, [("input", normal(x))], None, y) for x, y in spread] + [Case(op, [("param", normal(x))], None, y) for x, y in flat]
                + [Case(op, [("param", normal(x))], None, y, batched=False) for x, y in lone])  # fmt: skip
    if rule == "SPREAD":
        return [Case(op, [("param", normal(s[-1:]))], None, s) for s in BATCHED]
    if rule == "TRANSPOSE":
        kinds = [("input", s, p) for s, p in TRANSPOSED if p[0] == 0] + [("param", s, p) for s, p in TRANSPOSED if len(s) < 4]
        return [Case(op, [(kind, normal(s))], {"perm": sum(d << 3 * i for i, d in enumerate(p))}) for kind, s, p in kinds]
    if rule == "FULL":
        return [Case(op, [], {"value": value}, s, batched=False) for s in FLAT for value in (0.0, -1.75)]
    if rule == "ONE_HOT":
        return [Case(op, [("input", rng.integers(0, s[-1], s[:-1]))], None, s) for s in [(1, 1), (7, 5), (3, 4, 9), (6, 256)]]
    if rule == "TO_REAL":
        return [Case(op, [("input", rng.integers(-(2**24), 2**24, s))]) for s in [(5,), *BATCHED]]
    if rule in ("MATMUL", "MATMUL_NT", "MATMUL_TN"):
        made = []
        for *rows, k, n in PRODUCTS:
            x, w, dy = normal((*rows, k)), normal((k, n)), normal((*rows, n))
            made.append(Case(op, {"MATMUL": [("input", x), ("param", w)], "MATMUL_NT": [("input", dy), ("param", w)],
                                  "MATMUL_TN": [("input", x), ("input", dy)]}[rule]))  # fmt: skip
        return made + [Case(op, [("param", v) for _, v in case.inputs]) for case in made if case.inputs[0][1].ndim == 2]
    if rule == "MATMUL_INT8":
        sizes = [*PRODUCTS, (2, 1024, 17), (3, 2500, 40), (7, 1025, 3)]
        return [Case(op, [("input", normal((*rows, k))), ("param", rng.integers(-127, 128, (k, n)).astype(np.int8)),
                          ("param", rng.uniform(0.001, 0.1, n))]) for *rows, k, n in sizes]  # fmt: skip
    if rule in ("MATMUL_CSR", "MATMUL_CSR_TN"):
        sizes = [(*p[:1], *p[-2:]) for p in PRODUCTS] + [(40, 50, 33), (2, 3000, 16)]
        return [Case(op, [("input", sparse_rows(rng, rows, k, 0.2, np.int32 if n % 2 else np.int64)),
                          ("param", normal((k, n))) if rule == "MATMUL_CSR" else ("input", normal((rows, n)))])
                for rows, k, n in sizes]  # fmt: skip
    if rule == "BIAS":
        return [Case(op, [("input", normal(s)), ("param", normal(s[-1:]))]) for s in BATCHED]
    if rule == "SUM_ROWS":
        return [Case(op, [("input", normal(s))]) for s in [*BATCHED, (9, 700)]]
    if rule == "CONCAT":
        joined = [((4, 3), (4, 5), 1), ((1, 256), (1, 256), 1), ((3, 2, 5), (3, 4, 5), 1), ((3, 2, 5), (3, 2, 1), 2), ((2, 3, 2, 4), (2, 3, 5, 4), 2)]
        made = [Case(op, [("input", normal(a)), ("input", normal(b)), ("input", normal(a))], {"axis": axis}) for a, b, axis in joined]
        return made + [Case(op, [("param", normal(a)), ("param", normal(b))], {"axis": axis})
                       for a, b, axis in [*joined, ((3,), (4,), 0), ((20, 37), (5, 37), 0)]]  # fmt: skip
    if rule in ("SLICE", "PAD"):
        cut = [((4, 9), 1, 2, 5), ((5, 512), 1, 256, 256), ((3, 6, 5), 1, 2, 3), ((3, 6, 5), 2, 4, 1), ((2, 3, 5, 4), 2, 0, 2)]
        lone = [(s, axis - 1, start, size) for (_, *s), axis, start, size in cut] + [((20, 37), 0, 3, 9)]
        made = []
        for kind, (*s, axis, start, size) in [("input", (*c[0], *c[1:])) for c in cut] + [("param", (*c[0], *c[1:])) for c in lone]:
            whole, part = tuple(s), (*s[:axis], size, *s[axis + 1 :])
            x, y = (whole, part) if rule == "SLICE" else (part, whole)
            made.append(Case(op, [(kind, normal(x))], {"axis": axis, "start": start}, y, kind == "input"))
        return made
    if rule == "RESHAPE":
        shapes = [((4, 6), (4, 2, 3)), ((3, 2, 5), (3, 10)), ((2, 256), (2, 16, 16)), ((5, 1), (5,))]
        lone = [*shapes, ((20, 37), (37, 20)), ((1,), ()), ((), (1, 1))]
        return [Case(op, [(kind, normal(s))], None, t, kind == "input")
                for kind, pairs in (("input", shapes), ("param", lone)) for s, t in pairs]  # fmt: skip
    if rule in ("LOSS", "LOSS_GRAD", "LOSS_IDX", "LOSS_IDX_GRAD"):
        made = []
        for shape in [(1, 2), (3, 10), (33, 17), (4, 3, 5), (2, 40), (257, 3)]:
            targets = rng.integers(0, shape[-1], shape[:-1])
            if rule.startswith("LOSS_IDX"):
                target = targets
            elif "cce" in op or op == "categorical_accuracy":
                target = np.eye(shape[-1])[targets]
            elif "bce" in op or op == "binary_accuracy":
                target = (rng.random(shape) < 0.5).astype(float)
            else:
                target = normal(shape)
            prediction = probabilities(rng, shape) if "ce" in op.split("_")[0] or "accuracy" in op else normal(shape)
            if "logits" in op and not op.endswith("_grad"):
                prediction = normal(shape)
            inputs = [("input", prediction), ("target" if target.dtype.kind == "i" else "input", target)]
            if rule.endswith("_GRAD"):
                inputs.insert(0, ("input", rng.uniform(0.1, 1, shape[:-1])))
            made.append(Case(op, inputs, variants(op)[0]))
        return made
    if rule == "SEED":
        return [Case(op, [("weight", rng.uniform(0, 2, s[0]))], variants(op)[0], s) for s in [(1,), (7,), (3, 4), (2, 3, 5)]]
    if rule == "SCALAR":
        return [Case(op, [("param", normal(s))], variants(op)[0]) for s in FLAT]
    if rule == "CLIP":
        return [Case(op, [("param", normal(s)), ("param", np.array(v))], variants(op)[0]) for s in FLAT for v in (0.2, 30.0)]
    if rule in ("NORM", "NORM_GRAD"):
        made = []
        for shape in [*BATCHED, (3, 700)]:
            x, epsilon = normal(shape) + 10 * (shape[-1] > 1), 1e-3
            y, scale = xp.layer_norm(x, epsilon)
            given = [("input", normal(shape)), ("input", y), ("input", scale)] if op.endswith("_grad") else [("input", x)]
            made.append(Case(op, given, {} if op.endswith("_grad") else {"epsilon": epsilon}))
        return made
    if rule in ("MOMENTS", "MOMENTS_GRAD"):
        made = []
        for shape in [*BATCHED, (9, 700), (150, 5, 3)]:
            x = normal(shape) + 10
            d = [("param", normal(shape[-1:])) for _ in range(2)]
            made.append(Case(op, [*d, ("input", x), ("param", xp.batch_moments(x)[0])] if op.endswith("_grad") else [("input", x)]))
        return made
    if rule in ("EMBED", "EMBED_GRAD"):
        made = []
        for v, d, index in [(1, 1, (1,)), (5, 7, (3,)), (3, 40, (20, 4)), (50, 256, (6,)), (9, 16, (2, 3, 2)), (11, 33, (150,))]:
            index = rng.integers(0, v, index)
            dy = normal((*index.shape, d))
            made.append(Case(op, [("param", normal((v, d))), ("input", index)]) if rule == "EMBED"
                        else Case(op, [("input", dy), ("input", index)], None, (v, d), batched=False))  # fmt: skip
        return made
    if rule == "RANDOM":
        given = [{"low": -1, "high": 2.5, "key": 3}, {"low": 4, "high": 4, "key": 0}]
        if op == "random_normal":
            given = [{"mean": 0.5, "stddev": 2, "key": 3}, {"mean": 0, "stddev": 0, "key": 65535}]
        return [Case(op, [], attrs, shape) for shape in [*BATCHED, (2, 6, 5, 3), (3, 1000)] for attrs in given]
    if rule == "WARP":
        made = []
        for shape in [(1, 1, 1, 1), (2, 5, 7, 1), (3, 8, 6, 3), (2, 3, 150, 2), (1, 16, 16, 9)]:
            m = np.concatenate([np.tile([1, 0, 0, 0, 1, 0], (shape[0], 1)) + rng.normal(size=(shape[0], 6)) * [0.4, 0.4, 3, 0.4, 0.4, 3]])
            for fill_mode in range(4):
                for nearest in (0, 1):
                    attrs = {"fill_mode": fill_mode, "fill_value": 0.7, "nearest": nearest}
                    made.append(Case(op, [("input", normal(shape)), ("input", m)], attrs))
        flip = np.array([[1.0, 0, 0, 0, -1, 4]])
        return [*made, Case(op, [("input", normal((1, 3, 5, 2))), ("input", flip)], {"fill_mode": 0, "fill_value": 0, "nearest": 0})]
    raise NotImplementedError(f"{op} has the rule {rule}, for which there are no cases yet")


OPS = [op for op, info in _core.OPS.items() if info.rule != "UPDATE"]


def sparse_rows(rng, rows, cols, density, index=np.int64):
    """Rows in no order, with values that share a column, and every fourth row empty."""
    counts = rng.binomial(2 * cols, density / 2, rows) * (np.arange(rows) % 4 != 3)
    indptr = np.concatenate([[0], np.cumsum(counts)]).astype(index)
    return Rows(rng.normal(size=indptr[-1]), rng.integers(0, cols, indptr[-1]).astype(index), indptr, (rows, cols))


def skip_unless_possible(op, dtype):
    if _core.OPS[op].rule == "MATMUL_INT8" and dtype == "float64":
        pytest.skip("Programs of float64 have no int8")


def relative(a, b):
    scale = np.abs(b).max(initial=0)
    return np.abs(a - b).max(initial=0) / scale if scale else np.abs(a).max(initial=0)


@pytest.fixture(autouse=True)
def threads_as_before():
    before = _core.get_threads()
    yield
    _core.set_threads(before)


@pytest.mark.parametrize("isa", _core.isas())
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("op", OPS)
def test_values(op, dtype, isa):
    skip_unless_possible(op, dtype)
    for case in cases_of(op):
        made, expected = case.run(dtype, isa), case.expected(dtype)
        assert len(made) == len(expected)
        for a, b in zip(made, expected):
            assert a.shape == b.shape
            shapes = [v.shape for _, v in case.inputs]
            assert relative(a, b) <= TOLERANCE[dtype] * max(1, math.sqrt(shapes[0][-1] if shapes and shapes[0] else 1) / 8), (shapes, case.attrs)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("op", [op for op in OPS if _core.OPS[op].inputs and "csr" not in op and "param" not in {k for k, _ in cases_of(op)[0].inputs}])
def test_strides_and_byte_order(op, dtype):
    """The same bits from arrays that are reversed, transposed, cut from larger ones, unaligned or of the other byte order."""

    def cut(a):
        big = np.zeros(tuple(2 * n + 1 for n in a.shape), a.dtype)
        view = big[tuple(slice(1, None, 2) for _ in a.shape)]
        view[...] = a
        return view

    def reverse(a):
        return np.ascontiguousarray(np.flip(a))[(slice(None, None, -1),) * a.ndim]

    def unaligned(a):
        raw = np.zeros(a.nbytes + 1, np.uint8)[1:]
        view = raw.view(a.dtype).reshape(a.shape)
        view[...] = a
        view.flags.writeable = False
        return view

    def swap(a):
        return a.astype(a.dtype.newbyteorder())

    for case in cases_of(op)[1::2]:
        plain = case.run(dtype, None)
        for wrap in (cut, reverse, unaligned, swap, np.asfortranarray):
            for a, b in zip(case.run(dtype, None, wrap=wrap), plain):
                assert a.tobytes() == b.tobytes(), wrap


@pytest.mark.parametrize("isa", _core.isas())
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("rule", ["MATMUL", "MATMUL_NT", "MATMUL_TN", "MATMUL_CSR", "MATMUL_CSR_TN"])
def test_threads_give_the_same_bits(rule, dtype, isa):
    op = rule.lower()
    rng = np.random.default_rng(3)
    x, w, dy = rng.normal(size=(203, 311)), rng.normal(size=(311, 173)), rng.normal(size=(203, 173))
    rows = sparse_rows(rng, 203, 311, 0.1)
    inputs = {"MATMUL": [("input", x), ("param", w)], "MATMUL_NT": [("input", dy), ("param", w)],
              "MATMUL_TN": [("input", x), ("input", dy)], "MATMUL_CSR": [("input", rows), ("param", w)],
              "MATMUL_CSR_TN": [("input", rows), ("input", dy)]}[rule]  # fmt: skip
    case = Case(op, inputs)
    alone = case.run(dtype, isa)[0]
    for threads in (2, 3, 5):
        assert case.run(dtype, isa, threads)[0].tobytes() == alone.tobytes()


@pytest.mark.parametrize("op", ["matmul", "matmul_csr", "matmul_int8", "softmax", "log_softmax", "tanh", "bias_add", "multiply", "power", "erf", "sum_to", "max_to"])
@pytest.mark.parametrize("dtype", DTYPES)
def test_a_row_alone_has_the_bits_it_has_in_a_batch(op, dtype):
    skip_unless_possible(op, dtype)
    for case in cases_of(op):
        if all(kind == "param" for kind, _ in case.inputs):
            continue
        batch = case.run(dtype, None)[0]
        for row in {0, len(batch) // 2, len(batch) - 1}:
            shape = None if case.shape is None else (1, *case.shape[1:])
            alone = Case(op, [(k, v if k == "param" else v[row : row + 1]) for k, v in case.inputs], case.attrs, shape)
            assert alone.run(dtype, None)[0].tobytes() == batch[row : row + 1].tobytes()


@pytest.mark.parametrize("isa", _core.isas())
def test_int8_products_have_the_same_bits_everywhere(isa):
    for case in cases_of("matmul_int8"):
        x, w, scale = (v if v.dtype == np.int8 else v.astype("float32") for _, v in case.inputs)
        assert case.run("float32", isa)[0].tobytes() == xp.matmul_int8(x, w, scale).tobytes(), x.shape


@pytest.mark.parametrize("isa", _core.isas())
def test_int8_product_by_hand(isa):
    """The largest is 3, so e = 2 and numbers are rounded to multiples of 2^-12; q = 12288, -2048, 0 (a tie), 2."""
    x = np.array([[3.0, -0.5, 2**-13, 3 * 2**-13], [0, 0, 0, 0]])
    case = Case("matmul_int8", [("input", x), ("param", np.array([[127, 1], [-3, 1], [5, 1], [7, 1]], np.int8)),
                                ("param", np.array([0.5, 2.0]))])  # fmt: skip
    first, second = (12288 * 127 + 2048 * 3 + 2 * 7) * 2**-12 * 0.5, (12288 - 2048 + 2) * 2**-12 * 2.0
    assert case.run("float32", isa)[0].tolist() == [[first, second], [0, 0]]
    assert xp.matmul_int8(x, *(v for _, v in case.inputs[1:])).tolist() == [[first, second], [0, 0]]


# ---- derivatives ----

DIFFERENTIABLE = [op for op in OPS if f"{op}_grad" in _core.OPS and _core.OPS[op].rule in ("SAME", "LOSS", "LOSS_IDX") and op not in ("step", "mix")]


def numeric(f, x, weights, h=1e-6):
    """d sum(weights * f(x)) / dx by central differences."""
    g = np.zeros_like(x)
    for i in np.ndindex(x.shape):
        a, b = x.copy(), x.copy()
        a[i] += h
        b[i] -= h
        g[i] = ((f(a) - f(b)) * weights).sum() / (2 * h)
    return g


@pytest.mark.parametrize("isa", _core.isas())
@pytest.mark.parametrize("op", DIFFERENTIABLE)
def test_derivatives_of_unary_ops_and_losses(op, isa):
    info = _core.OPS[op]
    for case in [c for c in cases_of(op) if np.prod(c.inputs[0][1].shape) <= 130]:
        (kind, x), *rest = case.inputs

        def forward(value):
            return Case(op, [(kind, value), *rest], case.attrs).run("float64", isa)[0]

        y = forward(x)
        weights = np.random.default_rng(5).uniform(0.5, 1.5, y.shape)
        if info.rule == "SAME":
            inputs = [("input", weights), ("input", x if info.needs == "X" else y)]
        else:
            known = case.run("float64", isa)[1] if info.outputs == 2 else x
            inputs = [("input", weights), ("input", known), *rest]
        given = Case(f"{op}_grad", inputs, case.attrs).run("float64", isa)[0]
        assert relative(given, numeric(forward, x, weights)) <= 1e-6, (x.shape, case.attrs)


STATED = [op for op, info in _core.OPS.items() if info.rule in ("MAP", "REDUCE", "BROADCAST", "CONCAT", "SLICE", "PAD", "RESHAPE", "TRANSPOSE")
          or op == "mean_rows"]  # fmt: skip


@pytest.mark.parametrize("op", STATED)
def test_derivatives_stated_in_other_ops(op):
    """The gradients of sum(weights * y) that the engine computes by the program which the differentiator made."""
    rng = np.random.default_rng(9)
    for case in [c for c in cases_of(op) if sum(v.size for _, v in c.inputs) <= 70]:
        program, ids, (made,) = case.program("float64")
        program.roots.clear()
        weights = rng.uniform(0.5, 1.5, np.shape(case.expected("float64")[0]))
        batched = program.tensors[made].batched
        seed = program.add_tensor("input" if batched else "param", program.tensors[made].shape)
        doubled = program.add_node("affine", (seed,), {"scale": 2, "shift": 0})  # gradients are never tensors that are given
        found, _ = differentiate(Builder.over(program, []), [(made, doubled)], ids)
        gradients = {i: found[i] for i in ids if i in found}
        for i in gradients:
            program.add_root("grad", gradients[i], i)
        given = [*zip(ids, case.inputs), (seed, ("input" if batched else "param", weights))]
        engine = _core.Engine(program.text())
        rows = max([len(v) for _, (kind, v) in given if kind != "param"], default=1)
        session = engine.session("gradients", rows, guard=True)
        for i, (kind, value) in given:
            if kind == "param":
                engine.param(i).write(np.ascontiguousarray(value))
            else:
                session.bind(i, value)
        session.begin(rows, rows)
        assert session.run(-1, -1.0, 0.0) == (1, True)
        session.check()
        for k, (i, (kind, value)) in enumerate(zip(ids, case.inputs)):

            def forward(v, k=k):
                moved = [(n, v if j == k else x) for j, (n, x) in enumerate(case.inputs)]
                return Case(op, moved, case.attrs, case.shape, case.given is None or case.given[:1] == (None,)).expected("float64")[0]

            expected = numeric(forward, value, 2 * weights)
            if i not in gradients:
                assert not expected.any() or op in ("less", "less_equal", "equal", "argmax") or (op, k) == ("where", 0), op  # steps
                continue
            made_here = np.full_like(value, np.nan)
            session.gradient(list(gradients).index(i), made_here)
            assert relative(made_here, expected) <= 1e-6, (op, k, [v.shape for _, v in case.inputs])


@pytest.mark.parametrize("isa", _core.isas())
def test_derivatives_of_products(isa):
    rng = np.random.default_rng(1)
    x, w, dy = rng.normal(size=(5, 7)), rng.normal(size=(7, 9)), rng.normal(size=(5, 9))

    def product(x, w):
        return Case("matmul", [("input", x), ("param", w)]).run("float64", isa)[0]

    by_x = Case("matmul_nt", [("input", dy), ("param", w)]).run("float64", isa)[0]
    by_w = Case("matmul_tn", [("input", x), ("input", dy)]).run("float64", isa)[0]
    assert relative(by_x, numeric(lambda v: product(v, w), x, dy)) <= 1e-6
    assert relative(by_w, numeric(lambda v: product(x, v), w, dy)) <= 1e-6


@pytest.mark.parametrize("isa", _core.isas())
def test_derivative_of_the_penalty(isa):
    w = np.random.default_rng(2).normal(size=(4, 6))
    attrs = {"l1": 0.3, "l2": 0.7}

    def penalty(v):
        return Case("penalty", [("param", v)], attrs).run("float64", isa)[0]

    given = Case("penalty_grad", [("param", np.zeros_like(w)), ("param", w)], attrs).run("float64", isa)[0]
    assert relative(given, numeric(penalty, w, 1.0)) <= 1e-6


@pytest.mark.parametrize("isa", _core.isas())
def test_derivatives_of_normalisation_tables_and_pictures(isa):
    rng = np.random.default_rng(6)

    def run(op, *inputs, shape=None, **attrs):
        return Case(op, inputs, attrs, shape, batched=False).run("float64", isa)

    def row(x):
        return ("input", x)

    x, dy = rng.normal(size=(4, 3, 5)) + 3, rng.normal(size=(4, 3, 5))
    y, scale = run("layer_norm", row(x), epsilon=1e-3)
    made = run("layer_norm_grad", row(dy), row(y), row(scale))[0]
    assert relative(made, numeric(lambda v: run("layer_norm", row(v), epsilon=1e-3)[0], x, dy)) <= 1e-6

    by_mean, by_variance = rng.normal(size=(2, 5))
    made = run("batch_moments_grad", ("param", by_mean), ("param", by_variance), row(x), ("param", run("batch_moments", row(x))[0]))[0]
    by_x = numeric(lambda v: np.stack(run("batch_moments", row(v))), x, np.stack([by_mean, by_variance]))
    assert relative(made, by_x) <= 1e-6

    table, index, dy = rng.normal(size=(6, 5)), rng.integers(0, 6, (4, 3)), rng.normal(size=(4, 3, 5))
    made = run("embedding_grad", row(dy), row(index), shape=(6, 5))[0]
    assert relative(made, numeric(lambda v: run("embedding", ("param", v), row(index))[0], table, dy)) <= 1e-6

    x, dy = rng.normal(size=(3, 4, 5, 2)), rng.normal(size=(3, 4, 5, 2))
    m = np.tile([1.0, 0, 0, 0, 1, 0], (3, 1)) + rng.normal(size=(3, 6)) * [0.4, 0.4, 3, 0.4, 0.4, 3]
    for fill_mode in range(4):
        for nearest in (0, 1):
            attrs = {"fill_mode": fill_mode, "fill_value": 0.7, "nearest": nearest}
            made = run("warp_grad", row(dy), row(m), **attrs)[0]
            assert relative(made, numeric(lambda v: run("warp", row(v), row(m), **attrs)[0], x, dy)) <= 1e-6
    x, dy = rng.normal(size=(5, 4)), rng.normal(size=(5, 4))
    made = run("mix_grad", row(dy), alpha=0.4, key=2)[0]
    assert relative(made, numeric(lambda v: run("mix", row(v), alpha=0.4, key=2)[0], x, dy)) <= 1e-6


@pytest.mark.parametrize("isa", _core.isas())
@pytest.mark.parametrize("dtype", DTYPES)
def test_threads_give_the_same_moments_tables_and_mixtures(dtype, isa):
    rng = np.random.default_rng(8)
    x, index, rows = rng.normal(size=(701, 300)), rng.integers(0, 90, 701), rng.normal(size=(701, 300))
    cases = [Case("batch_moments", [("input", x)]), Case("embedding_grad", [("input", rows), ("input", index)], None, (90, 300), batched=False),
             Case("mix", [("input", x)], {"alpha": 2.0, "key": 1}), Case("layer_norm", [("input", x)], {"epsilon": 1e-3}),
             Case("random_normal", [], {"mean": 0, "stddev": 1, "key": 4}, (701, 300))]  # fmt: skip
    for case in cases:
        alone = case.run(dtype, isa)
        for threads in (2, 3):
            for a, b in zip(case.run(dtype, isa, threads), alone, strict=True):
                assert a.tobytes() == b.tobytes(), case.op


@pytest.mark.parametrize("dtype", DTYPES)
def test_a_mean_far_from_zero_costs_no_digits(dtype):
    """The variance of numbers that differ in their last digits alone."""
    x = 1000 + np.random.default_rng(2).integers(-4, 5, (300, 40)) * 2.0**-7
    mean, variance = Case("batch_moments", [("input", x)]).run(dtype, None)
    assert np.allclose(variance, x.var(axis=0), rtol=1e-4)
    y = Case("layer_norm", [("input", x)], {"epsilon": 0}).run(dtype, None)[0]
    assert np.allclose(y.std(axis=-1), 1, rtol=1e-3)


# ---- chance ----


def drawn(op, shape, dtype="float32", **attrs):
    return Case(op, [], attrs, shape).run(dtype, None)[0]


def furthest(values, cdf):
    """The largest distance between the empirical distribution and `cdf` (Kolmogorov's statistic times sqrt(n))."""
    ordered, n = np.sort(values.ravel().astype(np.float64)), values.size
    expected, steps = cdf(ordered), np.arange(n + 1) / n
    return max(np.abs(expected - steps[1:]).max(), np.abs(expected - steps[:-1]).max()) * math.sqrt(n)


@pytest.mark.parametrize("dtype", DTYPES)
def test_draws_have_their_distribution(dtype):
    """Kolmogorov's statistic stays below 1.95 with probability 0.999; the seed is fixed."""
    normal = drawn("random_normal", (100, 400), dtype, mean=1.5, stddev=0.5, key=1)
    cdf = np.vectorize(lambda v: 0.5 * math.erfc((1.5 - v) / 0.5 / math.sqrt(2)))
    assert furthest(normal, cdf) < 1.95
    uniform = drawn("random_uniform", (100, 400), dtype, low=-1, high=3, key=1)
    assert furthest(uniform, lambda v: (v + 1) / 4) < 1.95
    for values in (normal, uniform):  # neither neighbours nor samples go together
        centred = values - values.mean()
        for other in (np.roll(centred, 1, axis=1), np.roll(centred, 1, axis=0)):
            assert abs((centred * other).mean() / centred.var()) < 4 / math.sqrt(values.size)


def test_uniform_draws_never_reach_their_end():
    """In float32 the sum of the start and a share of the range may be rounded up to the end."""
    for low, high in ((1, 1 + 2.0**-22), (-(2.0**-120), 0), (-1, -1 + 2.0**-23)):
        made = drawn("random_uniform", (50, 64), low=low, high=high, key=0)
        assert np.all(made >= np.float32(low)) and np.all(made < np.float32(high))


def test_draws_belong_to_samples():
    """A sample's draws do not depend on the batch that it stands in."""
    for op, attrs in (("random_normal", {"mean": 0, "stddev": 1, "key": 7}), ("random_uniform", {"low": 0, "high": 1, "key": 7})):
        whole = drawn(op, (9, 5, 3), **attrs)
        program = Program("float32")
        out = program.add_node(op, [], attrs, (None, 5, 3))
        program.add_root("output", out, name="out")
        session = _core.Engine(program.text()).session("predict", 4)
        made = np.empty((9, 5, 3), np.float32)
        session.bind(out, made)
        session.begin(9, 4, seed=11, epoch=3)
        session.run(-1, -1.0, 0.0)
        assert made.tobytes() == whole.tobytes()
        assert not np.any(drawn(op, (9, 5, 3), **{**attrs, "key": 8}) == whole)


BETA = {  # alpha: distribution function of Beta(alpha, alpha)
    0.5: lambda x: 2 / np.pi * np.arcsin(np.sqrt(x)),
    1: lambda x: x,
    2: lambda x: x * x * (3 - 2 * x),
    3: lambda x: x**3 * (10 - 15 * x + 6 * x * x),
}


@pytest.mark.parametrize("alpha", BETA)
def test_pairs_are_mixed_by_beta_draws(alpha):
    pairs = 4000
    x = np.concatenate([np.ones((pairs, 1)), np.zeros((pairs, 1))])
    made = Case("mix", [("input", x)], {"alpha": alpha, "key": 3}).run("float64", None)[0]
    share = made[:pairs]
    assert np.allclose(made[pairs:], 1 - share[::-1])
    assert furthest(share, BETA[alpha]) < 1.95


def test_tiny_alpha_mixes_nothing():
    x = np.array([[1.0], [0.0]] * 50)
    made = Case("mix", [("input", x)], {"alpha": 1e-3, "key": 3}).run("float64", None)[0]
    assert np.all((made < 1e-6) | (made > 1 - 1e-6)) and 0 < made.mean() < 1


# ---- optimizers ----


@pytest.mark.parametrize("isa", _core.isas())
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("op, attrs", [(op, a) for op, all_ in OPTIMIZERS.items() for a in all_])
def test_updates(op, attrs, dtype, isa):
    rng = np.random.default_rng(4)
    for shape in FLAT:
        w, gradients = rng.normal(size=shape).astype(dtype), rng.normal(size=(5, *shape)).astype(dtype)
        program = Program(dtype)
        i, j = (program.add_tensor("param", shape) for _ in range(2))
        program.add_node(op, (i, j), attrs)
        engine = _core.Engine(program.text(), isa=isa)
        engine.param(i).write(w)
        session = engine.session("train", 1, guard=True)
        session.begin(5, 1)
        known, slots = w.astype(float), [np.zeros(shape)] * xp.slot_count(op, attrs)
        for step, lr in enumerate(np.linspace(0.1, 0.05, 5)):
            engine.param(j).write(gradients[step])
            assert session.run(1, -1.0, lr) == (1, step == 4)
            known, slots = getattr(xp, op)(known, gradients[step].astype(float), slots, lr, step + 1, **attrs)
        session.check()
        made = np.empty(shape, dtype)
        engine.param(i).read(made)
        assert relative(made, known) <= 10 * TOLERANCE[dtype]
        assert engine.iterations == 5 and engine.slots == len(slots)
        for s, moment in enumerate(slots):
            assert engine.read([(i, s, made)]) == 5
            assert relative(made, moment) <= 10 * TOLERANCE[dtype]


def test_nadam_goes_on_from_any_update():
    """A session that starts at a later update, or repeats one, has the coefficients of one that never stopped."""
    attrs = {"beta_1": 0.9, "beta_2": 0.99, "epsilon": 1e-7, "weight_decay": 0}
    w, g = np.linspace(-1, 1, 7), np.linspace(0.1, 0.7, 7)
    made = []
    for starts in ([0], [0, 3, 4, 9]):
        program = Program("float64")
        i, j = (program.add_tensor("param", (7,)) for _ in range(2))
        program.add_node("nadam", (i, j), attrs)
        engine = _core.Engine(program.text())
        engine.param(i).write(w)
        engine.param(j).write(g)
        for first, last in zip(starts, [*starts[1:], 12]):
            session = engine.session("train", 1)
            session.begin(last - first, 1)
            session.run(-1, -1.0, 0.1)
        made.append(np.empty(7))
        engine.param(i).read(made[-1])
    assert made[0].tobytes() == made[1].tobytes()


def test_every_optimizer_has_cases():
    assert {op for op, info in _core.OPS.items() if info.rule == "UPDATE"} == set(OPTIMIZERS)


# ---- the whole range, and what is not a number ----


@pytest.mark.parametrize("isa", _core.isas())
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("op", [op for op in OPS if _core.OPS[op].needs != "NONE" and _core.OPS[op].rule == "SAME" and "softmax" not in op])
def test_activations_over_the_whole_range(op, dtype, isa):
    """Large arguments neither overflow nor lose their sign, and zero stays zero where it should."""
    x = np.array([[0.0, -0.0, 1e-30, -1e-30, 1e-6, -1e-6, 0.5, -0.5, 20, -20, 80, -80, 700, -700, 1e5, -1e5, 3e37, -3e37]])
    with np.errstate(over="ignore", invalid="ignore"):
        for attrs in variants(op):
            case = Case(op, [("input", x)], attrs)
            made, expected = case.run(dtype, isa)[0], case.expected(dtype)[0]
            if op == "gelu" and attrs["approximate"]:
                expected = np.where(np.abs(x) > 1e5, np.maximum(x, 0), expected)  # the cube overflows in NumPy's formula
            tiny = np.finfo(dtype).tiny
            np.testing.assert_allclose(made, expected.astype(dtype), rtol=8 * np.finfo(dtype).eps if op not in ("gelu", "mish") else 3e-6 if dtype == "float32" else 1e-13, atol=tiny)
