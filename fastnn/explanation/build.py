"""From a compiled model and one sample to the steps of its explanation.

The steps are the nodes of the Program that the engine runs, each with its row of `formulas`; the numbers are those
of the interpreter in `backends.xp`, in float64.
"""

from itertools import groupby

import numpy as np

from .. import _core, seeds
from .. import losses as losses_module
from ..arguments import check_int
from ..backends import xp
from ..errors import ShapeError
from ..graph import changes_in_training
from .expressions import Call, Derivative, Leaf, Number, Product, Sum, Symbol
from .formulas import FORMULAS, Formula, formulas_of
from .steps import Explanation, Given, Step
from .updates import UPDATES
from .writers import Latex, MathML, Text

# What the parameters of the built-in layers are called in mathematics.
_LETTERS = {
    "kernel": "A", "bias": "b", "gamma": "γ", "beta": "β", "alpha": "α", "embeddings": "E",
    "moving_mean": "μ", "moving_variance": "v", "mean": "μ", "variance": "v",
}  # fmt: skip
_MOST_INPUTS = 6  # operands of a formula that takes in others
_TAKING_IN_PRODUCTS = ("bias_add", "add", "penalty_grad")


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
    return _Explained(model, arrays, bool(training), seed, precision, max_elements).explanation()


class _Tensor:
    """A tensor of the Program with its value; an operand of `formulas`."""

    symbol = site = None  # one of them: a name, or the formula that stands for it
    flipped = False
    reads = 0

    def __init__(self, value, batched):
        self.value, self.batched, self.shape = value, batched, value.shape

    def whole(self):
        if self.site is not None:
            return formulas_of(self.site.op)[0][1].whole(self.site)
        if self.symbol is None:
            return Number(self.value.item())
        return Leaf(self.symbol, tensor=self.value.size > 1)

    def at(self, index):
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


def _moment(letter, array, flipped):
    tensor = _Tensor(array, False)
    tensor.symbol, tensor.flipped = Symbol(letter, flipped=flipped), flipped
    return tensor


class _Site:
    """A node, as the functions of `formulas` take it."""

    def __init__(self, owner, node):
        tensors = owner.tensors
        self.op, self.attrs, self.training = node.op, owner.program.attrs(node), owner.training
        self._tensors, self._node = tensors, node
        self.shape = tensors[node.outputs[0]].shape

    @property
    def ins(self):
        return [self._tensors[i] for i in self._node.inputs]

    def out(self, i):
        return self._tensors[self._node.outputs[i]]

    def made(self, index):
        return float(self.out(0).value[index])


