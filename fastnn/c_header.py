"""Networks as C headers for microcontrollers: weights as constant arrays, and straight-line code.

The Program of a Predictor becomes a list of steps: a loop nest each, in which what follows element by element is
computed too. Temporaries lie in one array of the caller's, in which those that are not needed at the same time share
their place. Code is written as in `c_functions`, with REAL, R(x), C(f) and @ for what depends on type and name.
"""

import math
import os
import re
from collections import Counter

import numpy as np

from .backends.xp import round_bfloat16
from .c_functions import EXPRESSIONS, FUNCTIONS, in_type, number, numbers, used
from .config import version
from .errors import ArgumentError, ArgumentTypeError, UnknownNameError, UnsupportedError
from .graph import Node, ProgramTensor, permutation
from .structure import unused

EXTENSIONS = (".h", ".hh", ".hpp")
_WIDTH = 120
_BLOCK = 1024  # products that matmul_int8 adds as integers
_PART = 64  # terms of long sums
_LOOPS, _INNER = "ijlmnpqr", ("k", *(f"k{i}" for i in range(2, 9)))

# Ops of which a sample cannot be computed without the others.
BY_BATCH = ("sum_rows", "mean_rows")


def export_c(predictor, filepath, name=None, overwrite=True):
    """Write a Predictor as a C header; see `Model.export_c`."""
    from ._safetensors import write_atomically
    from .io import _path

    path = _path("export_c", filepath)
    stem, extension = os.path.splitext(os.path.basename(path))
    if extension.lower() not in EXTENSIONS:
        raise UnknownNameError.among("extension of C headers", extension, EXTENSIONS)
    if name is None:
        name = _word(stem) or "net"
        name = f"net_{name}" if name[0].isdigit() else name
    elif not isinstance(name, str):
        raise ArgumentTypeError(f"export_c needs a name that is text, got {name!r:.80}")
    elif not re.fullmatch(r"[A-Za-z][A-Za-z0-9_]*", name):
        raise ArgumentError(
            f"export_c needs a name that names in C can begin with: a letter, then letters, digits and _; got {name!r:.80}"
        )
    if not overwrite and os.path.exists(path):
        raise ArgumentError(f"'{path}' exists already; pass overwrite=True or another path")
    text = _Header(predictor, name).text()
    write_atomically(path, lambda file: file.write(text.encode("ascii")))


class _Step:
    """A loop nest: a node, and those that follow element by element."""

    def __init__(self, node):
        self.nodes = [node]

    @property
    def head(self):
        return self.nodes[0]

    @property
    def out(self):
        return self.nodes[-1].outputs[0]

    @property
    def inputs(self):
        """Ids of the tensors that are read."""
        inside = {i for node in self.nodes for i in node.outputs}
        return [i for node in self.nodes for i in node.inputs if i not in inside]

    @property
    def followers(self):
        """The nodes that are computed element by element."""
        return self.nodes if self.head.op in EXPRESSIONS else self.nodes[1:]


class _Places:
    """Where a loop nest finds its elements.

    Attributes
    ----------
    loops : list of (str, int)
        Variables and sizes.
    """

    def __init__(self, shape, places, keep):
        """places: by key (array, strides, offset), or text that is the same for all elements."""
        self._places = places
        self.loops, self._index = _loops(shape, {k: p[1] for k, p in places.items() if isinstance(p, tuple)}, keep)

    def index(self, key, *more):
        """The index of the element, and what else is added to it."""
        return _sum(self._index[key], self._places[key][2], *more)

    def element(self, key, *more):
        place = self._places[key]
        return place if isinstance(place, str) else f"{place[0]}[{self.index(key, *more)}]"

    def pointer(self, key):
        """The element's address."""
        index = self.index(key)
        return self._places[key][0] + ("" if index == "0" else f" + {index}")


