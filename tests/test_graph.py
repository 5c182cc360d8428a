"""Symbolic tensors, tracing, and Programs: building, text, verification."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fastnn import Sequential, _core, layers
from fastnn.compile import compile_program
from fastnn.errors import ArgumentTypeError, DtypeError, GraphError, ProgramError
from fastnn.graph import Node, Program, Root, Value, calls_between, emit, layers_between, replay, trace
from fastnn.registry import reset_names


@pytest.fixture(autouse=True)
def fresh_names():
    reset_names()


def small_program(**compile_arguments):
    reset_names()
    x = layers.Input((4,), name="x")
    h = layers.Dense(5, activation="tanh", kernel_regularizer="l2")(x)
    h = layers.Dropout(0.25)(h)
    y = layers.Dense(3, activation="softmax")(layers.Concatenate()([x, h]))
    program, params = trace([x], [y], "float64")
    arguments = {
        "losses": ["sparse_categorical_crossentropy"], "metrics": [["accuracy"]], "optimizer": "adam",
    } | compile_arguments  # fmt: skip
    return compile_program(program, params, **arguments).program


# ---- text ----


def test_text_of_a_small_program():
    x = layers.Input((2,), name="x")
    program, _ = trace([x], [layers.Dense(1, use_bias=False)(x)])
    assert program.text() == (
        "fastnn-program 1\n"
        "dtype float32\n"
        "tensor 0 input float32 B,2 x\n"
        "tensor 1 param float32 2,1 dense/kernel\n"
        "tensor 2 temp float32 B,1 dense\n"
        "node matmul 0,1 2 -\n"
        "root output 2 dense\n"
    )


def test_text_round_trip():
    program = small_program()
    again = Program.parse(program.text())
    assert again == program and again.text() == program.text()
    assert "adam" in str(program) and "  penalty " in str(program)


def test_names_survive_the_text():
    program = Program()
    x = program.add_tensor(
        "input", (None, 3), name="  spaces,\r\t\x85 commas - and \N{GREEK SMALL LETTER SIGMA} "
    )
    program.add_root("output", program.add_node("relu", (x,)), name="out of it")
    assert Program.parse(program.text()) == program


@pytest.mark.parametrize(
    "change",
    [
        lambda t: t[:-1],
        lambda t: t.replace("fastnn-program 1", "fastnn-program 2"),
        lambda t: t.replace("dtype float64", "dtype float16"),
        lambda t: t.replace("tensor 0 ", "tensor 7 "),
        lambda t: t.replace("node tanh", "node tan"),
        lambda t: t.replace("param", "parameter", 1),
        lambda t: t.replace("B,4", "4", 1),
        lambda t: t.replace("B,4", "B,0", 1),
        lambda t: t.replace("B,4", "B,4,4,4,4,4,4,4,4", 1),
        lambda t: t.replace("0x1.0000000000000p-2", "nan", 1),
        lambda t: t.replace("0x1.0000000000000p-2", "0x1.0000000000000p+9999", 1),
        lambda t: t.replace("root loss", "root lass"),
        lambda t: t.replace("tensor 1 ", "tensor \N{ARABIC-INDIC DIGIT ONE} "),
        lambda t: t.replace("node ", "node  ", 1),
        lambda t: t + "\n",
        lambda t: t + "root output 9999 y\n",
        lambda t: "",
    ],
)
def test_broken_text_is_refused(change):
    text = small_program().text()
    assert change(text) != text
    with pytest.raises(ProgramError):
        Program.parse(change(text))


@given(st.data())
def test_mutated_text_gives_an_error_or_a_sound_program(data):
    text = small_program().text()
    at = data.draw(st.integers(0, len(text) - 1))
    put = data.draw(st.sampled_from("0123456789,- \nBabcx.p+"))
    changed = text[:at] + put + text[at + 1 :]
    try:
        program = Program.parse(changed)
    except ProgramError:
        return
    program.verify()
    assert Program.parse(program.text()) == program


# ---- verification ----


def broken(change):
    program = small_program()
    change(program)
    return program


def swap_first_nodes(p):
    p.nodes[0], p.nodes[1] = p.nodes[1], p.nodes[0]


def update_twice(p):
    p.nodes.append(p.nodes[-1])


def update_early(p):
    p.nodes.insert(0, p.nodes.pop())


def write_twice(p):
    p.nodes.insert(1, p.nodes[0])


def write_a_param(p):
    n = p.nodes[0]
    p.nodes[0] = Node(n.op, n.inputs, (1,), n.attrs)


def wrong_output_shape(p):
    out = p.nodes[0].outputs[0]
    p.tensors[out] = p.tensors[out]._replace(shape=(None, 6))


def orphan_temp(p):
    p.add_tensor("temp", (None, 3))


def foreign_dtype(p):
    p.tensors[0] = p.tensors[0]._replace(type="float32")


def missing_attribute(p):
    i = next(i for i, n in enumerate(p.nodes) if n.op == "dropout")
    n = p.nodes[i]
    p.nodes[i] = Node(n.op, n.inputs, n.outputs, n.attrs[:1])


def infinite_attribute(p):
    i = next(i for i, n in enumerate(p.nodes) if n.op == "adam")
    n = p.nodes[i]
    p.nodes[i] = Node(n.op, n.inputs, n.outputs, (float("inf"), *n.attrs[1:]))


def penalty_root_of_a_matrix(p):
    p.roots.append(Root("penalty", p.nodes[0].outputs[0]))


def gradient_of_a_temp(p):
    p.roots.append(Root("grad", p.nodes[0].outputs[0], p.nodes[0].outputs[0]))


def output_that_is_an_input(p):
    p.roots.append(Root("output", 0))


def read_what_was_updated(p):
    w = p.tensors[p.nodes[-1].inputs[0]]
    other = p.add_tensor("param", w.shape)
    p.nodes.append(Node("moving_average", (other, w.id), (), (0.5,)))


def tallies_beyond_the_limit(p):
    p.add_root("tally", p.add_node("full", (), {"value": 1}, (1 << 24,)))
    p.add_root("tally", p.add_node("full", (), {"value": 1}, ()))
    p.nodes.insert(0, p.nodes.pop())
    p.nodes.insert(0, p.nodes.pop())


@pytest.mark.parametrize(
    "change",
    [
        output_that_is_an_input, read_what_was_updated, tallies_beyond_the_limit, swap_first_nodes, update_twice, update_early, write_twice, write_a_param, wrong_output_shape,
        orphan_temp, foreign_dtype, missing_attribute, infinite_attribute, penalty_root_of_a_matrix,
        gradient_of_a_temp,
    ],
)  # fmt: skip
def test_verify_refuses(change):
    program = broken(change)
    with pytest.raises(ProgramError):
        program.verify()
    if change is not orphan_temp:  # which no run would notice
        with pytest.raises(ProgramError):
            _core.Engine(program.text())


def tensors(program, *shapes, kind="input"):
    return [program.add_tensor(kind if s and s[0] is None else "param", s) for s in shapes]


@pytest.mark.parametrize(
    "op, shapes, attrs, given",
    [
        ("matmul", [(None, 4), (5, 3)], {}, None),
        ("matmul", [(None, 4), (None, 3)], {}, None),
        ("matmul_nt", [(None, 4), (4, 3)], {}, None),
        ("matmul_tn", [(None, 2, 4), (None, 3, 3)], {}, None),
        ("bias_add", [(None, 4), (3,)], {}, None),
        ("sum_rows", [(None,)], {}, None),
        ("add", [(None, 4), (None, 3)], {}, None),
        ("softmax", [(None,)], {}, None),
        ("concat", [(None, 4), (None, 4)], {"axis": 0}, None),
        ("concat", [(None, 4, 2), (None, 3, 3)], {"axis": 1}, None),
        ("concat", [(None, 4)] * 17, {"axis": 1}, None),
        ("slice", [(None, 4)], {"axis": 1, "start": 2}, (None, 3)),
        ("slice", [(None, 4)], {"axis": 1, "start": 0}, None),
        ("reshape", [(None, 4)], {}, (None, 3)),
        ("dropout", [(None, 4)], {"rate": 1.0, "key": 0}, None),
        ("dropout", [(None, 4)], {"rate": 0.5, "key": 65536}, None),
        ("squared_error", [(None, 4), (None, 3)], {}, None),
        ("squared_error", [(None,), (None,)], {}, None),
        ("scce", [(None, 4), (None,)], {}, None),
        ("penalty", [(None, 4)], {"l1": 0, "l2": 1}, None),
        ("clip_norm", [(4,), (4,)], {"clip": 1}, None),
        ("relu", [(None, 4)], {"alpha": 1}, None),
        ("relu", [(None, 4), (None, 4)], {}, None),
        ("no_such_op", [(None, 4)], {}, None),
        ("sgd", [(4,), (3,)], {"momentum": 0, "nesterov": 0, "weight_decay": 0}, None),
    ],
)
def test_rules_refuse(op, shapes, attrs, given):
    program = Program()
    with pytest.raises(ProgramError):
        program.add_node(op, tensors(program, *shapes), attrs, given)


@pytest.mark.parametrize(
    "op, shapes, attrs, given, expected",
    [
        ("matmul", [(None, 2, 4), (4, 3)], {}, None, (None, 2, 3)),
        ("matmul_nt", [(None, 2, 3), (4, 3)], {}, None, (None, 2, 4)),
        ("matmul_tn", [(None, 2, 4), (None, 2, 3)], {}, None, (4, 3)),
        ("sum_rows", [(None, 2, 3)], {}, None, (3,)),
        ("concat", [(None, 2, 3), (None, 5, 3)], {"axis": 1}, None, (None, 7, 3)),
        ("slice", [(None, 7, 3)], {"axis": 1, "start": 2}, (None, 5, 3), (None, 5, 3)),
        ("reshape", [(None,)], {}, (None, 1), (None, 1)),
        ("huber", [(None, 2, 3), (None, 2, 3)], {"delta": 1}, None, (None, 2)),
        ("penalty", [(2, 3)], {"l1": 0, "l2": 1}, None, ()),
        ("clip_norm", [(4,), ()], {"clip": 1}, None, (4,)),
    ],
)
def test_rules_give_the_output_shape(op, shapes, attrs, given, expected):
    program = Program()
    out = program.add_node(op, tensors(program, *shapes), attrs, given)
    assert program.tensors[out].shape == expected


def test_limits():
    program = Program()
    with pytest.raises(ProgramError, match="dimensions"):
        program.add_tensor("input", (None, *[1] * 8))
    with pytest.raises(ProgramError, match="elements"):
        program.add_tensor("param", (1 << 21, 1 << 20))
    with pytest.raises(ProgramError, match="name"):
        program.add_tensor("param", (1,), name="a\nb")
    with pytest.raises(DtypeError):
        Program("float16")


# ---- symbolic tensors and tracing ----


def test_symbolic_tensor_has_no_values():
    x = layers.Input((3,))
    assert x.shape == (None, 3) and x.dtype == "float32" and x.name == "input_layer"
    for use in (np.asarray, bool, float, list, len):
        with pytest.raises(ArgumentTypeError, match="symbolic"):
            use(x)


def test_missing_input_names_layer_and_input():
    a, b = layers.Input((2,), name="a"), layers.Input((2,), name="b")
    y = layers.Add(name="join")([a, b])
    with pytest.raises(GraphError, match=r"'join' needs the Input 'b'"):
        trace([a], [y])


def test_unused_and_repeated_inputs():
    a, b = layers.Input((2,), name="a"), layers.Input((2,), name="b")
    y = layers.Dense(1)(a)
    with pytest.raises(GraphError, match="'b' leads to none"):
        trace([a, b], [y])
    with pytest.raises(GraphError, match="twice"):
        trace([a, a], [y])
    with pytest.raises(GraphError, match="at least one output"):
        trace([a], [])
    with pytest.raises(GraphError, match="symbolic"):
        trace([a], [np.zeros(3)])


def test_shared_layer_has_one_kernel():
    a, b = layers.Input((3,)), layers.Input((3,))
    shared = layers.Dense(2)
    program, params = trace([a, b], [shared(a), shared(b)])
    assert [p.name for _, p in params] == ["dense/kernel", "dense/bias"]
    assert sum(n.op == "matmul" and n.inputs[1] == params[0][0] for n in program.nodes) == 2


def test_outputs_are_tensors_of_their_own():
    x = layers.Input((3,))
    y = layers.Dense(2)(x)
    program, _ = trace([x], [y, y, x], output_names=["one", "two", "three"])
    roots = program.roots_of("output")
    assert [r.name for r in roots] == ["one", "two", "three"]
    assert len({r.tensor for r in roots}) == 3
    assert all(program.tensors[r.tensor].kind == "temp" for r in roots)


def test_layers_off_the_way_are_left_out():
    x = layers.Input((3,))
    h = layers.Dense(4, name="used")(x)
    layers.Dense(5, name="unused")(h)
    program, params = trace([x], [h])
    assert [p.name for _, p in params] == ["used/kernel", "used/bias"]
    assert [n.op for n in program.nodes] == ["matmul", "bias_add"]


def test_intermediate_tensor_as_input():
    x = layers.Input((3,))
    h = layers.Dense(4)(x)
    y = layers.Dense(2)(h)
    program, params = trace([h], [y])
    assert program.tensors[0].shape == (None, 4) and len(params) == 2


def test_layer_order_is_by_depth():
    a, b = layers.Input((3,), name="a"), layers.Input((3,), name="b")
    deep = layers.Dense(4, name="deep2")(layers.Dense(4, name="deep1")(a))
    flat = layers.Dense(4, name="flat")(b)
    y = layers.Add(name="sum")([flat, deep])
    assert [layer.name for layer in layers_between([a, b], [y])] == [
        "a",
        "b",
        "deep1",
        "flat",
        "deep2",
        "sum",
    ]


def test_deep_graph_needs_no_recursion():
    x = h = layers.Input((2,))
    activation = layers.Activation("tanh")
    for _ in range(3000):
        h = activation(h)
    program, _ = trace([x], [h])
    assert len(program.nodes) == 3000 and len(calls_between([x], [h])) == 3000


def test_diamonds_do_not_blow_up():
    x = h = layers.Input((2,))
    for _ in range(60):
        h = layers.Add()([h, h])
    assert len(calls_between([x], [h])) == 60


def test_nested_graph_as_a_layer():
    inner_in = layers.Input((3,))
    inner_out = layers.Dense(2, name="inside")(inner_in)

    class Nested(layers.Layer):
        def call(self, x):
            return replay([inner_in], [inner_out], [x])[0]

        @property
        def weights(self):
            return inner_out.call.layer.weights

    nested = Nested()
    x = layers.Input((3,))
    program, params = trace([x], [layers.Add()([nested(x), nested(x)])])
    assert [p.name for _, p in params] == ["inside/kernel", "inside/bias"]
    assert sum(n.op == "matmul" for n in program.nodes) == 2


def test_emit_needs_a_tensor_of_a_model():
    with pytest.raises(ArgumentTypeError):
        emit("relu", np.zeros(3))


def test_a_call_may_return_several_values():
    class Twice(layers.Layer):
        def call(self, x):
            assert isinstance(x, Value)
            return [emit("relu", x), emit("tanh", x)]

    x = layers.Input((3,))
    a, b = Twice()(x)
    program, _ = trace([x], [b])
    assert [n.op for n in program.nodes] == ["relu", "tanh"]
    assert program.roots[0].tensor == program.nodes[1].outputs[0]


@given(
    st.lists(
        st.sampled_from(["dense", "activation", "dropout", "concat", "add", "multiply", "reshape"]),
        max_size=12,
    ),
    st.data(),
)
def test_random_graphs_trace_verify_and_round_trip(kinds, data):
    x = layers.Input((6,))
    made = [x]
    for kind in kinds:
        a, b = (data.draw(st.sampled_from(made)) for _ in range(2))
        if kind == "dense":
            made.append(layers.Dense(data.draw(st.integers(1, 7)))(a))
        elif kind == "activation":
            made.append(layers.Activation(data.draw(st.sampled_from(["relu", "gelu", "softmax"])))(a))
        elif kind == "dropout":
            made.append(layers.Dropout(0.5)(a))
        elif kind == "concat":
            made.append(layers.Concatenate()([a, b]))
        elif kind in ("add", "multiply"):
            made.append({"add": layers.Add, "multiply": layers.Multiply}[kind]()([a, a]))
        else:
            made.append(layers.Flatten()(layers.Reshape((-1, 1))(a)))
    y = layers.Concatenate()([*made])
    program, params = trace([x], [y], data.draw(st.sampled_from(["float32", "float64"])))
    compiled = compile_program(program, params, losses=["mse"], optimizer="sgd").program
    for p in (program, compiled):
        p.verify()
        assert Program.parse(p.text()) == p
    assert all(_core.OPS[n.op] for n in compiled.nodes)


def test_a_printed_program_names_its_parts_and_operands():
    model = Sequential([layers.Input((2,), name="x"), layers.Dense(3, name="y")])
    model.compile("sgd", "mse")
    said = str(model.program).splitlines()
    parts = [line for line in said if not line.startswith(" ")]
    assert parts[1:] == ["forward:", "backward:", "updates:", "results:"]
    assert any("matmul %0:x, %1:y/kernel  " in line and line.endswith("(B, 3)  y") for line in said)
    at = said.index("backward:")
    assert "loss_seed" in said[at + 1] and ":y.weight" in said[at + 1]
    assert all(line.split()[0] == "sgd" for line in said[said.index("updates:") + 1 : said.index("results:")])
