"""Expressions written as text, as LaTeX and as MathML."""

from html import escape
from typing import NamedTuple

from .expressions import Derivative, Number

_SUM, _PRODUCT, _POWER, _ATOM = 1, 2, 3, 4
_SHOWN = 3  # terms of a long sum that are written before the dots
_SUPERSCRIPTS = str.maketrans("23", "²³")
_SUBSCRIPTS = str.maketrans("0123456789", "₀₁₂₃₄₅₆₇₈₉")


class _Piece(NamedTuple):
    """What is written, how strongly it holds together, and whether a minus stands in front."""

    text: str
    level: int = _ATOM
    minus: bool = False


class Writer:
    """Writes expressions; a format says how each construct looks.

    Parameters
    ----------
    precision : int
        Significant digits of numbers.
    most : int
        Terms of a sum that are written in full.
    """

    def __init__(self, precision, most):
        self.precision, self.most = precision, most

    def __call__(self, expr, numbers=False):
        """The expression, with letters or with today's numbers."""
        return self._signed(self._write(expr, numbers))

    def equation(self, parts, sign="="):
        """Parts already written, the first of them set equal to the others, or with another sign."""
        first, *rest = parts
        return self.infix(sign).join([first, self.infix("=").join(rest)])

    def finish(self, text):
        """A formula that stands by itself."""
        return text

    def _signed(self, piece):
        return self.minus + piece.text if piece.minus else piece.text

    def _inside(self, piece, least):
        """The piece where something of this level is needed: in parentheses where it is weaker or negative."""
        return self.group(self._signed(piece)) if piece.level < least or piece.minus else piece.text

    def _write(self, expr, numbers):
        return getattr(self, f"_{type(expr).__name__.lower()}")(expr, numbers)

    def _number(self, expr, numbers=True):
        digits = f"{abs(expr.number):.{self.precision}g}"
        text, atom = self.digits(digits)
        return _Piece(text, _ATOM if atom else _PRODUCT, expr.number < 0 and float(digits) != 0)

    def _leaf(self, expr, numbers):
        if numbers and expr.number is not None:
            return self._number(expr)
        index = expr.index
        if index and expr.symbol.flipped:
            index = index[::-1]
        symbol = expr.symbol
        if isinstance(symbol, Derivative):
            return _Piece(self.derivative(self.symbol(symbol.of, ()), self.symbol(symbol.by, index or ())))
        return _Piece(self.symbol(symbol, index or ()))

    def _sum(self, expr, numbers):
        terms = expr.children
        cut = len(terms) > self.most
        shown = (*terms[:_SHOWN], terms[-1]) if cut else terms
        text, minus = "", False
        for i, term in enumerate(shown):
            piece = self._write(term, numbers)
            body = piece.text if piece.level >= _PRODUCT or not piece.minus else self.group(piece.text)
            if i == 0:
                text, minus = body, piece.minus
                continue
            if cut and i == _SHOWN:
                text += self.infix("+") + self.dots
            text += self.infix("-" if piece.minus else "+") + body
        return _Piece(self.minus + text if minus else text, _SUM)

    def _product(self, expr, numbers):
        text, minus, before = "", False, None
        for factor in expr.children:
            piece = self._write(factor, numbers)
            if before is None:
                text = piece.text if piece.level >= _PRODUCT else self.group(piece.text)
                minus = piece.minus
            else:
                sign = "⊙" if before.is_tensor and factor.is_tensor else "·"
                text += self.infix(sign, tight=numbers and sign == "·") + self._inside(piece, _PRODUCT)
            before = factor
        return _Piece(text, _PRODUCT, minus)

    def _matrixproduct(self, expr, numbers):
        left, right = (self._inside(self._write(c, numbers), _PRODUCT) for c in expr.children)
        left = self.transposed(left) if expr.flip == "left" else left
        right = self.transposed(right) if expr.flip == "right" else right
        return _Piece(self.juxtaposed(left, right), _PRODUCT)

    def _negative(self, expr, numbers):
        piece = self._write(expr.children[0], numbers)
        if piece.minus:
            return _Piece(self.group(self._signed(piece)), _ATOM, True)
        return _Piece(
            piece.text if piece.level >= _PRODUCT else self.group(piece.text),
            max(piece.level, _PRODUCT),
            True,
        )

    def _quotient(self, expr, numbers):
        a, b = (self._write(c, numbers) for c in expr.children)
        if a.minus:  # the sign stands in front of the fraction
            return self._fraction(a._replace(minus=False), b)._replace(minus=True)
        return self._fraction(a, b)

    def _power(self, expr, numbers):
        a, b = (self._write(c, numbers) for c in expr.children)
        return _Piece(
            self.power(self._inside(a, _ATOM), self._signed(b), b.level == _ATOM and not b.minus), _POWER
        )

    def _call(self, expr, numbers):
        args = [self(c, numbers) for c in expr.children]
        if expr.name == "exp":
            only = self._write(expr.children[0], numbers)
            return _Piece(
                self.power(self.letter("e"), args[0], only.level == _ATOM and not only.minus), _POWER
            )
        if expr.name == "sqrt":
            return _Piece(self.root(args[0], self._write(expr.children[0], numbers).level == _ATOM))
        if expr.name == "abs":
            return _Piece(self.bars(args[0]))
        cut = len(args) > self.most
        return _Piece(self.call(expr.name, [*args[:_SHOWN], self.dots, args[-1]] if cut else args))

    def _item(self, expr, numbers):
        table, index = expr.children
        return _Piece(self.item(self(table, numbers), self(index, numbers)))

    def _comparison(self, expr, numbers):
        a, b = (self(c, numbers) for c in expr.children)
        return _Piece(a + self.infix(expr.sign) + b, _SUM)

    def _cases(self, expr, numbers):
        if numbers:
            return self._write(expr.chosen(), numbers)
        rows = [(self(e), self(condition)) for e, condition in expr.pairs]
        return _Piece(self.cases(rows, self(expr.otherwise)))

    def _drawn(self, expr, numbers):
        if numbers and expr.number is not None:
            return self._number(expr)
        return _Piece(self.call(expr.name, [self(c) for c in expr.children]))

    def array(self, array):
        """Numbers of an array of any rank; those of large ones are cut."""
        if array.ndim == 0:
            return self(Number(array))
        if array.size > self.most and array.ndim > 1:
            sizes = " × ".join(map(str, array.shape))
            low, high = (self(Number(v)) for v in (array.min(), array.max()))
            return self.words(f"{sizes} numbers from ") + low + self.words(" to ") + high
        return self._rows(array)

    def _cut(self, row):
        """The numbers of one row, the middle left out of a long one."""
        texts = [self(Number(v)) for v in (row if len(row) <= self.most else (*row[:_SHOWN], row[-1]))]
        if len(row) > self.most:
            texts.insert(_SHOWN, self.dots)
        return texts