class _Header:
    """The header of one Predictor."""

    def __init__(self, predictor, name):
        program = predictor.program
        self.predictor, self.name, self.mixed = predictor, name, program.policy == "mixed_bfloat16"
        self.real = "float" if program.dtype == "float32" else "double"
        self.tensors = list(program.tensors)
        self.inputs, self.roots = program.of_kind("input"), program.roots_of("output")
        self.outputs = [root.tensor for root in self.roots]
        self.nodes = [program.nodes[i] for i in program.needed(self.outputs)]
        self._check()
        self.values = {t.id: predictor.read(t.id, t.shape) for t in program.of_kind("param")}
        self.arrays = []  # definitions
        self._array_of = {}  # their names by tensor id, and whether it is the array of a kernel's columns
        words = ("FMA", "H", "INPUTS", "OUTPUTS", "predict", "scratch", "class_names", "feature_names")
        self.taken = {f"{name}_{word}" for word in (*FUNCTIONS[self.real], *words)}
        self._lower()
        self.steps = self._steps()
        self._name_tensors()
        self._plan()

    def _check(self):
        if any(getattr(self.predictor, "_lookups", ())):
            raise UnsupportedError.of(
                "a C header reads numbers alone, and the model looks up text or integers",
                [f"input {t.name!r}" for t, lookup in zip(self.inputs, self.predictor._lookups) if lookup is not None],
                "Export a fastnn.Model of what comes behind the lookups, whose input are positions in their vocabularies.",
            )
        missing = []
        for node in self.nodes:
            out = self.tensors[node.outputs[0]]
            if node.op in BY_BATCH:
                missing.append(f"{out.name}: {node.op}, which reads all rows of a batch")
            elif not supported(node.op):
                missing.append(f"{out.name}: {node.op}, which has no form in C")
            elif node.op == "layer_norm" and self._is_read(node.outputs[1]):
                missing.append(f"{out.name}: the scale of layer_norm by itself")
        if not missing:
            missing = [
                f"{out.name}: a constant of {self._size(out.id):,} numbers"
                for out in (self.tensors[node.outputs[0]] for node in self.nodes)
                if not out.batched
            ]
        if missing:
            raise UnsupportedError.of(
                "a C header predicts one sample at a time, and the model holds what it cannot have",
                missing,
                "Export a fastnn.Model without these layers, such as of the outputs before them.",
            )

    def _is_read(self, i):
        return i in self.outputs or any(i in node.inputs for node in self.nodes)

    # -- steps --

    def _lower(self):
        """Takes reshapes out, which move nothing, and puts in the rounding of a mixed Program's operands."""
        self.alias, nodes, rounded = {}, [], {}
        for node in self.nodes:
            if node.op == "reshape":
                if node.outputs[0] not in self.outputs:
                    self.alias[node.outputs[0]] = node.inputs[0]
                    continue
                node = node._replace(op="copy")
            if self.mixed and node.op in ("matmul", "matmul_nt"):
                x = self.tensors[node.inputs[0]]
                if x.id not in rounded:
                    rounded[x.id] = len(self.tensors)
                    self.tensors.append(ProgramTensor(len(self.tensors), "temp", x.type, x.shape, x.name))
                    nodes.append(Node("round_bfloat16", (x.id,), (rounded[x.id],)))
                node = node._replace(inputs=(rounded[x.id], *node.inputs[1:]))
            nodes.append(node)
        self.nodes = nodes

    def _steps(self):
        """Each node with those that alone read what is made there, as far as they go element by element."""
        readers = Counter([i for node in self.nodes for i in node.inputs])
        readers.update([*self.alias.values(), *self.outputs])
        reader = {i: node for node in self.nodes for i in node.inputs}
        steps, absorbed = [], set()
        made = {t.id for t in self.tensors if t.kind != "temp"}
        for node in self.nodes:
            if node.outputs[0] in absorbed:
                continue
            step = _Step(node)
            while node.op not in (*_ROWS, *_COPIES):
                last, following = step.out, reader.get(step.out)
                if readers[last] != 1 or following is None or following.op not in EXPRESSIONS:
                    break
                if self._shape(following.outputs[0]) != self._shape(last):
                    break
                if any(self._base(i) not in made for i in following.inputs if i != last):
                    break
                step.nodes.append(following)
                absorbed.add(following.outputs[0])
            made.update(i for n in step.nodes for i in n.outputs)
            steps.append(step)
        return steps

    def _base(self, i):
        """The tensor in whose place a tensor lies."""
        while i in self.alias:
            i = self.alias[i]
        return i

    def _shape(self, i):
        """Of one sample."""
        shape = self.tensors[i].shape
        return shape[1:] if self.tensors[i].batched else shape

    def _size(self, i):
        return math.prod(self._shape(i))

    # -- memory --

    def _plan(self):
        """Where temporaries lie: `self.place` has the C of it.

        What is computed element by element, or row by row, takes the place of an operand that nothing reads any more;
        where it is an output, that operand lies there already. The blocks that are left go into scratch->values, the
        largest first, each at the lowest place that is free as long as it is needed.
        """
        last = {self._base(i): at for at, step in enumerate(self.steps) for i in step.inputs}
        block_of, blocks, home = {}, [], {}  # blocks: [size, first step, last step]; home: the output a block lies in
        for at, step in enumerate(self.steps):
            out, elsewhere = step.out, set()  # elsewhere: read at other places than the one that is written
            if step.head.op not in EXPRESSIONS and step.head.op not in _ROWS:
                elsewhere = {self._base(i) for i in step.head.inputs}
            ended = [
                block_of[i]
                for i in map(self._base, step.inputs)
                if i in block_of and i not in elsewhere and last[i] == at and self._size(i) == self._size(out)
            ]
            free = next((b for b in ended if b not in home), None)
            if out in self.outputs:
                if free is not None:
                    home[free] = out
            elif free is not None:
                block_of[out], blocks[free][2] = free, last[out]
            else:
                block_of[out] = len(blocks)
                blocks.append([self._size(out), at, last[out]])
        offsets = {}
        for b in sorted(set(range(len(blocks))) - set(home), key=lambda b: (-blocks[b][0], b)):
            size, first, end = blocks[b]
            beside = [o for o in offsets if blocks[o][1] <= end and first <= blocks[o][2]]
            offset = 0
            for start, stop in sorted((offsets[o], offsets[o] + blocks[o][0]) for o in beside):
                if offset + size <= start:
                    break
                offset = max(offset, stop)
            offsets[b] = offset
        self.place = {
            i: self.names[home[b]] if b in home else "scratch->values" + (f" + {offsets[b]}" if offsets[b] else "")
            for i, b in block_of.items()
        }
        self.values_needed = max((offsets[b] + blocks[b][0] for b in offsets), default=0)
        rows = [self._shape(step.head.inputs[0])[-1] for step in self.steps if step.head.op == "matmul_int8"]
        self.rounded_needed = max(rows, default=0)

    # -- names and arrays --

    def _unique(self, name):
        made = unused(name, self.taken)
        self.taken.add(made)
        return made

    def _name_tensors(self):
        """`self.names`: what C calls inputs, outputs and temporaries."""
        self.names = {}
        for kind, named in (
            ("x", [(t.id, t.name) for t in self.inputs]),
            ("y", [(root.tensor, root.name) for root in self.roots]),
        ):
            for i, name in named:
                self.names[i] = kind if len(named) == 1 else self._unique(f"{kind}_{_word(name)}")
        for step in self.steps:
            if step.out not in self.names:
                name = _word(self.tensors[step.out].name)
                self.names[step.out] = self._unique(f"{name if name[:1].isalpha() else f'layer{name}'}_out")

    def _array(self, i):
        """The name of a parameter's array."""
        if (i, False) not in self._array_of:
            value = self.values[i]
            self._store(i, False, self.real, f"[{value.size}]", "", _folded(numbers(value.reshape(-1), self.real), 8, 4))
        return self._array_of[i, False]

    def _kernel(self, i, columns):
        """The name of a kernel's array, in whose rows stands what is summed: `columns` of the kernel, or its rows."""
        key = i, "columns" if columns else "rows"
        if key not in self._array_of:
            value, c_type, across = self.values[i], self.real, 8
            if self.tensors[i].type == "int8":
                c_type, across = "int8_t", 20
            elif self.mixed:
                c_type, across = "uint16_t", 16
                if value.dtype != np.uint16:
                    value = (round_bfloat16(value).view(np.uint32) >> 16).astype(np.uint16)
            value = value.T if columns else value
            rows = (numbers(row, self.real) if row.dtype.kind == "f" else map(str, row.tolist()) for row in value)
            body = ",\n    ".join(f"{{{_folded(list(row), across, 5)}}}" for row in rows)
            note = " /* by columns */" if columns else ""
            self._store(*key, c_type, "".join(f"[{d}]" for d in value.shape), note, body)
        return self._array_of[key]

    def _store(self, i, form, c_type, size, note, body):
        self._array_of[i, form] = made = self._unique(f"{self.name}_{_word(self.tensors[i].name)}")
        self.arrays.append(f"static const {c_type} {made}{size} = {{{note}\n    {body}}};")

    def _read(self, i, strides, offset=0):
        """Where an element of a tensor lies: array, strides and offset, or text that is the same for all elements."""
        i = self._base(i)
        if i not in self.values:
            return self.names[i], strides, offset
        value = self.values[i]
        return number(value.item(), self.real) if value.size == 1 else (self._array(i), strides, offset)

    # -- steps as C --

    def _lines(self, step):
        """The C of a step."""
        special = getattr(self, f"_{step.head.op}", None) if step.head.op in (*_ROWS, *_COPIES) else None
        return special(step) if special else self._elements(step)

    def _elements(self, step):
        """A loop over elements: the head's value, then what its followers make of it."""
        head, shape, op = step.head, self._shape(step.out), step.head.op
        places, value_at, keep = {}, None, 0
        if op in _HEADS:
            places, value_at, keep = getattr(self, f"_of_{_HEADS[op]}")(head, shape)
        inside = {i for node in step.nodes for i in node.outputs}
        for node in step.followers:
            for i in node.inputs:
                if i not in inside:
                    own = shape if node.op == "copy" else self._shape(i)
                    places[i] = self._read(i, _broadcast(own, shape))
        places["out"] = self.names[step.out], _row_major(shape), 0
        at = _Places(shape, places, keep)
        before, lines, value = value_at(at) if value_at else ([], [], None)
        written, lines = head.outputs[0] if value_at else None, list(lines)
        for node in step.followers:
            form, attrs = EXPRESSIONS[node.op], [number(a, self.real) for a in node.attrs]
            if node.op == "gelu" and node.attrs[0]:
                form = "@gelu_tanh({0})"
            elif node.op == "affine" and 1 in (node.attrs[0], node.attrs[1] + 1):
                form = "({a} * {0})" if node.attrs[1] == 0 else "({0} + {b})"
            operands = [value if i == written else at.element(i) for i in node.inputs]
            operands = operands if form.startswith("(") else map(_bare, operands)
            value, written = form.format(*operands, **dict(zip("ab", attrs))), node.outputs[0]
            if len(value) > 80 and node is not step.nodes[-1]:
                local = f"v{sum(line.startswith('const REAL v') for line in lines) + 1}"
                lines.append(f"const REAL {local} = {_bare(value)};")
                value = local
        lines.append(f"{at.element('out')} = {_bare(value)};")
        return _nest(at.loops, lines, before)

    # Heads: places, then a function that gives for them lines before the last loop, lines within it, and the value;
    # and how many of the last loops stay by themselves.

    def _of_product(self, node, shape):
        x, w = node.inputs[:2]
        size, kernel = self._shape(x)[-1], self._kernel(self._base(w), node.op != "matmul_nt")
        last = (0,) * (len(shape) - 1) + (1,)
        places = {"x": self._read(x, (*_row_major(self._shape(x))[:-1], 0)), "w": (kernel, last, 0)}
        if node.op == "matmul_int8":
            places["scale"] = self._read(node.inputs[2], last)
            return places, lambda at: self._int8_product(at, size), 1

        def value_at(at):
            row, pairs = at.element("w"), self.mixed and node.op != "matmul_csr"
            if not pairs:
                add = f"sum = @FMA({at.element('x', 'k')}, {row}[k], sum);"
                return [], ["REAL sum = R(0);", f"for (size_t k = 0; k < {size}; k++) {add}"], "sum"
            lines = ["float sum = R(0);"]  # of each pair the second one first
            if size > 1:
                lines += [
                    f"for (size_t k = 0; k + 1 < {size}; k += 2) {{",
                    f"    sum = @FMA({at.element('x', 'k', 1)}, @widen({row}[k + 1]), sum);",
                    f"    sum = @FMA({at.element('x', 'k')}, @widen({row}[k]), sum);",
                    "}",
                ]
            if size % 2:
                lines.append(f"sum = @FMA({at.element('x', size - 1)}, @widen({row}[{size - 1}]), sum);")
            return [], lines, "sum"

        return places, value_at, 1

    def _int8_product(self, at, size):
        before = [f"const float unit = @round_row({at.pointer('x')}, {size}, scratch->rounded);"]
        add = f"(int32_t)scratch->rounded[k] * {at.element('w')}[k];"
        unit = f"(unit * {at.element('scale')})"
        if size <= _BLOCK:
            lines = ["int32_t sum = 0;", f"for (size_t k = 0; k < {size}; k++) sum += {add}"]
            return before, lines, f"((float)sum * {unit})"
        lines = [
            "float sum = R(0);",
            f"for (size_t first = 0; first < {size}; first += {_BLOCK}) {{ /* 32 bits hold a part */",
            f"    const size_t end = {size} - first < {_BLOCK} ? {size} : first + {_BLOCK};",
            "    int32_t part = 0;",
            f"    for (size_t k = first; k < end; k++) part += {add}",
            "    sum += (float)part;",
            "}",
        ]
        return before, lines, f"(sum * {unit})"

    def _of_slice(self, node, shape):
        [x] = node.inputs
        axis, own = int(node.attrs[0]) - self.tensors[x].batched, _row_major(self._shape(x))
        place = self._read(x, own, int(node.attrs[1]) * own[axis])
        return {"x": place}, lambda at: ([], [], at.element("x")), 0

    def _of_transpose(self, node, shape):
        [x] = node.inputs
        batched, own = self.tensors[x].batched, _row_major(self._shape(x))
        order = permutation(node.attrs[0], len(self.tensors[x].shape))
        place = self._read(x, tuple(own[i - batched] for i in order[batched:]))
        return {"x": place}, lambda at: ([], [], at.element("x")), 0

    def _of_embedding(self, node, shape):
        table, index = node.inputs
        last = (0,) * (len(shape) - 1) + (1,)
        places = {"row": self._read(index, (*_row_major(self._shape(index)), 0)), "table": self._read(table, last)}

        def value_at(at):
            row = f"(size_t){at.element('row')}" + (f" * {shape[-1]}" if shape[-1] > 1 else "")
            return [], [], at.element("table", row)

        return places, value_at, 1

    def _of_one_hot(self, node, shape):
        [x] = node.inputs
        places = {"row": self._read(x, (*_row_major(self._shape(x)), 0)), "column": ("", (0,) * (len(shape) - 1) + (1,), 0)}
        return places, lambda at: ([], [], f"({at.element('row')} == (int32_t){at.index('column')} ? R(1) : R(0))"), 1

    def _of_argmax(self, node, shape):
        [x] = node.inputs

        def value_at(at):
            one, best = at.element("x", "k"), at.element("x", "best")
            return [], [
                "size_t best = 0;",
                f"for (size_t k = 1; k < {self._shape(x)[-1]}; k++)",
                f"    if (!({one} <= {best}) && {best} == {best}) best = k; /* the first NaN is the largest */",
            ], "(REAL)best"  # fmt: skip

        return {"x": self._read(x, (*_row_major(self._shape(x))[:-1], 0))}, value_at, 0

    def _of_reduction(self, node, shape):
        [x] = node.inputs
        own, full = _row_major(self._shape(x)), self._shape(x)
        reduced = [i for i, (d, s) in enumerate(zip(full, shape)) if d != s]
        loops, inner = _loops([full[i] for i in reduced], {"x": [own[i] for i in reduced]}, 0, _INNER)

        def value_at(at):
            one = at.element("x", *([_sum(inner["x"])] if inner["x"] else []))
            if node.op == "sum_to":
                last, size = loops[-1] if loops else ("k", 1)
                return [], ["REAL sum = R(0);", *_nest(loops[:-1], _adding("sum", one, size, last))], "sum"
            return [], ["REAL top = -INFINITY;", *_nest(loops, [f"top = @maximum(top, {one});"])], "top"

        return {"x": self._read(x, own)}, value_at, 0

    # Row by row.

    def _by_row(self, step, body):
        """`body(x, y, n)` for each row, x and y being what the element k of a row of n is called."""
        shape, x = self._shape(step.out), self.names[self._base(step.head.inputs[0])]
        rows, n = math.prod(shape[:-1]), shape[-1]
        first = f"i * {n} + " if rows > 1 else ""
        return _nest([("i", rows)], body(f"{x}[{first}k]", f"{self.names[step.out]}[{first}k]", n))

    def _softmax(self, step):
        def body(x, y, n):
            return [
                "REAL top = -INFINITY, sum = R(0), factor;",
                f"for (size_t k = 0; k < {n}; k++) top = @maximum(top, {x});",
                f"for (size_t k = 0; k < {n}; k++) {y} = @exp_negative({x} - top);",
                *_adding("sum", y, n),
                "factor = R(1) / sum;",
                f"for (size_t k = 0; k < {n}; k++) {y} *= factor;",
            ]

        return self._by_row(step, body)

    def _log_softmax(self, step):
        def body(x, y, n):
            return [
                "REAL top = -INFINITY, sum = R(0);",
                f"for (size_t k = 0; k < {n}; k++) top = @maximum(top, {x});",
                *_adding("sum", f"@exp_negative({x} - top)", n),
                "sum = @log(sum);",
                f"for (size_t k = 0; k < {n}; k++) {y} = {x} - top - sum;",
            ]

        return self._by_row(step, body)

    def _layer_norm(self, step):
        def body(x, y, n):
            count, epsilon = number(n, self.real), number(step.head.attrs[0], self.real)
            return [
                "REAL mean = R(0), square = R(0), scale;",
                *_adding("mean", x, n),
                f"mean /= {count};",
                *_adding("square", f"({x} - mean) * ({x} - mean)", n),
                f"scale = R(1) / C(sqrt)(square / {count} + {epsilon});",
                f"for (size_t k = 0; k < {n}; k++) {y} = ({x} - mean) * scale;",
            ]

        return self._by_row(step, body)

    # Part by part.

    def _concat(self, step):
        axis = int(step.head.attrs[0]) - self.tensors[step.out].batched
        at, lines = 0, []
        for i in step.head.inputs:
            lines += self._copied(i, step.out, axis, at)
            at += self._shape(i)[axis]
        return lines

    def _pad(self, step):
        axis, start = int(step.head.attrs[0]) - self.tensors[step.out].batched, int(step.head.attrs[1])
        zeros = _nest([("i", self._size(step.out))], [f"{self.names[step.out]}[{_sum([('i', 1)])}] = R(0);"])
        return zeros + self._copied(step.head.inputs[0], step.out, axis, start)

    def _copied(self, i, out, axis, start):
        """Puts a tensor into a larger one from an index of an axis on."""
        shape, own = self._shape(i), _row_major(self._shape(out))
        places = {"x": self._read(i, _row_major(shape)), "out": (self.names[out], own, start * own[axis])}
        at = _Places(shape, places, 0)
        return _nest(at.loops, [f"{at.element('out')} = {at.element('x')};"])

    # -- the text --

    def text(self):
        """The header."""
        body = [line for at, tensor in enumerate(self.inputs, 1) for line in self._range_check(at, tensor)]
        for step in self.steps:
            if step.head.op == "copy" and self.place.get(self._base(step.head.inputs[0])) == self.names[step.out]:
                continue  # it lies there already
            lines = self._lines(step)
            if step.out in self.place:
                lines.insert(0, f"{self.real} *const {self.names[step.out]} = {self.place[step.out]};")
            body += [_Comment(self._title(step)), *lines]
        if not self.values_needed and not self.rounded_needed:
            body.append("(void)scratch;")
        if self._returns == "int":
            body.append("return 0;")
        functions = used("\n".join(line for line in body if not isinstance(line, _Comment)), self.real)
        lines = [f"{self._signature()} {{", *(f"    {self._finished(line)}" for line in body), "}"]
        parts = [
            self._tables(),
            *map(self._finished, functions),
            *self.arrays,
            "\n".join(lines),
        ]
        return self._around("\n\n".join(filter(None, parts)))

    def _finished(self, text):
        return text if isinstance(text, _Comment) else in_type(text, self.real, self.name)

    @property
    def _returns(self):
        return "int" if any(t.type == "int32" for t in self.inputs) else "void"

    def _signature(self):
        given = [f"const {'int32_t' if t.type == 'int32' else self.real} *{self.names[t.id]}" for t in self.inputs]
        given += [f"{self.real} *{self.names[i]}" for i in self.outputs] + [f"{self.name}_scratch *scratch"]
        begin = f"static inline {self._returns} {self.name}_predict("
        whole = ", ".join(given)
        return begin + (whole if len(begin + whole) < _WIDTH else f",\n{' ' * len(begin)}".join(given)) + ")"

    def _range_check(self, at, tensor):
        """Lines that return the number of an input of integers if one of them is none of the things it tells apart."""
        sizes = [self.tensors[n.inputs[0]].shape[0] for n in self.nodes if n.op == "embedding" and n.inputs[1] == tensor.id]
        sizes += [self._shape(n.outputs[0])[-1] for n in self.nodes if n.op == "one_hot" and n.inputs[0] == tensor.id]
        if not sizes:
            return []
        size = self._size(tensor.id)
        x = f"{self.names[tensor.id]}[{'i' if size > 1 else 0}]"
        return _nest([("i", size)], [f"if ({x} < 0 || {x} >= {min(sizes)}) return {at};"])

    def _title(self, step):
        names = dict.fromkeys(self.tensors[node.outputs[0]].name for node in step.nodes)
        read = [self._shape(i) for i in dict.fromkeys(step.inputs) if self._base(i) not in self.values]
        ops = ", ".join(node.op for node in step.nodes)
        return f"{', '.join(filter(None, names))}: {ops}, {', '.join(map(_dims, read))} -> {_dims(self._shape(step.out))}"

    def _tables(self):
        """The names of columns and classes."""
        known, made = self.predictor._tabular, []
        columns = known.columns if known.features is None else known.features.names_out
        for what, names in (("feature", columns), ("class", known.classes)):
            if names is not None:
                listed = _folded(list(map(_literal, names)), 8, 4)
                made.append(f"static const char *const {self.name}_{what}_names[{len(names)}] = {{\n    {listed}}};")
        return "\n\n".join(made)

    def _sizes(self):
        """Macros of the sizes of inputs and outputs: (macro, tensor id)."""
        taken, made = set(), []
        for kind, ids in (("INPUTS", [t.id for t in self.inputs]), ("OUTPUTS", self.outputs)):
            for i in ids:
                macro = f"{self.name.upper()}_{kind}" + ("" if len(ids) == 1 else f"_{self.names[i][2:].upper()}")
                while macro in taken:
                    macro += "_"
                taken.add(macro)
                made.append((macro, i))
        return made

    def _around(self, text):
        """The whole header around definitions."""
        upper, multiplies = self.name.upper(), re.search(rf"\b{self.name.upper()}_FMA\(", text) is not None
        multiply = [
            f"#ifndef {upper}_FMA",
            f"#define {upper}_FMA(a, b, c) {'fmaf' if self.real == 'float' else 'fma'}(a, b, c) /* a b + c, rounded once */",
            "#endif",
        ]
        sizes = [
            f"#define {macro} {self._size(i)} /* {'written' if i in self.outputs else 'read'} at {self.names[i]}, of the shape "
            f"{_dims(self._shape(i))} */"
            for macro, i in self._sizes()
        ]
        fields = []
        if self.values_needed or not self.rounded_needed:  # a struct is never empty
            fields.append(f"    {self.real} values[{max(self.values_needed, 1)}];")
        if self.rounded_needed:
            fields.append(f"    int16_t rounded[{self.rounded_needed}]; /* a row as integers */")
        struct = ["typedef struct {", *fields, f"}} {self.name}_scratch;"]
        code = "\n\n".join(["\n".join(part) for part in (sizes, multiply if multiplies else [], struct) if part] + [text])
        includes = "\n".join(f"#include <{header}>" for header, needed in _INCLUDES if re.search(needed, code))
        guard = f"#ifndef {upper}_H\n#define {upper}_H"
        return "\n\n".join(filter(None, [self._introduction(multiplies), guard, includes, code, "#endif"])) + "\n"

    def _introduction(self, multiplies):
        parameters, weights = sum(v.size for v in self.values.values()), sum(v.nbytes for v in self.values.values())
        memory = self.values_needed * (4 if self.real == "float" else 8) + 2 * self.rounded_needed
        inputs = [t.id for t in self.inputs]
        shapes = " -> ".join(", ".join(_dims(self._shape(i)) for i in ids) for ids in (inputs, self.outputs))
        lines = [
            f"A neural network, {shapes}: {parameters:,} parameters in {weights:,} bytes. Written by fastnn {version()}.",
            "",
            f"    static {self.name}_scratch scratch;",
            *(f"    {self.real} {self.names[i]}[{macro}];" for macro, i in self._sizes() if i in self.outputs),
            f"    {self.name}_predict({', '.join(self.names[i] for i in (*inputs, *self.outputs))}, &scratch);",
            "",
            "C99 and C++11; include it in one file. Nothing is allocated, no state is kept.",
            f"scratch: {memory:,} bytes of working memory, static or on the stack, one for each call at the same time.",
            "Arrays lie row by row, and outputs do not overlap inputs.",
        ]
        if self._returns == "int":
            lines += [
                "It returns 0, or where an input holds an integer out of range the number of that input, from 1; then nothing",
                "is written.",
            ]
        if multiplies:
            lines += [
                "Sums go by fused multiply-add. Where the processor has none, it is faster, and the same up to rounding, with",
                f"this before it: #define {self.name.upper()}_FMA(a, b, c) ((a) * (b) + (c))",
                "Compile without -ffast-math; with -ffp-contract=off, dense layers give the bits that fastnn gives.",
            ]
        return "\n".join(["/*", *(f" * {line}".rstrip() for line in lines), " */"])


