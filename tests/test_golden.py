"""Whole models against PyTorch; optimizers, schedules, initializers and scripts against Keras 3.

The golden values and the scripts that made them stand in tests/golden.
"""

import numpy as np
import pytest
from golden import scripts
from golden.store import Reader

import fastnn as fnn
from fastnn import initializers, layers, losses, optimizers, regularizers, schedules

TORCH = Reader("torch")
KERAS = Reader("keras")
TOLERANCE = {"float64": 1e-10, "float32": 1e-5}
DTYPES = list(TOLERANCE)


def relative(a, b):
    """max|a - b| / max|b|; where b is 0 throughout, max|a|."""
    a, b = np.asarray(a, np.float64), np.asarray(b, np.float64)
    assert a.shape == b.shape
    return np.abs(a - b).max() / (np.abs(b).max() or 1.0)


def of_kind(kind):
    def name(case):
        return case.get("name") or f"{case['class']} {case.get('schedule') or case['config']}"

    return [pytest.param(case, id=name(case)) for case in KERAS.cases if case["kind"] == kind]


def build(case, dtype):
    """The model of a PyTorch case, its losses compiled in, its weights set."""
    symbols = {name: fnn.Input(tuple(shape), name=name) for name, shape in case["inputs"].items()}
    made = {}
    for result, kind, sources, config, name in case["layers"]:
        if name not in made:
            config = {
                key: getattr(regularizers, value[0])(**value[1]) if key.endswith("_regularizer") else value
                for key, value in config.items()
            }
            made[name] = getattr(layers, kind)(**config, name=name)
        arguments = [symbols[s] for s in sources]
        symbols[result] = made[name](arguments if len(arguments) > 1 else arguments[0])
    inputs = [symbols[name] for name in case["inputs"]]
    model = fnn.Model(inputs, [symbols[name] for name in case["outputs"]], dtype=dtype)
    for name, parameter in model.parameters.items():
        parameter.assign(TORCH.get("given", case["given"][name]))
    model.compile(
        optimizer="sgd",
        loss=[getattr(losses, name.title().replace("_", ""))(**config) for name, config in case["losses"]],
        loss_weights=case.get("loss_weights"),
    )
    return model


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("case", [pytest.param(case, id=case["name"]) for case in TORCH.cases])
def test_model_against_pytorch(case, dtype):
    model = build(case, dtype)
    given = {name: TORCH.get("given", where) for name, where in case["given"].items()}
    want = {name: TORCH.get(dtype, where) for name, where in case["expected"].items()}
    x = [given[name] for name in case["inputs"]]
    y = [given[f"target {i}"] for i in range(len(case["outputs"]))]
    y = [t.astype(np.int64) if loss.startswith("sparse") else t for t, (loss, _) in zip(y, case["losses"])]
    weight = given.get("sample weight")

    outputs = model.predict(x, verbose=0)
    got = {f"output {name}": a for name, a in zip(case["outputs"], outputs, strict=True)}
    got["loss"] = model.evaluate(x, y, sample_weight=weight, return_dict=True, verbose=0)["loss"]
    by_parameter, by_inputs = model.gradients(x, y, sample_weight=weight, with_inputs=True)
    got |= {f"gradient {name}": g for name, g in by_parameter.items()}
    got |= {f"gradient {name}": g for name, g in zip(case["inputs"], by_inputs)}

    assert got.keys() == want.keys()
    errors = {name: relative(got[name], want[name]) for name in want}
    assert max(errors.values()) <= TOLERANCE[dtype], errors


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("case", of_kind("optimizer"))
def test_ten_steps_against_keras(case, dtype):
    x, y, *weights = (KERAS.get("given", where) for where in case["given"])
    config = dict(case["config"])
    if case["schedule"]:
        config["learning_rate"] = getattr(schedules, case["schedule"][0])(**case["schedule"][1])
    stack = [fnn.Input((6,)), layers.Dense(8, activation="tanh"), layers.Dense(3)]
    model = fnn.Sequential(stack, dtype=dtype)
    model.set_weights(weights)
    model.compile(optimizer=getattr(optimizers, case["class"])(**config), loss="mean_squared_error")
    want = KERAS.get(dtype, case["losses"])
    history = model.fit(x, y, batch_size=len(x), epochs=len(want), shuffle=False, verbose=0)

    assert relative(history.history["loss"], want) <= TOLERANCE[dtype]
    # Adam and RMSprop blow up the rounding of gradients near zero: float32 weights count for SGD alone.
    if dtype == "float64" or case["class"] == "SGD":
        for got, where in zip(model.get_weights(), case["weights"], strict=True):
            assert relative(got, KERAS.get(dtype, where)) <= TOLERANCE[dtype]


@pytest.mark.parametrize("case", of_kind("schedule"))
def test_schedule_against_keras(case):
    schedule = getattr(schedules, case["class"])(**case["config"])
    want = KERAS.get("float64", case["rates"])
    assert relative(schedule(np.arange(len(want))), want) <= 1e-14
    assert [schedule(step) for step in range(len(want))] == pytest.approx(want, rel=1e-14)


@pytest.mark.parametrize("case", of_kind("initializer"))
def test_initializer_against_keras(case):
    """Same mean, deviation and bounds as a draw by Keras, within what chance allows draws of this size."""
    config, size = case["config"], np.prod(case["shape"])
    fixed = case["class"] in ("Zeros", "Ones", "Constant")
    make = getattr(initializers, case["class"])
    w = np.asarray(make(**config, **({} if fixed else {"seed": 1}))(case["shape"], "float64"))
    mean, deviation, low, high = KERAS.get("float64", case["statistics"])
    assert w.shape == tuple(case["shape"])
    if fixed:
        assert np.all(w == mean)
        return
    six_sigma = 6 * deviation * np.sqrt(2 / size)
    assert abs(w.mean() - mean) <= six_sigma
    assert abs(w.std() - deviation) <= six_sigma
    if "Uniform" in case["class"] or "Truncated" in case["class"] or case["class"][:2] in ("Gl", "He", "Le"):
        assert w.min() == pytest.approx(low, abs=0.01 * (high - low))
        assert w.max() == pytest.approx(high, abs=0.01 * (high - low))
    if case["class"] == "Orthogonal":
        small = w.T if w.shape[0] > w.shape[1] else w
        assert np.allclose(small @ small.T, config["gain"] ** 2 * np.eye(len(small)), atol=1e-12)


@pytest.mark.parametrize("case", of_kind("script"))
def test_keras_script(case):
    """The script runs with its import line changed, and leaves what it leaves under Keras.

    Dozens of float32 steps, most of them by Adam and RMSprop, spread the rounding: hence the wider tolerance.
    """
    path = next(p for p in scripts.SCRIPTS if p.stem == case["name"])
    result = scripts.run(path, "from fastnn import keras")
    assert result.keys() == case["result"].keys()
    want = {key: KERAS.get("scripts", where) for key, where in case["result"].items()}
    errors = {key: relative(result[key], want[key]) for key in want}
    assert max(errors.values()) <= 1e-4, errors


def test_there_are_twenty_scripts():
    assert len(scripts.SCRIPTS) == sum(case["kind"] == "script" for case in KERAS.cases) == 20