class _Explained:
    """One run of a model's Program on one sample, while its steps are found and named."""

    def __init__(self, model, arrays, training, seed, precision, most):
        self.model, self.training = model, training
        self.writers = {kind: kind(precision, most) for kind in (Text, Latex, MathML)}
        self._compute(arrays, seed)
        self._choose()
        self._take_in()
        self._name_forward()
        self._name_parameters()
        self._name_backward()

    # -- numbers --

    def _compute(self, arrays, seed):
        model, program = self.model, self.model.program
        updates = [n for n in program.nodes if _core.OPS[n.op].rule == "UPDATE"]
        moments = {n.inputs[0]: xp.slot_count(n.op, program.attrs(n)) for n in updates}
        stored, self.iteration = model._engine().read([(w, k) for w, count in moments.items() for k in range(count)])
        stored = {key: array.astype(np.float64) for key, array in stored.items()}
        self.rate = float(np.ravel(model.optimizer.learning_rates(self.iteration, 1))[0]) if updates else 0.0
        self.moments = {w: [stored[w, k] for k in range(count)] for w, count in moments.items()}
        self.moments_after = {w: list(slots) for w, slots in self.moments.items()}
        params = {tensor: array for (tensor, slot), array in stored.items() if slot == -1}
        with np.errstate(all="ignore"):  # a loss that is NaN or infinite is explained like any other
            known = xp.run(
                program, {**arrays, **params}, "train", training=self.training, lr=self.rate,
                iteration=self.iteration + 1, slots=self.moments_after, seed=seed,
            )  # fmt: skip
        self.after = {w: known[w] for w in moments}
        known.update(params)
        self.loss = xp.total_loss(program, known)
        self.tensors = {i: _Tensor(np.asarray(v), program.tensors[i].batched) for i, v in known.items()}
        # Outside of training the gradients are those of an update only where training changes nothing.
        changes = any(changes_in_training(n) for n in program.nodes)
        self.updates = updates if self.training or not changes else []
        self.program = xp.resolved(program, self.training)

    # -- what is shown --

    def _choose(self):
        """Finds the nodes of the forward and the backward pass, in order."""
        program, nodes = self.program, self.program.nodes
        roots = {kind: [r.tensor for r in program.roots_of(kind)] for kind in ("output", "loss", "penalty")}
        self.roots = roots
        losses = program.roots_of("loss")
        alone = len(losses) == 1 and losses[0].factor == 1 and not roots["penalty"]
        self.only_loss = alone and self.tensors[losses[0].tensor].value.size == 1
        self._outputs = {i for kind in roots.values() for i in kind}
        layers = set(program.needed(roots["output"]))
        forward = program.needed(self._outputs)
        self.trained = [(i, p) for i, p in self.model._params if p.trainable]
        found = self.model._compiled.adjoints[not self.training]
        backward = program.needed([found[i] for i, _ in self.trained if i in found])
        backward = [i for i in backward if i not in set(forward)]
        self.forward, self.backward = [nodes[i] for i in forward], [nodes[i] for i in backward]
        between = program.needed([n.inputs[1] for n in self.updates])
        self.between = [nodes[i] for i in between if i not in {*forward, *backward}]
        self.part = {o: "forward" if i in layers else "loss" for i in forward for o in nodes[i].outputs}
        self.part.update((o, "backward") for n in self.backward for o in n.outputs)
        self.producer = {o: n for n in (*self.forward, *self.backward) for o in n.outputs}
        self.readers = {}
        for n in (*self.forward, *self.backward):
            for i in set(n.inputs):
                self.readers.setdefault(i, []).append(n)
        # The gradient by each tensor; one of size 1 that is only spread to the tensor's shape is that larger one.
        self.adjoint = {}
        for tensor, g in found.items():
            readers = self.readers.get(g, [])
            if len(readers) == 1 and readers[0].op == "broadcast":
                [spread] = readers[0].outputs
                if self.tensors[spread].shape == self.tensors[tensor].shape and spread not in found.values():
                    g = spread
            if self.part.get(g) == "backward":
                self.adjoint[tensor] = g

    def _scope(self, tensor):
        return self.program.tensors[self.producer[tensor].outputs[0]].name

    def _take_in(self):
        """Finds the nodes that stand in the formula of their only reader, without a step of their own.

        A value has its own step where back-propagation has a factor for it.
        """
        operands = {}

        def consider(node, kept):
            row, [made] = FORMULAS[node.op], node.outputs[:1]
            if node.op == "loss_seed" and self.only_loss:  # ∂L/∂L is 1 and goes without saying
                self.tensors[made].site = _Site(self, node)
                return
            operands[made] = sum(operands.get(i, 1) if self.tensors[i].site else 1 for i in node.inputs)
            if not isinstance(row, Formula) or made in self._outputs or kept(made):
                return
            readers = self.readers.get(made, [])
            constant = node.op == "full"
            if not constant:
                if len(readers) != 1 or operands[made] > _MOST_INPUTS:
                    return
                product = node.op.startswith("matmul") and readers[0].op in _TAKING_IN_PRODUCTS
                if not (row.simple or product):
                    return
            self.tensors[made].site = _Site(self, node)

        def has_factor(made):
            factor, reader = self.adjoint.get(made), self.readers[made][0].outputs[0]
            if self.part[made] != self.part[reader] or self._scope(made) != self._scope(reader):
                return True
            return factor is not None and factor != self.adjoint.get(reader)

        for node in self.forward:
            consider(node, lambda made: made not in self.readers or (node.op != "full" and has_factor(made)))
        shown = [t for t in self.adjoint if t not in self.producer or self.tensors[t].site is None]
        named = {self.adjoint[t] for t in shown}
        for node in self.backward:
            consider(node, named.__contains__)

    # -- names --

    def _unique(self, base, sub=""):
        symbol = Symbol(base, sub)
        while symbol in self._taken:
            symbol = symbol._replace(base=symbol.base + "'")
        self._taken.add(symbol)
        return symbol

    def _named(self, ids):
        return [i for i in ids if self.tensors[i].site is None and self.tensors[i].symbol is None]

    def _name_forward(self):
        self._taken, self.group_of, intermediate = set(), {}, 0
        program, roots = self.program, self.roots
        inputs = [t.id for t in program.of_kind("input")]
        for k, i in enumerate(inputs):
            self.tensors[i].symbol = self._unique("r", "0") if len(inputs) == 1 else self._unique("x", str(k + 1))
        targets = [t.id for t in program.of_kind("target") if t.id in self.readers]
        for k, i in enumerate(targets):
            self.tensors[i].symbol = self._unique("y", "" if len(targets) == 1 else str(k + 1))
        self.given = [*inputs, *targets]
        [*losses], penalties = roots["loss"], roots["penalty"]
        several = len(losses) > 1
        for k, i in enumerate(losses):
            base = "L" if self.only_loss else "ℓ"
            self.tensors[i].symbol = self._unique(base, str(k + 1) if several else "")
        for k, i in enumerate(penalties):
            self.tensors[i].symbol = self._unique("Ω", str(k + 1) if len(penalties) > 1 else "")
        number = 0
        for (part, scope), nodes in groupby(self.forward, lambda n: (self.part[n.outputs[0]], self._scope(n.outputs[0]))):
            nodes = list(nodes)
            ids = self._named(n.outputs[i] for n in nodes for i, _ in formulas_of(n.op))
            if part == "forward" and ids:
                number += 1
                inside = {id(n) for n in nodes}
                left = [
                    i for i in ids
                    if i in roots["output"]
                    or any(id(n) not in inside and self.part[n.outputs[0]] == "forward" for n in self.readers.get(i, ()))
                ]  # fmt: skip
                self.tensors[(left or ids)[-1]].symbol = self._unique("r", str(number))
                sums = [i for i in self._named(ids) if self.producer[i].op in ("bias_add", "matmul")]
                if sums:
                    self.tensors[sums[0]].symbol = self._unique("z", str(number))
            self.group_of.update((o, number) for n in nodes for o in n.outputs)
            for i in self._named(ids):
                same = self._same_activation(i)
                if same is not None:
                    self.tensors[i] = self.tensors[same]
                    continue
                intermediate += 1
                self.tensors[i].symbol = self._unique("u", str(intermediate))

    def _same_activation(self, tensor):
        """The output of an activation that a loss computes once more, from the values before it."""
        node = self.producer.get(tensor)
        if node is None or not node.op.endswith("_logits") or tensor != node.outputs[1]:
            return None
        op = "sigmoid" if node.op == "bce_logits" else "softmax"
        twins = (n.outputs[0] for n in self.readers[node.inputs[0]] if n.op == op)
        return next(twins, None)

    def _name_parameters(self):
        constants = 0
        for tensor, parameter in self.model._stored_params():
            readers = self.readers.get(tensor)
            if not readers:
                continue
            t = self.tensors[tensor]
            if parameter.constant:
                if t.value.size > 1:
                    constants += 1
                    t.symbol = self._unique("c", str(constants))
                    self.given.append(tensor)
                continue
            made = (o for n in readers for o in n.outputs if o in self.group_of)
            letter, group = self._letter(parameter.name, min(made, key=self.group_of.get, default=None))
            t.flipped = letter == "A" and t.value.ndim == 2 and all(self._as_kernel(n, tensor) for n in readers)
            if letter == "A" and not t.flipped:
                letter = "W"
            t.symbol = self._unique(letter, group)._replace(flipped=t.flipped)
            self.given.append(tensor)

    def _letter(self, name, reader):
        """(letter, subscript) of a parameter that the step making tensor `reader` reads."""
        role = name.rsplit("/", 1)[-1]
        return _LETTERS.get(role, role), str(self.group_of.get(reader) or "")

    def _as_kernel(self, node, tensor):
        if node.op in ("matmul", "matmul_nt"):
            return node.inputs[1] == tensor and node.inputs[0] != tensor
        return node.op in ("penalty", "penalty_grad")

    def _name_backward(self):
        self.derivatives = {}  # of each gradient: the tensors that it is the gradient by
        for t in sorted(self.adjoint, key=lambda t: (t not in self.producer, -t)):
            if self.tensors[t].site is None and self.tensors[t].symbol is not None:
                self.derivatives.setdefault(self.adjoint[t], []).append(t)
        loss = Symbol("L")
        for g, by in self.derivatives.items():
            self.tensors[g].symbol = Derivative(loss, self.tensors[by[0]].symbol)
            self.tensors[g].flipped = self.tensors[by[0]].flipped
        for node in reversed(self.backward):  # a part of a transposed gradient is transposed
            made = self.tensors[node.outputs[0]]
            for reader in self.readers.get(node.outputs[0], ()):
                whole = self.tensors[reader.outputs[0]]
                made.flipped = made.flipped or (whole.flipped and reader.op in _TAKING_IN_PRODUCTS)
        part = 0
        for node in self.backward:
            for o in self._named(node.outputs):
                part += 1
                self.tensors[o].symbol = self._unique("g", str(part))._replace(flipped=self.tensors[o].flipped)
        for node in self.between:
            [made], readers = node.outputs, [n for n in self.between if node.outputs[0] in n.inputs]
            if node.op == "add" and len(readers) == 1 and readers[0].op == "add":
                self.tensors[made].site = _Site(self, node)
                self.producer[made] = node
            for o in self._named(node.outputs):
                part += 1
                t, clipped = self.tensors[o], node.op in ("clip_value", "clip_norm")
                t.flipped = clipped and self.tensors[node.inputs[0]].flipped
                t.symbol = self._unique("ĝ" if clipped else "s", str(part))._replace(flipped=t.flipped)
                self.part[o] = "update"

    # -- steps --

    def _read(self, ids):
        """The tensors with a name that the formulas of these tensors read."""
        found = []
        for i in ids:
            if i in self.producer and self.tensors[i].site is not None:
                found += self._read(self.producer[i].inputs)
            else:
                found.append(i)
        return found

    def explanation(self):
        self.steps, self._reads, self._step_of, self._titles = [], [], {}, self._layer_titles()
        self._read_by = {}  # forward tensors: the outputs of the steps that read them
        for node in self.forward:
            self._add_node(node)
        if not self.only_loss:
            self._add_total()
        for node in self.backward:
            self._add_node(node)
        self._add_updates()
        self._link()
        gradients = {
            p.name: self.tensors[self.adjoint[i]].value.copy() if i in self.adjoint else np.zeros(p.shape)
            for i, p in self.trained
        }
        given = [Given(self.tensors[i].whole(), self._given_name(i), self.tensors[i].shown()) for i in self.given]
        mode = "as in training" if self.training else "as outside of training"
        title = f"{self.model._label}: forward and backward pass of one sample, {mode}"
        return Explanation(title, given, self.steps, self.loss, gradients, self.writers)

    def _given_name(self, tensor):
        t = self.program.tensors[tensor]
        if t.kind in ("input", "target"):
            return f"the {t.kind} {t.name!r}"
        return f"{t.name}, transposed" if self.tensors[tensor].flipped else t.name

    def _layer_titles(self):
        """What a layer is called in headings, by the name of its tensors."""
        found, waiting = {}, list(self.model.layers)
        while waiting:
            layer = waiting.pop()
            found.setdefault(layer.name, layer._label)
            waiting += [*layer.sublayers(), *getattr(layer, "_layers", ())]
        for given, root in zip(self.model._compiled.users["loss"], self.program.roots_of("output")):
            if given is not None:
                found[f"{root.name}_loss"] = losses_module.get(given).name
        return found

    def _section(self, tensor):
        """(layer, title) of the step that makes a tensor."""
        if self.part[tensor] == "update":
            return "", "Between gradient and update"
        if self.part[tensor] == "backward":
            by = self.derivatives.get(tensor)
            if by is None:  # a part of a gradient stands with the gradient
                reader = self.readers[tensor][0].outputs[0]
                return self._section(reader)
            scope = self._owner(by[0])
        else:
            scope = self._scope(tensor)
        title = self._titles.get(scope, scope)
        if scope.endswith(".penalty"):
            title = f"Penalty of {scope.removesuffix('.penalty')}"
        if scope in self._titles and self.group_of.get(tensor) and self.part[tensor] == "forward":
            title = f"Layer {self.group_of[tensor]}: {title}"
        elif self.part[tensor] == "backward":
            title = f"Back through {title}"
        return scope, title

    def _owner(self, tensor):
        if tensor in self.producer:
            return self._scope(tensor)
        name = self.program.tensors[tensor].name
        return name.rsplit("/", 2)[-2] if "/" in name else name

    def _add_node(self, node):
        for i, formula in formulas_of(node.op):
            o = node.outputs[i]
            tensor = self.tensors[o]
            if tensor.site is not None:
                continue
            twin = self._same_activation(o)
            if twin is not None:
                self._step_of[o] = self._step_of[twin]
                continue
            site = _Site(self, node)
            whole = formula.whole(site)
            written = [Call(formula.name, site.ins[0].whole())] if formula.name else []
            tensor.reads = max((x.value.size for x in site.ins), default=0)
            names, chain, parameter = [Leaf(tensor.symbol)], None, None
            read = self._read(node.inputs)
            if self.part[o] == "backward":
                by = self.derivatives.get(o, [])
                names = [Leaf(Derivative(Symbol("L"), self.tensors[t].symbol)) for t in by] or names
                chain = self._chain(by[0]) if by else None
                parameter = next((self.program.tensors[t].name for t in by if t not in self.producer), None)
            elif self.part[o] != "update":
                for t in read:
                    self._read_by.setdefault(t, []).append(o)
            section = self._section(o)
            self._append(
                self.part[o], section, names, [*written, whole], chain, tensor,
                lambda index, formula=formula, site=site: formula.element(site, index), parameter, read, [o],
            )  # fmt: skip

    def _chain(self, tensor):
        """The chain rule by a tensor: each thing made of it hands its own gradient back."""
        made = [o for o in dict.fromkeys(self._read_by.get(tensor, ())) if o in self.adjoint]
        if not made or (self.only_loss and self.roots["loss"][0] in made):
            return None
        here, loss = self.tensors[tensor].symbol, Symbol("L")
        terms = [
            Product((Leaf(Derivative(loss, s)), Leaf(Derivative(s, here)))) for s in (self.tensors[o].symbol for o in made)
        ]
        return terms[0] if len(terms) == 1 else Sum(terms)

    def _append(self, part, section, names, formula, chain, tensor, element, parameter, read, made):
        layer, title = section
        step = Step(
            len(self.steps) + 1, part, layer, title, names, formula, chain, tensor, element, parameter, self.writers[Text]
        )  # fmt: skip
        self.steps.append(step)
        self._reads.append(read)
        self._step_of.update(dict.fromkeys(made, step.number))

    def _add_total(self):
        """The total loss, where it is more than the only one."""
        wholes, numbers = [], []
        for root in self.program.roots_of("loss"):
            t, rows = self.tensors[root.tensor], self.tensors[root.tensor].value.size
            whole = Call("mean", t.whole()) if rows > 1 else t.whole()
            each = [t.at(index) for index in np.ndindex(*t.shape)]
            mean = Sum(each) / rows if rows > 1 else each[0]
            wholes.append(whole if root.factor == 1 else root.factor * whole)
            numbers.append(mean if root.factor == 1 else root.factor * mean)
        for i in self.roots["penalty"]:
            wholes.append(self.tensors[i].whole())
            numbers.append(self.tensors[i].at(()))
        total = _Tensor(np.asarray(self.loss), False)
        total.symbol = Symbol("L")
        read = [*self.roots["loss"], *self.roots["penalty"]]
        self._append(
            "loss", ("loss", "Total"), [Leaf(total.symbol)], [Sum(wholes)], None, total,
            lambda index: Sum(numbers), None, read, [],
        )  # fmt: skip

    def _add_updates(self):
        for node in self.between:
            self._add_node(node)
        for node in self.updates:
            w, g = node.inputs
            before, gradient = self.tensors[w], self.tensors[g]
            if before.symbol is None:  # nothing reads it in training
                before.symbol = self._unique(*self._letter(self.program.tensors[w].name, g))
            letters, function = UPDATES[node.op]
            attrs = self.program.attrs(node)
            made = _Tensor(self.after[w], False)
            made.symbol, made.flipped = before.symbol, before.flipped
            moments = [
                [_moment(letter, array, made.flipped) for letter, array in zip(letters, found[w])]
                for found in (self.moments, self.moments_after)
            ]

            def put_in(pick, function=function, attrs=attrs, before=before, gradient=gradient, moments=moments):
                old, new = (list(map(pick, found)) for found in moments)
                return function(pick(before), pick(gradient), old, new, self.rate, self.iteration + 1, **attrs)

            title = type(self.model.optimizer).__name__ if node.op != "moving_average" else "Running statistics"
            title += f", whose moments are {', '.join(letters[: len(moments[0])])}" if moments[0] else ""
            self._append(
                "update", (self._owner(w), title), [Leaf(before.symbol)],
                [put_in(_Tensor.whole)], None, made,
                lambda index, put_in=put_in: put_in(lambda t: t.at(index)), self.program.tensors[w].name,
                [g], [],
            )  # fmt: skip

    def _link(self):
        """Tells each step which steps it uses and which use it."""
        for step, read in zip(self.steps, self._reads):
            step.uses = tuple(sorted({self._step_of[i] for i in read if i in self._step_of} - {step.number}))
        for step in self.steps:
            step.used_by = tuple(other.number for other in self.steps if step.number in other.uses)
            step.reused_by = tuple(n for n in step.used_by if self.steps[n - 1].part == step.part == "backward")
