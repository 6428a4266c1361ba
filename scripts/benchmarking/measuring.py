"""One command measured: wall time, CPU time and peak memory of its whole tree of processes.

CPU time comes from `wait4`: the process, its threads, and every descendant, whether its parent has
waited for it or left it to end by itself. Memory is the PSS of the tree; what processes share
counts once. To look at it takes 14 ms a GB, which a command that leaves no CPU idle loses: so the
resident sizes are looked at, which are at hand, and the PSS where they have grown; and the longer a
look took, the longer is the pause before the next.
"""

import ctypes
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

_INTERVAL = 0.1
"""Seconds from one look at the resident sizes to the next, at least."""
_GROWTH = 1.02
"""How much they have to grow to be worth a look at the PSS."""
_LEISURE, _PSS_LEISURE = 100, 30
"""Pause after a look, in times of what it took."""
_PR_SET_CHILD_SUBREAPER = 36
THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "BLIS_NUM_THREADS")
"""Limits that are not passed on: whatever is measured may use all CPUs."""


@dataclass(frozen=True)
class Measurement:
    """What it took to run a command once."""

    wall: float
    """Seconds, to the end of the process itself."""
    cpu: float
    """Seconds, user and system, to the end of all that it left behind."""
    peak: int | None
    """Bytes; None where /proc does not tell."""


class FailedError(Exception):
    """A command failed; the text says how, with the end of what it wrote to stderr."""


def measure(
    command: Sequence[str | Path], log: Path, environment: Mapping[str, str] | None = None
) -> Measurement:
    """Run a command in a process (and session) of its own, with more variables in its environment.

    What it writes to stderr goes to the path `log`, which is deleted afterwards; `FailedError` is
    raised when its exit status is not 0.
    """
    inherited = {name: value for name, value in os.environ.items() if name not in THREADS}
    with open(log, "wb") as stderr, _orphans_adopted():
        begin = time.perf_counter()
        process = subprocess.Popen(
            [*map(str, command)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=stderr,
            env={**inherited, **(environment or {})},
            start_new_session=True,
        )
        watch = _MemoryWatch(process.pid)
        try:
            _, status, usage = os.wait4(process.pid, 0)
            wall = time.perf_counter() - begin
            cpu = usage.ru_utime + usage.ru_stime + _wait_for_orphans(process.pid)
        except BaseException:
            with suppress(ProcessLookupError):  # All have ended.
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            raise
        finally:
            watch.stop()
    process.returncode = os.waitstatus_to_exitcode(status)
    complaint = log.read_text(errors="replace").strip()
    log.unlink()
    if process.returncode:
        how = f"ended with exit status {process.returncode}"
        if process.returncode < 0:
            how = f"was killed by signal {-process.returncode}"
            how += ", probably for memory" if process.returncode == -signal.SIGKILL else ""
        raise FailedError(f"{how}: {complaint[-2000:]}" if complaint else how)
    return Measurement(wall, cpu, watch.peak)


@contextmanager
def _orphans_adopted() -> Iterator[None]:
    """Become the parent of every descendant that loses its own, on Linux: see prctl(2)."""
    prctl = ctypes.CDLL(None).prctl if sys.platform == "linux" else lambda *_: None
    prctl(_PR_SET_CHILD_SUBREAPER, 1)
    try:
        yield
    finally:
        prctl(_PR_SET_CHILD_SUBREAPER, 0)


def _wait_for_orphans(session: int) -> float:
    """Wait for what a process left behind in its session; CPU seconds of it."""
    cpu = 0.0
    while True:
        try:
            _, _, usage = os.wait4(-session, 0)
        except ChildProcessError:
            return cpu
        cpu += usage.ru_utime + usage.ru_stime


class _MemoryWatch:
    """Looks at the memory of a tree of processes until it is stopped."""

    def __init__(self, root: int) -> None:
        self.peak: int | None = None
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._watch, args=[root], daemon=True)
        if Path("/proc/self/smaps_rollup").exists():
            self._thread.start()

    def _watch(self, root: int) -> None:
        pause = rested = most = 0.0
        while not self._stopped.wait(pause):
            begin = time.thread_time()  # Not the time in which others had the CPU.
            processes = _tree(root)
            pages = [_read(process, "statm").split()[1:2] for process in processes]
            resident = sum(int(number) for numbers in pages for number in numbers)
            pause = max(_INTERVAL, _LEISURE * (time.thread_time() - begin))
            begin = time.perf_counter()
            if resident > _GROWTH * most and begin > rested:
                most = resident
                lines = (_read(process, "smaps_rollup").splitlines() for process in processes)
                sizes = (line.split()[1] for line in chain(*lines) if line.startswith("Pss:"))
                self.peak = max(self.peak or 0, 1024 * sum(map(int, sizes)))
                end = time.perf_counter()
                rested = end + _PSS_LEISURE * (end - begin)

    def stop(self) -> None:
        self._stopped.set()
        if self._thread.is_alive():
            self._thread.join()


def _tree(root: int) -> list[int]:
    found = [root]
    for process in found:  # Grows while it is gone through.
        for thread in _threads(process):
            found += map(int, _read(process, f"task/{thread}/children").split())
    return found


def _threads(process: int) -> list[str]:
    """The threads of a process; none when it has ended meanwhile."""
    try:
        return os.listdir(f"/proc/{process}/task")
    except OSError:
        return []


def _read(process: int, what: str) -> str:
    """What the system tells of a process; nothing when it has ended meanwhile."""
    try:
        return Path(f"/proc/{process}/{what}").read_text()
    except OSError:
        return ""
