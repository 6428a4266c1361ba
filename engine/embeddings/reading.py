"""Embeddings files in, as they stood at one moment.

What a file holds is for `engine.embeddings.parsing` to say; here it is opened, watched for changes
while it is read, and fingerprinted.
"""

import hashlib
import os
import stat
import time
from io import BufferedReader
from pathlib import Path

from engine.embeddings.parsing import Embeddings, parse_embeddings, sentence
from engine.embeddings.shapes import HEAD, other_shape
from engine.errors import InputError

_ATTEMPTS = 4  # to read a file that changes meanwhile
CLOCK_TICK = 0.02
"""Seconds: files are stamped by a clock that moves every 4 to 10 ms."""


def read_embeddings(path: Path) -> Embeddings:
    """Read an embeddings file as it stood at one moment.

    A file that changes meanwhile is read again and at last refused, so that what comes back is
    never half old and half new. Identity, size and time stamps tell. A file written within the
    last tick of the clock that stamps files is given another tick to settle: by its stamp a
    second write could not be told from the first.

    Raises
    ------
    InputError
        If the file cannot be read, keeps changing, is not JSON in UTF-8, is not an object of
        equally long lists of finite numbers, or holds keys that cannot be ids.
    """
    for _ in range(_ATTEMPTS):
        outcome: Embeddings | InputError
        try:
            with _open(path) as file:
                before = os.fstat(file.fileno())
                if 0 <= time.time() - before.st_ctime <= CLOCK_TICK:
                    time.sleep(CLOCK_TICK)
                    continue
                try:
                    outcome = parse_embeddings(file, str(path))
                except InputError as error:
                    file.seek(0)
                    other = other_shape(str(path), file.read(HEAD))
                    outcome = InputError(other) if other else error
                after, there = os.fstat(file.fileno()), os.stat(path)
        except OSError as error:
            raise _unreadable(path, error) from error
        if _state(before) == _state(after) == _state(there):
            if isinstance(outcome, InputError):
                raise outcome
            return outcome
    found, remedy = "a file that changes while it is read", "run again once it is written"
    raise InputError(sentence(str(path), "", found, "a file at rest", remedy))


def fingerprint(path: Path) -> str:
    """SHA-256 of a file's content, as a hex digest.

    Raises
    ------
    InputError
        If the file cannot be read.
    """
    try:
        with _open(path) as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise _unreadable(path, error) from error


def estimate(path: Path) -> tuple[int, int]:
    """Estimate how many films a file holds, and how many numbers of each, by its beginning.

    Returns
    -------
    tuple of int
        Films and numbers; both 0 where nothing can be told.
    """
    try:
        with _open(path) as file:
            size, head = os.fstat(file.fileno()).st_size, file.read(HEAD)
    except OSError:
        return 0, 0
    if not (n := head.count(b"]")):
        return 0, 0
    n_films = n if len(head) == size else round(n * size / (head.rfind(b"]") + 1))
    return n_films, head[: head.find(b"]")].count(b",") + 1


def is_there(path: Path) -> bool:
    """Whether there is an input, of whatever kind.

    Raises
    ------
    InputError
        If that cannot be known, for want of permissions for instance.
    """
    try:
        os.stat(path)
    except (FileNotFoundError, NotADirectoryError):
        return False
    except OSError as error:
        raise _unreadable(path, error) from error
    return True


def _open(path: Path) -> BufferedReader:
    """Open a regular file; a pipe would wait for its writer, a device may have no end."""
    mode = os.stat(path).st_mode
    if not stat.S_ISREG(mode):
        raise OSError(0, "a folder" if stat.S_ISDIR(mode) else "no regular file")
    return open(path, "rb")


def _state(file: os.stat_result) -> tuple[int, ...]:
    return file.st_dev, file.st_ino, file.st_size, file.st_mtime_ns, file.st_ctime_ns


def _unreadable(path: Path, error: OSError) -> InputError:
    found = (error.strerror or str(error)).lower()
    remedy = "check the path and its permissions"
    return InputError(sentence(str(path), "", found, "a file that can be read", remedy))
