"""The connection to the scheduler of a Dask cluster, and a sentence for each way to lose it."""

import asyncio
import logging
import threading
import warnings
from collections.abc import Callable, Iterator
from concurrent.futures import CancelledError, Future
from contextlib import contextmanager
from typing import Any, TypeVar

from distributed import Client, KilledWorker, Security
from distributed.core import connect

from engine.errors import ClusterError

CONNECT_SECONDS = 5
"""How long the scheduler may take to answer."""
_CLOSE_SECONDS = 2
_STATUS_SECONDS = 0.5
"""How often to look whether there still is a scheduler to answer."""
_LOGGERS = ("distributed", "distributed.client", "tornado.application")


_Answer = TypeVar("_Answer")


class NoWorkerError(Exception):
    """For so many seconds there has been nobody to perform the tasks."""


@contextmanager
def connection(address: str) -> Iterator[Any]:
    """Connect to a scheduler.

    Parameters
    ----------
    address
        For instance ``"tcp://scheduler:8786"``.

    Yields
    ------
    distributed.Client

    Raises
    ------
    ClusterError
        When no scheduler answers there.
    """
    with _silence():
        try:
            # A client that finds no scheduler takes long to end, and complains.
            asyncio.run(_try_to_connect(address))
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # Versions that differ are an error by and by.
                client = Client(address, timeout=CONNECT_SECONDS, set_as_default=False)
        except Exception as error:  # Whatever answers there may answer anything.
            raise ClusterError(
                f"{address}: no Dask scheduler was reached within {CONNECT_SECONDS} s; check "
                "that it runs (dask scheduler) and its address (tcp://HOST:8786)"
            ) from error
        try:
            yield client
        finally:
            client.close(timeout=_CLOSE_SECONDS)


def answer(client: Any, question: Callable[[], _Answer]) -> _Answer:
    """Wait for the answer to a question as long as there is a scheduler to give it.

    Of a scheduler that is gone in that very moment, distributed would wait for ever.

    Parameters
    ----------
    client
        A connected `distributed.Client`.
    question
        Calls a method of it that asks the scheduler.

    Raises
    ------
    concurrent.futures.CancelledError
        When the connection is lost.
    """
    found: Future[_Answer] = Future()

    def ask() -> None:
        try:
            found.set_result(question())
        except BaseException as error:  # Whatever it is, it is raised where the question was put.
            found.set_exception(error)

    threading.Thread(target=ask, daemon=True).start()  # One without an answer must not be joined.
    while True:
        try:
            return found.result(_STATUS_SECONDS)
        except TimeoutError:
            if found.done():  # The question's own.
                raise
            if client.status != "running":
                raise CancelledError from None


async def _try_to_connect(address: str) -> None:
    arguments = Security().get_connection_args("client")
    call = connect(address, timeout=CONNECT_SECONDS, **arguments)
    # What is no scheduler may take the call and keep silent.
    comm = await asyncio.wait_for(call, CONNECT_SECONDS)
    await comm.close()


@contextmanager
def _silence() -> Iterator[None]:
    """Keep from stderr what Dask logs of a lost connection; the run says it in one sentence."""
    loggers = [logging.getLogger(name) for name in _LOGGERS]
    levels = [logger.level for logger in loggers]
    try:
        for logger in loggers:
            logger.setLevel(logging.CRITICAL + 1)
        yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)


@contextmanager
def cluster_errors(address: str) -> Iterator[None]:
    """Make a sentence of what Dask raises when a part of the cluster is gone.

    Raises
    ------
    ClusterError
    """
    left = "what was finished is in the store: run the command again"
    try:
        yield
    except KilledWorker as error:
        raise ClusterError(
            f"{error.last_worker.address}: the worker died over a row-block, as "
            f"{error.allowed_failures} before it, perhaps because memory ran out; {left} with "
            "more memory for each worker"
        ) from error
    except NoWorkerError as error:
        raise ClusterError(
            f"{address}: the scheduler has had no worker for {error} s; start some (dask worker "
            f"{address}), or wait longer with --wait-for-workers; {left} then"
        ) from error
    except (CancelledError, OSError) as error:
        raise ClusterError(
            f"{address}: the connection to the scheduler was lost; {left} when it is back, or "
            "without --dask"
        ) from error