# What a step begins with that no expression says, by the method that writes it.
_HEADS = {
    "matmul": "product", "matmul_nt": "product", "matmul_csr": "product", "matmul_int8": "product", "slice": "slice",
    "transpose": "transpose", "embedding": "embedding", "one_hot": "one_hot", "argmax": "argmax", "sum_to": "reduction",
    "max_to": "reduction",
}  # fmt: skip
_ROWS = ("softmax", "log_softmax", "layer_norm")
_COPIES = ("concat", "pad")
_INCLUDES = (
    ("math.h", r"\b(INFINITY|NAN)\b|\b(fma|fabs|copysign|sqrt|pow|sin|cos|floor|exp|expm1|log|log1p|tanh|erf|erfc)f?\("),
    ("stddef.h", r"\bsize_t\b"),
    ("stdint.h", r"\bu?int\d+_t\b"),
    ("string.h", r"\bmemcpy\b"),
)


def supported(op):
    """Whether a header can hold the op."""
    return op in EXPRESSIONS or op in _HEADS or op in (*_ROWS, *_COPIES, "reshape")


# ---- text ----


class _Comment(str):
    """A comment of C that holds this text."""

    def __new__(cls, text):
        text = "".join(c if " " <= c <= "~" else "?" for c in text)
        for broken in ("*/", "/*", "??"):
            text = text.replace(broken, " ".join(broken))
        return super().__new__(cls, f"/* {text.replace(chr(92), '/')} */")


