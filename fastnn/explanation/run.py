"""One run of a compiled model's Program on one sample: its numbers, and which of its nodes are shown as steps.

The numbers are those of the interpreter in `backends.xp`, in float64.
"""

import numpy as np

from .. import _core
from ..backends import xp
from ..graph import changes_in_training
from ..sparse import densified
from .expressions import Leaf, Number
from .formulas import FORMULAS, Formula, formulas_of

_MOST_OPERANDS = 6  # of a formula that takes others in
_TAKING_IN_PRODUCTS = ("bias_add", "add", "penalty_grad")


class Tensor:
    """A tensor of the Program with its value; an operand of `formulas`.

    Attributes
    ----------
    value : ndarray
        With a batch of one sample in front where `batched`.
    symbol : Symbol or Derivative or None
        Its name; None for a constant of one element.
    site : Site or None
        Where it stands in the formula of its only reader, the node that makes it.
    flipped : bool
        Whether the symbol stands for the transpose.
    reads : int
        Elements of the largest tensor that it is made of.
    """

    symbol = site = None
    flipped, reads = False, 0

    def __init__(self, value, batched=False):
        self.value, self.batched, self.shape = np.asarray(value), batched, np.shape(value)

    def whole(self):
        """The expression of all of it."""
        if self.site is not None:
            return formulas_of(self.site.op)[0][1].whole(self.site)
        if self.symbol is None:
            return Number(self.value.item())
        return Leaf(self.symbol, tensor=self.value.size > 1)

    def at(self, index):
        """The expression of one element."""
        if self.site is not None:
            return formulas_of(self.site.op)[0][1].element(self.site, index)
        if self.symbol is None:
            return Number(self.value[index])
        return self.leaf(index, self.symbol)

    def leaf(self, index, symbol):
        """The element at an index, by this name."""
        return Leaf(symbol, index[1:] if self.batched else index, float(self.value[index]))

    def shown(self):
        """The value as its symbol has it: one sample, and the transpose where that is what it stands for."""
        value = self.value[0] if self.batched else self.value
        return value.T if self.flipped else value

    def stored_index(self, index):
        """The index of an element of `shown`."""
        index = index[::-1] if self.flipped else index
        return (0, *index) if self.batched else tuple(index)


class Site:
    """A node, as the functions of `formulas` take it."""

    def __init__(self, run, node):
        self.op, self.attrs, self.training = node.op, run.program.attrs(node), run.training
        self._tensors, self._node = run.tensors, node
        self.shape = run.tensors[node.outputs[0]].shape

    @property
    def ins(self):
        return [self._tensors[i] for i in self._node.inputs]

    def out(self, i):
        return self._tensors[self._node.outputs[i]]

    def made(self, index):
        return float(self.out(0).value[index])


