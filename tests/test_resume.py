"""Checkpoint and fit(resume=...): a run that is killed and resumed ends as if nothing had happened.

FASTNN_KILLS=200 pytest tests/test_resume.py kills so many times at random moments, other ones in each run.
"""

import json
import os
import random
import signal
import subprocess
import sys
import time

import numpy as np
import pytest

import fastnn as fnn
from fastnn import callbacks, errors, layers, optimizers

KILLS = int(os.environ.get("FASTNN_KILLS", 0))

# Trains with all that a run may have; is killed by itself at the moment "any:n" or "save:n", the n-th call of
# a function anywhere or while the checkpoint is written; says when training begins and leaves what came out.
RUN = """
import json, os, signal, sys
import numpy as np
import fastnn as fnn
from fastnn import callbacks, checkpoint, io, layers, optimizers

folder, kind, keep, moment = sys.argv[1:]
os.chdir(folder)
rng = np.random.default_rng(0)
x = rng.normal(size=(500, 20)).astype("f")
y = (x[:, :3] + rng.normal(size=(500, 3))).argmax(1)
fnn.set_seed(1)
model = fnn.Sequential(
    [fnn.Input((20,)), layers.Dense(48, "relu"), layers.Dropout(0.3), layers.Dense(3, "softmax")]
)
rate = optimizers.schedules.CosineDecay(0.02, 60) if kind == "schedule" else 0.02
model.compile(optimizers.Adam(rate), "sparse_categorical_crossentropy", metrics=["accuracy"])
hooks = [callbacks.EarlyStopping(patience=6, restore_best_weights=True), callbacks.CSVLogger("log.csv")]
if kind == "plateau":
    hooks.append(callbacks.ReduceLROnPlateau(factor=0.5, patience=1))
if keep == "keep":
    hooks.insert(1, callbacks.Checkpoint("run.ckpt", every_steps=7, every_epochs=2))

io._producer()  # looks the version up once, in as many calls as all that follow
print("begins", flush=True)
where, _, number = moment.partition(":")
if number:
    left, saving = int(number), 0

    def watch(frame, event, arg):
        global left, saving
        if frame.f_code is checkpoint.write.__code__:
            saving += {"call": 1, "return": -1}.get(event, 0)
        if event in ("call", "c_call") and (where == "any" or saving):
            left -= 1
            if left == 0:
                os.kill(os.getpid(), getattr(signal, "SIGKILL", signal.SIGTERM))

    sys.setprofile(watch)
history = model.fit(x, y, epochs=30, batch_size=32, validation_split=0.2, verbose=0, callbacks=hooks,
                    resume="run.ckpt")
sys.setprofile(None)
next_draw = fnn.seeds.next_seed()
np.savez("weights.npz", *model.get_weights())
json.dump([history.history, history.epoch, history.seed, next_draw, model.optimizer.get_config()],
          open("history.json", "w"))
"""


def start(folder, kind, keep="keep", moment="never"):
    folder.mkdir(exist_ok=True)
    command = [sys.executable, "-c", RUN, str(folder), kind, keep, moment]
    process = subprocess.Popen(command, stdout=subprocess.PIPE)
    assert process.stdout.readline().strip() == b"begins"
    return process


def outcome(folder):
    with np.load(folder / "weights.npz") as file:
        weights = {name: file[name].tobytes() for name in file}
    return weights, json.loads((folder / "history.json").read_text()), (folder / "log.csv").read_bytes()


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    """What comes of each kind of run when nothing happens."""
    found = {}

    def of(kind):
        if kind not in found:
            folder = tmp_path_factory.mktemp(kind)
            assert start(folder, kind, "leave").wait() == 0
            found[kind] = outcome(folder)
        return found[kind]

    return of


