"""One command measured: wall time, CPU time and peak memory of its whole tree of processes.

CPU time is that of the process, its threads, and every descendant, whether its parent has waited
for it or left it to end by itself. Memory is the PSS of the tree; what processes share counts once.
To look at it takes 14 ms a GB, which a command that leaves no CPU idle loses: so the resident sizes
are looked at, which are at hand, and the PSS where they have grown; and the longer a look took, the
longer is the pause before the next.
"""

import ctypes
import math
import os
import resource
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
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
    peak: float
    """Bytes; NaN where /proc does not tell."""


class FailedError(Exception):
    """A command failed; the text says how, with the end of what it wrote to stderr."""


def measure(command: Sequence[str]) -> Measurement:
    """Run a command in a process and session of its own.

    `FailedError` is raised when its exit status is not 0.
    """
    environment = {name: value for name, value in os.environ.items() if name not in THREADS}
    ended = threading.Event()
    sizes: list[int] = []
    with tempfile.TemporaryFile() as stderr:
        _adopt_orphans(True)
        cpu, begin = _cpu_of_children(), time.perf_counter()
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=stderr,
            env=environment,
            start_new_session=True,
        )
        watch = threading.Thread(target=_watch, args=[process.pid, ended, sizes])
        if Path("/proc/self/smaps_rollup").exists():
            watch.start()
        try:
            process.wait()
            wall = time.perf_counter() - begin
            with suppress(ChildProcessError):  # Nothing that it left behind is there any more.
                while True:
                    os.waitpid(-process.pid, 0)
        except BaseException:
            with suppress(ProcessLookupError):  # All have ended.
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            raise
        finally:
            _adopt_orphans(False)
            ended.set()
            if watch.ident:
                watch.join()
        stderr.seek(0)
        complaint = stderr.read().decode(errors="replace").strip()[-2000:]
    if process.returncode:
        how = f"ended with exit status {process.returncode}"
        if process.returncode < 0:
            how = f"was killed by signal {-process.returncode}"
            how += ", probably for memory" if process.returncode == -signal.SIGKILL else ""
        raise FailedError(f"{how}: {complaint}" if complaint else how)
    return Measurement(wall, _cpu_of_children() - cpu, max(sizes, default=math.nan))


def _adopt_orphans(yes: bool) -> None:
    """Become the parent of every descendant that loses its own, on Linux: see prctl(2)."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, int(yes))


def _cpu_of_children() -> float:
    """CPU seconds of all descendants that have been waited for."""
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def _watch(session: int, ended: threading.Event, sizes: list[int]) -> None:
    """Look at the memory of a session, and append what it takes, until it has ended."""
    pause = rested = most = 0.0
    while not ended.wait(pause):
        begin = time.thread_time()  # Not the time in which others had the CPU.
        processes = _processes(session)
        resident = sum(_number(process, "statm", " ") for process in processes)
        pause = max(_INTERVAL, _LEISURE * (time.thread_time() - begin))
        begin = time.perf_counter()
        if resident > _GROWTH * most and begin > rested:
            most = resident
            shares = [_number(process, "smaps_rollup", "Pss:") for process in processes]
            sizes.append(1024 * sum(shares))
            end = time.perf_counter()
            rested = end + _PSS_LEISURE * (end - begin)


def _processes(session: int) -> list[int]:
    found = []
    for name in filter(str.isdigit, os.listdir("/proc")):
        with suppress(ProcessLookupError):  # It has ended meanwhile.
            if os.getsid(int(name)) == session:
                found.append(int(name))
    return found


def _number(process: int, file: str, before: str) -> int:
    """The first number after a text that the system tells of a process; 0 when it has ended."""
    with suppress(OSError, IndexError):
        text = Path(f"/proc/{process}/{file}").read_text()
        return int(text.partition(before)[2].split()[0])
    return 0
