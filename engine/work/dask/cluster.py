"""Row-blocks on a Dask cluster: look at every machine before anything starts, then perform.

Tasks are names and numbers; workers read vectors from the store and write chunks into it, and a
few tasks are under way for each thread. A worker that dies costs its tasks a second start on
another: that is what Dask does. What Dask cannot know is checked here: that every worker sees the
very store that the client sees, and would compute what the client would.
"""

import time
from collections.abc import Iterable, Iterator
from concurrent.futures import CancelledError
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from itertools import islice
from typing import Any
from uuid import uuid4

from distributed import as_completed

from engine.errors import ClusterError
from engine.progress import Progress
from engine.store.store import Store
from engine.version import __version__
from engine.work.dask.connection import NoWorkerError, answer, cluster_errors, connection
from engine.work.dask.worker import Environment, environment, perform_for, probe
from engine.work.tasks import BlockTask, Result

_WORKER_SECONDS = 5.0
"""How long the first worker may take to appear, unless the run says otherwise."""
_BUSY_SECONDS = 60
"""How long the last tasks of an earlier run may take to end."""
ALONE_SECONDS = 60.0
"""How long the cluster may be without any worker while there are tasks."""
_POLL_SECONDS = 0.2
_WAIT_SECONDS = 0.01
_WATCH_SECONDS = 2
_TASKS_PER_THREAD = 4
"""Under way; some row-blocks take less time than sending one."""
_MARKER = "seen"


@contextmanager
def connected(
    address: str, store: Store, progress: Progress, wait_for_workers: float | None = None
) -> Iterator["Cluster"]:
    """Connect to a cluster, and see to it that all of it is fit for a run on a store.

    Parameters
    ----------
    address
        Of the scheduler, for instance ``"tcp://scheduler:8786"``.
    store
        The store, made already; every worker must see it.
    progress
        Is told of workers of another CPU kind.
    wait_for_workers
        Seconds that the first worker may take to appear; 5 by default. Later the cluster may be
        without any for as long, and for a minute at least.

    Raises
    ------
    ClusterError
        When there is no scheduler or no worker, or one of them is not fit.
    """
    seconds = _WORKER_SECONDS if wait_for_workers is None else wait_for_workers
    with connection(address) as client:
        cluster = Cluster(address, client, progress, max(seconds, ALONE_SECONDS))
        with cluster_errors(address):
            cluster.check_scheduler()
            cluster.wait_for_worker(seconds)
            cluster.check(store)
        yield cluster


@dataclass
class Cluster:
    """A Dask cluster whose workers see the store and compute what this machine would."""

    address: str
    """Of the scheduler."""
    client: Any
    progress: Progress
    alone_seconds: float
    """How long it may be without any worker while there are tasks."""
    _mentioned: set[str] = field(default_factory=lambda: {environment().machine})

    def perform_all(self, tasks: Iterable[BlockTask]) -> Iterator[Result]:
        """Perform tasks on the cluster, and yield each result as it comes.

        Parameters
        ----------
        tasks
            Without output: a worker need not see the data folder.

        Yields
        ------
        Result
            In the order in which the tasks end.

        Raises
        ------
        ClusterError
            When the scheduler or all workers are gone, or a task killed one worker after another.
        """
        waiting = iter(tasks)
        completed = as_completed(loop=self.client.loop, with_results=True)
        with cluster_errors(self.address):
            while True:
                room = _TASKS_PER_THREAD * self._n_threads() - completed.count()
                for task in islice(waiting, max(1, room)):
                    completed.add(self.client.submit(perform_for, environment(), task, pure=False))
                if not completed.count():
                    return
                self._wait(completed)
                _, found = next(completed)
                if isinstance(found, CancelledError):
                    raise found
                result, there = found
                self._mention(there)
                yield result

    def _n_threads(self) -> int:
        return sum(answer(self.client, self.client.ncores).values())

    def _wait(self, completed: Any) -> None:
        """Wait until a task is completed, as long as there is somebody to complete it."""
        seen = checked = time.monotonic()
        while not completed.has_ready():
            time.sleep(_WAIT_SECONDS)
            now = time.monotonic()
            if now - checked < _WATCH_SECONDS:
                continue
            checked = now
            if self.client.status != "running":  # It would try to come back for long.
                raise CancelledError
            if self._n_threads():
                seen = now
            elif now - seen > self.alone_seconds:
                raise NoWorkerError(f"{self.alone_seconds:g}")

    def check(self, store: Store) -> None:
        """See to it that every worker is fit for a run on a store.

        Raises
        ------
        ClusterError
            When one is not, or is at work on the store for an earlier run and does not end.
        """
        marker = f"{_MARKER}-{uuid4().hex}"
        end = time.monotonic() + _BUSY_SECONDS
        store.write_marker(marker)
        try:
            while busy := self._probe(store.location, marker):
                if time.monotonic() > end:
                    raise ClusterError(
                        f"{busy}: the worker is still at work on {store.location} for an earlier "
                        "run; wait until it ends, or start that worker again"
                    )
                time.sleep(_POLL_SECONDS)
        finally:
            store.delete_markers(_MARKER)

    def wait_for_worker(self, seconds: float) -> None:
        """Wait until there is a worker."""
        try:
            # A time-out of 0 would be none.
            wait = partial(self.client.wait_for_workers, 1, timeout=seconds or _WAIT_SECONDS)
            answer(self.client, wait)
        except TimeoutError:
            raise NoWorkerError(f"{seconds:g}") from None

    def check_scheduler(self) -> None:
        """See to it that the scheduler is fit for a run."""
        # It takes tasks apart, for which it needs the classes they are made of.
        try:
            there = answer(self.client, partial(self.client.run_on_scheduler, environment))
            difference = there.difference(environment())
        except (CancelledError, OSError):
            raise
        except Exception as error:  # What an old or missing engine raises there is not known here.
            difference = f"cannot run the engine ({error}); install {__version__} there"
        if difference:
            raise ClusterError(f"{self.address}: the scheduler {difference}")

    def _probe(self, store: str, marker: str) -> str:
        """Probe the store from every worker; return the address of one that is busy, if any."""
        busy, unfit = "", []
        ask = partial(self.client.run, probe, store, marker, on_error="return")
        for worker, view in answer(self.client, ask).items():
            if isinstance(view, Exception):  # The engine is not there, or too old to be asked.
                unfit.append(f"cannot run the engine ({view}); install {__version__} there")
            elif view.problem:
                unfit.append(
                    f"cannot use the store {store} ({view.problem}); every machine must be able "
                    "to read and write it under this very path or URL"
                )
            elif difference := view.environment.difference(environment()):
                unfit.append(difference)
            else:
                self._mention(view.environment)
                busy = worker if view.at_work else busy
                continue
            unfit[-1] = f"{worker}: the worker {unfit[-1]}"
        if unfit:
            others = len(unfit) - 1
            raise ClusterError(unfit[0] + (f" (and {others} more are unfit)" if others else ""))
        return busy

    def _mention(self, there: Environment) -> None:
        """Say that a worker is of another CPU kind than this machine, once for each kind."""
        if there.machine not in self._mentioned:
            self._mentioned.add(there.machine)
            self.progress.message(
                f"{self.address}: a worker computes with {there.machine} and this machine with "
                f"{environment().machine}, which may round the last digit of a similarity "
                "differently; to have one kind, set OPENBLAS_CORETYPE to the oldest of them on "
                "every machine"
            )
