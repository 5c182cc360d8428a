"""Several processes that train one model, on this machine."""

import os
import subprocess
import sys
import textwrap
from pathlib import Path

import numpy as np
import pytest

import fastnn as fnn
from fastnn import distributed, layers, optimizers
from fastnn.cli import main
from fastnn.errors import ArgumentError, MissingExtraError

MPIEXEC = Path(sys.executable).with_name("mpiexec")

# What all scripts begin with: data, a function that makes the model, and one that keeps what a process has in the end.
COMMON = """
import sys
import numpy as np
import fastnn as fnn
from fastnn import layers, optimizers

comm = fnn.distributed.init()
fnn.set_seed(1 + comm.rank)          # rank 0's weights count
rng = np.random.default_rng(0)
X, Y = rng.normal(size=(211, 20)).astype("float32"), rng.integers(0, 5, 211)

def make(dtype="float32", optimizer=None):
    x = fnn.Input((20,))
    h = layers.Dropout(0.3)(layers.Dense(37, "relu", kernel_regularizer="l2")(x))
    model = fnn.Model(x, layers.Dense(5, "softmax")(layers.LayerNormalization()(h)), dtype=dtype)
    model.compile(optimizer or optimizers.SGD(1e-2, momentum=0.9), "sparse_categorical_crossentropy", metrics=["accuracy"])
    return model

def keep(model, history):
    np.savez(f"{sys.argv[1]}.{comm.size}.{comm.rank}.npz", *model.get_weights(),
             **{name: np.asarray(v) for name, v in history.history.items()})
"""


def run(tmp_path, processes, script, *, fails=False):
    """The output of the script on so many processes."""
    pytest.importorskip("mpi4py")
    if not MPIEXEC.exists():
        pytest.skip("no mpiexec beside this Python")
    path = tmp_path / "script.py"
    path.write_text(COMMON + textwrap.dedent(script))
    root = str(Path(fnn.__file__).parent.parent)
    environment = {**os.environ, "PYTHONPATH": root, "FASTNN_NUM_THREADS": "1"}
    for name in ("MALLOC_TRIM_THRESHOLD_", "PYTHONSAFEPATH"):  # mpi4py puts the script's folder in the first place of sys.path
        environment.pop(name, None)
    command = [MPIEXEC, "-n", str(processes), sys.executable, "-m", "mpi4py", path, tmp_path / "out"]
    done = subprocess.run(command, env=environment, cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode != 0) == fails, done.stdout + done.stderr
    return done.stdout + done.stderr


def weights(tmp_path, processes):
    """What each process kept."""
    return [dict(np.load(tmp_path / f"out.{processes}.{rank}.npz")) for rank in range(processes)]


def compare(tmp_path, numbers, tolerance):
    reference = weights(tmp_path, 1)[0]
    for n in numbers:
        first, *others = weights(tmp_path, n)
        for name, value in reference.items():
            assert np.abs(first[name] - value).max() <= tolerance * np.abs(value).max(), (n, name)
            for other in others:
                assert np.array_equal(first[name], other[name]), (n, name)


TRAIN = """
dtype, batch_size, epochs, shuffle = {arguments}
model = make(dtype)
keep(model, model.fit(fnn.distributed.shard(X, Y, comm), batch_size=batch_size, epochs=epochs, shuffle=shuffle, seed=5,
                      comm=comm, verbose=0))
"""


@pytest.mark.parametrize(
    "dtype, batch_size, epochs, shuffle, tolerance",
    [
        ("float32", 64, 3, True, 1e-6),  # twelve steps; the last batch of an epoch has 19 samples
        ("float64", 64, 3, True, 1e-12),
        ("float64", 104, 4, 96, 1e-12),  # windows; the last batch has 3 samples, so that of 4 processes one has none
        ("float64", 211, 10, False, 1e-12),
    ],
)
def test_any_number_of_processes_gives_the_weights_of_one(tmp_path, dtype, batch_size, epochs, shuffle, tolerance):
    script = TRAIN.format(arguments=(dtype, batch_size, epochs, shuffle))
    for n in (1, 2, 3, 4):
        run(tmp_path, n, script)
    compare(tmp_path, (2, 3, 4), tolerance)


