"""Worker processes: joblib's, one BLAS thread each, and none that outlives its run."""

import gc
import math
import os
import shutil
import signal
import tempfile
import threading
import time
import warnings
from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import contextmanager, suppress
from importlib.util import find_spec
from multiprocessing import parent_process, resource_tracker
from pathlib import Path
from typing import Any, TypeVar

import joblib
from joblib.externals.loky import get_reusable_executor, process_executor
from joblib.externals.loky.backend.context import get_start_method, set_start_method
from joblib.externals.loky.process_executor import TerminatedWorkerError

__all__ = [
    "TerminatedWorkerError",
    "batches",
    "cpus",
    "fork_workers",
    "no_worker_left",
    "perform_all",
    "sweep_after",
    "worth",
]

_START_SECONDS = 0.5
"""What it costs to start a worker process that imports numpy and zarr."""
_SMALL_SECONDS = 0.5
"""CPU seconds below which the tasks of a decade may be one worker's alone."""
_WATCH_SECONDS = 0.25
_STOPS = (signal.SIGINT, signal.SIGTERM)
_starts = 0
_Task = TypeVar("_Task")
_Result = TypeVar("_Result")


def cpus() -> int:
    """Number of CPUs this process may use."""
    return int(joblib.cpu_count())


def fork_workers() -> None:
    """Fork workers from the server of `multiprocessing.forkserver`, from now on.

    What the server has imported they need not import, as a process that loky starts has to. For
    programs whose main module may be imported again, as `multiprocessing` does in each worker.
    """
    set_start_method("forkserver", force=True)


def worth(workers: int, seconds: float) -> int:
    """Number of workers that repay their start on a job of so many CPU seconds."""
    if seconds < 2 * _START_SECONDS:
        return 1
    return max(1, min(workers, math.ceil(seconds / _START_SECONDS)))


def batches(
    plans: Iterable[list[_Task]], cost: Callable[[_Task], float], workers: int
) -> list[list[_Task]]:
    """Put the tasks of decades in order, those together that one worker does in turn.

    Parameters
    ----------
    plans
        The tasks of each decade, in their order.
    cost
        CPU seconds of a task.
    workers
        How many there are.
    """
    # Whole decades one after another, the largest first: a worker keeps the vectors of the decade
    # it is at, and the small ones fill the gaps at the end.
    ordered = sorted(((sum(map(cost, tasks)), tasks) for tasks in plans), key=lambda plan: -plan[0])
    left = sum(seconds for seconds, _ in ordered)
    found = []
    for seconds, tasks in ordered:
        left -= seconds
        # Every worker that has a task of a decade opens it, and a small decade is soon done: so one
        # worker does all of it, as long as there is enough for the others to do meanwhile.
        if workers > 1 and tasks and seconds < min(_SMALL_SECONDS, left / (workers - 1)):
            found.append(tasks)
        else:
            found += [[task] for task in tasks]
    return found


def perform_all(
    perform: Callable[[_Task], _Result], tasks: Iterable[_Task], workers: int
) -> Iterator[_Result]:
    """Perform tasks, begun in their order, and yield each result as it comes.

    Parameters
    ----------
    perform
        What to do with a task, in another process or in this one.
    tasks
        Taken one by one as workers get free.
    workers
        Number of processes; 1 performs the tasks in this process.

    Yields
    ------
    object
        What `perform` returned, in the order in which the tasks end.

    Raises
    ------
    TerminatedWorkerError
        When a worker was killed; the results that had not been yielded are lost.
    """
    if workers == 1:
        yield from map(perform, tasks)
        return
    global _starts
    _starts += 1
    results: Generator[_Result, None, None] | None = None
    done = False
    try:
        with (
            joblib.parallel_config(
                backend="loky",
                n_jobs=workers,
                # Without it an exported OMP_NUM_THREADS would win in every worker that loky
                # starts; those that are forked have what the server has.
                inner_max_num_threads=1,
                initializer=_begin_worker,
                initargs=(None if get_start_method() == "forkserver" else os.getpid(),),
            ),
            _server_needed(),
            _unheard(),
        ):
            results = joblib.Parallel(
                return_as="generator_unordered", batch_size=1, pre_dispatch="2*n_jobs"
            )(joblib.delayed(perform)(task) for task in tasks)
        assert results is not None
        # Not `yield from`, which would close the results when this one is closed: see below.
        for result in results:  # noqa: UP028
            yield result
        done = True
    finally:
        if not done:
            if results is not None:
                with warnings.catch_warnings():
                    warnings.simplefilter("ignore")  # That tasks are cancelled is what is wanted.
                    results.close()
            stop_workers()


