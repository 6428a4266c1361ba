"""One command measured: wall time, CPU time and peak memory of its whole tree of processes.

CPU time is that of the process and of every descendant whose parent has waited for it. Memory is
that of the tree, on Linux the PSS: what processes share counts once.
"""

import math
import os
import resource
import signal
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from importlib.util import find_spec
from subprocess import DEVNULL, Popen
from typing import NamedTuple

_INTERVAL = 0.1
"""Seconds from one look at the memory to the next, at least."""
_LEISURE = 30
"""The pause after a look, in times of what it took: 14 ms a GB, lost to what leaves no CPU idle."""
THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "BLIS_NUM_THREADS")
"""Limits that are not passed on: whatever is measured may use all CPUs."""


class Measurement(NamedTuple):
    """What it took to run a command once."""

    wall: float
    """Seconds, to the end of the process itself."""
    cpu: float
    """Seconds, user and system."""
    peak: float
    """Bytes; NaN where psutil is not installed."""


class FailedError(Exception):
    """A command failed; the text says how, with the end of what it wrote to stderr."""


def measure(command: Sequence[str]) -> Measurement:
    """Run a command in a process group of its own; `FailedError`: its exit status is not 0."""
    env = {name: value for name, value in os.environ.items() if name not in THREADS}
    with tempfile.TemporaryFile() as stderr, _watched() as sizes:
        cpu, begin, process = _cpu_of_children(), time.perf_counter(), None
        try:
            with _stops_held_back():
                process = Popen(
                    command, env=env, stdin=DEVNULL, stdout=DEVNULL, stderr=stderr, process_group=0
                )
            process.wait()
            wall = time.perf_counter() - begin
        finally:
            if process:
                # One that was killed itself leaves those that it started, beside the next.
                with suppress(ProcessLookupError):  # All have ended.
                    os.killpg(process.pid, signal.SIGKILL)
                process.wait()
        stderr.seek(0)
        complaint = stderr.read().decode(errors="replace").strip()[-2000:]
    if status := process.returncode:
        how = f"ended by signal {-status}" if status < 0 else f"ended with exit status {status}"
        raise FailedError(f"{how}: {complaint}" if complaint else how)
    return Measurement(wall, _cpu_of_children() - cpu, max(sizes, default=math.nan))


@contextmanager
def _stops_held_back() -> Iterator[None]:
    """Have Ctrl-C and SIGTERM wait until it is known which process has been started."""
    came: list[int] = []
    stops = (signal.SIGINT, signal.SIGTERM)
    handlers = [signal.signal(stop, lambda number, _: came.append(number)) for stop in stops]
    try:
        yield
    finally:
        for stop, handler in zip(stops, handlers, strict=True):
            signal.signal(stop, handler)
        for number in came:
            signal.raise_signal(number)


def _cpu_of_children() -> float:
    """CPU seconds, user and system, of all descendants that have been waited for."""
    return sum(resource.getrusage(resource.RUSAGE_CHILDREN)[:2])


@contextmanager
def _watched() -> Iterator[list[int]]:
    """Yield a list of what all descendants of this process take together, which grows meanwhile."""
    sizes: list[int] = []
    ended = threading.Event()
    watch = threading.Thread(target=_watch, args=[ended, sizes], daemon=True)
    watch.start()
    try:
        yield sizes
    finally:
        ended.set()
        watch.join()


def _watch(ended: threading.Event, sizes: list[int]) -> None:
    if not find_spec("psutil"):
        return
    import psutil

    pause = 0.0
    while not ended.wait(pause):
        begin, size = time.perf_counter(), 0
        for process in psutil.Process().children(recursive=True):
            with suppress(psutil.Error):  # It has ended meanwhile.
                memory = process.memory_full_info()
                size += getattr(memory, "pss", memory.uss)  # PSS on Linux alone
        sizes.append(size)
        pause = max(_INTERVAL, _LEISURE * (time.perf_counter() - begin))