def test_callbacks_of_rank_0_count_everywhere(tmp_path):
    script = """
    class Odd(fnn.callbacks.Callback):
        def on_epoch_end(self, epoch, logs=None):
            self.model.optimizer.learning_rate = 0.01 / (2 + epoch)
            if epoch == 1:
                self.model.set_weights([w * 0.5 for w in self.model.get_weights()])
            if epoch == 3:
                self.model.stop_training = True

    model = make("float64")
    history = model.fit(X, Y, batch_size=64, epochs=9, comm=comm, seed=5, verbose=0, callbacks=[Odd()],
                        validation_split=0.2)
    assert len(history.epoch) == 4, history.epoch
    keep(model, history)
    assert model.optimizer.learning_rate == 0.01 / 5
    """
    for n in (1, 2):
        run(tmp_path, n, script)
    compare(tmp_path, (2,), 1e-12)


def test_bad_data_on_one_process_end_all_with_the_old_weights(tmp_path):
    output = run(
        tmp_path,
        2,
        """
        X[200] = np.nan
        model = make()
        before = [w.copy() for w in model.get_weights()]
        try:
            model.fit(X, Y, batch_size=64, comm=comm, shuffle=False, verbose=0)
        except fnn.errors.DataError as error:
            print(f"rank {comm.rank}: {error}", flush=True)
        else:
            raise AssertionError
        if comm.rank == 0:
            assert all(np.array_equal(a, b) for a, b in zip(before, model.get_weights()))
        """,
    )
    assert "in row 200" in output
    assert "another process found a value" in output


def test_a_loss_that_is_not_finite_ends_all(tmp_path):
    run(
        tmp_path,
        2,
        """
        model = make(optimizer=optimizers.SGD(1e30))
        try:
            model.fit(X, Y, batch_size=64, epochs=3, comm=comm, verbose=0)
        except fnn.errors.NonFiniteLossError:
            pass
        else:
            raise AssertionError
        """,
    )


def test_ctrl_c_ends_all_after_the_same_step(tmp_path):
    run(
        tmp_path,
        2,
        """
        import os, signal, threading
        model = make()
        if comm.rank == 1:
            threading.Timer(0.5, os.kill, (os.getpid(), signal.SIGINT)).start()
        try:
            model.fit(X, Y, batch_size=64, epochs=10**7, comm=comm, verbose=0)
        except KeyboardInterrupt:
            pass
        else:
            raise AssertionError
        mine, first = model.get_weights(), model.get_weights()
        for a, b in zip(mine, first):
            comm.bcast_(b)
            assert np.array_equal(a, b)
        """,
    )


def test_another_model_on_one_process_is_refused_everywhere(tmp_path):
    output = run(
        tmp_path,
        2,
        """
        model = make("float64" if comm.rank else "float32")
        try:
            model.fit(X, Y, batch_size=64, comm=comm, verbose=0)
        except fnn.errors.ArgumentError as error:
            print(error, flush=True)
        """,
    )
    assert output.count("1 of 2 processes differ from rank 0") == 2


def test_time_that_is_over_on_rank_0_is_over_everywhere(tmp_path):
    run(
        tmp_path,
        2,
        """
        model = make()
        history = model.fit(X, Y, batch_size=64, epochs=10**7, comm=comm, verbose=0, max_seconds=0.5 + comm.rank)
        count = np.array([len(history.epoch)])
        comm.bcast_(count)
        assert count[0] == len(history.epoch)
        """,
    )