@pytest.mark.parametrize("kind, first", [("plateau", 1), ("schedule", 2)])
def test_killed_at_ten_moments(tmp_path, undisturbed, kind, first):
    draw, killed = random.Random(first), 0  # a whole run makes some 20,000 calls, 14,000 of them in saves
    for i in range(5):
        moment = f"save:{draw.randrange(300, 2600)}" if i % 2 else f"any:{draw.randrange(500, 3800)}"
        killed += start(tmp_path, kind, moment=moment).wait() in (-9, signal.SIGTERM)
    assert killed == 5
    assert start(tmp_path, kind).wait() == 0
    assert outcome(tmp_path) == undisturbed(kind)
    assert not list(tmp_path.glob("*.tmp"))


@pytest.mark.skipif(not KILLS, reason="FASTNN_KILLS says how often")
@pytest.mark.parametrize("kind", ["plateau", "schedule"])
def test_killed_at_random_moments(tmp_path, undisturbed, kind):
    draw, killed, halves, runs = random.Random(), 0, 0, 0
    process, begun = start(tmp_path / "timed", kind), time.perf_counter()
    assert process.wait() == 0
    lasts = time.perf_counter() - begun
    while killed < KILLS // 2:
        folder = tmp_path / str(runs)
        while True:
            process = start(folder, kind)
            time.sleep(draw.uniform(0, lasts))
            process.kill()
            if process.wait() == 0:
                break
            killed += 1
            halves += bool(list(folder.glob("*.tmp")))
        assert outcome(folder) == undisturbed(kind)
        runs += 1
    print(f"{kind}: {runs} runs killed {killed} times, {halves} of them while saving")


# ---- in one process ----


class Killed(Exception):
    pass


class KillAfter(callbacks.Callback):
    """Raises after so many steps, and keeps nothing of it in a checkpoint."""

    def __init__(self, steps):
        self.left = steps

    def on_train_batch_end(self, batch, logs=None):
        self.left -= 1
        if self.left == 0:
            raise Killed


def make(optimizer="adam", units=8, loss="mse", dropout=0.2):
    fnn.set_seed(0)
    model = fnn.Sequential(
        [fnn.Input((5,)), layers.Dense(units, "relu"), layers.Dropout(dropout), layers.Dense(1)]
    )
    model.compile(optimizer, loss, metrics=["mae"])
    return model


@pytest.fixture
def data(rng):
    return rng.normal(size=(70, 5)).astype("f"), rng.normal(size=(70, 1)).astype("f")


def same(a, b):
    return all(np.array_equal(u, v) for u, v in zip(a.get_weights(), b.get_weights(), strict=True))


def interrupted(path, data, steps, make=make, every_steps=2, **arguments):
    """A model that trained for so many steps and left a checkpoint."""
    model = make()
    with pytest.raises(Killed):
        hooks = [callbacks.Checkpoint(path, every_steps=every_steps), KillAfter(steps)]
        model.fit(*data, callbacks=hooks, verbose=0, seed=3, **arguments)
    return model


@pytest.mark.parametrize("name", sorted({cls.__name__ for cls in optimizers.registry._classes.values()}))
def test_every_optimizer_goes_on(tmp_path, data, name):
    cls = optimizers.registry.find(name)

    def fresh():
        return make(cls(), dropout=0.2 if cls.driver is None else 0.0)  # drivers need the same loss each time

    whole, model = fresh(), fresh()
    expected = whole.fit(*data, epochs=6, verbose=0, seed=3).history
    interrupted(tmp_path / "a", data, 3 if cls.full_batch else 7, fresh, epochs=6)
    assert model.fit(*data, epochs=6, verbose=0, resume=tmp_path / "a").history == expected
    assert same(model, whole) and model._engine().engine.iterations == whole._engine().engine.iterations


@pytest.mark.parametrize("steps", [7, 9])
@pytest.mark.parametrize("hook", [
    lambda: callbacks.ReduceLROnPlateau("loss", factor=0.5, patience=1, min_delta=1e9),
    lambda: callbacks.LearningRateScheduler(lambda epoch, rate: 0.7 * rate),
])  # fmt: skip
def test_learning_rates_that_callbacks_set_go_on(tmp_path, data, hook, steps):
    whole, part, rest = make(), make(), make()
    expected = whole.fit(*data, epochs=5, verbose=0, seed=3, callbacks=hook()).history
    with pytest.raises(Killed):
        hooks = [hook(), callbacks.Checkpoint(tmp_path / "a", every_steps=1), KillAfter(steps)]
        part.fit(*data, epochs=5, verbose=0, seed=3, callbacks=hooks)
    history = rest.fit(*data, epochs=5, verbose=0, resume=tmp_path / "a", callbacks=hook()).history
    assert history == expected and len(set(history["learning_rate"])) > 2 and same(rest, whole)


