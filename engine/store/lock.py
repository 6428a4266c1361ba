"""One run at a time on one store, and on one output.

A lock is a file that a run holds with ``flock``, so the operating system gives it back however
the run ends. The file lies beside what it stands for, wherever links lead, and is deleted by the
run that held it; one that a killed run left is deleted by the next. Nothing is ever written to a
file that was there before: it may be somebody else's.
"""

import errno
import fcntl
import hashlib
import os
import socket
import stat
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import datetime
from io import FileIO
from pathlib import Path

from engine.errors import EngineError, LockedError, shown
from engine.store.store import Store

_NO_LOCKS = (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP)
PATIENCE = 0.3
"""Seconds to try: somebody who only asks who holds a lock holds it for a moment."""


def lock_path(held: Store | Path) -> Path:
    """Where the lock of a store, or of the output at a path, lies.

    For a store behind a URL that is a folder of the user's own: there it keeps apart the runs of
    this user on this machine alone.
    """
    if isinstance(held, Path):
        return held.with_name(f".{held.name}.lock")  # Links on the way lead two runs to one file.
    if held.path is not None:
        real = Path(os.path.realpath(held.path))
        return real.with_name(real.name + ".lock")
    key = hashlib.sha256(held.location.encode()).hexdigest()[:16]
    return Path(tempfile.gettempdir(), f"similarities-{os.geteuid()}", f"{key}.lock")


@contextmanager
def locked(held: Store | Path) -> Iterator[str | None]:
    """Hold a store, or the output at a path; neither need exist.

    Yields
    ------
    str or None
        A sentence for the user, where the file system has no locks: nothing is held then.

    Raises
    ------
    LockedError
        At once, when another run holds it; the sentence says which.
    EngineError
        When something else lies where the lock belongs.
    """
    path = lock_path(held)
    if _is_remote(held):
        with suppress(FileExistsError):
            path.parent.mkdir(0o700)
        _check_own(path.parent)
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        file = _taken(path, str(getattr(held, "location", held)))
    except OSError as error:
        if error.errno not in _NO_LOCKS:
            raise
        yield (
            f"{path.parent}: this file system has no locks ({error.strerror}): nothing keeps two "
            "runs apart here, so start no other before this one ends"
        )
        return
    with file:
        try:
            yield None
        finally:
            with suppress(OSError):  # What cannot be deleted stays as a file that nobody holds.
                if _lies_at(path, file):
                    path.unlink()
            # Said to the system, as a process that was forked meanwhile has the file open, too.
            fcntl.flock(file, fcntl.LOCK_UN)


def _taken(path: Path, location: str) -> FileIO:
    """Open the file of a lock and hold it.

    Whoever has opened it may find, when it comes to hold it, that the one before has deleted it.
    So it counts only if it still lies there, and nobody but who holds it may delete it.
    """
    end = time.monotonic() + PATIENCE
    while True:
        try:
            file, new = _made(path), True
        except FileExistsError:
            try:
                file, new = _opened(path), False
            except FileNotFoundError:
                continue
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if _lies_at(path, file) and (new or not _deleted(path)):
                if new:
                    _introduce(file)
                return file
            file.close()
        except BlockingIOError:
            with file:
                if time.monotonic() > end:
                    raise LockedError(
                        f"{location}: another run is at work on it ({_introduced_as(file)}); wait "
                        "until it ends, or stop it, then run the command again"
                    ) from None
            time.sleep(0.05)
        except OSError:
            file.close()
            if new:
                path.unlink()
            raise


def _made(path: Path) -> FileIO:
    file = FileIO(path, "x+")
    # Whatever the umask: whoever may write this folder must be able to hold what a killed run
    # leaves in it; on NFS that takes a file that is open for writing.
    os.fchmod(file.fileno(), 0o666)
    return file


def _opened(path: Path, *, to_ask: bool = False) -> FileIO:
    """Open the file of a lock that is there already, whoever made it."""
    try:
        try:
            file = FileIO(path, "r" if to_ask else "r+", opener=_no_link)
        except PermissionError:
            file = FileIO(path, opener=_no_link)
    except PermissionError as error:
        raise EngineError(
            f"{path}: the lock cannot be opened ({error.strerror}), so who is at work is not "
            "known; if nobody is, delete it"
        ) from None
    except OSError as error:
        if error.errno in (errno.ELOOP, errno.EISDIR, errno.ENXIO):  # A link, a folder, a socket.
            raise _of_something_else(path) from None
        raise
    if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
        file.close()
        raise _of_something_else(path)
    return file


def _no_link(path: str, flags: int) -> int:
    # A pipe would be waited for.
    return os.open(path, flags | os.O_NOFOLLOW | os.O_NONBLOCK)


def _of_something_else(path: Path) -> EngineError:
    return EngineError(f"{path}: is not the file of a lock, which belongs there; move it away")


def _is_remote(held: Store | Path) -> bool:
    return isinstance(held, Store) and held.path is None


def _check_own(folder: Path) -> None:
    """Refuse a folder in which others could put a link where a lock belongs."""
    found = folder.lstat()
    if (
        not stat.S_ISDIR(found.st_mode)
        or found.st_uid != os.geteuid()
        or found.st_mode & (stat.S_IWGRP | stat.S_IWOTH)
    ):
        raise EngineError(
            f"{folder}: is not a folder that you alone may write, where locks are safe; move it "
            "away, or set TMPDIR to a folder of your own"
        )


def _lies_at(path: Path, file: FileIO) -> bool:
    try:
        return os.path.samestat(path.lstat(), os.fstat(file.fileno()))
    except FileNotFoundError:
        return False


def _deleted(path: Path) -> bool:
    try:
        path.unlink(missing_ok=True)
    except PermissionError:
        return False  # In a folder like /tmp. It is held as it is, with what stands in it.
    return True


def _introduce(file: FileIO) -> None:
    now = datetime.now().astimezone()
    who = f"process {os.getpid()} on {socket.gethostname()} since {now:%Y-%m-%d %H:%M:%S}"
    with suppress(OSError):  # Even with a full disk a run can find that all is done.
        file.write(who.encode())


def _introduced_as(file: FileIO) -> str:
    content = os.pread(file.fileno(), 300, 0).decode(errors="replace").strip()
    return shown(content, 150) or "a run that did not say who it is"


def holder(held: Store | Path) -> str | None:
    """Who is at work on a store, or on the output at a path; None when nobody is known to be."""
    path = lock_path(held)
    try:
        if _is_remote(held):
            _check_own(path.parent)
        file = _opened(path, to_ask=True)
    except (FileNotFoundError, NotADirectoryError):
        return None
    with file:
        try:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return _introduced_as(file)
        except OSError as error:
            if error.errno not in _NO_LOCKS:
                raise
    return None  # What stands there is left over from a run that was killed.
