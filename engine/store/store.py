"""The store: what is known of each decade so far, in one zarr v3 group each.

A group ``{approach}/{decade}`` holds ``vectors`` (n, d), ``similarities`` (n, n; upper triangle
only, NaN elsewhere), ``ids`` (n,) and, as the group's attributes, a *record* of what they were
made from. Every chunk ends in a CRC-32C that zarr verifies when it is read.

The order of writes makes whatever an interruption leaves behind either right or known to be
wrong: a group without a record holds nothing that counts, and the record is written when the
vectors are complete and deleted before anything of them is. From then on a chunk of similarities
that is there and matches its checksum is finished, and there is no other mark that it could drift
from.
"""

import dataclasses
from collections.abc import Iterable
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import numpy as np
import zarr
from numpy.typing import NDArray
from zarr.abc.store import Store as ZarrStore
from zarr.core.buffer import default_buffer_prototype
from zarr.core.sync import sync
from zarr.errors import ContainsArrayError

from engine.data_folder import DecadeName, can_be_decade
from engine.errors import DamagedError, StoreError
from engine.store.arrays import StoredDecade, create_arrays, open_arrays
from engine.store.record import Export, Record, digest
from engine.store.remote import RemoteStore, checked, open_remote

FORMAT = 1
"""Version of what this file writes; a store of a higher version is left alone."""
_FORMAT_KEY = "similarity_store_format"
_PLAIN: Any = {"zarr_format": 3, "use_consolidated": False}
"""A group is one file; where every look costs a request, nothing else is looked for."""


def _listed(store: ZarrStore, path: str) -> list[str]:
    """List what stands directly below a path, without the metadata."""

    async def collect() -> list[str]:
        return [name async for name in store.list_dir(path) if name != "zarr.json"]

    return sync(collect())


