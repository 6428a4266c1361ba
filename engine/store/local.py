"""A store in a folder: one file a value, as zarr's own local store has them.

What this does and zarr's does not: it waits for no pipe that lies where a file belongs, it makes
way for what it writes, and it can see a value reach the disk before it counts.
"""

import errno
import os
import re
import shutil
import stat
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any
from uuid import uuid4

_TEMPORARY = re.compile(r"(?:zarr|\d+)\.[0-9a-f]{32}\.partial")
_GROUP_DEPTH = 2
"""Folders from the root of the store to the group of a decade."""


class LocalValues:
    """The files of a folder, which need not exist; see `engine.store.values.Values`."""

    def __init__(self, location: str) -> None:
        # A link to a folder that is not there yet leads to where it is to be made.
        self._root = os.path.realpath(location)

    def _path(self, key: str) -> str:
        return os.path.join(self._root, key)

    def get(self, key: str) -> bytes | None:
        """Read a value; None when there is none, empty when it is no regular file."""
        path = self._path(key)
        try:
            if not stat.S_ISREG(os.stat(path).st_mode):
                return b""
            with open(path, "rb", buffering=0) as file:
                return file.readall()
        except (FileNotFoundError, NotADirectoryError):
            return None

    def get_many(self, keys: Iterable[str]) -> list[bytes | None]:
        """Read values; None for each that is not there."""
        return [self.get(key) for key in keys]

    def size(self, key: str) -> int | None:
        """Bytes of a value, 0 when there is none."""
        try:
            return os.stat(self._path(key)).st_size
        except (FileNotFoundError, NotADirectoryError):
            return 0

    def set_many(self, values: Mapping[str, Any]) -> None:
        """Write values, bytes or arrays of bytes, each in one step."""
        for key, value in values.items():
            self._write(key, value, durably=False)

    def set_durably(self, key: str, value: bytes) -> None:
        """Write a value in one step, and only when it has reached the disk."""
        self._write(key, value, durably=True)

    def _write(self, key: str, value: Any, *, durably: bool) -> None:
        path = self._path(key)
        # Named as zarr names its own, by which `is_temporary` knows them all.
        temporary = f"{os.path.splitext(path)[0]}.{uuid4().hex}.partial"
        try:
            file = open(temporary, "xb", buffering=0)  # noqa: SIM115
        except (FileNotFoundError, NotADirectoryError):
            self._make_folder(key)
            file = open(temporary, "xb", buffering=0)  # noqa: SIM115
        try:
            with file:
                view = memoryview(value)
                while view:
                    view = view[file.write(view) :]
                if durably:
                    os.fsync(file.fileno())
            try:
                os.replace(temporary, path)
            except IsADirectoryError:
                os.rmdir(path)  # Only an empty one goes.
                os.replace(temporary, path)
        except BaseException:  # Ctrl-C, too, leaves no temporary file, and goes on its way.
            os.unlink(temporary)
            raise
        if durably:
            sync_folder(os.path.dirname(path))

    def _make_folder(self, key: str) -> None:
        """Make the folder of a value; what is no folder within a decade's group makes way."""
        parts = key.split("/")[:-1]
        for depth in range(_GROUP_DEPTH, len(parts) + 1):
            path = self._path("/".join(parts[:depth]))
            if os.path.lexists(path) and not os.path.isdir(path):
                os.unlink(path)
        os.makedirs(self._path("/".join(parts)), exist_ok=True)

    def delete(self, key: str) -> None:
        """Delete a value, if it is there."""
        try:
            os.unlink(self._path(key))
        except (FileNotFoundError, NotADirectoryError):
            pass
        except (IsADirectoryError, PermissionError):  # What unlink raises of a folder differs.
            if not os.path.isdir(self._path(key)):
                raise
            shutil.rmtree(self._path(key))

    def delete_dir(self, prefix: str) -> None:
        """Delete all values below a path."""
        try:
            shutil.rmtree(self._path(prefix))
        except FileNotFoundError:
            pass
        except NotADirectoryError:
            os.unlink(self._path(prefix))

    def list_dir(self, prefix: str, *, hidden: bool = False) -> list[str]:
        """List what stands directly below a path; hidden names (``.…``) only if asked for."""
        try:
            names = os.listdir(self._path(prefix))
        except (FileNotFoundError, NotADirectoryError):
            return []
        return sorted(name for name in names if hidden or not name.startswith("."))


def is_temporary(name: str) -> bool:
    """Whether a file is one that is renamed when it is whole, ours or zarr's."""
    return _TEMPORARY.fullmatch(name) is not None


def sweep(folder: Path) -> None:
    """Delete the temporary files that killed writes have left in a folder."""
    if folder.is_dir():
        for path in folder.iterdir():
            if is_temporary(path.name) and stat.S_ISREG(path.lstat().st_mode):
                path.unlink(missing_ok=True)


def sync_folder(folder: str | os.PathLike[str]) -> None:
    """Have the names in a folder reach the disk, as far as its file system can."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno != errno.EINVAL:  # Not every file system syncs folders.
            raise
    finally:
        os.close(descriptor)