def test_another_number_of_processes_resumes_the_run(tmp_path):
    script = """
    import os
    from pathlib import Path
    path, stop = Path(sys.argv[1]).with_name("run.ckpt"), {stop}

    class Stop(fnn.callbacks.Callback):
        def on_train_batch_end(self, batch, logs=None):
            if self.model._runtime.engine.iterations == stop:
                os._exit(7)                          # as if the machine had gone; after this step's checkpoint

    model = make("float64")
    callbacks = [fnn.callbacks.Checkpoint(path, every_steps=3)] + ([Stop()] if stop else [])
    keep(model, model.fit(fnn.distributed.shard(X, Y, comm), batch_size=64, epochs=5, seed=5, comm=comm, verbose=0,
                          callbacks=callbacks, resume=path))
    """
    run(tmp_path, 1, script.format(stop=0))
    reference = weights(tmp_path, 1)[0]
    for numbers in ((3, 2), (2, 3, 1)):
        (tmp_path / "run.ckpt").unlink()
        for i, n in enumerate(numbers):
            last = i + 1 == len(numbers)
            run(tmp_path, n, script.format(stop=0 if last else 7 + 6 * i), fails=not last)
        for kept in weights(tmp_path, numbers[-1]):
            for name, value in reference.items():
                assert np.abs(kept[name] - value).max() <= 1e-12 * np.abs(value).max(), (numbers, name)


def test_a_checkpoint_that_one_process_does_not_see_is_refused_everywhere(tmp_path):
    output = run(
        tmp_path,
        2,
        """
        path = sys.argv[1] + f".{comm.rank}.ckpt"
        try:
            for epochs in (1, 2):
                make().fit(X, Y, batch_size=64, epochs=epochs, seed=5, comm=comm, verbose=0, resume=path,
                           callbacks=[fnn.callbacks.Checkpoint(path)])
        except fnn.errors.ArgumentError as error:
            print(error, flush=True)
        """,
    )
    assert output.count("in a folder that all machines share") == 2


def test_an_exception_on_one_process_ends_the_job(tmp_path):
    output = run(
        tmp_path,
        2,
        """
        class Broken(fnn.callbacks.Callback):
            def on_epoch_end(self, epoch, logs=None):
                raise RuntimeError("broken callback")

        make().fit(X, Y, batch_size=64, epochs=3, comm=comm, verbose=0, callbacks=[Broken()])
        """,
        fails=True,
    )
    assert "broken callback" in output


def test_the_cores_of_a_machine_are_shared(tmp_path):
    run(
        tmp_path,
        2,
        """
        import os
        from fastnn import distributed
        del os.environ["FASTNN_NUM_THREADS"]
        fnn.set_num_threads(0)
        cores = fnn.get_num_threads()
        distributed.init()
        assert fnn.get_num_threads() == max(1, cores // 2), (cores, fnn.get_num_threads())
        """,
    )


def test_the_operations_of_a_communicator(tmp_path):
    run(
        tmp_path,
        3,
        """
        a = np.arange(4.0) + comm.rank
        comm.allreduce_(a)
        assert a.tolist() == [3, 6, 9, 12]
        request = comm.iallreduce(a)
        request.wait()
        assert a.tolist() == [9, 18, 27, 36]
        b = np.array([comm.rank + 7], np.uint64)
        comm.bcast_(b)
        assert b[0] == 7
        comm.barrier()
        """,
    )


def test_launch_starts_a_job_again_until_it_ends_well(tmp_path):
    pytest.importorskip("mpi4py")
    script, mark = tmp_path / "script.py", tmp_path / "mark"
    body = """
    import os, signal
    from pathlib import Path
    path, mark, kill = Path(sys.argv[1]).with_name("run.ckpt"), Path(sys.argv[2]), sys.argv[3] == "kill"

    class Kill(fnn.callbacks.Callback):
        def on_train_batch_end(self, batch, logs=None):
            if kill and self.model._runtime.engine.iterations == 7 and not mark.exists():
                mark.touch()
                os.kill(os.getpid(), signal.SIGKILL)

    model = make()
    keep(model, model.fit(X, Y, batch_size=64, epochs=5, seed=5, comm=comm, verbose=0, resume=path,
                          callbacks=[fnn.callbacks.Checkpoint(path, every_steps=3), Kill()]))
    """
    script.write_text(COMMON + textwrap.dedent(body))
    environment = {**os.environ, "PYTHONPATH": str(Path(fnn.__file__).parent.parent), "FASTNN_NUM_THREADS": "1"}
    environment.pop("PYTHONSAFEPATH", None)

    def launch(restarts, name, kill):
        command = [sys.executable, "-m", "fastnn", "launch", "-n", "2", "--max-restarts", str(restarts), script]
        command += [tmp_path / name / "out", mark, kill]
        (tmp_path / name).mkdir(exist_ok=True)
        return subprocess.run(
            command, env=environment, cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False
        )

    assert launch(0, "whole", "live").returncode == 0
    killed = launch(0, "killed", "kill")
    assert (killed.returncode, mark.exists()) == (4, True), killed.stderr
    mark.unlink()
    again = launch(2, "again", "kill")
    assert again.returncode == 0, again.stderr
    assert "starts again; restarts left: 1" in again.stderr
    reference = np.load(tmp_path / "whole" / "out.2.0.npz")
    for rank in range(2):
        kept = np.load(tmp_path / "again" / f"out.2.{rank}.npz")
        for name in reference:
            assert np.array_equal(kept[name], reference[name]), name


