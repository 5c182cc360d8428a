"""Optimizers and schedules that came after SGD, RMSprop and Adam: against Keras 3 and PyTorch, and their errors.

The golden values and the script that made them stand in tests/golden.
"""

import json

import numpy as np
import pytest
from golden.store import Reader

import fastnn as fnn
from fastnn import layers, optimizers, schedules
from fastnn.errors import ArgumentError, ArgumentTypeError, UnknownNameError

GOLDEN = Reader("optimizers")
TOLERANCE = {"float64": 1e-10, "float32": 1e-5}


def relative(a, b):
    """max|a - b| / max|b|; where b is 0 throughout, max|a|."""
    a, b = np.asarray(a, np.float64), np.asarray(b, np.float64)
    assert a.shape == b.shape
    return np.abs(a - b).max() / (np.abs(b).max() or 1.0)


def of_kind(kind):
    cases = [case for case in GOLDEN.cases if case["kind"] == kind]
    return [pytest.param(case, id=f"{case['class']} {case['config']}") for case in cases]


def net(weights, optimizer, dtype="float32"):
    stack = [fnn.Input((6,)), layers.Dense(8, activation="tanh"), layers.Dense(3)]
    model = fnn.Sequential(stack, dtype=dtype)
    model.set_weights(weights)
    model.compile(optimizer=optimizer, loss="mean_squared_error")
    return model


@pytest.mark.parametrize("dtype", list(TOLERANCE))
@pytest.mark.parametrize("case", of_kind("optimizer"))
def test_ten_steps_against_keras_and_pytorch(case, dtype):
    x, y, *weights = (GOLDEN.get("given", where) for where in case["given"])
    model = net(weights, getattr(optimizers, case["class"])(**case["config"]), dtype)
    want = GOLDEN.get(dtype, case["losses"])
    history = model.fit(x, y, batch_size="full", epochs=len(want), shuffle=False, verbose=0)

    assert relative(history.history["loss"], want) <= TOLERANCE[dtype]
    # In float32 the rounding of gradients near zero turns signs and is divided by their own size.
    if dtype == "float64":
        for got, where in zip(model.get_weights(), case["weights"], strict=True):
            assert relative(got, GOLDEN.get(dtype, where)) <= TOLERANCE[dtype]


@pytest.mark.parametrize("case", of_kind("schedule"))
def test_schedule_against_keras_and_pytorch(case):
    schedule = getattr(schedules, case["class"])(**case["config"])
    want = GOLDEN.get("float64", case["rates"])
    assert relative(schedule(np.arange(len(want))), want) <= 1e-14
    assert [schedule(step) for step in range(len(want))] == pytest.approx(want, rel=1e-13, abs=1e-17)


def test_restarts_begin_at_the_top():
    """Also where the logarithm of the steps done comes out short of a whole period, as for t_mul 3."""
    starts = 2 * (3.0 ** np.arange(12) - 1) / 2
    assert np.all(schedules.CosineDecayRestarts(0.5, 2, t_mul=3.0)(starts) == 0.5)


def test_warm_up_wraps_any_schedule():
    """Before a cosine it is the warm-up that CosineDecay has of its own."""
    steps = np.arange(12)
    built_in = schedules.CosineDecay(0.02, 6, warmup_target=0.1, warmup_steps=3)
    wrapped = schedules.WarmUp(schedules.CosineDecay(0.1, 6), 3, initial_learning_rate=0.02)
    assert wrapped(steps) == pytest.approx(built_in(steps), rel=1e-15)
    assert schedules.WarmUp(0.4, 4)(np.arange(6)) == pytest.approx([0, 0.1, 0.2, 0.3, 0.4, 0.4])
    assert schedules.WarmUp(0.4, 0)(0) == 0.4


@pytest.mark.parametrize(
    "schedule",
    [
        schedules.WarmUp(schedules.OneCycle(0.1, 20), 3),
        schedules.WarmUp(0.1, 3),
        schedules.StepDecay(0.1, 3),
        schedules.CosineDecayRestarts(0.1, 3),
    ],
)
def test_schedules_round_trip_through_json(schedule):
    again = schedules.deserialize(json.loads(json.dumps(schedules.serialize(schedule))))
    steps = np.arange(30)
    assert again(steps).tobytes() == schedule(steps).tobytes()