@contextmanager
def _unheard() -> Iterator[None]:
    """Start processes that never hear Ctrl-C or SIGTERM, not even while they import.

    Both may reach the whole process group; the parent alone decides what comes of it, and does so
    when they are started: a process that is only half started is none that could be ended.
    """
    # Beside the workers multiprocessing starts this one, and lets signals through afterwards.
    resource_tracker.ensure_running()
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, ())
    handlers: dict[int, Any] = {}
    heard: list[int] = []
    try:
        # A signal that this thread does not take another one does, but it is handled in this one.
        if threading.current_thread() is threading.main_thread():
            for stop in _STOPS:
                handlers[stop] = signal.getsignal(stop)
                signal.signal(stop, lambda number, _: heard.append(number))
        signal.pthread_sigmask(signal.SIG_BLOCK, _STOPS)
        yield
    finally:
        try:
            for number, handler in handlers.items():
                signal.signal(number, handler)
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, mask)
        if heard:
            signal.raise_signal(heard[0])


@contextmanager
def _server_needed() -> Iterator[None]:
    """Take it for the end of a worker if the server does not fork one: it was killed, too."""
    try:
        yield
    except (ConnectionError, EOFError) as error:
        raise TerminatedWorkerError(str(error)) from error


def stop_workers() -> None:
    """End all workers at once, whatever they are doing."""
    get_reusable_executor(reuse=True).shutdown(wait=True, kill_workers=True)


@contextmanager
def no_worker_left() -> Iterator[None]:
    """End the workers that were started within, however it is left."""
    before = _starts
    try:
        yield
    finally:
        if _starts != before:  # To ask for the executor would make one where there is none.
            stop_workers()


def sweep_after(run: int | None) -> None:
    """Delete what runs that were killed have left in memory and in the folder of temporary files.

    These are semaphores and empty folders, which resource trackers delete unless they were killed,
    too; and the folders of the sockets of fork servers.

    Parameters
    ----------
    run
        Process number of the run that was killed, after which semaphores and folders are named;
        None when none is known. The folder of a server holds the number of its run.
    """
    temporary = Path(tempfile.gettempdir())
    for mark in temporary.glob("pymp-*/similarities-*"):
        number = mark.name.removeprefix("similarities-")
        if number.isdigit() and _is_gone(int(number)):
            shutil.rmtree(mark.parent, ignore_errors=True)
    if run is None or not _is_gone(run):
        return
    for folder in {Path("/dev/shm"), temporary}:
        for stray in folder.glob(f"sem.loky-{run}-*"):
            stray.unlink(missing_ok=True)
        for stray in folder.glob(f"joblib_memmapping_folder_{run}_*"):
            shutil.rmtree(stray, ignore_errors=True)


def _is_gone(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return True
    except (PermissionError, OverflowError):
        pass  # The number is somebody else's now, or never was one of a process.
    return False


def _kill(worker: Any) -> None:
    """Kill a worker; ours have no processes of their own that would have to be killed first."""
    with suppress(ProcessLookupError):
        os.kill(worker.pid, signal.SIGKILL)
    worker.join()


if not (shutil.which("pgrep") or find_spec("psutil")):
    # As in many a small container. loky finds the processes of a worker with one of these and
    # hangs for ever without: at the end of each run, and when a worker was killed.
    process_executor.kill_process_tree = _kill


def _begin_worker(parent: int | None) -> None:
    # loky collects garbage once a second, and went through all that was imported each time: 15 ms.
    gc.freeze()
    threading.Thread(target=_end_with, args=(parent,), daemon=True).start()


def _end_with(parent: int | None) -> None:
    # A parent that was killed cannot end its workers, and they would go on writing into a store
    # that is no longer locked.
    if parent is None:  # The system says it is the server; multiprocessing knows better.
        started_by = parent_process()
        assert started_by is not None
        started_by.join()
    else:
        while os.getppid() == parent:
            time.sleep(_WATCH_SECONDS)
    os._exit(1)
