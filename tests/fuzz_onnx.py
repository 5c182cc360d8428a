"""Fuzzer of `fastnn.from_onnx`: python -m tests.fuzz_onnx --files 100000 --seed 0.

Mutations start from what fastnn exports of every layer and function, from the operators' own tests in the package
onnx, and from files with what else the format has: subgraphs, functions, sparse tensors, data outside of the file.
"""

import itertools
import math
import os
import sys
import warnings
from pathlib import Path

import numpy as np
import onnx
from google.protobuf.message import DecodeError
from onnx import AttributeProto, TensorProto, helper, numpy_helper

sys.path.insert(0, str(Path(__file__).parent))  # for -m, which has the folder above

import random_models
from fuzzing import NUMBERS, REALS, TEXTS, Target, damaged, main, pick

# Stands where no file of a model may read: outside of its folder.
SECRET = np.float32(1234.5678)
MODELS = "models"  # the folder of the files

# ---- files to start from ----


def exported(layers, functions=()):
    """Files that fastnn writes of layers and functions: each alone, behind a Dense layer where it takes reals."""
    import fastnn as fnn

    rng, made = np.random.default_rng(0), {}
    for name in layers:
        integers = name in random_models.INTEGER_LAYERS
        x = fnn.Input((3,), dtype="int32") if integers else fnn.Input((4,))
        if integers:
            made[name] = fnn.Model(x, random_models.INTEGER_LAYERS[name](x, rng))
        else:
            made[name] = fnn.Model(x, random_models.LAYERS[name](fnn.layers.Dense(6, "tanh")(x), rng))
    for name, function in functions:
        x = fnn.Input((2, 3))
        made[name] = fnn.Model(x, function(x))
    for name, model in made.items():
        yield f"{name}.onnx", fnn.onnx.to_onnx(model).SerializeToString()


def _random(count):
    import fastnn as fnn

    for seed in range(count):
        model, _ = random_models.random_model(np.random.default_rng(seed))
        yield f"random{seed}.onnx", fnn.onnx.to_onnx(model).SerializeToString()


def _of_operators():
    """onnx's tests of operators, as they are, and with all inputs but the first one as stored arrays.

    All of those that fastnn has, and an eighth of the others.
    """
    from onnx.backend.test.case.node import collect_testcases

    from fastnn.onnx.operators import OPERATORS

    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        cases = collect_testcases(None)
    others = itertools.count()
    for case in cases:
        content = case.model.SerializeToString()
        known = all(node.op_type in OPERATORS for node in case.model.graph.node)
        if len(content) < 20_000 and (known or next(others) % 8 == 0):
            yield f"{case.name}.onnx", content
        proto = onnx.ModelProto.FromString(content)
        inputs = list(proto.graph.input)[1:]
        arrays = case.data_sets[0][0][1:]
        if not known or not inputs or not all(isinstance(a, np.ndarray) and a.dtype.kind in "fiub" and a.nbytes < 4000 for a in arrays):
            continue
        del proto.graph.input[1:]
        for info, array in zip(inputs, arrays):
            proto.graph.initializer.append(numpy_helper.from_array(array, info.name))
        yield f"{case.name}_stored.onnx", proto.SerializeToString()


def _floats(name, array):
    return numpy_helper.from_array(np.asarray(array, np.float32), name)


def _model(nodes, initializers=(), output=("batch", 2), functions=(), imports=(), **more):
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, ["batch", 3])
    y = helper.make_tensor_value_info("y", TensorProto.FLOAT, output)
    graph = helper.make_graph(nodes, "g", [x], [y], initializers, **more)
    opsets = [helper.make_opsetid("", 20), *imports]
    return helper.make_model(graph, opset_imports=opsets, functions=functions, ir_version=9)


def _outside(location, **where):
    """A kernel whose numbers stand in another file."""
    kernel = TensorProto(name="w", data_type=TensorProto.FLOAT, dims=[3, 2], data_location=TensorProto.EXTERNAL)
    for key, value in {"location": location, **where}.items():
        kernel.external_data.add(key=key, value=str(value))
    return _model([helper.make_node("MatMul", ["x", "w"], ["y"])], [kernel])