@pytest.mark.parametrize("name", ["adagrad", "adadelta", "nadam", "lion", "rprop"])
def test_by_name_and_from_config(name):
    made = optimizers.get(name)
    again = optimizers.deserialize(json.loads(json.dumps(optimizers.serialize(made))))
    assert type(again) is type(made) and again.update_op() == made.update_op()


def test_moments_are_saved_and_training_goes_on(tmp_path):
    """Ten steps in one go, and five, a save, a load and five more: the same bits."""
    x, y, *weights = (GOLDEN.get("given", where) for where in GOLDEN.cases[0]["given"])
    for optimizer in ("adagrad", "adadelta", "nadam", "lion", "rprop"):
        whole, part = net(weights, optimizer), net(weights, optimizer)
        whole.fit(x, y, batch_size="full", epochs=10, shuffle=False, verbose=0)
        part.fit(x, y, batch_size="full", epochs=5, shuffle=False, verbose=0)
        part.save(tmp_path / "model.safetensors")
        part = fnn.load(tmp_path / "model.safetensors")
        part.fit(x, y, batch_size="full", epochs=10, initial_epoch=5, shuffle=False, verbose=0)
        for a, b in zip(whole.get_weights(), part.get_weights()):
            assert a.tobytes() == b.tobytes(), optimizer


def test_rprop_always_takes_the_whole_set():
    x, y, *weights = (GOLDEN.get("given", where) for where in GOLDEN.cases[0]["given"])
    made = []
    for batch_size in (None, "full", len(x), 2 * len(x)):
        model = net(weights, "rprop")
        model.fit(x, y, batch_size=batch_size, epochs=3, verbose=0, seed=1)
        assert model.history.params["steps"] == 1
        made.append(model.get_weights()[0].tobytes())
    assert len(set(made)) == 1
    with pytest.raises(ArgumentError, match=f"Rprop needs all {len(x)} samples in one batch, got batch_size=8"):
        net(weights, "rprop").fit(x, y, batch_size=8, verbose=0)


@pytest.mark.parametrize(
    "wrong, error",
    [
        (lambda: optimizers.Adagrad(initial_accumulator_value=-1), ArgumentError),
        (lambda: optimizers.Adadelta(rho=1.5), ArgumentError),
        (lambda: optimizers.Nadam(beta_1=1), ArgumentError),
        (lambda: optimizers.Lion(beta_1=0), ArgumentError),
        (lambda: optimizers.Lion(beta_2="high"), ArgumentTypeError),
        (lambda: optimizers.Rprop(etas=(1.2, 0.5)), ArgumentError),
        (lambda: optimizers.Rprop(etas=0.5), ArgumentError),
        (lambda: optimizers.Rprop(step_sizes=(1, 0.5)), ArgumentError),
        (lambda: optimizers.get("nadm"), UnknownNameError),
        (lambda: schedules.StepDecay(0.1, 0), ArgumentError),
        (lambda: schedules.OneCycle(0.1, 10, pct_start=2), ArgumentError),
        (lambda: schedules.OneCycle(0.1, 10, anneal_strategy="cosine"), UnknownNameError),
        (lambda: schedules.WarmUp("fast", 3), ArgumentTypeError),
        (lambda: schedules.CosineDecayRestarts(0.1, 3, t_mul=0.5), ArgumentError),
    ],
)
def test_errors(wrong, error):
    with pytest.raises(error):
        wrong()


class Halving(schedules.LearningRateSchedule):
    """As one's own schedule is written for Keras: of one step."""

    def __call__(self, step):
        return 0.1 if step < 2 else 0.1 / step


def test_a_schedule_of_ones_own_is_called_with_one_step(tmp_path):
    assert optimizers.SGD(Halving()).learning_rates(1, 4).tolist() == [0.1, 0.05, 0.1 / 3, 0.025]
    warm = schedules.WarmUp(Halving(), 2)
    np.testing.assert_allclose(warm(np.arange(6)), [0, 0.05, 0.1, 0.1, 0.05, 0.1 / 3])
    model = fnn.Sequential([fnn.Input((2,)), layers.Dense(1)])
    model.compile(optimizers.SGD(Halving()), "mse")
    model.fit(np.ones((8, 2)), np.ones(8), batch_size=2, verbose=0)
    with pytest.raises(ArgumentError, match="'Halving' is none of fastnn's own.*include_optimizer=False"):
        model.save(tmp_path / "m.fnn")
    model.save(tmp_path / "m.fnn", include_optimizer=False)
