"""What a network costs: operations and memory of each call of a layer, for one sample."""

import math
from typing import NamedTuple

from ._core import OPS
from .graph import trace_calls

# Ops that only move or choose what is there already.
_MOVES = (
    "reshape", "transpose", "concat", "slice", "pad", "broadcast", "embedding", "in_training", "to_real",
)  # fmt: skip


class CallCost(NamedTuple):
    """Of one call of a layer.

    Attributes
    ----------
    call : LayerCall
    flops : int
        Floating-point operations of a sample: see `operations`.
    values : int
        Numbers that the call returns for a sample.
    """

    call: object
    flops: int
    values: int


def per_call(model):
    """A `CallCost` for each call of a layer in a built model, outside training and in the network's order."""
    builder, known, calls = trace_calls(model.inputs, model.outputs, model.dtype)
    program = builder.program
    needed = set(program.needed([known[id(t)].id for call, _ in calls for t in call.outputs]))
    return [
        CallCost(
            call,
            sum(operations(program, program.nodes[i]) for i in range(part.start, part.stop) if i in needed),
            sum(math.prod(t.shape[1:]) for t in call.outputs),
        )
        for call, part in calls
    ]


def operations(program, node):
    """Floating-point operations of a node for one sample.

    A product of n numbers with n numbers counts 2 n, a multiplication and an addition each; everything else,
    such as a bias or an activation, 1 for each element that it reads or writes, whichever are more; moving
    elements 0, and so does what is the same for all samples.
    """
    out = program.tensors[node.outputs[0]]
    if not out.batched or node.op in _MOVES:
        return 0
    written = math.prod(out.shape[1:])
    read = [program.tensors[i] for i in node.inputs]
    if OPS[node.op].rule in ("MATMUL", "MATMUL_NT"):
        return 2 * read[0].shape[-1] * written
    return max([written, *(math.prod(t.shape[1:]) for t in read if t.batched)])
