"""A data folder and its store together, and what errors there tell a person to do next."""

import os
import shlex
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from engine.data_folder import DataFolder, DecadeName
from engine.errors import DamagedError, EngineError, NotComputedError, StoreError, shown
from engine.listing import check_root, meant_root
from engine.store.lock import holder
from engine.store.record import Record
from engine.store.store import Store


@dataclass(frozen=True)
class Source:
    """A data folder and its store."""

    folder: DataFolder
    store: Store

    @classmethod
    def at(cls, data: str | os.PathLike[str], store: str | os.PathLike[str] | None) -> "Source":
        """Put them together; the store lies in the folder unless the caller says otherwise.

        Raises
        ------
        EngineError
            When one is an empty text, or below a current folder that is gone.
        TypeError
            When one of them is no path. The text of anything would be one, ``5`` for instance.
        """
        for option, path in (("--data", data), ("--store", store)):
            _check_path(option, path)
        folder = DataFolder(Path(os.fsdecode(data)))
        return cls(folder, Store(os.fsdecode(folder.default_store if store is None else store)))

    def record(self, name: DecadeName) -> Record | None:
        """Read what a decade was made from; None when the store holds nothing of it.

        Raises
        ------
        StoreError
            When it is damaged.
        """
        try:
            return self.store.record(name)
        except DamagedError as error:
            raise self.damaged(name, str(error)) from None

    def decades_with(self, film: str, approach: str) -> list[str]:
        """List the decades of an approach that have a film, as far as they can be read."""
        found = []
        for name in self.store.names():
            try:
                if name.approach == approach and film in self.store.open(name).ids:
                    found.append(f"{name.decade}s")
            except (DamagedError, OSError):
                continue
        return found

    def damaged(self, name: DecadeName, what: str) -> StoreError:
        """Make the error for a part of a decade that is damaged, which any run notices."""
        return StoreError(
            f"{self.store.location}: {name}: {what}; to mend it, run: {self.command(name)}"
        )

    def damaged_within(self, name: DecadeName, what: str) -> StoreError:
        """Make the error for chunks or vectors, which a run reads only when it exports."""
        output = self.folder.output(name)
        if not output.exists():
            return self.damaged(name, what)
        with suppress(DamagedError):
            record = self.store.record(name)
            more = record.export.rule.words if record and record.export else ()
            return StoreError(
                f"{self.store.location}: {name}: {what}; to mend it, delete {output}, which is "
                f"written again, and run: {self.command(name, more)}"
            )
        return self.damaged(name, what)

    def changed(self, name: DecadeName, record: Record | None) -> StoreError:
        """Make the error for a decade that is not the one that was opened any more."""
        if record is None:
            return StoreError(
                f"{self.store.location}: {name} was deleted since it was opened; "
                f"{self.remedy(name)}"
            )
        return StoreError(
            f"{self.store.location}: {name} was restarted by another run since "
            "it was opened, from another input or with other settings; open it again"
        )

    def absolute(self) -> tuple[str, str]:
        """Data folder and store, as another process on these disks finds them."""
        path = self.store.path
        store = self.store.location if path is None else str(path.absolute())
        return str(self.folder.root.absolute()), store

    def remedy(self, name: DecadeName | None = None) -> str:
        """Say what to do about something that is not computed yet."""
        command = self.command(name)
        if who := holder(self.store):
            return f"a run is at work on the store ({who}); if that leaves it out: {command}"
        return f"to compute it, run: {command}"

    def command(self, name: DecadeName | None = None, more: Iterable[str] = ()) -> str:
        """Write the command that brings everything, or one decade, to its end; and its options."""
        words = ["python", "-m", "engine", "--data", str(self.folder.root)]
        if self.store.location != str(self.folder.default_store):
            words += ["--store", self.store.location]
        if name:
            words += ["--approach", name.approach, "--decade", name.decade]
        return shlex.join([*words, *more])


def _check_path(option: str, path: str | os.PathLike[str] | None) -> None:
    if path == "":
        raise EngineError(
            f"{option}: is empty, perhaps of a variable that is not set; leave it out, or name a "
            "folder ('.' is the current one)"
        )
    if path is not None and "://" not in str(path) and not os.path.isabs(path):
        try:
            os.getcwd()
        except FileNotFoundError:
            raise EngineError(
                f"{shown(str(path), 300)}: the current folder, in which it would lie, was "
                f"deleted; go to another, or give {option} as a path that begins with /"
            ) from None


def open_source(
    data: str | os.PathLike[str], store: str | os.PathLike[str] | None = None
) -> Source:
    """Find a store that is to be asked; see `engine.open`.

    Raises
    ------
    EngineError
        When `data` is a file, or a part of the data and not its root.
    NotComputedError
        When there is no store.
    StoreError
        When there is something that is not a store this version can read.
    """
    source = Source.at(data, store)
    check_root(source.folder)
    if not source.store.exists():
        todo = meant_root(source.folder) or source.remedy()
        raise NotComputedError(f"{source.store.location}: there is no store yet; {todo}")
    return source
