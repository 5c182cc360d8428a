"""Data-parallel training: the same script on many processes, which add up their gradients by MPI.

Each process (a rank) holds the whole model and takes its share of every batch; between backward pass and update the
sums over rows are added up, in one call a step. So ``mpiexec -n 8 python -m mpi4py train.py`` trains the net that
``python train.py`` trains, but for the order in which rows are summed. The networks of a cluster are trusted ones:
MPI encrypts nothing.

Examples
--------
>>> import numpy as np, fastnn as fnn
>>> comm = fnn.distributed.init()                   # one process unless started by mpiexec or Slurm
>>> x = np.random.default_rng(0).normal(size=(200, 4)).astype("float32")
>>> model = fnn.Sequential([fnn.Input((4,)), fnn.layers.Dense(1)])
>>> model.compile("adam", "mse")
>>> history = model.fit(fnn.distributed.shard(x, x[:, :1], comm), batch_size=64, verbose=0)
>>> comm.rank, comm.size
(0, 1)
"""

from __future__ import annotations

import contextlib
import functools
import os
import signal
import sys
import threading
import time
import zlib
from typing import Any

import numpy as np

from . import _core, feed, io
from .errors import ArgumentError, DataError, MissingExtraError
from .training import Arrays, constant_rate

__all__ = ["MPIComm", "SelfComm", "init", "shard"]

# What those set that start one process of several.
_LAUNCHED = ("PMI_SIZE", "PMI_RANK", "PMIX_RANK", "OMPI_COMM_WORLD_SIZE", "MPI_LOCALNRANKS")
_MOST_CORES = 4096


class SelfComm:
    """One process alone; and the methods that a communicator has.

    Attributes
    ----------
    rank : int
        The number of this process, from 0.
    size : int
        How many there are.
    """

    rank, size = 0, 1

    def allreduce_(self, array: np.ndarray) -> None:
        """Adds up, in place, a contiguous array of each process: all get the same bits."""

    def iallreduce(self, array: np.ndarray) -> Any:
        """The same in the background; the array must rest until `wait` of what it returns has returned."""
        return _Done()

    def bcast_(self, array: np.ndarray) -> None:
        """Overwrites a contiguous array by that of rank 0."""

    def barrier(self) -> None:
        """Returns when all processes have called it."""

    def abort(self, code: int = 1) -> None:
        """Ends all processes at once."""
        os._exit(code)


class _Done:
    def wait(self):
        """Returns when the work is done."""


class MPIComm(SelfComm):
    """The processes of an MPI communicator.

    Parameters
    ----------
    comm : mpi4py.MPI.Comm
        ``MPI.COMM_WORLD``, or a part of it.
    """

    def __init__(self, comm: Any) -> None:
        from mpi4py import MPI

        self._mpi, self._in_place = comm, MPI.IN_PLACE
        self.rank, self.size = comm.Get_rank(), comm.Get_size()

    def allreduce_(self, array: np.ndarray) -> None:
        self._mpi.Allreduce(self._in_place, array)

    def iallreduce(self, array: np.ndarray) -> Any:
        return self._mpi.Iallreduce(self._in_place, array)

    def bcast_(self, array: np.ndarray) -> None:
        self._mpi.Bcast(array)

    def barrier(self) -> None:
        self._mpi.Barrier()

    def abort(self, code: int = 1) -> None:
        self._mpi.Abort(code)

    def __repr__(self) -> str:
        return f"MPIComm(rank={self.rank}, size={self.size})"


def init() -> SelfComm:
    """The communicator of all processes that were started together.

    Returns
    -------
    SelfComm or MPIComm
        The former where this process was not started by ``mpiexec`` or Slurm.

    Raises
    ------
    MissingExtraError
        If it was, and there is no mpi4py or no MPI library.

    Notes
    -----
    The threads of this process become its share of the cores that the processes of this machine may run on, unless
    `FASTNN_NUM_THREADS` is set.
    """
    slurm = "SLURM_PROCID" in os.environ and os.environ.get("SLURM_NTASKS", "1") != "1"
    if not slurm and "mpi4py.MPI" not in sys.modules and not any(name in os.environ for name in _LAUNCHED):
        return SelfComm()
    try:
        from mpi4py import MPI
    except (ImportError, RuntimeError) as error:
        raise MissingExtraError.of("training on several processes", "mpi4py and an MPI library", "mpi") from error
    comm = MPIComm(MPI.COMM_WORLD)
    if comm.size > 1 and "FASTNN_NUM_THREADS" not in os.environ:
        _core.set_threads(_threads_of(MPI))
    return comm