def _literal(text):
    """A text as C has it."""
    plain = (chr(b) if 32 <= b < 127 and chr(b) not in '"\\?' else f"\\{b:03o}" for b in text.encode("utf-8", "replace"))
    return f'"{"".join(plain)}"'


def _word(name):
    """What of a name can stand in a name of C."""
    return re.sub(r"[^A-Za-z0-9]+", "_", name).strip("_")


def _dims(shape):
    return f"({', '.join(map(str, shape))})"


def _folded(texts, across, indent):
    """A list in lines."""
    lines = (", ".join(texts[at : at + across]) for at in range(0, len(texts), across))
    return f",\n{' ' * indent}".join(lines)


def _bare(value):
    """An expression without brackets round all of it."""
    depth = 0
    for at, c in enumerate(value):
        depth += (c == "(") - (c == ")")
        if depth == 0:
            return value[1:-1] if at == len(value) - 1 and at else value
    return value


# ---- loops ----


def _row_major(shape):
    """Elements from one index to the next, of each dimension."""
    return tuple(math.prod(shape[i + 1 :]) for i in range(len(shape)))


def _broadcast(own, shape):
    """The same of a tensor in a loop over `shape`."""
    return (0,) * (len(shape) - len(own)) + tuple(0 if d == 1 else s for d, s in zip(own, _row_major(own)))


