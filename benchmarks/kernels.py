"""Single ops beside the same calls in NumPy: products as GFLOP/s, pointwise ops as nanoseconds an element.

What only moves memory stands beside a copy of as many bytes, made by as many threads.
"""

from concurrent.futures import ThreadPoolExecutor

import numpy as np

from fastnn import _core
from fastnn.graph import Program

from .rounds import clock, interleave, summary

PRODUCTS = (  # rows, k, n
    (10, 8, 8), (32, 64, 64), (128, 784, 128), (128, 512, 512), (256, 1024, 1024), (1024, 4096, 4096),
)
POINTWISE = (256, 512)  # rows, columns
CHAIN = 8               # so many in a row, so that copying the batch in and out hardly counts
OPTIMIZERS = {          # their settings do not change what they move
    "sgd": {"momentum": 0.9, "nesterov": 0, "weight_decay": 0},
    "rmsprop": {"rho": 0.9, "momentum": 0, "epsilon": 1e-7, "centered": 0, "weight_decay": 0},
    "adam": {"beta_1": 0.9, "beta_2": 0.999, "epsilon": 1e-7, "amsgrad": 0, "weight_decay": 0},
    "adagrad": {"initial_accumulator_value": 0.1, "epsilon": 1e-7, "weight_decay": 0},
    "adadelta": {"rho": 0.95, "epsilon": 1e-7, "weight_decay": 0},
    "nadam": {"beta_1": 0.9, "beta_2": 0.999, "epsilon": 1e-7, "weight_decay": 0},
    "lion": {"beta_1": 0.9, "beta_2": 0.99, "weight_decay": 0},
    "rprop": {"eta_minus": 0.5, "eta_plus": 1.2, "step_min": 1e-6, "step_max": 50},
    "moving_average": {"momentum": 0.99},
}
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
    rows = max(map(len, arrays.values()), default=1)
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
    if op == "power":
        arrays = {i: np.abs(a) for i, a in arrays.items()}
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
    apart = {"penalty_grad", "clip_value", "dropout", "step_grad", "in_training"}
    return [name for name, info in _core.OPS.items() if info.rule in ("SAME", "MAP") and name not in apart]


def _batch_case(op, inputs, attrs=None, shape=None, passes=1):
    """(fastnn, bytes) of one op on a batch: its operands, and the copies of a batch on its way in and out.

    `inputs` are (kind, array); `passes` says how often the op reads them.
    """
    program, arrays, moved = Program(), {}, 0
    for kind, array in inputs:
        shape_ = array.shape if kind == "param" else (None, *array.shape[1:])
        i = program.add_tensor(kind, shape_, "int32" if array.dtype.kind == "i" else None)
        if kind == "input":
            arrays[i] = array
            moved += 2 * array.nbytes
        moved += passes * array.nbytes
    made = program.add_node(op, list(range(len(inputs))), attrs, shape)
    mode = "predict"
    for out in made if isinstance(made, tuple) else (made,):
        tensor = program.tensors[out]
        if tensor.batched:
            program.add_root("output", out, name=f"y{out}")
            moved += 3 * 4 * int(np.prod((len(next(iter(arrays.values()))), *tensor.shape[1:])))
        else:
            mode = "gradients"
            program.add_root("grad", out, program.add_tensor("param", tensor.shape))
            moved += 4 * int(np.prod(tensor.shape))
    return _runner(program, mode, arrays), moved


def _update_case(op, elements=1 << 22):
    """(fastnn, bytes) of one update of a parameter: it and its moments read and written, its gradient read."""
    program = Program()
    w, g = (program.add_tensor("param", (elements,)) for _ in range(2))
    program.add_node(op, (w, g), OPTIMIZERS[op])
    engine = _core.Engine(program.text())
    engine.param(g).write(_normal(elements))
    session = engine.session("train", 1)

    def run():
        session.begin(1, 1)
        session.run(-1, -1.0, 1e-3)

    return run, 4 * elements * (3 + 2 * engine.slots)