def _branches(depth):
    """If in If in If ..."""
    inside = helper.make_graph([helper.make_node("Relu", ["x"], ["y"])], "then", [], [
        helper.make_tensor_value_info("y", TensorProto.FLOAT, ["batch", 3])])  # fmt: skip
    for _ in range(depth):
        node = helper.make_node("If", ["c"], ["y"], then_branch=inside, else_branch=inside if depth < 5 else None)
        inside = helper.make_graph([node], "then", [], list(inside.output))
    yes = numpy_helper.from_array(np.array(True), "c")
    return _model(list(inside.node), [yes], ("batch", 3))


def _bottomless(depth):
    """Graphs in attributes of nodes of graphs, deeper than protobuf's library reads."""
    inside = b""
    for _ in range(depth):
        for number in (6, 5, 1):  # AttributeProto.g, NodeProto.attribute, GraphProto.node
            inside = _field(number, inside)
    return _model([helper.make_node("Relu", ["x"], ["y"])], [], ("batch", 3)).SerializeToString() + _field(7, inside)


def _field(number, content):
    size, length = bytearray(), len(content)
    while length > 127:
        size.append(length & 127 | 128)
        length >>= 7
    return bytes([number << 3 | 2, *size, length]) + content


def _functions(levels):
    """Functions that each call the one before twice."""
    opset, made = [helper.make_opsetid("", 20), helper.make_opsetid("own", 1)], []
    for level in range(levels):
        calls = [helper.make_node("Relu", ["a"], ["b"])] if not level else [
            helper.make_node(f"F{level - 1}", ["a"], ["c"], domain="own"),
            helper.make_node(f"F{level - 1}", ["c"], ["b"], domain="own")]  # fmt: skip
        made.append(helper.make_function("own", f"F{level}", ["a"], ["b"], calls, opset))
    return _model([helper.make_node(f"F{levels - 1}", ["x"], ["y"], domain="own")], [], ("batch", 3), made, opset[1:])


def _doubled(times):
    """A row that is laid beside itself again and again."""
    names = ["x", *(f"d{i}" for i in range(times - 1)), "y"]
    nodes = [helper.make_node("Concat", [a, a], [b], axis=1) for a, b in zip(names, names[1:])]
    return _model(nodes, [], ("batch", None))


def _sparse():
    values, indices = _floats("w", [1, 2]), numpy_helper.from_array(np.array([[0, 1], [2, 0]]))
    kernel = helper.make_sparse_tensor(values, indices, [3, 2])
    return _model([helper.make_node("MatMul", ["x", "w"], ["y"])], sparse_initializer=[kernel])


def _loop():
    body = helper.make_graph(
        [helper.make_node("Identity", ["c"], ["again"]), helper.make_node("Relu", ["v"], ["r"])], "body",
        [helper.make_tensor_value_info("i", TensorProto.INT64, []), helper.make_tensor_value_info("c", TensorProto.BOOL, []),
         helper.make_tensor_value_info("v", TensorProto.FLOAT, ["batch", 3])],
        [helper.make_tensor_value_info("again", TensorProto.BOOL, []),
         helper.make_tensor_value_info("r", TensorProto.FLOAT, ["batch", 3])],
    )  # fmt: skip
    many = numpy_helper.from_array(np.array(2**40), "n")
    return _model([helper.make_node("Loop", ["n", "", "x"], ["y"], body=body)], [many], ("batch", 3))


def _constants():
    """Arrays in every field that holds numbers, and in attributes."""
    rows = [
        helper.make_tensor("a", TensorProto.FLOAT, [3], [1.0, 2.0, 3.0]), helper.make_tensor("i", TensorProto.INT64, [2], [0, 3]),
        helper.make_tensor("h", TensorProto.FLOAT16, [3], [1, 2, 3]), helper.make_tensor("s", TensorProto.STRING, [1], [b"t"]),
        helper.make_tensor("d", TensorProto.DOUBLE, [], [2.0]), helper.make_tensor("e", TensorProto.INT4, [3], [1, 2, 3]),
        helper.make_tensor("b", TensorProto.BFLOAT16, [3], [1, 2, 3]), helper.make_tensor("q", TensorProto.FLOAT8E4M3FN, [3], [1, 2, 3]),
    ]  # fmt: skip
    nodes = [
        helper.make_node("Constant", [], ["k"], value=_floats("", np.eye(3))),
        helper.make_node("Constant", [], ["f"], value_floats=[1.0, 2.0, 3.0]),
        helper.make_node("Cast", ["h"], ["h32"], to=TensorProto.FLOAT), helper.make_node("MatMul", ["x", "k"], ["p"]),
        helper.make_node("Add", ["p", "a"], ["t"]), helper.make_node("Mul", ["t", "f"], ["u"]),
        helper.make_node("Add", ["u", "h32"], ["v"]), helper.make_node("Reshape", ["v", "i"], ["y"]),
    ]
    return _model(nodes, rows, ("batch", 3))


