"""What an explanation consists of, and how it is read: as text, LaTeX and HTML."""

from html import escape
from itertools import groupby, islice
from typing import NamedTuple

import numpy as np

from ..errors import ArgumentError, UnknownNameError
from .expressions import Expr, Leaf, Number, Product
from .writers import Latex

PARTS = {"forward": "Forward pass", "loss": "Loss", "backward": "Backward pass", "update": "Update"}
_FIRST = 3  # elements of a large tensor whose arithmetic is written
_MOST_READ = 4096  # numbers that an element may be made of and still be written out


class Line(NamedTuple):
    """The arithmetic of one element.

    Attributes
    ----------
    left : Leaf
        The element.
    expr : Expr
        What it is computed from; `expr.compute()` is `value` up to rounding.
    value : float
    """

    left: Leaf
    expr: Expr
    value: float

    def parts(self, write):
        """What stands between the equals signs: the element, the numbers put in, each factor's value, the result."""
        found = [write(self.left), write(self.expr, True)]
        if isinstance(self.expr, Product):
            factors = (
                f if isinstance(f, (Leaf, Number)) else Number(f.compute()) for f in self.expr.children
            )
            found.append(write(Product(factors), True))
        found.append(write(Number(self.value)))
        return [f for i, f in enumerate(found) if i == 0 or f != found[i - 1]]


class Given(NamedTuple):
    """A tensor that the step begins with: an input, a target or a parameter.

    Attributes
    ----------
    left : Leaf
    name : str
        What the model calls it.
    value : ndarray
        As `left` stands for it: the transpose of a kernel where that is called A.
    """

    left: Leaf
    name: str
    value: np.ndarray


class Step:
    """One numbered step: a tensor, its formula, and its arithmetic with today's numbers.

    Attributes
    ----------
    number : int
        From 1 on.
    part : {"forward", "loss", "backward", "update"}
    layer : str
        Name of the layer, or of the loss.
    title : str
        What the layer is: "Dense 'hidden'".
    value : ndarray, float64
        Of one sample, without the batch; of a kernel called A and its gradient the transpose of what is stored.
    parameter : str or None
        The parameter that it is the gradient or the new value of.
    uses, used_by : tuple of int
        Numbers of the steps that it reads, and that read it.
    reused_by : tuple of int
        Of a step of the backward pass, those of that pass which read it.
    """

    def __init__(
        self, number, part, layer, title, names, formula, chain, tensor, element, parameter, writers
    ):
        self.number, self.part, self.layer, self.title, self.parameter = number, part, layer, title, parameter
        self.uses, self.used_by, self.reused_by = (), (), ()
        self._name, self._tensor, self._element, self._writers = names[0], tensor, element, writers
        self._parts = (*names, *([chain] if chain else []), *formula)
        self._sign = "←" if part == "update" and parameter else "="
        self.value = tensor.shown()

    @property
    def symbol(self):
        """str: "z₁", "∂L/∂A₂"."""
        return self._writers["text"](self._name)

    @property
    def formula(self):
        """str: "∂L/∂z₂ = ∂L/∂r₂ · ∂r₂/∂z₂ = ∂L/∂r₂ ⊙ r₂ ⊙ (1 - r₂)"."""
        return self.written()[0]

    @property
    def numbers(self):
        """list of str: "z₁[0] = 0.15·0.05 + 0.2·0.1 + 0.35 = 0.3775" and so on; see `written`."""
        return self.written()[1]

    @property
    def result(self):
        """float or list: `value` in plain numbers."""
        return self.value.tolist()

    @property
    def reused(self):
        """bool: whether back-propagation computes it once and uses it in several steps, `reused_by`."""
        return len(self.reused_by) > 1

    def written(self, form="text"):
        """The formula, and the lines of its arithmetic.

        Parameters
        ----------
        form : {"text", "latex", "mathml"}
            Each a formula by itself: LaTeX without the dollars, MathML with its ``<math>``.

        Returns
        -------
        formula : str
        lines : list of str
            One for each element, of large tensors the first few; one for all where elements only move.
        """
        write = self._writer(form)
        formula, lines, size = [write(part) for part in self._parts], self._lines(), self.value.size
        if all(isinstance(line.expr, (Leaf, Number)) for line in lines):
            texts = [write.equation([write(self._name), write.array(self.value)], self._sign)]
        else:
            texts = [self._line(line, write) for line in lines]
            if len(lines) < size:
                texts.append(write.words(f"and {size - len(lines)} more: ") + write.array(self.value))
        return write.finish(write.equation(formula, self._sign)), [write.finish(text) for text in texts]

    def element(self, *index, form="text"):
        """str: the arithmetic of one element, the neuron's for r₁ and z₁; `form` as in `written`.

        Raises
        ------
        ArgumentError
            If there is no such element.
        """
        write = self._writer(form)
        return write.finish(self._line(self.line(*index), write))

    def line(self, *index):
        """The `Line` of the element at an index of `value`."""
        fits = len(index) == self.value.ndim and all(0 <= i < d for i, d in zip(index, self.value.shape))
        if not fits:
            raise ArgumentError(f"{self.symbol} has the shape {self.value.shape}, got the index {index}.")
        at = self._tensor.stored_index(index)
        return Line(self._tensor.leaf(at, self._name.symbol), self._element(at), float(self.value[index]))

    def _lines(self):
        """Those of all elements, or of the first few; none where an element reads too much."""
        if self._tensor.reads > _MOST_READ * self.value.size:
            return []
        count = self.value.size if self.value.size <= self._writers["text"].most else _FIRST
        return [self.line(*index) for index in islice(np.ndindex(*self.value.shape), count)]

    def _line(self, line, write):
        return write.equation(line.parts(write), self._sign)

    def _writer(self, form):
        if form not in self._writers:
            raise UnknownNameError.among("form of a formula", form, self._writers)
        return self._writers[form]

    def _aligned(self, latex):
        """LaTeX with the mark of alignment before its first sign."""
        sign = Latex.infix(None, self._sign)
        return latex.replace(sign, f" &{sign[1:]}", 1) if sign in latex else f"&{latex}"

    def _mark(self):
        if not self.reused:
            return ""
        return f"computed once, used in {', '.join(f'({n})' for n in self.reused_by)}"

    def __repr__(self):
        return f"<Step {self.number} of the {PARTS[self.part].lower()}: {self.formula}>"


