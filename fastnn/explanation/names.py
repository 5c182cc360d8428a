"""What each tensor of a run is called: r₁, z₁, A₁, ∂L/∂z₁."""

from itertools import groupby

from .expressions import Derivative, Symbol
from .formulas import formulas_of

LOSS = Symbol("L")
# What the parameters of the built-in layers are called in mathematics; a kernel that is no A is W.
_LETTERS = {
    "kernel": "A", "bias": "b", "gamma": "γ", "beta": "β", "alpha": "α", "embeddings": "E",
    "moving_mean": "μ", "moving_variance": "v", "mean": "μ", "variance": "v",
}  # fmt: skip
_OF_PARTS = ("add", "penalty_grad", "clip_value", "clip_norm")  # what keeps a gradient's shape


class Names:
    """Gives the tensors of a `Run` their symbols.

    Attributes
    ----------
    given : list of int
        Inputs, targets and parameters, in the order in which they are listed.
    layer_number : dict of int to int
        For what the forward pass makes: the number of the layer.
    derivatives : dict of int to list of int
        Of each gradient: the tensors that it is the gradient by, that next to the loss first.
    """

    def __init__(self, run):
        self._run, self._taken = run, {LOSS}
        self.given, self.layer_number = [], {}
        self._name_data()
        self._name_layers()
        self._name_parameters()
        self._name_gradients()

    def _give(self, tensor, base, sub="", flipped=False):
        symbol = Symbol(base, str(sub))
        while symbol in self._taken:
            symbol = symbol._replace(base=symbol.base + "'")
        self._taken.add(symbol)
        t = self._run.tensors[tensor]
        t.symbol, t.flipped = symbol._replace(flipped=flipped), flipped

    def _give_all(self, tensors, base, single=""):
        """base₁, base₂, ..., or the one tensor of its kind with the subscript `single`."""
        for k, i in enumerate(tensors):
            self._give(i, base, k + 1 if len(tensors) > 1 else single)

    def _unnamed(self, ids):
        tensors = self._run.tensors
        return [i for i in ids if tensors[i].site is None and tensors[i].symbol is None]

    def _name_data(self):
        run = self._run
        inputs = [t.id for t in run.program.of_kind("input")]
        targets = [t.id for t in run.program.of_kind("target") if t.id in run.readers]
        self._give_all(inputs, *(("r", 0) if len(inputs) == 1 else ("x",)))
        self._give_all(targets, "y")
        self.given += [*inputs, *targets]
        if run.only_loss:
            run.tensors[run.roots["loss"][0]].symbol = LOSS
        else:
            self._give_all(run.roots["loss"], "ℓ")
        self._give_all(run.roots["penalty"], "Ω")

    # -- forward --

    def _name_layers(self):
        """r for what a layer hands on, z for the sum before its activation, u for what else stands between."""
        run, number, between = self._run, 0, 0
        for part, nodes in self._layers():
            ids = self._unnamed(n.outputs[i] for n in nodes for i, _ in formulas_of(n.op))
            if part == "forward" and ids:
                number += 1
                left = [i for i in ids if self._leaves(i, nodes)]
                self._give((left or ids)[-1], "r", number)
                for i in [i for i in self._unnamed(ids) if run.producer[i].op in ("bias_add", "matmul")][:1]:
                    self._give(i, "z", number)
            self.layer_number.update((o, number) for n in nodes for o in n.outputs)
            for i in self._unnamed(ids):
                twin = self.same_activation(i)
                if twin is not None:
                    run.tensors[i] = run.tensors[twin]
                else:
                    between += 1
                    self._give(i, "u", between)

    def _layers(self):
        """(part, nodes) of each call of a layer, loss and penalty."""
        run, tensors = self._run, self._run.program.tensors
        parts = groupby(run.forward, lambda n: (run.part[n.outputs[0]], run.scope(n.outputs[0])))
        for (part, _), nodes in parts:
            call, used = [], set()
            for node in nodes:
                uses = {(node.op, i) for i in node.inputs if tensors[i].kind == "param"}
                if uses & used:  # a layer that is called on its own output begins anew
                    yield part, call
                    call, used = [], set()
                call.append(node)
                used |= uses
            yield part, call

    def _leaves(self, tensor, nodes):
        """Whether another layer than that of these nodes reads a tensor, or the user."""
        run = self._run
        readers = (n for n in run.readers.get(tensor, ()) if n not in nodes)
        return tensor in run.roots["output"] or any(run.part[n.outputs[0]] == "forward" for n in readers)

    def same_activation(self, tensor):
        """The output of an activation that a loss computes once more, from the values before it; or None."""
        run = self._run
        node = run.producer[tensor]
        if not node.op.endswith("_logits") or tensor != node.outputs[1]:
            return None
        op = "sigmoid" if node.op == "bce_logits" else "softmax"
        return next((n.outputs[0] for n in run.readers[node.inputs[0]] if n.op == op), None)

    # -- parameters --

    def _name_parameters(self):
        run, constants = self._run, 0
        for tensor, parameter in run.model._stored_params():
            readers = run.readers.get(tensor)
            if not readers or (parameter.constant and parameter.size == 1):  # a number stands for itself
                continue
            self.given.append(tensor)
            if parameter.constant:
                constants += 1
                self._give(tensor, "c", constants)
                continue
            made = (o for n in readers for o in n.outputs if o in self.layer_number)
            letter, number = self._letter(parameter.name, min(made, key=self.layer_number.get, default=None))
            kernel = letter == "A" and len(parameter.shape) == 2
            kernel = kernel and all(_is_kernel(n, tensor) for n in readers)
            self._give(tensor, "W" if letter == "A" and not kernel else letter, number, kernel)

    def name_unread(self, tensor, value):
        """Names a parameter that training only writes, of the layer that makes the new `value`."""
        if self._run.tensors[tensor].symbol is None:
            self._give(tensor, *self._letter(self._run.program.tensors[tensor].name, value))

    def _letter(self, name, made):
        """(letter, subscript) of a parameter of the layer that makes a tensor."""
        role = name.rsplit("/", 1)[-1]
        return _LETTERS.get(role, role), self.layer_number.get(made) or ""

    # -- gradients --

    def _name_gradients(self):
        run = self._run
        self.derivatives = {}
        for t in sorted(run.adjoint, key=lambda t: (t not in run.producer, -t)):
            if run.tensors[t].site is None and run.tensors[t].symbol is not None:
                self.derivatives.setdefault(run.adjoint[t], []).append(t)
        for g, by in self.derivatives.items():
            first = run.tensors[by[0]]
            run.tensors[g].symbol, run.tensors[g].flipped = Derivative(LOSS, first.symbol), first.flipped
        # Parts of a transposed gradient are transposed too, and so is what is made of it.
        for node in reversed(run.backward):
            readers = [n for n in run.readers.get(node.outputs[0], ()) if n.op in _OF_PARTS]
            if any(run.tensors[n.outputs[0]].flipped for n in readers):
                run.tensors[node.outputs[0]].flipped = True
        count = 0
        for node in (*run.backward, *run.between):
            for o in self._unnamed(node.outputs):
                count += 1
                clipped = node.op in ("clip_value", "clip_norm") and run.part[o] == "update"
                flipped = run.tensors[node.inputs[0]].flipped if clipped else run.tensors[o].flipped
                base = "g" if run.part[o] == "backward" else "ĝ" if clipped else "s"
                self._give(o, base, count, flipped)


def _is_kernel(node, tensor):
    """Whether a node reads a tensor as the kernel of a Dense layer."""
    if node.op in ("matmul", "matmul_nt"):
        return node.inputs[1] == tensor and node.inputs[0] != tensor
    return node.op in ("penalty", "penalty_grad")
