"""One run at a time on one store."""

import hashlib
import os
import socket
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path

import portalocker

from engine.errors import LockedError
from engine.store import Store


def lock_path(store: Store) -> Path:
    """Where the lock of a store lies.

    Beside a store on a disk; for a store behind a URL in the folder for temporary files, where
    it keeps apart the runs of this machine alone.
    """
    if store.path is not None:
        return store.path.with_name(store.path.name + ".lock")
    key = hashlib.sha256(store.location.encode()).hexdigest()[:16]
    return Path(tempfile.gettempdir()) / f"similarities-{key}.lock"


@contextmanager
def locked(store: Store) -> Iterator[None]:
    """Hold the store; the operating system gives it back however the process ends.

    Raises
    ------
    LockedError
        At once, when another run holds it; the sentence says which.
    """
    path = lock_path(store)
    path.parent.mkdir(parents=True, exist_ok=True)
    # Opened without truncating: whoever comes second must be able to read who holds it.
    with open(path, "a+", encoding="utf-8") as file:
        try:
            portalocker.lock(file, portalocker.LOCK_EX | portalocker.LOCK_NB)
        except (portalocker.LockException, portalocker.AlreadyLocked):
            raise LockedError(
                f"{store.location}: another run is at work on this store "
                f"({holder(store) or 'which did not say who it is'}); wait until it ends, or "
                "stop it, then run the command again"
            ) from None
        file.seek(0)
        file.truncate()
        file.write(
            f"process {os.getpid()} on {socket.gethostname()} since "
            f"{datetime.now().astimezone():%Y-%m-%d %H:%M:%S}"
        )
        file.flush()
        try:
            yield
        finally:
            # Emptied, not deleted: another run may have opened it already and would then hold a
            # lock on a file that nobody else can find.
            file.truncate(0)
            portalocker.unlock(file)


def holder(store: Store) -> str:
    """Who wrote the lock file last; empty when nobody holds the store or it is not known."""
    try:
        return lock_path(store).read_text(encoding="utf-8").strip()
    except OSError:
        return ""