class Text(Writer):
    """Unicode text: r₁ = σ(z₁)."""

    minus, dots = "-", "…"

    def infix(self, sign, tight=False):
        return sign if tight else f" {sign} "

    def group(self, text):
        return f"({text})"

    def letter(self, name):
        return name

    words = letter

    def digits(self, digits):
        return digits, True

    def symbol(self, symbol, index):
        sub = symbol.sub.translate(_SUBSCRIPTS)
        return symbol.base + sub + (f"[{','.join(map(str, index))}]" if index else "")

    def derivative(self, of, by):
        return f"∂{of}/∂{by}"

    def transposed(self, text):
        return f"({text})ᵀ" if "/" in text else f"{text}ᵀ"

    def juxtaposed(self, a, b):
        return f"{a} {b}"

    def _fraction(self, a, b):
        return _Piece(f"{self._inside(a, _PRODUCT)} / {self._inside(b, _POWER)}", _PRODUCT)

    def power(self, a, b, simple):
        return a + b.translate(_SUPERSCRIPTS) if b in "23" else f"{a}^{b}" if simple else f"{a}^({b})"

    def root(self, x, simple):
        return f"√{x}" if simple else f"√({x})"

    def bars(self, x):
        return f"|{x}|"

    def call(self, name, args):
        return f"{name}({', '.join(args)})"

    def item(self, table, index):
        return f"{table}[{index}]"

    def cases(self, rows, otherwise):
        return f"{{{''.join(f'{e} if {c}, ' for e, c in rows)}else {otherwise}}}"

    def _rows(self, array):
        if array.ndim == 1:
            return f"[{', '.join(self._cut(array))}]"
        return f"[{', '.join(map(self._rows, array))}]"


