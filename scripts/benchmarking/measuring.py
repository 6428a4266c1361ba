"""One command measured: wall time, CPU time and peak memory of its whole tree of processes.

CPU time comes from `wait4`: the process, its threads, and every descendant, whether its parent has
waited for it (joblib's workers) or left it to end by itself (multiprocessing's fork server). Memory
is the PSS of the tree, summed at one moment after another; memory that processes share counts once.

To look costs time, which a command that leaves no CPU idle loses and no other: a look at the PSS
every 50 ms made the engine with two workers 3 % slower, and one worker not at all. The kernel walks
the page tables for it, some 14 ms a GB. So the resident sizes are looked at, which the kernel has
at hand, and the PSS where they have grown; and the longer a look took, the longer is the pause
before the next.
"""

import ctypes
import os
import platform
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

import joblib
from threadpoolctl import threadpool_info

_INTERVAL = 0.1
"""Seconds from one look at the resident sizes to the next, at least."""
_GROWTH = 1.02
"""How much they have to grow to be worth a look at the PSS."""
_LEISURE, _PSS_LEISURE = 100, 30
"""Pause after a look, in times of what it took."""
_PR_SET_CHILD_SUBREAPER = 36
_PROC = Path("/proc")
_PAGE = os.sysconf("SC_PAGE_SIZE")
_PACKAGES = ("numpy", "zarr", "joblib", "orjson", "scikit-learn", "scipy")
_STEERING = ("OPENBLAS_", "MKL_", "BLIS_")
"""Environment variables that choose, for instance, the kernels of another kind of CPU."""
_THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "BLIS_NUM_THREADS")


@dataclass(frozen=True)
class Measurement:
    """What it took to run a command once."""

    wall: float
    """Seconds."""
    cpu: float
    """Seconds, user and system."""
    peak: int | None
    """Bytes; None where /proc does not tell."""
    output: str
    """What the command wrote to stdout."""


class FailedError(Exception):
    """A command failed; the text says how, with the end of what it wrote to stderr."""


def measure(command: Sequence[str | Path], log: Path) -> Measurement:
    """Run a command in a process (and session) of its own and measure it.

    Parameters
    ----------
    command
        Program and arguments. It may use all CPUs: limits on threads are not passed on.
    log
        Path for its output, which is deleted afterwards.

    Returns
    -------
    Measurement
        Wall time to the end of the process itself; CPU time to that of all that it left behind.

    Raises
    ------
    FailedError
        When its exit status is not 0.
    """
    environment = {name: value for name, value in os.environ.items() if name not in _THREADS}
    errors = log.with_suffix(".stderr")
    with open(log, "wb") as stdout, open(errors, "wb") as stderr, _orphans_adopted():
        begin = time.perf_counter()
        process = subprocess.Popen(
            [*map(str, command)],
            stdin=subprocess.DEVNULL,
            stdout=stdout,
            stderr=stderr,
            env=environment,
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
    output, complaint = log.read_text(), errors.read_text(errors="replace").strip()
    log.unlink()
    errors.unlink()
    if process.returncode:
        how = f"ended with exit status {process.returncode}"
        if process.returncode < 0:
            how = f"was killed by signal {-process.returncode}"
            how += ", probably for memory" if process.returncode == -signal.SIGKILL else ""
        raise FailedError(f"{how}: {complaint[-2000:]}" if complaint else how)
    return Measurement(wall, cpu, watch.peak, output)


@contextmanager
def _orphans_adopted() -> Iterator[None]:
    """Become the parent of every descendant that loses its own, on Linux: see prctl(2)."""
    if sys.platform != "linux":
        yield
        return
    prctl = ctypes.CDLL(None).prctl
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
        self._root = root
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        if (_PROC / "self" / "smaps_rollup").exists():
            self._thread.start()

    def _watch(self) -> None:
        pause = rested = most = 0.0
        while not self._stopped.wait(pause):
            begin = time.thread_time()  # Not the time in which others had the CPU.
            processes = _tree(self._root)
            resident = sum(map(_rss, processes))
            pause = max(_INTERVAL, _LEISURE * (time.thread_time() - begin))
            begin = time.perf_counter()
            if resident > _GROWTH * most and begin > rested:
                most = resident
                self.peak = max(self.peak or 0, sum(map(_pss, processes)))
                end = time.perf_counter()
                rested = end + _PSS_LEISURE * (end - begin)

    def stop(self) -> None:
        self._stopped.set()
        if self._thread.is_alive():
            self._thread.join()


def _tree(root: int) -> list[int]:
    found = [root]
    for process in found:  # Grows while it is gone through.
        for thread in (_PROC / str(process) / "task").glob("*"):
            try:
                found += map(int, (thread / "children").read_text().split())
            except OSError:
                continue  # It has ended meanwhile.
    return found


def _rss(process: int) -> int:
    """Resident set size of a process in bytes, shared pages and all; 0 when it has ended."""
    try:
        return int((_PROC / str(process) / "statm").read_text().split()[1]) * _PAGE
    except OSError:
        return 0


def _pss(process: int) -> int:
    """Proportional set size of a process in bytes; 0 when it has ended."""
    try:
        lines = (_PROC / str(process) / "smaps_rollup").read_text().splitlines()
    except OSError:
        return 0
    return sum(1024 * int(line.split()[1]) for line in lines if line.startswith("Pss:"))


def machine() -> str:
    """Describe the machine in a few lines: processor, memory, versions, and how busy it is."""
    memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / 2**30
    blas = {
        f"{pool['internal_api']} {pool.get('version') or '?'} ({pool.get('architecture') or '?'})"
        for pool in threadpool_info()
        if pool["user_api"] == "blas"
    }
    steering = [
        f"{name}={value}"
        for name, value in sorted(os.environ.items())
        if name.startswith(_STEERING) and name not in _THREADS
    ]
    load = os.getloadavg()[0]
    return "\n".join(
        (
            f"machine: {_processor()}, {joblib.cpu_count()} CPUs usable, {memory:.0f} GiB of "
            f"memory, {platform.system()}",
            f"with: Python {platform.python_version()}, BLAS {', '.join(sorted(blas)) or '?'}, "
            + ", ".join(f"{package} {version(package) or '(none)'}" for package in _PACKAGES)
            + (f"; set: {', '.join(steering)}" if steering else ""),
            f"others' work before the start: load {load:.2f}"
            + (" (not a quiet machine: expect noise)" if load > 0.5 else ""),
        )
    )


def version(package: str) -> str:
    """Version of an installed package; empty when it is not installed."""
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return ""


def _processor() -> str:
    try:
        lines = (_PROC / "cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()


def kind_of_folder(folder: Path) -> str:
    """Say on what a folder lies, for instance "a RAM disk (tmpfs)" or "a disk (ext4)"."""
    folder, best, kind = folder.resolve(), "", "unknown"
    try:
        mounts = [line.split() for line in (_PROC / "mounts").read_text().splitlines()]
    except OSError:
        mounts = []
    for _, point, file_system, *_ in mounts:
        if folder.is_relative_to(point) and len(point) >= len(best):
            best, kind = point, file_system
    return f"a RAM disk ({kind})" if kind in ("tmpfs", "ramfs") else f"a disk ({kind})"
