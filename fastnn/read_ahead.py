"""A thread that reads an iterable ahead."""

import contextlib
import queue
import threading

# Batches that wait between the thread that reads and the one that trains.
AHEAD = 4


class ReadAhead:
    """The results of `make` on the items of an iterator, made by a thread that is at most AHEAD items ahead.

    An error of the iterator or of `make` is raised where its item would have come.
    """

    def __init__(self, items, make):
        self._queue, self._stop = queue.Queue(AHEAD), threading.Event()
        self._thread = threading.Thread(
            target=self._fill, args=(items, make), name="fastnn-feed", daemon=True
        )
        self._thread.start()

    def _fill(self, items, make):
        number = 0
        try:
            for item in items:
                if not self._put((make(item), None)):
                    return
                number += 1
            self._put((None, None))
        except BaseException as error:
            error.add_note(f"while batch {number} of this pass was read (counted from 0)")
            self._put((None, error))

    def _put(self, entry):
        while not self._stop.is_set():
            with contextlib.suppress(queue.Full):
                self._queue.put(entry, timeout=0.1)
                return True
        return False

    def next(self):
        """The next result, None at the end."""
        while True:
            # In turns, so that Ctrl-C is seen on every system.
            with contextlib.suppress(queue.Empty):
                result, error = self._queue.get(timeout=0.1)
                break
        if error is not None:
            raise error
        return result

    def close(self):
        """Ends the thread; one that hangs in the user's iterator is left to itself."""
        self._stop.set()
        self._thread.join(timeout=5.0)
