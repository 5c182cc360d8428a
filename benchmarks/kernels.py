"""Single ops beside the same calls in NumPy: products as GFLOP/s, the others as nanoseconds an element."""

import numpy as np

from fastnn import _core
from fastnn.graph import Program

from .rounds import interleave, summary

PRODUCTS = (  # rows, k, n
    (10, 8, 8), (32, 64, 64), (128, 784, 128), (128, 512, 512), (256, 1024, 1024), (1024, 4096, 4096),
)
POINTWISE = (256, 512)  # rows, columns
CHAIN = 8               # so many in a row, so that copying the batch in and out hardly counts
ATTRIBUTES = {"negative_slope": 0.2, "alpha": 1.0, "rate": 0.5}  # 0 for all others
NUMPY = {               # ops that are one or few calls in NumPy: (inputs ..., out)
    "relu": lambda x, out: np.maximum(x, np.float32(0), out=out),
    "tanh": lambda x, out: np.tanh(x, out=out),
    "sigmoid": lambda x, out: _sigmoid(x, out),
    "softmax": lambda x, out: _softmax(x, out),
    "add": lambda x, y, out: np.add(x, y, out=out),
    "multiply": lambda x, y, out: np.multiply(x, y, out=out),
}


def _sigmoid(x, out):
    np.exp(np.negative(x, out=out), out=out)
    return np.reciprocal(np.add(out, np.float32(1), out=out), out=out)


def _softmax(x, out):
    np.subtract(x, x.max(axis=1, keepdims=True), out=out)
    np.exp(out, out=out)
    return np.divide(out, out.sum(axis=1, keepdims=True), out=out)


def _runner(program, mode, arrays):
    """A function that runs one step of the program over all rows of the bound arrays."""
    rows = len(next(iter(arrays.values())))
    session = _core.Engine(program.text()).session(mode, rows)
    for tensor, array in arrays.items():
        session.bind(tensor, array)
    for root in program.roots_of("output"):
        session.bind(root.tensor, np.empty((rows, *program.tensors[root.tensor].shape[1:]), np.float32))

    def run():
        session.begin(rows, rows, check_finite=False)
        session.run(-1, -1.0, 1e-3)

    return run


def _normal(*shape):
    return np.random.default_rng(0).standard_normal(shape, dtype=np.float32)


def product(op, rows, k, n):
    """(fastnn, NumPy, flops) of one of "matmul", "matmul_nt", "matmul_tn" and "matmul_tn+adam"."""
    x, w, dy = _normal(rows, k), _normal(k, n), _normal(rows, n)
    program = Program()
    a = program.add_tensor("input", (None, k if op != "matmul_nt" else n))
    arrays = {a: x if op != "matmul_nt" else dy}
    weight = program.add_tensor("param", (k, n))
    mode = "predict"
    if op.startswith("matmul_tn"):
        b = program.add_tensor("input", (None, n))
        arrays[b] = dy
        gradient = program.add_node("matmul_tn", [a, b])
        if op == "matmul_tn":
            mode = "gradients"
            program.add_root("grad", gradient, weight)
        else:
            mode = "train"
            program.add_node("adam", [weight, gradient], {
                "beta_1": 0.9, "beta_2": 0.999, "epsilon": 1e-7, "amsgrad": 0, "weight_decay": 0,
            })
    else:
        program.add_root("output", program.add_node(op, [a, weight]), name="y")
    out = np.empty({"matmul": (rows, n), "matmul_nt": (rows, k)}.get(op, (k, n)), np.float32)
    plain = {
        "matmul": lambda: np.dot(x, w, out=out),
        "matmul_nt": lambda: np.dot(dy, w.T, out=out),
    }.get(op, lambda: np.dot(x.T, dy, out=out))
    return _runner(program, mode, arrays), plain, 2 * rows * k * n


def pointwise(op):
    """(fastnn, NumPy or None, elements) of a chain of ops that keep their input's shape."""
    rows, columns = POINTWISE
    info = _core.OPS[op]
    program = Program()
    ids = [program.add_tensor("input", (None, columns)) for _ in range(info.inputs)]
    arrays = {i: _normal(rows, columns) for i in ids}
    at = ids[0]
    for _ in range(CHAIN):
        at = program.add_node(op, [at, *ids[1:]], {name: ATTRIBUTES.get(name, 0) for name in info.attrs})
    program.add_root("output", at, name="y")
    plain = None
    if op in NUMPY:
        out = np.empty((rows, columns), np.float32)

        def plain():
            for _ in range(CHAIN):
                NUMPY[op](*arrays.values(), out)

    return _runner(program, "predict", arrays), plain, rows * columns * CHAIN


def pointwise_ops():
    """Ops that keep the shape of a batch, but for the few that have no arithmetic or work on parameters."""
    apart = {"penalty_grad", "clip_value", "dropout", "step_grad"}
    return [name for name, info in _core.OPS.items() if info.rule == "SAME" and name not in apart]


def run(quick):
    """Rows of both tables: {"products": {name: row}, "pointwise": {name: row}}."""
    rounds, least = (3, 0.01) if quick else (7, 0.05)
    tables = {"products": {}, "pointwise": {}}
    for shape in PRODUCTS[:-1] if quick else PRODUCTS:
        for op in ("matmul", "matmul_nt", "matmul_tn", "matmul_tn+adam"):
            own, plain, flops = product(op, *shape)
            row = summary(interleave({"fastnn": own, "numpy": plain}, rounds, least))
            for side in row.values():
                side["gflops"] = flops / side["median"] * 1e-9
            tables["products"][f"{op} {'x'.join(map(str, shape))}"] = row
    for op in pointwise_ops():
        own, plain, elements = pointwise(op)
        sides = {"fastnn": own} | ({"numpy": plain} if plain else {})
        row = summary(interleave(sides, rounds, least))
        for side in row.values():
            side["ns"] = side["median"] / elements * 1e9
        tables["pointwise"][op] = row
    return tables