def test_sums_of_the_epoch_are_those_of_all_its_steps(tmp_path, data):
    """Also where the checkpoint was written after the last step of an epoch, before it was told."""
    whole = make()
    expected = whole.fit(*data, epochs=3, batch_size=10, verbose=0, seed=3, validation_split=0.1).history
    for steps in range(1, 15):
        path = tmp_path / str(steps)
        interrupted(path, data, steps + 1, every_steps=1, epochs=3, batch_size=10, validation_split=0.1)
        model = make()
        history = model.fit(*data, epochs=3, batch_size=10, verbose=0, resume=path, validation_split=0.1)
        assert history.history == expected and same(model, whole)


def test_begins_afresh_without_a_file_and_ends_at_once_with_a_whole_one(tmp_path, data):
    path = tmp_path / "a"
    model = make()
    best = callbacks.EarlyStopping("loss", patience=50, restore_best_weights=True)
    first = model.fit(*data, epochs=4, verbose=0, callbacks=[callbacks.Checkpoint(path), best], resume=path)
    calls = []
    again, twin = make(), callbacks.LambdaCallback(on_epoch_begin=lambda *a: calls.append(a))
    history = again.fit(*data, epochs=4, verbose=0, callbacks=twin, resume=path)
    assert history.history == first.history and history.epoch == [0, 1, 2, 3] and history.seed == first.seed
    assert same(again, model) and not calls
    whole, longer = make(), make()
    expected = whole.fit(*data, epochs=6, verbose=0, seed=first.seed)
    history = longer.fit(*data, epochs=6, verbose=0, resume=path)
    assert history.history == expected.history and same(longer, whole)


def test_time_limits_cut_a_run_without_changing_it(tmp_path, data):
    path, runs, whole = tmp_path / "a", 0, make()
    expected = whole.fit(*data, epochs=4, batch_size=2, verbose=0, seed=3)
    while True:
        model = make()
        slow = callbacks.LambdaCallback(on_train_batch_end=lambda batch, logs: time.sleep(0.001))
        hooks = [slow, callbacks.Checkpoint(path, every_epochs=100)]
        history = model.fit(
            *data, epochs=4, batch_size=2, verbose=0, seed=3, callbacks=hooks, resume=path, max_seconds=0.05
        )
        runs += 1
        if history.history == expected.history and same(model, whole):
            break
        assert runs <= 4 * 35  # each makes a step at least
    assert runs > 1


def test_max_seconds_gives_the_values_of_the_steps_so_far(data):
    model, seen = make(), []
    hooks = [
        callbacks.LambdaCallback(
            on_train_batch_end=lambda batch, logs: (time.sleep(0.01), seen.append(logs))
        ),
        callbacks.LambdaCallback(on_epoch_end=lambda epoch, logs: seen.append(None)),
    ]
    history = model.fit(*data, batch_size=1, verbose=0, callbacks=hooks, max_seconds=0.05)
    assert 1 <= len(seen) < 70 and None not in seen
    assert history.epoch == [0] and {name: [v] for name, v in seen[-1].items()} == history.history
    begun = time.perf_counter()
    epochs = len(model.fit(*data, epochs=10**9, verbose=0, max_seconds=0.2).epoch)
    assert epochs > 3 and time.perf_counter() - begun < 5
    with pytest.raises(errors.ArgumentError, match="max_seconds"):
        model.fit(*data, max_seconds=0)