def _threads_of(MPI):
    """The share of this process of the cores that it may run on."""
    affinity = getattr(os, "sched_getaffinity", lambda _: range(os.cpu_count() or 1))
    own = [core for core in affinity(0) if core < _MOST_CORES]
    users = np.zeros(_MOST_CORES, np.int32)
    users[own] = 1
    here = MPI.COMM_WORLD.Split_type(MPI.COMM_TYPE_SHARED)
    here.Allreduce(MPI.IN_PLACE, users)
    here.Free()
    return max(1, min(_core.get_threads(), int((1 / users[own]).sum() + 1e-6)))


class Shard:
    """What `shard` returns: data of which each process reads its share."""

    def __init__(self, x, y, sample_weight, comm):
        self.x, self.y, self.sample_weight, self.comm = x, y, sample_weight, comm


def shard(x: Any, y: Any = None, comm: SelfComm | None = None, *, sample_weight: Any = None) -> Shard:
    """Data for ``fit(shard(x, y, comm), comm=comm)``: each process reads its share of every batch.

    Parameters
    ----------
    x, y, sample_weight
        As `Model.fit` takes them: the whole set, the same in all processes. Arrays mapped from a file
        (``numpy.load(path, mmap_mode="r")``) may be larger than memory; only the rows of this process are read.
    comm : SelfComm or MPIComm
        As `init` gives it.

    Notes
    -----
    Samples come in the order of one process, and dropout depends on the sample, so that the number of processes
    does not change what is computed. Batches need not be divisible; a process may have no rows of one.
    """
    if comm is None:
        raise ArgumentError("shard needs the communicator: shard(x, y, fastnn.distributed.init())")
    if feed.is_iterable_of_batches(x):
        raise ArgumentError("shard takes arrays, got an iterable of batches; let each process read what it needs as arrays")
    return Shard(x, y, sample_weight, comm)


def opened(x, y, sample_weight, comm):
    """(x, y, sample_weight, communicator) of what `fit` was given."""
    if isinstance(x, Shard):
        if y is not None or sample_weight is not None:
            raise ArgumentError("fit takes y and sample_weight from shard(x, y, comm, sample_weight=...); leave them out")
        if comm is not None and comm is not x.comm:
            raise ArgumentError("fit was given another comm than shard; pass the same one to both")
        x, y, sample_weight, comm = x.x, x.y, x.sample_weight, x.comm
    if not isinstance(comm, SelfComm):
        raise ArgumentError(f"fit: comm needs what fastnn.distributed.init() gives, got {type(comm).__name__}")
    if comm.size > 1 and feed.is_iterable_of_batches(x):
        raise ArgumentError("fit with comm takes arrays, got an iterable of batches; pass arrays, mapped from files if large")
    return x, y, sample_weight, comm


def require_same(comm, data, message):
    """Raises in all processes unless all have the same bytes."""
    digest = zlib.crc32(data)
    first = np.array([digest], np.int64)
    comm.bcast_(first)
    others = np.array([int(first[0] != digest)], np.int64)
    comm.allreduce_(others)
    if others[0]:
        raise ArgumentError(f"{message}: {others[0]} of {comm.size} processes differ from rank 0")


def require_same_start(comm, resumed):
    """Raises in all processes unless all go on from the same step of the same checkpoint."""
    start = None if resumed is None else (resumed.epoch, resumed.step, resumed.total, resumed.iterations)
    message = "fit needs the same file to resume everywhere, so keep it in a folder that all machines share"
    require_same(comm, repr(start).encode(), message)


def same_seed(comm, seed):
    """The seed that rank 0 has."""
    words = np.array([seed], np.uint64)
    comm.bcast_(words)
    return int(words[0])


def shares_of(comm, optimizer):
    """What makes a source like `training.Arrays`, on the processes of `comm`."""
    if optimizer.driver is not None:
        raise ArgumentError(
            f"fit: {type(optimizer).__name__} makes its steps on one process; leave comm out, or take an optimizer of "
            "gradient steps, such as Adam"
        )
    return functools.partial(Shares, comm)


