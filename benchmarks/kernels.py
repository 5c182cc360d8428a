"""Every op on several shapes and each instruction set: GFLOP/s or GB/s, and the share of the machine's limit.

An op's time is that of a program that has it `COPIES` times more than another, divided by that: what goes on
round the kernels, such as copying batches in, cancels out. Products stand beside multiply-adds in registers,
all other ops beside a copy that moves as many bytes as their operands and results have (an update's: the
parameter and its moments read and written, the gradient read).
"""

import math
import time
from dataclasses import dataclass, field
from functools import cache

import numpy as np

from fastnn import _core
from fastnn.bench.report import table
from fastnn.bench.rounds import interleave, summary
from fastnn.graph import Program

from .limit import Limit

TITLE = "Kernels, {isa} ({threads} threads, float32)"
DTYPE = "float32"
PRODUCTS = (  # rows, k, n
    (10, 8, 8), (32, 64, 64), (128, 784, 128), (128, 512, 512), (256, 1024, 1024), (1024, 4096, 4096),
)
SHAPES = ((32, 64), (256, 512), (4096, 512))  # rows, columns: for L1, for L2, for no core's own cache
COPIES = 8
TABLE = 5000            # rows of an embedding
IDLE = {"reshape", "in_training", "full"}  # ops that only say where data lies, or run once
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
ATTRIBUTES = {          # 0 for all others
    "negative_slope": 0.2, "alpha": 1.0, "rate": 0.5, "scale": 1.5, "epsilon": 1e-3, "delta": 1.0,
    "loss_weight": 1.0, "threshold": 0.5, "clip": 0.5, "l2": 1e-2, "high": 1.0, "stddev": 1.0,
}  # fmt: skip


@dataclass
class Case:
    """A node on its own; `inputs` are (kind, array), `shape` is its output's where its rule asks for one.

    With `update`, an optimizer's name, its output is the gradient of a parameter that the optimizer updates.
    """

    op: str
    rows: int
    inputs: list
    shape: tuple | None = None
    attrs: dict = field(default_factory=dict)
    update: str | None = None

    def runner(self, isa, copies):
        """A function that runs one step of a program with so many of the node; the bytes that one moves."""
        program, values = Program(DTYPE), {}

        def operands():
            ids = []
            for kind, array in self.inputs:
                shape = array.shape if kind == "param" else (None, *array.shape[1:])
                ids.append(program.add_tensor(kind, shape, "int32" if array.dtype.kind == "i" else DTYPE))
                values[ids[-1]] = kind, array
            return ids

        optimizer = self.op if self.op in OPTIMIZERS else self.update
        mode, ids = "train" if optimizer else "predict", operands()
        attrs = OPTIMIZERS.get(self.op) or {
            name: self.attrs.get(name, ATTRIBUTES.get(name, 0)) for name in _core.OPS[self.op].attrs
        }
        moved, updates = sum(array.nbytes for _, array in self.inputs), []
        if self.op == "embedding":  # reads no more of the table than it writes
            moved += 4 * self.rows * self.inputs[0][1].shape[1] - self.inputs[0][1].nbytes
        for copy in range(copies):
            if copy and self.op in OPTIMIZERS:
                ids = operands()  # a parameter has one update
            made = program.add_node(self.op, ids, attrs, self.shape)
            for out in made if isinstance(made, tuple) else () if made is None else (made,):
                shape = program.tensors[out].shape
                if copy == 0:
                    moved += 4 * math.prod(self.rows if d is None else d for d in shape)
                if program.tensors[out].batched:
                    program.add_root("output", out, name=f"y{out}")
                elif self.update:
                    updates.append((program.add_tensor("param", shape), out))
                else:
                    mode = "gradients"
                    program.add_root("grad", out, program.add_tensor("param", shape))
        for pair in updates:
            program.add_node(self.update, pair, OPTIMIZERS[self.update])
        engine = _core.Engine(program.text(), isa=isa)
        session = engine.session(mode, self.rows, training=self.op == "dropout")
        for tensor, (kind, array) in values.items():
            if kind == "param":
                engine.param(tensor).write(array)
            else:
                session.bind(tensor, array)
        if self.op in OPTIMIZERS:
            moved += (1 + 2 * engine.slots) * self.inputs[0][1].nbytes

        def run():
            session.begin(self.rows, self.rows, check_finite=False)
            session.run(-1, -1.0, 1e-3)

        return run, moved


@cache
def _normal(*shape):
    return np.random.default_rng(0).standard_normal(shape, dtype=np.float32)


@cache
def _probabilities(*shape):
    p = np.random.default_rng(1).uniform(0.05, 1, shape).astype(np.float32)
    return p / p.sum(axis=-1, keepdims=True)


@cache
def _indices(below, *shape):
    return np.random.default_rng(2).integers(0, below, shape).astype(np.int32)


def products(rows, k, n):
    """{name: case} of the products of a layer: forward, by its input, by its kernel, and with its update."""
    x, w, dy = ("input", _normal(rows, k)), ("param", _normal(k, n)), ("input", _normal(rows, n))
    return {
        "matmul": Case("matmul", rows, [x, w]),
        "matmul_nt": Case("matmul_nt", rows, [dy, w]),
        "matmul_tn": Case("matmul_tn", rows, [x, dy]),
        "matmul_tn, adam": Case("matmul_tn", rows, [x, dy], update="adam"),
    }


