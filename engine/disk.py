"""How much room a disk has, in the words of a person, and a file that is written whole."""

import os
import shutil
from collections.abc import Iterable
from pathlib import Path


def size(n_bytes: float) -> str:
    """Write a number of bytes for a person, in at most seven characters.

    Examples
    --------
    >>> size(272988)
    '273 kB'
    """
    for unit in ("B", "kB", "MB", "GB"):
        if n_bytes < 999.5:
            digits = 0 if n_bytes >= 99.95 or unit == "B" else 1
            return f"{n_bytes:.{digits}f} {unit}"
        n_bytes /= 1000
    return f"{n_bytes:.1f} TB"


def nearest(path: Path) -> Path:
    """The folder that is there, of a path and those above it."""
    while not path.exists() and path != path.parent:
        path = path.parent
    return path


def short_of_room(needs: Iterable[tuple[Path, int]]) -> str:
    """Say which disk has no room for what is to come; empty when all have.

    Parameters
    ----------
    needs
        A folder, which need not be there yet, and the bytes that will be written into it.
    """
    needed: dict[int, int] = {}
    folders: dict[int, Path] = {}
    for path, n_bytes in needs:
        folder = nearest(path)
        disk = folder.stat().st_dev
        needed[disk] = needed.get(disk, 0) + n_bytes
        folders.setdefault(disk, folder)
    for disk, n_bytes in needed.items():
        if n_bytes > (free := shutil.disk_usage(folders[disk]).free):
            return f"{folders[disk]}: about {size(n_bytes)} are needed and {size(free)} are free"
    return ""


def write_whole(path: Path, content: bytes) -> Path:
    """Write a file, which appears whole or not at all; its folder is made if it is not there."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    try:
        partial.write_bytes(content)
        os.replace(partial, path)
    finally:
        partial.unlink(missing_ok=True)
    return path
