"""joblib's Dask backend, with the ends that joblib would wait for in vain."""

import threading
import warnings
from collections.abc import Callable, Generator, Iterator
from concurrent.futures import CancelledError, Future
from contextlib import contextmanager, suppress
from typing import Any

from joblib._dask import DaskDistributedBackend

_WATCH_SECONDS = 2


class NoWorkerLeftError(Exception):
    """For some time there has been nobody to perform the tasks."""


@contextmanager
def closed(results: Generator[Any, None, None]) -> Iterator[Iterator[Any]]:
    """Close the results of a call in the end, without a word of the tasks that are cancelled."""
    try:
        yield results
    finally:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            results.close()


class ClusterBackend(DaskDistributedBackend):  # type: ignore[misc]
    """Sends tasks to a cluster, and hears of those that will never return.

    Parameters
    ----------
    client
        Of ``distributed``.
    alone_seconds
        How long the cluster may be without any worker.
    """

    def __init__(self, client: Any, alone_seconds: float) -> None:
        super().__init__(client=client)
        self._alone_seconds = alone_seconds
        self._waiting: dict[Future[Any], Callable[[object], None]] = {}
        self._ended = threading.Event()

    def effective_n_jobs(self, n_jobs: int) -> int:
        """Count the threads of the workers."""
        # For a single one joblib would perform the tasks in this process.
        return max(2, int(super().effective_n_jobs(n_jobs)))

    def submit(self, func: Callable[[], Any], callback: Callable[[object], None]) -> Future[Any]:
        """Send a task."""
        future: Future[Any] = super().submit(func, callback)
        self._waiting[future] = callback
        future.add_done_callback(self._done)
        return future

    def _done(self, future: Future[Any]) -> None:
        callback = self._waiting.pop(future)
        # joblib's backend calls back when a task returned or raised, not when Dask gave it up.
        if error := future.exception():
            callback(error)

    def start_call(self) -> None:
        """Begin to send."""
        super().start_call()
        threading.Thread(target=self._watch, daemon=True).start()

    def stop_call(self) -> None:
        """Send no more."""
        self._ended.set()
        super().stop_call()

    def _watch(self) -> None:
        alone = 0
        while not self._ended.wait(_WATCH_SECONDS):
            with suppress(OSError):
                alone = 0 if self.client.ncores() else alone + _WATCH_SECONDS
            if self.client.status != "running":
                self._give_up(CancelledError())
            elif alone >= self._alone_seconds:
                self._give_up(NoWorkerLeftError())

    def _give_up(self, error: Exception) -> None:
        for callback in list(self._waiting.values()):
            callback(error)
