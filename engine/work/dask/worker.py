"""What a worker of a Dask cluster is asked: to perform a task, or what it is and what it sees."""

import socket
from collections import Counter
from dataclasses import dataclass
from functools import cache
from importlib.metadata import version
from uuid import uuid4

import numpy as np
from threadpoolctl import threadpool_limits

from engine.errors import ClusterError, StoreError
from engine.store.store import Store
from engine.triangle.blas import machine
from engine.version import __version__
from engine.work.tasks import BlockTask, Result, performer

_at_work: Counter[str] = Counter()
"""Tasks that this process is performing now, by store."""
perform = performer()
"""Keeps the decade it was at last: a worker lives for as long as its cluster."""


@dataclass(frozen=True)
class Environment:
    """What a process computes with."""

    versions: str
    """Of the packages that have to be the same everywhere."""
    machine: str
    """BLAS and CPU kind; another may round the last digit differently."""

    def difference(self, client: "Environment") -> str:
        """Say what makes this worker unfit for a client; empty when it is fit."""
        if self.versions == client.versions:
            return ""
        return (
            f"has {self.versions}, and this machine has {client.versions}; install the same on both"
        )


@cache
def environment() -> Environment:
    """Tell what this process computes with; from then on it has one BLAS thread.

    Where a worker runs several tasks at once, a limit that each sets and takes back would be
    taken back under the feet of the others.
    """
    threadpool_limits(1, user_api="blas")
    versions = f"engine {__version__}, numpy {np.__version__}"
    return Environment(f"{versions}, distributed {version('distributed')}", machine())


@dataclass(frozen=True)
class View:
    """What a worker sees of the run to come."""

    environment: Environment
    problem: str
    """What keeps it from using the store; empty when nothing does."""
    at_work: int
    """Tasks of an earlier run that it is still performing on the store."""


def probe(store: str, marker: str) -> View:
    """Look for the marker that the client left in the store, and try to write there."""
    there = Store(store)
    try:
        if not there.exists():
            problem = "it finds none there"
        elif not there.has_marker(marker):
            problem = "it finds another store there"
        else:
            problem, own = "", f"{marker}-{uuid4().hex}"
            there.write_marker(own)
            there.delete_markers(own)
    except OSError as error:
        problem = error.strerror or str(error)
    except StoreError as error:
        problem = str(error)
    return View(environment(), problem, _at_work[store])


def perform_for(client: Environment, task: BlockTask) -> tuple[Result, Environment]:
    """Perform a task.

    Raises
    ------
    ClusterError
        When this worker, which may have come after the check, is not fit for the client.
    """
    if difference := environment().difference(client):
        raise ClusterError(f"a worker on {socket.gethostname()} {difference}")
    _at_work[task.store] += 1
    try:
        return perform(task), environment()
    finally:
        _at_work[task.store] -= 1
