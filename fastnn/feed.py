"""Data that come as batches: any iterable, read ahead by a thread and trained on one batch an engine call."""

import contextlib
import itertools

import numpy as np

from . import _core
from .errors import ArgumentError, ArgumentTypeError, NonFiniteLossError
from .sparse import is_sparse


def is_iterable_of_batches(x):
    """Whether `x` yields batches, rather than being an array or a structure of arrays."""
    if x is None or isinstance(x, (np.ndarray, list, tuple, dict, str, bytes, int, float, memoryview)):
        return False
    if hasattr(x, "__array__") or hasattr(x, "__dlpack__") or hasattr(x, "__array_interface__") or is_sparse(x):
        return False
    try:
        memoryview(x)
    except TypeError:
        return hasattr(x, "__iter__") or (hasattr(x, "__len__") and hasattr(x, "__getitem__"))
    return False


def split_batch(batch):
    """(x, y, sample_weight) of what an iterable yields: x alone, or a tuple or list of one to three."""
    if not isinstance(batch, (tuple, list)):
        return batch, None, None
    if not 1 <= len(batch) <= 3:
        raise ArgumentError(
            f"a batch is x, (x,), (x, y) or (x, y, sample_weight), got a {type(batch).__name__} "
            f"of {len(batch)}"
        )
    return (*batch, None, None)[:3]


class Feed:
    """An iterable of batches that is walked again and again.

    Parameters
    ----------
    iterable : iterable
        With `__len__` and `__getitem__` it is read by index, so a walk may begin anywhere and in another
        order; else from its start. What is its own iterator can be walked only once.
    what : str
        How errors name it.
    """

    def __init__(self, iterable, what):
        self.iterable, self.what = iterable, what
        self.length = len(iterable) if hasattr(iterable, "__len__") else None
        self.indexed = self.length is not None and hasattr(iterable, "__getitem__")
        self.once = not self.indexed and iter(iterable) is iterable
        self._held = []  # what `first` took from an iterator
        if self.length == 0:
            raise ArgumentError(f"{what} needs at least one batch, got an iterable of length 0")

    def first(self):
        """The first batch, which is still the first of the next walk."""
        if self.indexed:
            return self.iterable[0]
        batch = next(iter(self.iterable), None)
        if batch is None:
            raise ArgumentError(f"{self.what} needs at least one batch, got an empty iterable")
        if self.once:
            self._held.append(batch)
        return batch

    def walk(self, number, start, seed):
        """One walk from batch `start` on; by index in the order of (seed, number), or as it is for None."""
        if self.indexed:
            for i in range(start, self.length):
                yield self.iterable[i if seed is None else _core.permuted(seed, number, self.length, i)]
            return
        held, self._held = self._held, []
        yield from itertools.islice(itertools.chain(held, self.iterable), start, None)

    def endless(self, start, seed):
        """Walk after walk from batch `start` of all on; ends where there is nothing to walk again."""
        number, skip = (0, start) if self.length is None else divmod(start, self.length)
        while self.indexed:
            yield from self.walk(number, skip, seed)
            self.end_walk()
            number, skip = number + 1, 0
        given = True
        while given:
            given = False
            for batch in self.walk(number, 0, seed):
                given = True
                if skip == 0:
                    yield batch
                else:
                    skip -= 1
            if self.once:
                return

    def end_walk(self):
        """Tell the iterable, as Keras does, that all of it was read."""
        hook = getattr(self.iterable, "on_epoch_end", None)
        if hook is not None:
            hook()


def _reader(items, make):
    from .read_ahead import ReadAhead  # only here: what it imports takes longer than this module

    return ReadAhead(items, make)


def ahead(feed, count, make):
    """Generates `make` of the first `count` batches of a feed, or of all; a thread reads ahead."""
    reader = _reader(itertools.islice(feed.walk(0, 0, None), count), make)
    try:
        while (result := reader.next()) is not None:
            yield result
    finally:
        reader.close()


