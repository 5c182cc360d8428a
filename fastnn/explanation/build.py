"""From a compiled model and one sample to the steps of its explanation."""

import numpy as np

from .. import losses as losses_module
from .. import seeds
from ..arguments import check_int
from ..errors import ShapeError
from .expressions import Call, Derivative, Leaf, Product, Sum, Symbol
from .formulas import formulas_of
from .names import LOSS, Names
from .run import Run, Site, Tensor
from .steps import Explanation, Given, Step
from .updates import UPDATES
from .writers import Latex, MathML, Text


def explain_step(model, x, y, training, precision, max_elements):
    """See `Model.explain_step`."""
    owner = "explain_step"
    precision = check_int(owner, "precision", precision, 1)
    max_elements = check_int(owner, "max_elements", max_elements, 4)
    model._needs_compiled(owner)
    model._build_for(x)
    model._needs_loss(owner)
    arrays, count = model._bind_batch(x, y, None)
    if count != 1:
        raise ShapeError(
            f"{model._label} is explained on one sample, got {count}; pass x[:1] and y[:1] for the first"
        )
    seed = seeds.next_seed() if training else 0
    with model._differentiated(owner, x, y, None, training, seed, 0, True):
        pass  # the engine has checked the data
    forms = {"text": Text, "latex": Latex, "mathml": MathML}
    writers = {form: kind(precision, max_elements) for form, kind in forms.items()}
    return _Steps(Run(model, arrays, bool(training), seed), writers).explanation()