def test_launch_needs_a_script(tmp_path, capsys):
    assert main(["launch", "-n", "2", str(tmp_path / "none.py")]) == 2
    assert "there is no such file" in capsys.readouterr().err


# ---- one process ----


def compiled(optimizer="sgd", *more):
    model = fnn.Sequential([fnn.Input((3,)), layers.Dense(4, "relu"), *more, layers.Dense(1)])
    model.compile(optimizer, "mse")
    return model


X, Y = np.random.default_rng(0).normal(size=(2, 30, 3)).astype("float32")


class Two(distributed.SelfComm):
    """Claims to be two."""

    size = 2


@pytest.fixture
def alone(monkeypatch):
    for name in distributed._LAUNCHED:
        monkeypatch.delenv(name, raising=False)
    return distributed.init()


def test_one_process_trains_as_without_a_communicator(alone):
    found = []
    for comm in (None, alone):
        fnn.set_seed(1)
        model = compiled()
        data = (X, Y[:, :1]) if comm is None else (fnn.distributed.shard(X, Y[:, :1], comm),)
        model.fit(*data, comm=comm, epochs=2, verbose=0)
        found.append(model.get_weights())
    assert (alone.rank, alone.size) == (0, 1)
    assert all(np.array_equal(a, b) for a, b in zip(*found))


def test_nothing_of_mpi_is_imported_before_it_is_used():
    code = "import sys, fastnn, fastnn.distributed as d; d.init(); sys.exit('mpi4py' in sys.modules or 'cupy' in sys.modules)"
    environment = {k: v for k, v in os.environ.items() if k not in distributed._LAUNCHED}
    environment["PYTHONPATH"] = str(Path(fnn.__file__).parent.parent)
    assert subprocess.run([sys.executable, "-c", code], env=environment, check=False).returncode == 0


def test_a_missing_mpi4py_names_the_extra(monkeypatch):
    monkeypatch.setenv("PMI_SIZE", "2")
    monkeypatch.setitem(sys.modules, "mpi4py", None)
    with pytest.raises(MissingExtraError, match="extra 'mpi'"):
        distributed.init()


def test_what_cannot_be_shared_out_is_refused(alone):
    batches = [(X, Y[:, :1])]
    for optimizer, more, data, message in [
        (optimizers.LBFGS(), (), (X, Y[:, :1]), "LBFGS makes its steps on one process"),
        ("sgd", (layers.BatchNormalization(),), (X, Y[:, :1]), "batch_moments, needs all rows of a batch"),
        ("sgd", (), (iter(batches),), "takes arrays, got an iterable"),
    ]:
        with pytest.raises(ArgumentError, match=message):
            compiled(optimizer, *more).fit(*data, comm=Two(), verbose=0)


def test_wrong_arguments_are_refused(alone):
    model, shard = compiled(), distributed.shard
    with pytest.raises(ArgumentError, match="shard needs the communicator"):
        shard(X, Y)
    with pytest.raises(ArgumentError, match="shard takes arrays"):
        shard(iter([X]), comm=alone)
    with pytest.raises(ArgumentError, match="leave them out"):
        model.fit(shard(X, Y[:, :1], alone), Y)
    with pytest.raises(ArgumentError, match="another comm than shard"):
        model.fit(shard(X, Y[:, :1], alone), comm=Two())
    with pytest.raises(ArgumentError, match=r"init\(\) gives, got int"):
        model.fit(X, Y[:, :1], comm=2)