class Shares(Arrays):
    """An epoch of which each process makes its share of every batch; see `training.Arrays`.

    Parameters
    ----------
    comm : MPIComm
    *rest
        Those of `Arrays`; the session has the sums over rows to exchange.
    """

    _BAD_DATA, _OVER = -2, -1        # notes at the end of the buffer, behind that of losses that are not finite
    _INTERRUPT = 1024

    def __init__(self, comm, *rest):
        super().__init__(*rest)
        self.comm = comm
        self.session.session.share(comm.rank, comm.size)
        self._buffer = np.frombuffer(self.session.session.exchange(), self.model.dtype)
        self._sums, self._interrupted = [], False
        self.results = lambda: self._sums
        what = (self.model.program.text(), self.count, self.rows, self.steps, self.shuffle, self.check_finite)
        require_same(comm, repr(what).encode(), "fit needs the same model, settings and number of samples everywhere")

    def begin(self, epoch, step, sums, total):
        """See `Arrays.begin`; the sums are those of all processes."""
        super().begin(epoch, step, sums if self.comm.rank == 0 else np.zeros(len(sums)), total)
        self._sums = list(sums)

    def run(self, max_steps, max_ms, rates):
        """See `Arrays.run`; rank 0 says when the time is over."""
        session, notes = self.session.session, self._buffer
        until = time.monotonic() + max_ms / 1e3
        made, finished = self._stretch(session, max_steps, rates)
        interrupted = False
        while session.pending:
            if self.comm.rank == 0 and time.monotonic() >= until:
                notes[self._OVER] = 1
            if self._interrupted:
                notes[self._OVER] += self._INTERRUPT
            self.comm.allreduce_(self._buffer)
            if notes[self._BAD_DATA] > 0:
                raise DataError("another process found a value in its rows that cannot be used; its own error says which")
            interrupted = notes[self._OVER] >= self._INTERRUPT
            left = 1 if notes[self._OVER] > 0 else max_steps - made
            more, finished = self._stretch(session, left, rates if isinstance(rates, float) else rates[made:])
            made += more
        sums = np.array(session.results())
        self.comm.allreduce_(sums)
        self._sums = sums.tolist()
        if interrupted:
            self._interrupted = False
            raise KeyboardInterrupt
        return made, finished

    def _stretch(self, session, steps, rates):
        try:
            return session.run(steps, -1.0, rates)
        except DataError:
            self._buffer[:] = 0
            self._buffer[self._BAD_DATA] = 1
            self.comm.allreduce_(self._buffer)
            raise

    def agree(self, *values):
        """What rank 0 says, as floats."""
        array = np.array(values, np.float64)
        self.comm.bcast_(array)
        return array.tolist()

    def follow(self, changed):
        """Takes weights and moments over from rank 0, if they may have changed there."""
        if not self.agree(changed)[0]:
            return
        model, engine = self.model, self.model._runtime.engine
        [rate] = self.agree(constant_rate(model.optimizer))
        if not np.isnan(rate):
            model.optimizer.learning_rate = rate
        values, iterations = model._runtime.read([(id, slot) for _, id, slot, _ in io._moments(model)])
        count = np.array([iterations], np.int64)
        self.comm.bcast_(count)
        for (tensor, slot), value in values.items():
            self.comm.bcast_(value)
            if self.comm.rank == 0:
                continue
            if slot < 0:
                dict(model._stored_params())[tensor].assign(value)
            else:
                engine.write_slot(tensor, slot, value)
        if self.comm.rank > 0:
            engine.iterations = int(count[0])

    def check(self):
        """Raises unless all processes have the same weights, bit by bit."""
        digest = 0
        for value in self.model._runtime.read()[0].values():
            digest = zlib.crc32(np.ascontiguousarray(value), digest)
        require_same(self.comm, str(digest).encode(), "the weights are not the same bits everywhere")

    @contextlib.contextmanager
    def interruptible(self):
        """Ctrl-C in any process ends the run of all after the same step."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return

        def note(number, frame):
            self._interrupted = True

        before = signal.signal(signal.SIGINT, note)
        try:
            yield
        finally:
            signal.signal(signal.SIGINT, before)