_STYLE = """
.fastnn-step { line-height: 1.5; max-width: 70em }
.fastnn-step h3 { font-size: 1.1em; margin: 1.2em 0 0.3em }
.fastnn-step h4 { font-size: 1em; margin: 0.8em 0 0.2em; font-weight: 600 }
.fastnn-step p { margin: 0.2em 0 }
.fastnn-step ol { list-style: none; margin: 0; padding: 0 }
.fastnn-step li { border-left: 3px solid rgba(128,128,128,.35); margin: 0.4em 0;
  padding: 0.1em 0 0.1em 0.7em; overflow: auto hidden }
.fastnn-step li.reused { border-left-color: #d2691e }
.fastnn-step .n { display: inline-block; min-width: 2.4em; opacity: .65 }
.fastnn-step .mark { background: rgba(210,105,30,.25); border-radius: 3px; padding: 0 .4em;
  font-size: .85em; white-space: nowrap }
.fastnn-step .arithmetic { margin: 0 0 0 2.4em; padding: 0.15em 0; white-space: nowrap }
.fastnn-step .name { opacity: .65; font-size: .85em }
"""  # fmt: skip


class Explanation:
    """One forward and backward pass of one sample, step by step; printed, or shown by a notebook.

    Attributes
    ----------
    steps : list of Step
    given : list of Given
    loss : float
        The total loss of the sample, penalties included.
    gradients : dict of str to ndarray
        By parameter name, as `Model.gradients` returns them, in float64.

    Notes
    -----
    The letters: r₀ is the input, or x₁, x₂, ... where there are several; rᵢ the output of layer i, zᵢ what its
    activation is given, u any other value on the way. A is the transpose of a Dense layer's kernel, so that
    z = A r + b. y is the target, L the loss. Elements are counted from 0, as in Python.
    """

    def __init__(self, title, given, steps, loss, gradients, writers):
        self.title, self.given, self.steps, self.loss, self.gradients = title, given, steps, loss, gradients
        self._writers = writers

    def of_layer(self, name):
        """list of Step: those of the layer, or loss, of this name."""
        return [step for step in self.steps if step.layer == name]

    def _sections(self):
        """(heading of the part or "", title, steps)."""
        before = None
        for (part, title), steps in groupby(self.steps, key=lambda s: (s.part, s.title)):
            yield PARTS[part] if part != before else "", title, list(steps)
            before = part

    # -- text --

    def text(self):
        """str: the whole as Unicode text."""
        write, lines = self._writers["text"], [self.title, *_LEGEND, "", "Given"]
        width = max(len(write(g.left)) for g in self.given)
        for g in self.given:
            lines.append(f"  {write(g.left):{width}} = {write.array(g.value)}   {g.name}")
        for part, title, steps in self._sections():
            lines += ["", part] if part else []
            lines.append(f" {title}")
            for step in steps:
                mark = f"   ↺ {step._mark()}" if step.reused else ""
                formula, numbers = step.written()
                lines.append(f"  {f'({step.number})':<5}{formula}{mark}")
                lines += [f"         {line}" for line in numbers]
        return "\n".join(lines) + "\n"

    __str__ = text

    # -- LaTeX --

    def latex(self):
        """str: the whole as an align* environment, which amsmath, MathJax and KaTeX know."""
        return rf"\begin{{align*}}{self._aligned()}\end{{align*}}"

    def _aligned(self):
        write, rows = self._writers["latex"], []
        for g in self.given:
            rows.append((f"{write(g.left)} &= {write.array(g.value)}", write.words(g.name)))
        for part, title, steps in self._sections():
            if part:
                rows.append((rf"&\textbf{{{part}}}", ""))
            rows.append((f"&{write.words(title)}", ""))
            for step in steps:
                mark = rf"\quad\circlearrowleft {write.words(step._mark())}" if step.reused else ""
                formula, numbers = step.written("latex")
                rows.append((rf"\text{{({step.number})}}\quad {step._aligned(formula)}", mark))
                rows += [(step._aligned(text), "") for text in numbers]
        return "\n" + " \\\\\n".join(f"{text} {mark}".rstrip() for text, mark in rows) + "\n"

    def _repr_latex_(self):
        return rf"$$\begin{{aligned}}{self._aligned()}\end{{aligned}}$$"

    # -- HTML --

    def html(self):
        """str: the whole as an HTML fragment in ASCII with MathML; it loads nothing and follows the page's colours."""
        write, parts = self._writers["mathml"], []
        parts.append(
            f'<div class="fastnn-step"><style>{_STYLE}</style><p><strong>{escape(self.title)}</strong></p>'
        )
        parts.append(f"<p>{escape(' '.join(_LEGEND))}</p><h3>Given</h3><ol>")
        for g in self.given:
            formula = write.finish(write.equation([write(g.left), write.array(g.value)]))
            parts.append(f'<li>{formula} <span class="name">{escape(g.name)}</span></li>')
        parts.append("</ol>")
        for part, title, steps in self._sections():
            parts.append((f"<h3>{part}</h3>" if part else "") + f"<h4>{escape(title)}</h4><ol>")
            for step in steps:
                mark = f' <span class="mark">↺ {step._mark()}</span>' if step.reused else ""
                reused = ' class="reused"' if step.reused else ""
                formula, numbers = step.written("mathml")
                parts.append(f'<li{reused}><span class="n">({step.number})</span>{formula}{mark}')
                parts += [f'<div class="arithmetic">{line}</div>' for line in numbers]
                parts.append("</li>")
            parts.append("</ol>")
        parts.append("</div>")
        return "".join(parts).encode("ascii", "xmlcharrefreplace").decode("ascii")

    _repr_html_ = html

    def __repr__(self):
        return f"<Explanation: {len(self.steps)} steps, loss {self.loss:.6g}>"


_LEGEND = (
    "r is what a layer puts out, z what its activation is given, L the loss; elements are counted from 0.",
    "↺ marks what back-propagation computes once and uses again.",
)
