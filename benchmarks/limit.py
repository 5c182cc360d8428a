"""The machine's limit: how fast it multiplies and adds in registers, reads and copies, on several threads."""

import ctypes
import mmap
import shutil
import subprocess
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

SOURCE = Path(__file__).with_name("limit.c")
COMPILERS = ("cc", "gcc", "clang")
CHAINS = 12             # vectors that limit.c has under way
VECTOR = {"baseline": 16, "neon": 16, "avx2": 32, "avx512": 64, "avx512bf16": 64}  # bytes
SECONDS = 0.02          # of one measurement
COPIED = 1 << 28        # bytes that a copy moves
GRAIN = 512             # buffers are a multiple of these bytes


class Limit:
    """Rates of the machine for one of fastnn's instruction sets on `threads` threads."""

    def __init__(self, isa, threads):
        self.isa, self.threads = isa, threads
        self.library = _library()
        self.pool = ThreadPoolExecutor(threads)
        self.turns = {}
        self.buffers = {}

    def flops(self, dtype):
        """Flops a second in registers: a multiply-add counts as two."""
        function = getattr(self.library, f"fma_{dtype}_{self.isa}")
        lanes = VECTOR[self.isa] // ctypes.sizeof(_REALS[dtype])
        return self._rate(("fma", dtype), [(function,)] * self.threads) * 2 * CHAINS * lanes

    def read(self, dtype, nbytes):
        """Bytes a second when `nbytes` bytes are read again and again, each thread its share of them."""
        function = getattr(self.library, f"read_{dtype}_{self.isa}")
        share = max(nbytes // self.threads // GRAIN, 1) * GRAIN
        parts = [(function, buffer, share) for buffer in self._buffers(share, self.threads)]
        return self._rate(("read", dtype, share), parts) * share

    def copy(self, nbytes=COPIED):
        """Bytes a second that a copy reads and writes, `nbytes` in all: by default more than caches hold."""
        share = max(nbytes // 2 // self.threads // GRAIN, 1) * GRAIN
        buffers = self._buffers(share, 2 * self.threads)
        parts = [(self.library.copy, *pair, share) for pair in zip(buffers[::2], buffers[1::2])]
        return self._rate(("copy", share), parts) * 2 * share

    def clock(self, dtype, flops, nbytes=0):
        """A clock for `interleave`: of so many flops, or of reading `nbytes` bytes if that takes longer."""

        def seconds(repeats):
            needed = flops / self.flops(dtype)
            if nbytes:
                needed = max(needed, nbytes / self.read(dtype, nbytes))
            return repeats * needed

        return seconds

    def copy_clock(self, nbytes):
        """A clock for `interleave`: of a copy that reads and writes so many bytes."""
        return lambda repeats: repeats * nbytes / self.copy(nbytes)

    def _rate(self, key, parts):
        """Turns a second, added up over the threads: `parts` are functions and their first arguments."""
        turns = self.turns.get(key, 1)
        while True:
            times = list(self.pool.map(lambda part: _timed(*part, turns), parts))
            if max(times) >= SECONDS / 2:
                self.turns[key] = max(1, round(turns * SECONDS / max(times)))
                return sum(turns / t for t in times)
            turns *= 2

    def _buffers(self, nbytes, count):
        # Private mappings written to once: pages of their own, aligned for any vector.
        if (nbytes, count) not in self.buffers:
            made = [mmap.mmap(-1, nbytes) for _ in range(count)]
            for buffer in made:
                buffer.write(b"\1" * nbytes)
            self.buffers[nbytes, count] = [ctypes.byref(ctypes.c_char.from_buffer(b)) for b in made]
        return self.buffers[nbytes, count]


_REALS = {"float32": ctypes.c_float, "float64": ctypes.c_double}


def _timed(function, *arguments):
    arguments = [ctypes.c_long(a) if isinstance(a, int) else a for a in arguments]
    start = time.perf_counter()
    function(*arguments)
    return time.perf_counter() - start


def _library():
    compiler = next(filter(None, map(shutil.which, COMPILERS)), None)
    if compiler is None:
        raise RuntimeError(f"the machine's limit needs one of the compilers {', '.join(COMPILERS)}")
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "limit.so"
        flags = ["-O2", "-ffp-contract=fast", "-fPIC", "-shared"]
        subprocess.run([compiler, *flags, "-o", str(path), str(SOURCE)], check=True)
        return ctypes.CDLL(str(path))