def _loops(shape, strides, keep, names=_LOOPS):
    """Loops over a shape in which arrays are stepped through with these strides; the last `keep` stay by themselves.

    Returns
    -------
    loops : list of (str, int)
        Variable and size.
    index : dict of list of (str, int)
        Of each array: variables, and what to multiply them with.
    """
    dims = []  # size, strides by array
    for at, size in enumerate(shape):
        own, kept = {key: s[at] for key, s in strides.items()}, at >= len(shape) - keep
        if dims and not kept and all(dims[-1][1][key] == own[key] * size for key in own):
            dims[-1] = dims[-1][0] * size, own
        elif kept or size > 1:
            dims.append((size, own))
    loops = [(name, size) for name, (size, _) in zip(names, dims)]
    index = {key: [(name, own[key]) for name, (size, own) in zip(names, dims) if size > 1 and own[key]] for key in strides}
    return loops, index


def _sum(terms, offset=0, *more):
    """The index of an element."""
    parts = [name if by == 1 else f"{name} * {by}" for name, by in terms]
    constant = offset + sum(m for m in more if isinstance(m, int))
    parts += [m for m in more if isinstance(m, str)] + [str(constant)] * (constant > 0)
    return " + ".join(parts) or "0"


def _adding(to, term, size, name="k"):
    """A loop that adds terms: many of them part by part, so that less is rounded away."""
    if size <= 4 * _PART:
        return _nest([(name, size)], [f"{to} += {term};"])
    return [
        f"for (size_t first = 0; first < {size}; first += {_PART}) {{",
        f"    const size_t end = {size} - first < {_PART} ? {size} : first + {_PART};",
        "    REAL part = R(0);",
        f"    for (size_t {name} = first; {name} < end; {name}++) part += {term};",
        f"    {to} += part;",
        "}",
    ]


def _nest(loops, lines, before=()):
    """Lines within loops; `before` stands before the last one. Brackets keep what is declared from the lines around."""
    made, depth = [], 0
    for at, (name, size) in enumerate(loops):
        if at == len(loops) - 1:
            made += ["    " * depth + line for line in before]
        if size > 1:
            made.append("    " * depth + f"for (size_t {name} = 0; {name} < {size}; {name}++) {{")
            depth += 1
    made += ["    " * depth + line for line in lines]
    made += ["    " * at + "}" for at in reversed(range(depth))]
    if (before and len(loops) < 2) or (not depth and len(made) > 1):
        return ["{", *(f"    {line}" for line in made), "}"]
    return made