def variants(op, rows, columns):
    """{name: case} of an op that is no product, on a batch (rows, columns) or a parameter of that shape."""
    rule, count = _core.OPS[op].rule, _core.OPS[op].inputs
    x, column = ("input", _normal(rows, columns)), ("input", np.abs(_normal(rows, 1)))
    vector, matrix = ("param", _normal(columns)), ("param", _normal(rows, columns))
    cube, picture = ("input", _normal(rows, 16, columns // 16)), ("input", _normal(rows, 8, columns // 8, 1))
    affine = ("input", np.tile(np.float32([1, 0.1, -2, -0.1, 1, 2]), (rows, 1)))
    rows_of_table = ("input", _indices(TABLE, rows))
    if op in ("penalty_grad", "clip_value"):  # of parameters alone
        rule = "UPDATE"
    # By rule: the inputs, then the output's shape and the attributes where they are needed.
    given = {
        "SAME": {"": ([x] * count,)},
        "MAP": {"": ([("input", np.abs(x[1]) + np.float32(0.1))] * count,)}
               | ({", columns": ([x, vector],), ", rows": ([x, column],)} if op == "add" else {}),
        "BIAS": {"": ([x, vector],)},
        "SUM_ROWS": {"": ([x],)},
        "SPREAD": {"": ([vector], (None, columns))},
        "REDUCE": {"": ([x], (None, 1))}
                  | ({", middle": ([cube], (None, 1, columns // 16))} if op != "argmax" else {}),
        "BROADCAST": {"": ([column], (None, columns))},
        "MOMENTS": {"": ([x],)},
        "MOMENTS_GRAD": {"": ([vector, vector, x, vector],)},
        "NORM": {"": ([x],)},
        "NORM_GRAD": {"": ([x, x, column],)},
        "CONCAT": {"": ([x, x], None, {"axis": 1})},
        "SLICE": {"": ([x], (None, columns - 16), {"axis": 1, "start": 8})},
        "PAD": {"": ([x], (None, columns + 16), {"axis": 1, "start": 8})},
        "TRANSPOSE": {"": ([cube], None, {"perm": 0 | 2 << 3 | 1 << 6})},
        "EMBED": {"": ([("param", _normal(TABLE, columns)), rows_of_table],)},
        "EMBED_GRAD": {"": ([x, rows_of_table], (TABLE, columns))},
        "ONE_HOT": {"": ([("input", _indices(columns, rows))], (None, columns))},
        "TO_REAL": {"": ([("input", _indices(columns, rows, columns))],)},
        "RANDOM": {"": ([], (None, columns))},
        "WARP": {"": ([picture, affine], None, {"fill_mode": 2})},
        "SEED": {"": ([("weight", np.abs(_normal(rows)))], (None, columns))},
        "SCALAR": {"": ([matrix],)},
        "CLIP": {"": ([matrix, ("param", np.float32([30]).reshape(()))],)},
        "UPDATE": {"": ([matrix] * count,)},
    }  # fmt: skip
    p, seed = ("input", _probabilities(rows, columns)), ("input", np.abs(_normal(rows)))
    for name, target in (("LOSS", p), ("LOSS_IDX", ("target", _indices(columns, rows)))):
        given[name] = {"": ([p, target],)}
        given[f"{name}_GRAD"] = {"": ([seed, p, target],)}
    return {op + name: Case(op, rows, *settings) for name, settings in given[rule].items()}


def _clock(case, isa, least):
    """(clock of one node, bytes that it moves)."""
    (long, moved), (short, _) = case.runner(isa, 1 + COPIES), case.runner(isa, 1)
    turns = 1
    while _seconds(long, turns) < least:
        turns *= 2

    def seconds(repeats):
        return repeats * (_seconds(long, turns) - _seconds(short, turns)) / (COPIES * turns)

    return seconds, moved


def _seconds(function, turns):
    """The best of three: a difference of two times has the noise of both."""
    times = []
    for _ in range(3):
        start = time.perf_counter()
        for _ in range(turns):
            function()
        times.append(time.perf_counter() - start)
    return min(times)


def _row(case, limit, flops, rounds, least):
    """The row of a case: fastnn and the limit, with their rates in GFLOP/s or GB/s."""
    own, moved = _clock(case, limit.isa, least)
    bound = limit.clock(DTYPE, flops) if flops else limit.copy_clock(moved)
    row = summary(interleave({"fastnn": own, "limit": bound}, rounds, 0.0, settle=0.0), 1e-6)
    for side in row.values():
        side["rate"] = 1e-3 * (flops or moved) / side["median"]
    return row


def run(threads, quick):
    """{instruction set: {"products": {name: row}, "others": {name: row}}} of all that this processor runs."""
    rounds, least = (3, 0.002) if quick else (9, 0.01)
    tables = {}
    for isa in _core.isas():
        limit = Limit(isa, threads)
        made = tables[isa] = {"products": {}, "others": {}}
        for shape in PRODUCTS[:-1] if quick else PRODUCTS:
            size = "x".join(map(str, shape))
            for name, case in products(*shape).items():
                made["products"][f"{name} {size}"] = _row(case, limit, 2 * math.prod(shape), rounds, least)
        for shape in SHAPES[1:2] if quick else SHAPES:
            size = "x".join(map(str, shape))
            for op, info in _core.OPS.items():
                if info.rule.startswith("MATMUL") or op in IDLE:
                    continue
                for name, case in variants(op, *shape).items():
                    made["others"][f"{name} {size}"] = _row(case, limit, 0, rounds, least)
    return tables


def show(tables, threads):
    """Prints what `run` returns."""
    for isa, made in tables.items():
        for part, unit in (("products", "GFLOP/s"), ("others", "GB/s")):
            rows = {}
            for name, row in made[part].items():
                own, limit = row["fastnn"], row["limit"]
                rows[name] = {"µs": own["median"], unit: own["rate"], "limit": limit["rate"],
                              "% of the limit": 100 * limit["median"] / own["median"]}
            table(TITLE.format(isa=isa, threads=threads), rows, ["µs", unit, "limit", "% of the limit"])