_GREEK = {
    "σ": r"\sigma", "α": r"\alpha", "β": r"\beta", "γ": r"\gamma", "μ": r"\mu", "η": r"\eta", "ℓ": r"\ell",
    "Ω": r"\Omega", "π": r"\pi", "ĝ": r"\hat g", "v̂": r"\hat v", "mean": r"\operatorname{mean}", "sum": r"\sum",
}  # fmt: skip
_LATEX_SIGNS = {"·": r"\cdot", "⊙": r"\odot", "≤": r"\le", "≥": r"\ge", "≠": r"\ne", "←": r"\leftarrow"}
_LATEX_SPECIAL = str.maketrans(
    {
        **{c: f"\\{c}" for c in "#$%&_{}"},
        "\\": r"\textbackslash{}",
        "~": r"\textasciitilde{}",
        "^": r"\textasciicircum{}",
    }
)


class Latex(Writer):
    """LaTeX of mathematics, without the dollars."""

    minus, dots = "-", r"\dots"

    def infix(self, sign, tight=False):
        return f" {_LATEX_SIGNS.get(sign, sign)} "

    def group(self, text):
        return rf"\left({text}\right)"

    def letter(self, name):
        return _GREEK.get(name) or (
            name if len(name) == 1 else rf"\mathrm{{{name.translate(_LATEX_SPECIAL)}}}"
        )

    def words(self, text):
        return rf"\text{{{text.translate(_LATEX_SPECIAL)}}}".replace("×", r"$\times$")

    def digits(self, digits):
        mantissa, _, exponent = digits.partition("e")
        return (
            (rf"{mantissa} \cdot 10^{{{int(exponent)}}}", False)
            if exponent
            else (digits.replace("inf", r"\infty"), True)
        )

    def symbol(self, symbol, index):
        base, prime = self.letter(symbol.base.rstrip("'")), "'" * symbol.base.count("'")
        sub = f"_{{{symbol.sub}}}" if symbol.sub else ""
        return base + prime + sub + (f"[{','.join(map(str, index))}]" if index else "")

    def derivative(self, of, by):
        return rf"\frac{{\partial {of}}}{{\partial {by}}}"

    def transposed(self, text):
        return rf"{{{text}}}^{{\mathsf T}}"

    def juxtaposed(self, a, b):
        return rf"{a} \, {b}"

    def _fraction(self, a, b):
        return _Piece(rf"\frac{{{self._signed(a)}}}{{{self._signed(b)}}}", _PRODUCT)

    def power(self, a, b, simple):
        return f"{{{a}}}^{{{b}}}"

    def root(self, x, simple):
        return rf"\sqrt{{{x}}}"

    def bars(self, x):
        return rf"\left|{x}\right|"

    def call(self, name, args):
        return self.letter(name) + self.group(", ".join(args))

    def item(self, table, index):
        return f"{table}[{index}]"

    def cases(self, rows, otherwise):
        lines = [f"{e} & {c}" for e, c in rows] + [rf"{otherwise} & \text{{else}}"]
        return r"\begin{cases}" + r" \\ ".join(lines) + r"\end{cases}"

    def _rows(self, array):
        if array.ndim <= 2:
            rows = [array] if array.ndim == 1 else array
            return (
                r"\begin{pmatrix}" + r" \\ ".join(" & ".join(self._cut(r)) for r in rows) + r"\end{pmatrix}"
            )
        return r"\left[" + ", ".join(map(self._rows, array)) + r"\right]"