class Store:
    """A zarr store at a path or URL.

    Parameters
    ----------
    location
        Path of a folder, or any URL that zarr takes.
    read_only
        For asking alone: nothing is ever written, and it need not be possible.

    Raises
    ------
    StoreError
        For a URL that holds credentials, or of a store that no other process can see.
    """

    def __init__(self, location: str, *, read_only: bool = False) -> None:
        self.location = checked(location)
        self._mode: Literal["r", "r+"] = "r" if read_only else "r+"

    @property
    def path(self) -> Path | None:
        """The folder of the store; None when it is not on a disk."""
        return None if "://" in self.location else Path(self.location)

    @cached_property
    def _place(self) -> str | RemoteStore:
        return self.location if self.path else open_remote(self.location)

    @cached_property
    def _root(self) -> zarr.Group:
        return zarr.open_group(self._place, mode=self._mode, **_PLAIN)

    def exists(self) -> bool:
        """Whether there is a store that this engine can read.

        Raises
        ------
        StoreError
            When something else is there, or a store of a newer format.
        """
        try:
            root = zarr.open_group(self._place, mode="r", **_PLAIN)
        except FileNotFoundError:
            if self._foreign():
                raise StoreError(
                    f"{self.location}: is not a zarr store and not empty; nothing was changed: "
                    "choose another --store"
                ) from None
            return False
        except NotADirectoryError:
            raise StoreError(
                f"{self.location}: is a file where the folder of a zarr store was expected: "
                "choose another --store or move the file"
            ) from None
        except ContainsArrayError:
            raise self._of_something_else("is an array") from None
        except (ValueError, KeyError, TypeError):
            return False  # A root that cannot be parsed holds nothing but the format: made anew.
        found = root.attrs.get(_FORMAT_KEY)
        if found is None and any(True for _ in root):
            raise self._of_something_else(f"has no {_FORMAT_KEY}")
        if found is not None and (not isinstance(found, int) or found > FORMAT):
            raise StoreError(
                f"{self.location}: was written in format {found!r}, and this version of the "
                f"engine knows format {FORMAT}; nothing was changed: use a newer version or "
                "another --store"
            )
        return True

    def _of_something_else(self, why: str) -> StoreError:
        return StoreError(
            f"{self.location}: is a zarr store of something else (it {why}); nothing was changed: "
            "choose another --store"
        )

    def _foreign(self) -> bool:
        """Whether something lies there that is not to be touched."""
        if self.path is None:
            named_so = self.location.rstrip("/").endswith(".zarr")
            return not named_so and bool(_listed(open_remote(self.location), ""))
        try:  # One look: a run may be making the folder just now.
            entries = list(self.path.iterdir())
        except FileNotFoundError:
            return False
        except NotADirectoryError:
            return True
        if {".zgroup", ".zarray"} & {entry.name for entry in entries}:  # zarr v2
            return True
        # The first write to a store may have been killed.
        there = [entry for entry in entries if entry.suffix != ".partial"]
        return self.path.suffix != ".zarr" and bool(there)

    def create(self) -> None:
        """Make the store unless it is there; see `exists` for what is raised."""
        if self.exists():
            if _FORMAT_KEY not in self._root.attrs:
                self._root.attrs[_FORMAT_KEY] = FORMAT
            return
        if self.path is not None:
            (self.path / "zarr.json").unlink(missing_ok=True)
        zarr.create_group(self._place, zarr_format=3, attributes={_FORMAT_KEY: FORMAT})

    def names(self) -> list[DecadeName]:
        """List the decades of which the store holds anything, finished or not."""
        store = self._root.store
        return sorted(
            DecadeName(approach, decade)
            for approach in _listed(store, "")
            if not approach.startswith(".")  # A note.
            for decade in _listed(store, approach)
            if can_be_decade(approach, decade)
            # Behind a URL nothing is empty, and each look costs a request.
            and (self.path is None or _listed(store, f"{approach}/{decade}"))
        )

    def _keys(self, prefix: str) -> Iterable[str]:
        store = self._root.store

        async def collect() -> list[str]:
            return [key async for key in store.list_prefix(prefix)]

        return sync(collect())

    def record(self, name: DecadeName) -> Record | None:
        """Read what a group was made from; None when it holds nothing that counts.

        Raises
        ------
        DamagedError
            When there is a record but it is not what was written.
        """
        try:
            group = zarr.open_group(self._root.store, path=name.group, mode="r", **_PLAIN)
            attributes = dict(group.attrs)
        except FileNotFoundError:
            return None
        except (ValueError, KeyError, TypeError):
            raise DamagedError("the metadata of its group") from None
        if not attributes:
            return None
        content = attributes.get("record")
        if not isinstance(content, dict) or attributes.get("sha256") != digest(content):
            raise DamagedError("the metadata of its group")
        export = content.pop("export")
        return Record(**content, export=export and Export(**export))

    def write_record(self, name: DecadeName, record: Record) -> None:
        """Replace the record of a group, in one step."""
        content = dataclasses.asdict(record)
        group = zarr.open_group(self._root.store, path=name.group, mode="r+", **_PLAIN)
        group.attrs.put({"record": content, "sha256": digest(content)})

    def begin(
        self, name: DecadeName, ids: list[str], vectors: NDArray[np.float64], record: Record
    ) -> None:
        """Store the vectors of a decade, forgetting whatever its group held before."""
        self.forget(name)
        create_arrays(self._root.require_group(name.group), ids, vectors, record.grid)
        self.write_record(name, record)

    def forget(self, name: DecadeName) -> None:
        """Delete a group, its record first."""
        store = self._root.store
        sync(store.delete(f"{name.group}/zarr.json"))
        sync(store.delete_dir(name.group))

    def chunks(self, name: DecadeName) -> set[tuple[int, int]]:
        """List the (row, column) of the chunks of similarities that are there."""
        prefix = f"{name.group}/similarities/c/"
        found = set()
        for key in self._keys(prefix):
            row, _, column = key.removeprefix(prefix).partition("/")
            if row.isdigit() and column.isdigit():
                found.add((int(row), int(column)))
        return found

    def note(self, name: str) -> bool:
        """Whether there is a note that a run left for its workers."""
        return sync(self._root.store.get(f".{name}", default_buffer_prototype())) is not None

    def write_note(self, name: str) -> None:
        """Leave a note, a file beside the groups of which nothing but the name counts."""
        sync(self._root.store.set(f".{name}", default_buffer_prototype().buffer.from_bytes(b"")))

    def delete_notes(self, prefix: str) -> None:
        """Delete the notes whose names begin so, also those of runs that were killed."""
        for key in _listed(self._root.store, ""):
            if key.startswith(f".{prefix}"):
                sync(self._root.store.delete(key))

    def sweep(self) -> None:
        """Delete the temporary files of writes that were killed."""
        if self.path is not None:
            for stray in self.path.rglob("*.partial"):
                if not stray.is_dir():  # An approach may be called so.
                    stray.unlink(missing_ok=True)

    def open(self, name: DecadeName) -> StoredDecade:
        """Open a decade whose record is there.

        Raises
        ------
        DamagedError
            When the record or the metadata of an array is not what was written.
        """
        record = self.record(name)
        if record is None:
            raise DamagedError("the record of its group")
        try:
            group = zarr.open_group(self._root.store, path=name.group, mode=self._mode, **_PLAIN)
        except (FileNotFoundError, ValueError, KeyError, TypeError):
            raise DamagedError("the metadata of its group") from None
        return StoredDecade(name, record, open_arrays(group, record))