class _Steps:
    """Makes a step of each node of a run."""

    def __init__(self, run, writers):
        self._run, self._writers, self._names = run, writers, Names(run)
        self._titles = _titles(run)
        self._steps, self._reads = [], []
        self._number = {}  # of the step that makes a tensor
        self._made_of = {}  # a tensor of the forward pass: what the steps that read it make

    def explanation(self):
        """The Explanation."""
        run = self._run
        for node in run.forward:
            self._add_node(node)
        if not run.only_loss:
            self._add_total()
        for node in (*run.backward, *run.between):
            self._add_node(node)
        for node in run.updates:
            self._add_update(node)
        self._link()
        gradients = {
            p.name: run.tensors[run.adjoint[i]].value.copy() if i in run.adjoint else np.zeros(p.shape)
            for i, p in run.trained
        }
        given = [
            Given(run.tensors[i].whole(), self._given_name(i), run.tensors[i].shown())
            for i in self._names.given
        ]
        mode = "as in training" if run.training else "as outside of training"
        title = f"{run.model._label}: forward and backward pass of one sample, {mode}"
        return Explanation(title, given, self._steps, run.loss, gradients, self._writers)

    def _given_name(self, tensor):
        t = self._run.program.tensors[tensor]
        if t.kind in ("input", "target"):
            return f"the {t.kind} {t.name!r}"
        return f"{t.name}, transposed" if self._run.tensors[tensor].flipped else t.name

    def _append(self, part, section, names, formula, tensor, element, read, chain=None, parameter=None):
        layer, title = section
        step = Step(
            len(self._steps) + 1, part, layer, title, names, formula, chain, tensor, element, parameter,
            self._writers,
        )  # fmt: skip
        self._steps.append(step)
        self._reads.append(list(read))
        return step.number

    # -- passes --

    def _add_node(self, node):
        for i, formula in formulas_of(node.op):
            if self._run.tensors[node.outputs[i]].site is None:
                self._add_output(node, node.outputs[i], formula)

    def _add_output(self, node, made, formula):
        run, part = self._run, self._run.part[made]
        twin = self._names.same_activation(made)
        if twin is not None:
            self._number[made] = self._number[twin]
            return
        site, tensor, read = Site(run, node), run.tensors[made], list(run.read(node.inputs))
        whole = [Call(formula.name, site.ins[0].whole())] if formula.name else []
        whole.append(formula.whole(site))
        names, chain, parameter = [Leaf(tensor.symbol)], None, None
        by = self._names.derivatives.get(made)
        if by is not None:
            names = [Leaf(Derivative(LOSS, run.tensors[t].symbol)) for t in by]
            chain = self._chain(by[0])
            parameter = next((run.program.tensors[t].name for t in by if t not in run.producer), None)
        elif part in ("forward", "loss"):
            for t in read:
                self._made_of.setdefault(t, []).append(made)
        tensor.reads = max((x.value.size for x in site.ins), default=0)
        self._number[made] = self._append(
            part, self._section(made), names, whole, tensor, lambda index: formula.element(site, index), read,
            chain, parameter,
        )  # fmt: skip

    def _chain(self, tensor):
        """The chain rule by a tensor: each thing made of it hands its own gradient back."""
        run = self._run
        made = [o for o in dict.fromkeys(self._made_of.get(tensor, ())) if o in run.adjoint]
        if not made or (run.only_loss and run.roots["loss"][0] in made):
            return None
        here = run.tensors[tensor].symbol
        through = [run.tensors[o].symbol for o in made]
        terms = [Product((Leaf(Derivative(LOSS, s)), Leaf(Derivative(s, here)))) for s in through]
        return terms[0] if len(terms) == 1 else Sum(terms)

    def _add_total(self):
        """The total loss, where it is more than the only one."""
        run, wholes, numbers = self._run, [], []
        for root in run.program.roots_of("loss"):
            t = run.tensors[root.tensor]
            each = [t.at(index) for index in np.ndindex(*t.shape)]
            several = len(each) > 1
            wholes.append(root.factor * (Call("mean", t.whole()) if several else t.whole()))
            numbers.append(root.factor * (Sum(each) / len(each) if several else each[0]))
        for i in run.roots["penalty"]:
            wholes.append(run.tensors[i].whole())
            numbers.append(run.tensors[i].at(()))
        total = Tensor(run.loss)
        read = [*run.roots["loss"], *run.roots["penalty"]]
        self._append(
            "loss", ("loss", "Total"), [Leaf(LOSS)], [Sum(wholes)], total, lambda index: Sum(numbers), read
        )

    def _add_update(self, node):
        run, (w, g) = self._run, node.inputs
        self._names.name_unread(w, g)
        letters, function = UPDATES[node.op]
        before, gradient, made = run.tensors[w], run.tensors[g], Tensor(run.after[w])
        made.flipped = before.flipped
        moments = []
        for found in (run.moments[w], run.moments_after[w]):
            moments.append([Tensor(array) for array in found])
            for letter, moment in zip(letters, moments[-1]):
                moment.symbol, moment.flipped = Symbol(letter, flipped=made.flipped), made.flipped

        def put_in(pick):
            old, new = (list(map(pick, found)) for found in moments)
            attrs = run.program.attrs(node)
            return function(pick(before), pick(gradient), old, new, run.rate, run.iteration, **attrs)

        title = "Running statistics" if node.op == "moving_average" else type(run.model.optimizer).__name__
        if moments[1]:
            title += f", whose moments are {', '.join(letters[: len(moments[1])])}"
        self._append(
            "update", (self._layer_of(w), title), [Leaf(before.symbol)], [put_in(Tensor.whole)], made,
            lambda index: put_in(lambda t: t.at(index)), [g], parameter=run.program.tensors[w].name,
        )  # fmt: skip

    # -- headings, numbers --

    def _section(self, tensor):
        """(layer, title) of the step that makes a tensor."""
        run, part, number = self._run, self._run.part[tensor], self._names.layer_number.get(tensor)
        if part == "update":
            return "", "Between gradient and update"
        if part == "backward":
            by = self._names.derivatives.get(tensor)
            if by is None:  # a part of a gradient stands with the gradient
                return self._section(run.readers[tensor][0].outputs[0])
            scope = self._layer_of(by[0])
            return scope, f"Back through {self._titles.get(scope, scope)}"
        scope = run.scope(tensor)
        if scope.endswith(".penalty"):
            return scope, f"Penalty of {scope.removesuffix('.penalty')}"
        title = self._titles.get(scope, scope)
        return scope, f"Layer {number}: {title}" if part == "forward" else title

    def _layer_of(self, tensor):
        """The layer that makes a tensor, or owns a parameter."""
        if tensor in self._run.producer:
            return self._run.scope(tensor)
        return ["", *self._run.program.tensors[tensor].name.split("/")][-2]

    def _link(self):
        """Tells each step which steps it uses and which use it."""
        steps = self._steps
        for step, read in zip(steps, self._reads):
            step.uses = tuple(sorted({self._number[i] for i in read if i in self._number}))
            for n in step.uses:
                steps[n - 1].used_by += (step.number,)
        for step in steps:
            if step.part == "backward":
                step.reused_by = tuple(n for n in step.used_by if steps[n - 1].part == "backward")


def _titles(run):
    """What layers and losses are called in headings, by the name of their tensors."""
    found, waiting = {}, list(run.model.layers)
    while waiting:
        layer = waiting.pop()
        found.setdefault(layer.name, layer._label)
        waiting += [*layer.sublayers(), *getattr(layer, "_layers", ())]
    for given, output in zip(run.model._compiled.users["loss"], run.model._compiled.outputs):
        if given is not None:
            found[f"{output.name}_loss"] = losses_module.get(given).name
    return found