class MathML(Writer):
    """MathML Core, which browsers show by themselves."""

    minus, dots = '<mo form="prefix">−</mo>', "<mo>…</mo>"

    def finish(self, text):
        return f'<math displaystyle="true">{text}</math>'

    def infix(self, sign, tight=False):
        return f"<mo>{escape('−' if sign == '-' else sign)}</mo>"

    def group(self, text):
        return f"<mrow><mo>(</mo>{text}<mo>)</mo></mrow>"

    def letter(self, name):
        return f"<mi>{escape('∑' if name == 'sum' else name)}</mi>"

    def words(self, text):
        return f"<mtext>{escape(text).replace(' ', '&#160;')}</mtext>"

    def digits(self, digits):
        mantissa, _, exponent = digits.partition("e")
        if not exponent:
            return f"<mn>{digits.replace('inf', '∞')}</mn>", True
        sign = "<mo>−</mo>" if int(exponent) < 0 else ""
        power = f"<msup><mn>10</mn><mrow>{sign}<mn>{abs(int(exponent))}</mn></mrow></msup>"
        return f"<mrow><mn>{mantissa}</mn><mo>·</mo>{power}</mrow>", False

    def symbol(self, symbol, index):
        base = self.letter(symbol.base)
        made = f"<msub>{base}<mn>{escape(symbol.sub)}</mn></msub>" if symbol.sub else base
        if not index:
            return made
        return f"<mrow>{made}<mo>[</mo><mn>{','.join(map(str, index))}</mn><mo>]</mo></mrow>"

    def derivative(self, of, by):
        return f"<mfrac><mrow><mo>∂</mo>{of}</mrow><mrow><mo>∂</mo>{by}</mrow></mfrac>"

    def transposed(self, text):
        return f"<msup><mrow>{text}</mrow><mi>T</mi></msup>"

    def juxtaposed(self, a, b):
        return f'<mrow>{a}<mspace width="0.2em"/>{b}</mrow>'

    def _fraction(self, a, b):
        return _Piece(
            f"<mfrac><mrow>{self._signed(a)}</mrow><mrow>{self._signed(b)}</mrow></mfrac>", _PRODUCT
        )

    def power(self, a, b, simple):
        return f"<msup><mrow>{a}</mrow><mrow>{b}</mrow></msup>"

    def root(self, x, simple):
        return f"<msqrt><mrow>{x}</mrow></msqrt>"

    def bars(self, x):
        return f"<mrow><mo>|</mo>{x}<mo>|</mo></mrow>"

    def call(self, name, args):
        return f"<mrow>{self.letter(name)}{self.group('<mo>,</mo>'.join(args))}</mrow>"

    def item(self, table, index):
        return f"<mrow>{table}<mo>[</mo>{index}<mo>]</mo></mrow>"

    def cases(self, rows, otherwise):
        cells = [(e, c) for e, c in rows] + [(otherwise, "<mtext>else</mtext>")]
        lines = "".join(f"<mtr><mtd>{e}</mtd><mtd>{c}</mtd></mtr>" for e, c in cells)
        return f"<mrow><mo>{{</mo><mtable>{lines}</mtable></mrow>"

    def _rows(self, array):
        if array.ndim <= 2:
            rows = [array] if array.ndim == 1 else array
            cells = ("".join(f"<mtd>{v}</mtd>" for v in self._cut(r)) for r in rows)
            return f"<mrow><mo>(</mo><mtable>{''.join(f'<mtr>{c}</mtr>' for c in cells)}</mtable><mo>)</mo></mrow>"
        return f"<mrow><mo>[</mo>{'<mo>,</mo>'.join(map(self._rows, array))}<mo>]</mo></mrow>"