def handmade(folder):
    """(name, content) of files with what fastnn does not write; lays the other files that they name beside them."""
    here = folder / MODELS
    here.mkdir()
    (here / "weights.bin").write_bytes(np.arange(6, dtype=np.float32).tobytes())
    (folder / "secret.bin").write_bytes(np.full(6, SECRET).tobytes())
    (here / "link.bin").symlink_to(folder / "secret.bin")
    (here / "up").symlink_to(folder)
    os.mkfifo(here / "pipe.bin")
    models = {
        "external": _outside("weights.bin"), "external_part": _outside("weights.bin", offset=0, length=24),
        "external_above": _outside("../secret.bin"), "external_absolute": _outside(str(folder / "secret.bin")),
        "external_link": _outside("link.bin"), "external_folder_link": _outside("up/secret.bin"),
        "external_round": _outside("../models/../secret.bin"), "external_pipe": _outside("pipe.bin"),
        "external_device": _outside("/dev/zero"), "external_folder": _outside("."), "external_far": _outside("weights.bin", offset=2**60),
        "external_long": _outside("weights.bin", length=2**60), "branches": _branches(3), "branches_deep": _branches(25),
        "functions": _functions(2), "functions_many": _functions(60), "doubled": _doubled(6), "doubled_often": _doubled(60),
        "bottomless": _bottomless(3000), "sparse": _sparse(), "loop": _loop(), "constants": _constants(),
    }  # fmt: skip
    for name, model in models.items():
        yield f"{name}.onnx", model if isinstance(model, bytes) else model.SerializeToString()


def _many(number, content, count):
    """A model with a field of its graph repeated."""
    return _model([helper.make_node("Relu", ["x"], ["y"])], [], ("batch", 3)).SerializeToString() + _field(
        7, _field(number, content) * count
    )


def _kernel(kind, count, number, content):
    """A model with an array, whose numbers stand in a field of protobuf's."""
    tensor = TensorProto(name="w", data_type=kind, dims=[count]).SerializeToString() + _field(number, content)
    return _model([helper.make_node("Add", ["x", "w"], ["y"])], [], ("batch", 3)).SerializeToString() + _field(7, _field(5, tensor))


def _with_attribute(kind, number, content):
    """A node with an attribute whose entries stand in one piece, as protobuf's newer syntax has them."""
    attribute = AttributeProto(name="a", type=kind).SerializeToString() + _field(number, content)
    node = helper.make_node("Relu", ["x"], ["y"]).SerializeToString() + _field(5, attribute)
    return _model([], [], ("batch", 3)).SerializeToString() + _field(7, _field(1, node))


def _chain(operator, length, initializers=(), more=()):
    names = ["x", *(f"v{i}" for i in range(length - 1)), "y"]
    nodes = [helper.make_node(operator, [a, *more], [b]) for a, b in zip(names, names[1:])]
    return _model(nodes, initializers, ("batch", 3)).SerializeToString()


def _blank(sizes, nodes):
    """A constant of zeros, and what is made of it."""
    shape = numpy_helper.from_array(np.array(sizes), "shape")
    first = helper.make_node("ConstantOfShape", ["shape"], ["c"])
    last = helper.make_node("Add", ["x", nodes[-1].output[0]], ["y"])
    return _model([first, *nodes, last], [shape], ("batch", 3)).SerializeToString()


