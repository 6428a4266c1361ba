"""What lies in the folder of embeddings: the inputs, and what is none but may have been meant.

A file that is skipped silently looks like one that was read, so what could be an input under
another name, in another place or packed is named, with the name that would be read.
"""

import os
import re
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from engine.data_folder import LONGEST_NAME, DataFolder, DecadeName, can_be_approach, decade_of
from engine.errors import EngineError, shown

_SYSTEM = "lost+found"  # At the root of a file system, where only root may list it.
_YEAR = re.compile(r"(?<![0-9])([0-9]{3,4})(?![0-9])")
_PACKED = (".gz", ".bz2", ".xz", ".zst", ".zip")


@dataclass(frozen=True)
class Unread:
    """A file or folder that is not read and may have been meant to be."""

    path: Path
    hint: str
    """What may help, for instance ``"did you mean plots_2000s.json?"``."""


@dataclass(frozen=True)
class Listing:
    """What the folder of embeddings holds."""

    folder: Path
    names: list[DecadeName]
    """The decades that have an input, by approach and year."""
    unusable: dict[str, str]
    """Folders that hold an input, or may hold one, and cannot be used: each with the reason."""
    unread: list[Unread]

    def unread_of(self, approaches: Sequence[str] | None) -> list[Unread]:
        """What is not read in the folders of these approaches, or anywhere."""
        if approaches is None:
            return self.unread
        folders = {self.folder / approach for approach in approaches}
        return [each for each in self.unread if folders & {each.path, each.path.parent}]


def not_read(unread: Sequence[Unread]) -> str:
    """Name the first of what is not read, and how many more there are; "" where there is none."""
    if not unread:
        return ""
    first, others = unread[0], len(unread) - 1
    more = f" and {others} other{'s' if others > 1 else ''}" if others else ""
    return f"not read: {shown(str(first.path), 300)} ({first.hint}){more}"


def check_root(folder: DataFolder) -> None:
    """See that the root of the data is not a file, nor a part of what belongs below the root.

    Raises
    ------
    EngineError
        When it is; the sentence names the folder that may have been meant.
    """
    root = folder.root
    parts = {path.name for path in (folder.embeddings, folder.similarities, folder.default_store)}
    absolute = Path(os.path.abspath(root))  # Of "." and ".." the names.
    # No deeper than DATA/embeddings/APPROACH/FILE.
    above = next((p.parent for p in (absolute, *absolute.parents[:2]) if p.name in parts), None)
    meant = ""
    if above is not None and _holds_inputs(above):
        typed = str(above if root.is_absolute() else os.path.relpath(above))
        meant = f"; did you mean --data {shown(typed, 300)}?"
    if root.is_file():
        raise EngineError(
            f"{shown(str(root), 300)}: is a file where the root of the data was expected, the "
            f"folder that holds {folder.embeddings.name}/{meant}"
        )
    if meant and not folder.embeddings.is_dir():
        raise EngineError(
            f"{shown(str(root), 300)}: is a part of the data and not its root, the folder that "
            f"holds {folder.embeddings.name}/{meant}"
        )


def meant_root(folder: DataFolder) -> str:
    """Ask whether another folder near this one, which has no inputs, was meant; "" if none was.

    Examples
    --------
    >>> meant_root(DataFolder(Path(".")))  # doctest: +SKIP
    'did you mean --data films?'
    """
    root = folder.root
    if _holds_inputs(root):
        return ""
    near = root if root.exists() else root.parent
    others = [near / name for name in _names(near) if _holds_inputs(near / name)]
    others += [near] if near != root and _holds_inputs(near) else []
    return f"did you mean --data {shown(str(others[0]), 300)}?" if others else ""


def _names(folder: Path) -> list[str]:
    with suppress(OSError):  # Who asks has an error of its own to report.
        return [entry.name for entry in _entries(folder)]
    return []


def _holds_inputs(root: Path) -> bool:
    return any(DataFolder(root).embeddings.glob("*/plots_*s.json"))


def list_inputs(folder: DataFolder) -> Listing:
    """List what there is of inputs; only a folder that holds one is that of an approach.

    Raises
    ------
    EngineError
        When the folder of embeddings is there and cannot be listed.
    """
    root = folder.embeddings
    listing = Listing(root, [], {}, [])
    try:
        entries = [entry for entry in _entries(root) if entry.name != _SYSTEM]
    except OSError as error:
        raise EngineError(_unlisted(root, error)) from None
    for entry in entries:
        try:
            if not entry.is_dir():
                listing.unread.extend(_unread(root, [entry.name], "APPROACH/"))
                continue
            files = [file.name for file in _entries(entry.path)]
        except OSError as error:
            listing.unusable[entry.name] = _unlisted(entry.path, error)
            continue
        _sort_in(listing, entry.name, files)
    listing.names.sort(key=lambda name: (name.approach, int(name.decade), name.decade))
    return listing


def _sort_in(listing: Listing, approach: str, files: list[str]) -> None:
    """Put what a folder holds where it belongs in the listing."""
    decades = [decade for file in files if (decade := decade_of(file))]
    if decades and not can_be_approach(approach):
        listing.unusable[approach] = _refused(approach, listing.folder)
        return
    listing.names.extend(DecadeName(approach, decade) for decade in decades)
    unread = _unread(listing.folder / approach, files)
    if not decades and not unread and can_be_approach(approach):
        unread = [Unread(listing.folder / approach, "it holds no plots_YEARs.json")]
    listing.unread.extend(unread)


def _unread(folder: Path, files: list[str], where: str = "") -> list[Unread]:
    """Of the files of a folder, those that look like an input and are none."""
    return [
        Unread(folder / file, _hint(file, where, files))
        for file in files
        if (".json" in file.lower() or file.lower().startswith("plots"))
        and (where or not decade_of(file))
    ]


def _hint(file: str, where: str, files: list[str]) -> str:
    year = _YEAR.search(file)
    name = f"plots_{year[1] if year else 'YEAR'}s.json"
    if name in files and not where:
        return f"{name} is"
    if file.lower().endswith(_PACKED):
        return f"unpack it to {where}{name}"
    return f"did you mean {where}{name}?"


def _entries(folder: str | Path) -> list[os.DirEntry[str]]:
    """List what is not hidden in a folder, by name; nothing where there is none."""
    try:
        with os.scandir(folder) as entries:
            visible = [entry for entry in entries if not entry.name.startswith(".")]
    except FileNotFoundError:
        return []
    return sorted(visible, key=lambda entry: entry.name)


def _unlisted(folder: str | Path, error: OSError) -> str:
    return (
        f"{shown(str(folder), 300)}: cannot be listed ({error.strerror}); a folder of embeddings "
        "was expected, one sub-folder for each approach: check its permissions"
    )


def _refused(approach: str, folder: Path) -> str:
    return (
        f"{shown(str(folder), 300)}: an approach cannot be called {shown(approach)!r}; a folder "
        f"name of at most {LONGEST_NAME} printable characters was expected, without slashes, not "
        "beginning with '.' or '__' and not zarr.json: rename the folder"
    )
