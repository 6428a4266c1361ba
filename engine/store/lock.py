"""One run at a time on one store."""

import hashlib
import os
import re
import socket
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import datetime
from pathlib import Path
from typing import IO

import portalocker

from engine.errors import LockedError
from engine.store.store import Store


def lock_path(store: Store) -> Path:
    """Where the lock of a store lies.

    Beside a store on a disk, whatever links lead there; for a store behind a URL in the folder
    for temporary files, where it keeps apart the runs of this machine alone.
    """
    if store.path is not None:
        real = store.path.resolve()
        return real.with_name(real.name + ".lock")
    key = hashlib.sha256(store.location.encode()).hexdigest()[:16]
    return Path(tempfile.gettempdir()) / f"similarities-{key}.lock"


@contextmanager
def locked(store: Store, what: str = "this store") -> Iterator[int | None]:
    """Hold the store; the operating system gives it back however the process ends.

    Parameters
    ----------
    store
        Need not exist.
    what
        What is held with it, for the sentence that turns another run away.

    Yields
    ------
    int or None
        Number of the process that held it before, if that was killed and ran on this machine.

    Raises
    ------
    LockedError
        At once, when another run holds it; the sentence says which.
    """
    path = lock_path(store)
    path.parent.mkdir(parents=True, exist_ok=True)
    # Opened without truncating: whoever comes second must be able to read who holds it.
    with open(path, "a+", encoding="utf-8", errors="replace") as file:
        if not _acquired(file, portalocker.LOCK_EX):
            raise LockedError(
                f"{store.location}: another run is at work on {what} "
                f"({_told(path) or 'which did not say who it is'}); wait until it ends, or "
                "stop it, then run the command again"
            )
        file.seek(0)
        left = re.match(rf"process (\d+) on {re.escape(socket.gethostname())} ", file.read())
        file.truncate(0)
        with suppress(OSError):  # A full disk keeps nobody from finding that all is done.
            os.write(file.fileno(), _introduction().encode())
        try:
            yield int(left[1]) if left else None
        finally:
            # Emptied, not deleted: another run may have opened it already and would then hold a
            # lock on a file that nobody else can find.
            file.truncate(0)
            portalocker.unlock(file)


def _introduction() -> str:
    now = datetime.now().astimezone()
    return f"process {os.getpid()} on {socket.gethostname()} since {now:%Y-%m-%d %H:%M:%S}"


def holder(store: Store) -> str | None:
    """Who is at work on the store; None when nobody is."""
    path = lock_path(store)
    try:
        with open(path, encoding="utf-8") as file:
            if _acquired(file, portalocker.LOCK_SH, seconds=0):
                return None  # What stands there is left over from a run that was killed.
    except OSError:
        return None
    return _told(path) or "a run that did not say who it is"


def _acquired(file: IO[str], mode: portalocker.LockFlags, seconds: float = 0.3) -> bool:
    # Somebody who only asks who holds it does so for a moment; hence more than one try.
    end = time.monotonic() + seconds
    while True:
        try:
            portalocker.lock(file, mode | portalocker.LOCK_NB)
        except portalocker.LockException:
            if time.monotonic() > end:
                return False
            time.sleep(0.05)
        else:
            return True


def _told(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace").strip()
    except OSError:
        return ""