class Batches:
    """A Feed as the source of a pass: each batch is bound, run in one engine call and forgotten.

    Has the methods of `training.Arrays`; a context manager, since it holds a session.

    Parameters
    ----------
    runtime : Runtime
    mode : {"train", "evaluate", "predict"}
    feed : Feed
    prepare : callable
        Makes (arrays by tensor id, number of samples) of a batch; called in the thread that reads ahead.
    steps : int or None
        Batches a pass. None: as many as a walk gives; else the next pass goes on where this one stopped.
    seed : int
        Dropout is keyed by it, the number of updates made so far, and the row in the batch.
    shuffle : bool
        Whether a feed that is read by index is read in another order in each walk.
    check_finite : bool
    """

    def __init__(self, runtime, mode, feed, prepare, steps, seed=0, shuffle=False, check_finite=True):
        self._runtime, self._mode, self._feed, self._prepare = runtime, mode, feed, prepare
        self.steps = steps if steps is not None else feed.length
        self.rows = self.count = self.samples = self.selected = None
        self._continued = steps is not None
        self.seed, self.shuffle, self._check_finite = seed, shuffle, check_finite
        self._stack, self._session, self._size = contextlib.ExitStack(), None, 0
        self._ahead = self._walk = None
        self._taken, self._bound = 0, frozenset()

    def __enter__(self):
        return self

    def __exit__(self, kind, error, traceback):
        self.end()
        return self._stack.__exit__(kind, error, traceback)

    def begin(self, epoch, step, sums, total):
        """Go to a step of an epoch, the `total`-th of all; `sums` are of the epoch's steps before it."""
        self._sums, self._seen, self._step = list(sums), self._seen_before(sums), step
        if not self._continued:
            items = self._feed.walk(epoch, step, self.seed if self.shuffle else None)
        else:
            if self._walk is None or self._taken != total:
                self._walk = self._feed.endless(total, self.seed if self.shuffle else None)
            items = itertools.islice(self._walk, self.steps - step)
        self._taken = total
        self._ended = False
        self._ahead = _reader(items, self._prepare)

    def _seen_before(self, sums):
        return int(sums[1]) if sums else 0  # the weight of the first loss counts samples

    def run(self, max_steps, max_ms, rates):
        """Make one step; returns 1, or 0 where the data ended, and whether they did."""
        batch = self._ahead.next()
        if batch is None:
            if self._step == 0:
                raise ArgumentError(
                    f"{self._feed.what} gave no batches; what can be read only once, such as a generator, is "
                    "spent after one walk: make a new one, or pass an object that starts again at each iter()"
                )
            self._ended = True
            return 0, True
        self._take(*batch)
        try:
            rate = rates if isinstance(rates, float) else rates[:1]
            self._session.run(1, -1.0, rate)
        except NonFiniteLossError as error:
            error.step = self._step
            raise
        self._sums = self._session.results()
        self._step += 1
        self._taken += 1
        return 1, False

    def _take(self, arrays, count):
        """Binds a batch and begins its pass."""
        if count > self._size:
            self._stack.close()
            self._session = self._stack.enter_context(self._runtime.session(self._mode, count))
            self._size, self._bound = count, frozenset()
        self._session.bind(arrays, 0, f" of batch {self._step}")
        for tensor in self._bound - arrays.keys():
            self._session.unbind(tensor)
        self._bound = frozenset(arrays)
        key = self._runtime.engine.iterations if self._mode == "train" else 0
        self._session.begin(count, count, False, self._check_finite, self.seed, key, 0)
        if self._step and self._sums:
            self._session.set_results(self._sums)
        self._seen += count

    def results(self):
        """Sums of the pass so far."""
        return self._sums

    def seen(self, step):
        """Samples of the pass so far."""
        return self._seen

    def agree(self, *values):
        """See `training.Arrays`."""
        return values

    def follow(self, changed):
        """See `training.Arrays`."""

    def check(self):
        """See `training.Arrays`."""

    def end(self):
        """The pass ended, or was left."""
        if self._ahead is not None:
            self._ahead.close()
            self._ahead = None
            if not self._continued and (self._ended or self._step == self.steps):
                self._feed.end_walk()


def check_alone(what, feed, **others):
    """Raises where an argument is given that an iterable of batches brings itself."""
    for name, value in others.items():
        if value is not None:
            raise ArgumentError(
                f"{what} takes {name} from {feed.what}, whose batches are (x, y, sample_weight); "
                f"leave {name} out"
            )


def check_walks(what, feed, steps, walks, argument):
    """Raises where several walks need an iterable that starts again."""
    if feed.once and steps is None and walks > 1:
        raise ArgumentTypeError(
            f"{what} walks {feed.what} {walks} times, but {type(feed.iterable).__name__} can be read only "
            f"once; pass {argument}, or an object that starts again at each iter()"
        )