def _casts(count):
    names = ["c", *(f"c{i}" for i in range(count))]
    kinds = [TensorProto.DOUBLE, TensorProto.INT64]
    return [helper.make_node("Cast", [a], [b], to=kinds[i % 2]) for i, (a, b) in enumerate(zip(names, names[1:]))]


def bulky(folder):
    """Files that take more memory or time for each of their bytes than others."""
    millions = 3 << 20
    places = numpy_helper.from_array(np.tile([0, 1, 2], 2000), "i")
    models = {
        "floats": _kernel(TensorProto.FLOAT, millions, 4, bytes(4 * millions)),
        "doubles": _kernel(TensorProto.DOUBLE, millions // 2, 10, bytes(4 * millions)),
        "int64s": _kernel(TensorProto.INT64, 1_000_000, 7, b"\1" * 1_000_000),
        "bools": _kernel(TensorProto.BOOL, 1_000_000, 5, b"\1" * 1_000_000),
        "attribute_ints": _with_attribute(AttributeProto.INTS, 8, b"\1" * 1_000_000),
        "attribute_floats": _with_attribute(AttributeProto.FLOATS, 7, bytes(4 * millions)),
        "nodes": _many(1, b"", 120_000), "initializers": _many(5, b"", 120_000), "inputs": _many(11, b"", 120_000),
        "infos": _many(13, b"", 1_000_000), "metadata": _many(16, b"", 1_000_000), "dims": _many(5, b"\x08\x01" * 100_000, 1),
        "texts": _many(5, _field(6, b"") * 100_000 + _field(8, b"t"), 1), "wide": _chain("Sum", 1, more=["x"] * 3000),
        "wider": _chain("Sum", 1, more=["x"] * 100_000), "long": _chain("Relu", 2000), "longer": _chain("Relu", 8000),
        "picked": _model([helper.make_node("Gather", ["x", "i"], ["y"], axis=1)], [places], ("batch", None)).SerializeToString(),
        "hollow": _blank([10**4, 0, 10**5], [helper.make_node("Constant", [], ["axes"], value_ints=[1]),
                                             helper.make_node("ReduceSum", ["c", "axes"], ["r"])]),
        "casts": _blank([1_000_000], _casts(20)),
        "constant": _model([helper.make_node("Constant", [], ["w"], value=_floats("", np.ones((3, millions // 3)))),
                            helper.make_node("MatMul", ["x", "w"], ["y"])], [], ("batch", None)).SerializeToString(),
        "weights": _model([helper.make_node("MatMul", ["x", "w"], ["y"])], [_floats("w", np.ones((3, millions // 4)))],
                          ("batch", millions // 4)).SerializeToString(),
    }  # fmt: skip
    (folder / MODELS).mkdir()
    return _target((f"{name}.onnx", content) for name, content in models.items())


# ---- mutations ----

_OPERATORS = sorted({schema.name for schema in onnx.defs.get_all_schemas()})
_LOCATIONS = ["weights.bin", "../secret.bin", "link.bin", "up/secret.bin", "./weights.bin", "pipe.bin", "/dev/zero", ".", "", "models", "a\0b"]
_LARGEST = 1 << 20  # bytes of a file; `bulky` has larger ones
_MOST = 4000  # messages of a file that mutations look at


def _messages(proto):
    """All messages in a message, it among them."""
    found, stack = [], [proto]
    while stack and len(found) < _MOST:
        at = stack.pop()
        found.append(at)
        for field, value in at.ListFields():
            if field.message_type is not None:
                stack.extend(value if field.is_repeated else [value])
    return found


def _of(messages, kind):
    return [m for m in messages if m.DESCRIPTOR.name == kind]


def _names(messages):
    names = ["", "x"]
    for node in _of(messages, "NodeProto"):
        names += [*node.input, *node.output]
    names += [t.name for t in _of(messages, "TensorProto")] + [v.name for v in _of(messages, "ValueInfoProto")]
    return names


def _number(rng, now):
    return int(now + pick(rng, [-1, 1])) if rng.integers(3) == 0 else int(pick(rng, NUMBERS))


def _scalar(rng, field, now, names):
    """Another value for a field that holds no message."""
    kind = field.type
    if kind in (field.TYPE_FLOAT, field.TYPE_DOUBLE):
        return pick(rng, REALS)
    if kind == field.TYPE_BYTES:
        return damaged(rng, now or b"xyz") if rng.integers(4) else pick(rng, TEXTS).encode("utf-8", "replace")
    if kind == field.TYPE_STRING:
        return pick(rng, names) if rng.integers(3) else pick(rng, [t for t in TEXTS if t != "\ud800"])
    if kind == field.TYPE_ENUM:
        return pick(rng, list(field.enum_type.values_by_number))
    number = _number(rng, now) if rng.integers(3) else int(rng.integers(0, 30))
    if kind == field.TYPE_INT32:
        return max(-(2**31), min(2**31 - 1, number))
    if kind == field.TYPE_UINT64:
        return number % 2**64
    return max(-(2**63), min(2**63 - 1, number))


def _any_field(rng, messages, names):
    """Changes one field of one message in any way that the format has."""
    message = pick(rng, messages)
    field = pick(rng, [f for f, _ in message.ListFields()] if rng.integers(3) and message.ListFields() else message.DESCRIPTOR.fields)
    value = getattr(message, field.name)
    if field.message_type is not None:
        others = _of(messages, field.message_type.name)
        if not field.is_repeated:
            if others and rng.integers(3):
                other = type(others[0])()
                other.CopyFrom(pick(rng, others))
                value.CopyFrom(other)
            else:
                message.ClearField(field.name)
        elif value and rng.integers(2):
            kind = rng.integers(3)
            if kind == 0:
                del value[int(rng.integers(len(value)))]
            elif kind == 1:
                copies = [type(value[0]).FromString(pick(rng, value).SerializeToString())] * int(pick(rng, [1, 3, 500]))
                value.extend(copies)
            else:
                order = [value[int(i)].SerializeToString() for i in rng.permutation(len(value))]
                for item, content in zip(value, order):
                    item.ParseFromString(content)
        elif others:
            value.append(pick(rng, others))
    elif field.is_repeated:
        now = pick(rng, value) if len(value) else (b"" if field.type == field.TYPE_BYTES else "" if field.type == field.TYPE_STRING else 0)
        made = _scalar(rng, field, now, names)
        kind = rng.integers(4)
        if len(value) and kind == 0:
            value[int(rng.integers(len(value)))] = made
        elif len(value) and kind == 1:
            del value[int(rng.integers(len(value)))]
        else:
            value.extend([made] * int(pick(rng, [1, 1, 2, 9, 20_000])))
    else:
        setattr(message, field.name, _scalar(rng, field, value, names))


def _rewire(rng, messages, names):
    nodes = [n for n in _of(messages, "NodeProto") if n.input]
    if nodes:
        node = pick(rng, nodes)
        node.input[int(rng.integers(len(node.input)))] = pick(rng, names)


def _rename(rng, messages, names):
    nodes = _of(messages, "NodeProto")
    if nodes:
        pick(rng, nodes).op_type = pick(rng, _OPERATORS)


def _reshape(rng, messages, names):
    shapes = [t.dims for t in _of(messages, "TensorProto")]
    if shapes and rng.integers(2):
        dims = pick(rng, shapes)
        if len(dims) and rng.integers(3):
            dims[int(rng.integers(len(dims)))] = _number(rng, 1)
        else:
            dims.append(_number(rng, 1))
        return
    sizes = _of(messages, "Dimension")
    if sizes:
        size = pick(rng, sizes)
        if rng.integers(4) == 0:
            size.dim_param = pick(rng, ["", "batch", "n", "batch+1"])
        else:
            size.dim_value = _number(rng, size.dim_value)


def _retype(rng, messages, names):
    tensors = _of(messages, "TensorProto") + _of(messages, "Tensor")
    if tensors:
        tensor = pick(rng, tensors)
        setattr(tensor, "data_type" if isinstance(tensor, TensorProto) else "elem_type", int(rng.integers(-1, 30)))


def _attribute(rng, messages, names):
    """An attribute of a node gets wild values."""
    nodes = _of(messages, "NodeProto")
    if not nodes:
        return
    node = pick(rng, nodes)
    if not node.attribute or rng.integers(4) == 0:
        node.attribute.add(name=pick(rng, ["axis", "axes", "keepdims", "perm", "to", "alpha", "epsilon", "value", "shape", "transA"]))
    attribute = pick(rng, node.attribute)
    kind = rng.integers(5)
    if kind == 0:
        attribute.type, attribute.i = AttributeProto.INT, _number(rng, attribute.i)
    elif kind == 1:
        attribute.type, attribute.f = AttributeProto.FLOAT, pick(rng, [r for r in REALS if abs(r) != 1e308])
    elif kind == 2:
        attribute.type = AttributeProto.INTS
        attribute.ints.extend([_number(rng, 1)] * int(pick(rng, [1, 2, 5, 1000])))
    elif kind == 3:
        attribute.type, attribute.s = AttributeProto.STRING, pick(rng, TEXTS).encode("utf-8", "replace")
    else:
        attribute.type = int(rng.integers(0, 16))


def _data(rng, messages, names):
    """Arrays whose bytes do not fit their shape."""
    tensors = _of(messages, "TensorProto")
    if not tensors:
        return
    tensor = pick(rng, tensors)
    kind = rng.integers(4)
    if kind == 0:
        tensor.raw_data = tensor.raw_data[: int(rng.integers(0, len(tensor.raw_data) + 1))]
    elif kind == 1:
        tensor.raw_data += rng.bytes(int(pick(rng, [1, 3, 4, 8, 4096])))
    elif kind == 2:
        tensor.raw_data = np.array([pick(rng, NUMBERS) for _ in range(max(len(tensor.raw_data) // 8, 1))], np.int64).tobytes()
    else:
        tensor.float_data.extend([0.5] * int(pick(rng, [1, 7])))


def _external(rng, messages, names):
    tensors = _of(messages, "TensorProto")
    if not tensors:
        return
    tensor = pick(rng, tensors)
    tensor.data_location = TensorProto.EXTERNAL
    tensor.ClearField("raw_data")
    if rng.integers(4):
        del tensor.external_data[:]
    tensor.external_data.add(key="location", value=pick(rng, _LOCATIONS))
    for key in ("offset", "length"):
        if rng.integers(2):
            tensor.external_data.add(key=key, value=str(pick(rng, [*NUMBERS, 24, 4, "x", "1e3", "", " 1", "-0"])))


def _nest(rng, messages, names):
    """A graph becomes part of its own node, to some depth."""
    graphs = [g for g in _of(messages, "GraphProto") if g.node]
    if not graphs:
        return
    graph = pick(rng, graphs)
    for _ in range(int(pick(rng, [1, 2, 30]))):
        inside = onnx.GraphProto.FromString(graph.SerializeToString())
        if inside.ByteSize() > 30_000:
            return
        node = pick(rng, graph.node)
        node.attribute.add(name=pick(rng, ["body", "then_branch", "else_branch", "x"]), type=AttributeProto.GRAPH).g.CopyFrom(inside)
        node.op_type = pick(rng, ["If", "Loop", "Scan", node.op_type])


def _function(rng, messages, names):
    """A node calls a function, which may call itself."""
    model, nodes = messages[0], _of(messages, "NodeProto")
    if not nodes:
        return
    node = pick(rng, nodes)
    body = [type(node).FromString(pick(rng, nodes).SerializeToString()) for _ in range(int(rng.integers(1, 4)))]
    name = pick(rng, ["F", node.op_type])
    domain = pick(rng, ["own", "", node.domain])
    if rng.integers(2):
        body.append(helper.make_node(name, list(node.input), list(node.output), domain=domain))
    opsets = [helper.make_opsetid("", 20), helper.make_opsetid("own", 1)]
    model.functions.append(helper.make_function(domain, name, list(node.input)[:9], list(node.output), body, opsets))
    model.opset_import.append(opsets[1])
    node.op_type, node.domain = name, domain


def _bomb(rng, messages, names):
    """A small node whose result is large."""
    graph, x = messages[0].graph, pick(rng, names)
    big = [int(pick(rng, [10**4, 10**6, 2**31 - 1, 2**40, 2**62, -1, 0])) for _ in range(int(rng.integers(1, 4)))]
    shape = numpy_helper.from_array(np.array(big, np.int64), "big")
    operator, inputs, attributes = pick(rng, [
        ("ConstantOfShape", ["big"], {}), ("Expand", [x, "big"], {}), ("Tile", [x, "big"], {}), ("Reshape", [x, "big"], {}),
        ("Pad", [x, "big"], {}), ("OneHot", [x, "big", x], {}), ("Range", ["big", "big", "big"], {}), ("EyeLike", ["big"], {}),
        ("Resize", [x, "", "", "big"], {}), ("Concat", [x] * 500, {"axis": 1}), ("Concat", [x, x], {"axis": 0}),
        ("MatMul", [x, "big"], {}), ("Unsqueeze", [x, "big"], {}), ("Gather", [x, "big"], {}), ("Slice", [x, "big", "big"], {}),
        ("Split", [x, "big"], {}), ("Transpose", [x], {"perm": big}), ("CumSum", [x, "big"], {}), ("TopK", [x, "big"], {}),
        ("RandomNormal", [], {"shape": big}), ("ReduceSum", [x, "big"], {}), ("Add", [x, "big"], {}), ("Flatten", [x], {"axis": big[0]}),
    ])  # fmt: skip
    made = f"bomb{len(graph.node)}"
    graph.initializer.append(shape)
    node = helper.make_node(operator, inputs, [made], **attributes)
    at = int(rng.integers(len(graph.node) + 1))
    later = list(graph.node)[at:]
    del graph.node[at:]
    graph.node.extend([node, *later])
    if later and graph.node[at + 1].input:
        graph.node[at + 1].input[0] = made
    elif graph.output:
        graph.output[0].name = made


_MUTATIONS = [
    _any_field, _any_field, _any_field, _rewire, _rewire, _rename, _reshape, _reshape, _retype, _attribute, _attribute, _data, _data,
    _external, _nest, _function, _bomb, _bomb,
]  # fmt: skip


def mutate(rng, seeds):
    """A damaged file: its bytes, or what they say."""
    name, content = pick(rng, seeds)
    if rng.integers(5) == 0:
        return name, damaged(rng, content, pick(rng, seeds)[1])
    try:
        proto = onnx.ModelProto.FromString(content)
    except DecodeError:  # too deep
        return name, damaged(rng, content)
    for _ in range(pick(rng, [1, 1, 1, 2, 3, 6])):
        messages = _messages(proto)
        names = _names(messages)
        try:
            pick(rng, _MUTATIONS)(rng, messages, names)
        except (ValueError, TypeError, DecodeError):  # onnx's helpers and protobuf refuse it
            continue
    made = proto.SerializeToString()
    return name, made if len(made) <= _LARGEST else damaged(rng, content)


# ---- reading ----


def _use(model):
    """Predicts one row, and looks for numbers that no model may have read."""
    assert not any((w == SECRET).any() for w in model.get_weights() if w.dtype.kind == "f"), "read outside of its folder"
    inputs = model.inputs
    if sum(math.prod(t.shape[1:]) for t in inputs) > 1 << 24:
        return
    arrays = [np.broadcast_to(np.asarray(1 if "int" in t.dtype else 0.5, t.dtype), (1, *t.shape[1:])) for t in inputs]
    model.predict(arrays if len(arrays) > 1 else arrays[0], verbose=0)


def _target(seeds):
    import fastnn as fnn

    return Target([(f"{MODELS}/{name}", content) for name, content in seeds], mutate, fnn.from_onnx, _use)


def sample(folder):
    """Files that fastnn writes of each layer, and those with what else the format has."""
    return _target([*handmade(folder), *exported([*random_models.LAYERS, *random_models.INTEGER_LAYERS])])


def everything(folder):
    """The sample, functions, random models, and the operators' own tests."""
    target = sample(folder)
    more = [*exported([], [*random_models.FUNCTIONS.items(), *random_models.JUMPS.items()]), *_random(100)]
    own = len(target.seeds) + len(more)
    target.seeds += [(f"{MODELS}/{name}", content) for name, content in [*more, *_of_operators()]]

    def half_and_half(rng, seeds):
        """The tests of operators as often as all others."""
        return mutate(rng, seeds[:own] if rng.integers(2) else seeds[own:])

    target.mutate = half_and_half
    return target


if __name__ == "__main__":
    main({"onnx": everything, "bulky": bulky})