def bandwidth_cases():
    """{name: function that makes (fastnn, bytes)}."""
    rows, columns = 4096, 512
    real, index = ("input", _normal(rows, columns)), np.random.default_rng(1).integers(0, 5000, rows).astype(np.int32)
    scale, vector = ("input", _normal(rows, 1)), ("param", _normal(columns))
    pictures, m = ("input", _normal(rows, 28, 28, 1)), np.tile(np.float32([1, 0.1, -2, -0.1, 1, 2]), (rows, 1))
    warp = {"fill_mode": 2, "fill_value": 0, "nearest": 0}
    table = ("param", _normal(5000, columns))
    matrices = ("input", _normal(rows, 16, 32))
    return {
        "add": lambda: _batch_case("add", [real, real]),
        "add to columns": lambda: _batch_case("add", [real, vector]),
        "add to rows": lambda: _batch_case("add", [real, scale]),
        "sum_to rows": lambda: _batch_case("sum_to", [real], shape=(None, 1)),
        "sum_to middle": lambda: _batch_case("sum_to", [matrices], shape=(None, 1, 32)),
        "max_to": lambda: _batch_case("max_to", [real], shape=(None, 1)),
        "argmax": lambda: _batch_case("argmax", [real], shape=(None, 1)),
        "mean_rows": lambda: _batch_case("mean_rows", [real]),
        "broadcast": lambda: _batch_case("broadcast", [scale], shape=(None, columns)),
        "transpose": lambda: _batch_case("transpose", [matrices], {"perm": 0 | 2 << 3 | 1 << 6}),
        "pad": lambda: _batch_case("pad", [real], {"axis": 1, "start": 8}, (None, columns + 16)),
        "slice": lambda: _batch_case("slice", [real], {"axis": 1, "start": 8}, (None, columns - 16)),
        "layer_norm": lambda: _batch_case("layer_norm", [real], {"epsilon": 1e-3}),
        "layer_norm_grad": lambda: _batch_case("layer_norm_grad", [real, real, scale]),
        "batch_moments": lambda: _batch_case("batch_moments", [real], passes=2),
        "batch_moments_grad": lambda: _batch_case("batch_moments_grad", [vector, vector, real, vector]),
        "embedding": lambda: _batch_case("embedding", [table, ("input", index)]),
        "embedding_grad": lambda: _batch_case("embedding_grad", [real, ("input", index)], shape=(5000, columns)),
        "warp": lambda: _batch_case("warp", [pictures, ("input", m)], warp),
        "warp_grad": lambda: _batch_case("warp_grad", [pictures, ("input", m)], warp),
        "mix": lambda: _batch_case("mix", [real], {"alpha": 0.2, "key": 0}, passes=2),
    } | {op: lambda op=op: _update_case(op) for op in OPTIMIZERS}


def copier(moved):
    """A function that copies half as many bytes as are moved, which reads and writes all of them."""
    threads = _core.get_threads()
    parts = [np.zeros(max(moved // 2 // threads, 1), np.uint8) for _ in range(threads)]
    pairs = [(np.empty_like(part), part) for part in parts]
    pool = ThreadPoolExecutor(threads)

    def copy():
        list(pool.map(lambda pair: np.copyto(*pair), pairs))

    return copy


def run(quick):
    """Rows of all tables: {"products": {name: row}, "pointwise": ..., "bandwidth": ...}."""
    rounds, least = (3, 0.01) if quick else (7, 0.05)
    tables = {"products": {}, "pointwise": {}, "bandwidth": {}}
    for shape in PRODUCTS[:-1] if quick else PRODUCTS:
        for op in ("matmul", "matmul_nt", "matmul_tn", "matmul_tn+adam"):
            own, plain, flops = product(op, *shape)
            row = summary(interleave({"fastnn": clock(own), "numpy": clock(plain)}, rounds, least))
            for side in row.values():
                side["gflops"] = flops / side["median"] * 1e-9
            tables["products"][f"{op} {'x'.join(map(str, shape))}"] = row
    for op in pointwise_ops():
        own, plain, elements = pointwise(op)
        sides = {"fastnn": clock(own)} | ({"numpy": clock(plain)} if plain else {})
        row = summary(interleave(sides, rounds, least))
        for side in row.values():
            side["ns"] = side["median"] / elements * 1e9
        tables["pointwise"][op] = row
    for name, make in bandwidth_cases().items():
        own, moved = make()
        row = summary(interleave({"fastnn": clock(own), "copy": clock(copier(moved))}, rounds, least))
        for side in row.values():
            side["gbs"] = moved / side["median"] * 1e-9
        tables["bandwidth"][name] = row
    return tables