class Run:
    """What one pass over one sample computes.

    Attributes
    ----------
    program : Program
        With the other mode out of the way.
    tensors : dict of int to Tensor
    loss : float
    forward, backward, between, updates : list of Node
        The nodes that are shown, in order; `between` stand between gradients and updates.
    part : dict of int to str
        "forward", "loss", "backward" or "update" for what these nodes make.
    producer, readers : dict of int to Node, to list of Node
        Of and among the shown nodes but the updates.
    roots : dict of str to list of int
        Tensors of the outputs, losses and penalties.
    only_loss : bool
        Whether the total loss is one number of one loss.
    trained : list of (int, Parameter)
    adjoint : dict of int to int
        The tensor that holds the gradient by a tensor, as far as it is shown.
    """

    def __init__(self, model, arrays, training, seed):
        self.model, self.training = model, training
        self._compute(arrays, seed)
        self._choose()
        self._connect()
        self._take_in()

    def _compute(self, arrays, seed):
        model, program = self.model, self.model.program
        updates = [n for n in program.nodes if _core.OPS[n.op].rule == "UPDATE"]
        count = {n.inputs[0]: xp.slot_count(n.op, program.attrs(n)) for n in updates}
        stored, iteration = model._engine().read([(w, k) for w in count for k in range(count[w])])
        stored = {key: array.astype(np.float64) for key, array in stored.items()}
        params = {tensor: array for (tensor, slot), array in stored.items() if slot == -1}
        self.moments = {w: [stored[w, k] for k in range(count[w])] for w in count}
        self.moments_after = {w: list(slots) for w, slots in self.moments.items()}
        self.iteration = iteration + 1
        self.rate = float(np.ravel(model.optimizer.learning_rates(iteration, 1))[0]) if updates else 0.0
        program, arrays = densified(program, arrays)
        with np.errstate(all="ignore"):  # a loss that is NaN or infinite is explained like any other
            known = xp.run(
                program, {**arrays, **params}, "train", training=self.training, lr=self.rate,
                iteration=self.iteration, slots=self.moments_after, seed=seed,
            )  # fmt: skip
        self.after = {w: known[w] for w in count}
        known.update(params)
        self.loss = xp.total_loss(program, known)
        self.tensors = {i: Tensor(v, program.tensors[i].batched) for i, v in known.items()}
        # Outside of training the gradients are those of an update only where training changes nothing.
        changed = not self.training and any(map(changes_in_training, program.nodes))
        self.updates = [] if changed else updates
        self.program = xp.resolved(program, self.training)

    def _choose(self):
        """Finds the nodes of the forward and the backward pass, in order."""
        program = self.program
        self.roots = {k: [r.tensor for r in program.roots_of(k)] for k in ("output", "loss", "penalty")}
        losses = program.roots_of("loss")
        alone = len(losses) == 1 and losses[0].factor == 1 and not self.roots["penalty"]
        self.only_loss = alone and self.tensors[losses[0].tensor].value.size == 1
        self.trained = [(i, p) for i, p in self.model._params if p.trainable]
        self._found = self.model._compiled.adjoints[not self.training]
        layers = program.needed(self.roots["output"])
        forward = program.needed([i for kind in self.roots.values() for i in kind])
        backward = program.needed([self._found[i] for i, _ in self.trained if i in self._found])
        between = program.needed([n.inputs[1] for n in self.updates])
        chosen, self.part = {}, {}
        for part, indices in (
            ("forward", layers),
            ("loss", forward),
            ("backward", backward),
            ("update", between),
        ):
            new = [i for i in indices if i not in chosen]
            chosen.update(dict.fromkeys(new, part))
            self.part.update((o, part) for i in new for o in program.nodes[i].outputs)
        self.forward = [program.nodes[i] for i in forward]
        self.backward = [program.nodes[i] for i in backward if chosen[i] == "backward"]
        self.between = [program.nodes[i] for i in between if chosen[i] == "update"]

    def _connect(self):
        shown = (*self.forward, *self.backward, *self.between)
        self.producer = {o: n for n in shown for o in n.outputs}
        self.readers = {}
        for n in shown:
            for i in set(n.inputs):
                self.readers.setdefault(i, []).append(n)
        # A gradient of size 1 that is only spread to its tensor's shape stands back behind the larger one.
        self.adjoint = {}
        for tensor, g in self._found.items():
            readers = self.readers.get(g, [])
            if len(readers) == 1 and readers[0].op == "broadcast":
                [spread] = readers[0].outputs
                if (
                    self.tensors[spread].shape == self.tensors[tensor].shape
                    and spread not in self._found.values()
                ):
                    g = spread
            if self.part.get(g) == "backward":
                self.adjoint[tensor] = g

    def scope(self, tensor):
        """The name that a shown node's tensor was given: its layer's, or its loss's."""
        return self.program.tensors[self.producer[tensor].outputs[0]].name

    # -- formulas within formulas --

    def _take_in(self):
        """Puts small formulas into those of their only readers.

        A value of the forward pass has its own step where back-propagation has a factor for it, and so have the
        factors.
        """
        self._operands = {}
        roots = {i for kind in self.roots.values() for i in kind}
        for node in self.forward:
            if node.outputs[0] not in roots and not self._has_factor(node):
                self._consider(node)
        named = {g for t, g in self.adjoint.items() if t not in self.producer or self.tensors[t].site is None}
        for node in self.backward:
            if node.op == "loss_seed" and self.only_loss:  # ∂L/∂L is 1 and goes without saying
                self.tensors[node.outputs[0]].site = Site(self, node)
            elif node.outputs[0] not in named:
                self._consider(node)
        for node in self.between:
            if node.op == "add" and self.readers.get(node.outputs[0], [node])[0].op == "add":
                self._consider(node)

    def _has_factor(self, node):
        made = node.outputs[0]
        if node.op == "full":
            return False
        if made not in self.readers:
            return True
        reader = self.readers[made][0].outputs[0]
        if self.part[made] != self.part[reader] or self.scope(made) != self.scope(reader):
            return True
        return self.adjoint.get(made) not in (None, self.adjoint.get(reader))

    def _consider(self, node):
        """Gives a node's tensor a `site` where its formula is small and read once, or a constant."""
        row, made, readers = FORMULAS[node.op], node.outputs[0], self.readers.get(node.outputs[0], [])
        inside = (self._operands.get(i, 1) if self.tensors[i].site else 1 for i in node.inputs)
        self._operands[made] = operands = sum(inside)
        if node.op != "full":
            if not isinstance(row, Formula) or len(readers) != 1 or operands > _MOST_OPERANDS:
                return
            if not (row.simple or (node.op.startswith("matmul") and readers[0].op in _TAKING_IN_PRODUCTS)):
                return
        self.tensors[made].site = Site(self, node)

    def read(self, ids):
        """The tensors with a name of their own that the formulas of these tensors read."""
        for i in ids:
            if self.tensors[i].site is None:
                yield i
            else:
                yield from self.read(self.producer[i].inputs)