def test_seconds_between_checkpoints(tmp_path, data):
    path, written = tmp_path / "a", []
    looks = callbacks.LambdaCallback(
        on_train_batch_end=lambda batch, logs: (time.sleep(0.01), written.append(path.exists()))
    )
    with pytest.raises(Killed):
        make().fit(
            *data,
            epochs=100,
            batch_size=10,
            verbose=0,
            callbacks=[looks, callbacks.Checkpoint(path, every_seconds=0.05), KillAfter(30)],
        )
    assert not written[0] and written[-1]


@pytest.mark.parametrize(
    "change, difference",
    [
        ({"units": 9}, r"layers: param float32 \(5, 8\) there, param float32 \(5, 9\) here"),
        ({"optimizer": "sgd"}, "optimizer: 'Adam' there, 'SGD' here"),
        ({"optimizer": optimizers.Adam(beta_1=0.8)}, "beta_1 of the optimizer: 0.9 there, 0.8 here"),
        (
            {"optimizer": optimizers.Adam(optimizers.schedules.CosineDecay(0.1, 9))},
            "schedule of the learning rate: None there",
        ),
        ({"loss": "mae"}, "squared_error.* there, absolute_error.* here"),
        ({"batch_size": 20}, "batch_size: 16 there, 20 here"),
        ({"rows": 60}, "number of samples: 70 there, 60 here"),
        ({"seed": 4}, "seed: 3 there, 4 here"),
        ({"shuffle": False}, "shuffle: True there, False here"),
        ({"steps_per_epoch": 2}, "steps an epoch: 5 there, 2 here"),
    ],
)
def test_another_run_is_refused(tmp_path, data, change, difference):
    interrupted(tmp_path / "a", data, 3, batch_size=16)
    model = make(**{k: change.pop(k) for k in ("optimizer", "units", "loss") if k in change})
    before = model.get_weights()
    rows = change.pop("rows", 70)
    with pytest.raises(errors.ArgumentError, match=difference):
        model.fit(data[0][:rows], data[1][:rows], **{"batch_size": 16, "resume": tmp_path / "a", **change})
    assert all(np.array_equal(a, b) for a, b in zip(before, model.get_weights()))


def test_names_of_layers_do_not_matter(tmp_path, data):
    """A script that is run again in a notebook gives its layers other names."""
    interrupted(tmp_path / "a", data, 3)
    again = make()
    assert again.weights[0].name != make().weights[0].name
    again.fit(*data, verbose=0, resume=tmp_path / "a")


def test_files_that_are_no_checkpoint(tmp_path, data):
    path = tmp_path / "a"
    interrupted(path, data, 3)
    whole = path.read_bytes()
    for at in (0, 5, 60, 300, len(whole) // 2, len(whole) - 1):
        path.write_bytes(whole[:at] + bytes([whole[at] ^ 1]) + whole[at + 1 :])
        with pytest.raises(errors.FileFormatError):
            make().fit(*data, resume=path)
        path.write_bytes(whole[:at])
        with pytest.raises(errors.FileFormatError):
            make().fit(*data, resume=path)
    make().save(path)
    with pytest.raises(errors.FileFormatError, match="needed is one of"):
        make().fit(*data, resume=path)
    path.write_bytes(whole)
    with pytest.raises(errors.FileFormatError, match="resume=path"):
        fnn.load(path)
    with pytest.raises(errors.FileAccessError):
        make().fit(*data, resume=tmp_path)
    with pytest.raises(errors.ArgumentTypeError, match="resume needs a path"):
        make().fit(*data, resume=1)
    with pytest.raises(errors.FileAccessError, match="there is no folder"):
        make().fit(*data, callbacks=callbacks.Checkpoint(tmp_path / "none" / "a"))


def test_weights_that_are_not_finite_never_replace_a_file(tmp_path, data):
    path, model = tmp_path / "a", make()
    model.fit(*data, verbose=0, callbacks=callbacks.Checkpoint(path))
    good = path.read_bytes()

    def spoil(epoch, logs):
        model.set_weights([np.full_like(w, np.nan) for w in model.get_weights()])

    hooks = [callbacks.LambdaCallback(on_epoch_end=spoil), callbacks.Checkpoint(path)]
    model.fit(*data, verbose=0, callbacks=hooks)
    assert path.read_bytes() == good
    diverging = make(optimizers.SGD(1e30))
    with pytest.warns(RuntimeWarning, match="NaN or infinite in epoch"):
        diverging.fit(
            *data, epochs=5, verbose=0, callbacks=[callbacks.TerminateOnNaN(), callbacks.Checkpoint(path)]
        )
    assert path.read_bytes() == good


class Counter(callbacks.Callback):
    """A callback of one's own, with numbers of all kinds."""

    def on_train_begin(self, logs=None):
        self.state = {
            "epochs": 0,
            "seen": np.zeros(2, np.int64),
            "worst": -np.inf,
            "text": ["a", {"b": None}],
        }

    def on_epoch_end(self, epoch, logs=None):
        self.state = {**self.state, "epochs": self.state["epochs"] + 1, "seen": self.state["seen"] + epoch}
        self.state["worst"] = max(self.state["worst"], logs["loss"])

    def get_state(self):
        return self.state

    def set_state(self, state):
        self.state = state


def test_callbacks_of_ones_own_are_kept(tmp_path, data):
    whole, half, rest = Counter(), Counter(), Counter()
    make().fit(*data, epochs=4, verbose=0, seed=3, callbacks=whole)
    with pytest.raises(Killed):
        kill = [half, callbacks.Checkpoint(tmp_path / "a", every_steps=1), KillAfter(8)]
        make().fit(*data, epochs=4, verbose=0, seed=3, callbacks=kill)
    make().fit(*data, epochs=4, verbose=0, resume=tmp_path / "a", callbacks=[rest])
    assert half.state["epochs"] == 2
    seen = [state.pop("seen").tolist() for state in (whole.state, rest.state)]
    assert rest.state == whole.state and seen[0] == seen[1]


def test_a_state_that_no_file_can_hold(tmp_path, data):
    class Odd(callbacks.Callback):
        def get_state(self):
            return {"model": object()}

    with pytest.raises(errors.ArgumentTypeError, match="state of callback Odd .* got object"):
        make().fit(*data, verbose=0, callbacks=[Odd(), callbacks.Checkpoint(tmp_path / "a")])


def test_the_generator_goes_on(tmp_path, data):
    whole = make()
    whole.fit(*data, epochs=2, verbose=0)
    expected = fnn.seeds.next_seed()
    model = make()
    with pytest.raises(Killed):
        model.fit(
            *data,
            epochs=2,
            verbose=0,
            callbacks=[callbacks.Checkpoint(tmp_path / "a", every_steps=1), KillAfter(4)],
        )
    fnn.set_seed(99)
    model.fit(*data, epochs=2, verbose=0, resume=tmp_path / "a")
    assert same(model, whole) and fnn.seeds.next_seed() == expected


def test_batches_from_an_iterable_go_on(tmp_path, data):
    class Batches:
        def __init__(self):
            self.read = []

        def __len__(self):
            return 7

        def __getitem__(self, i):
            self.read.append(i)
            return tuple(a[10 * i : 10 * i + 10] for a in data)

    def generator():
        while True:
            yield from (Batches()[i] for i in range(7))

    for feed, arguments in (
        (Batches, {}),
        (Batches, {"steps_per_epoch": 5}),
        (generator, {"steps_per_epoch": 3}),
    ):
        path = tmp_path / f"{feed.__name__}{len(arguments)}"
        whole, model = make(), make()
        expected = whole.fit(feed(), epochs=4, verbose=0, seed=3, **arguments).history
        interrupted(path, (feed(),), 9, epochs=4, **arguments)
        given = feed()
        assert model.fit(given, epochs=4, verbose=0, resume=path, **arguments).history == expected
        assert same(model, whole)
        if feed is Batches:
            assert len(given.read) == 4 * arguments.get("steps_per_epoch", 7) - 8


def test_arguments_of_a_checkpoint():
    for wrong in ({"every_steps": 0}, {"every_epochs": 1.5}, {"every_seconds": 0.0}):
        with pytest.raises((errors.ArgumentError, errors.ArgumentTypeError), match=next(iter(wrong))):
            callbacks.Checkpoint("a", **wrong)
