"""The store: what is known of each decade so far, in one zarr v3 group each.

A group ``{approach}/{decade}`` holds ``vectors`` (n, d), ``similarities`` (n, n; upper triangle
only, NaN elsewhere), ``checksums`` (a row for each row-block), ``ids`` (n,) and, as the group's
attributes, a *record* of what they were made from.

The order of writes makes whatever an interruption leaves behind either right or known to be
wrong. What is to be forgotten is deleted record first; a record is written last, by the run that
holds the lock and by nobody else, so a worker of an earlier run cannot bring one back. Chunks are
written before the row of checksums by which they count.
"""

import itertools
import os
import stat
from functools import cached_property
from pathlib import Path

import numpy as np
import orjson
from numpy.typing import NDArray

from engine.data_folder import DecadeName, can_be_decade
from engine.errors import DamagedError, StoreError
from engine.store import arrays, encoding, metadata
from engine.store.arrays import StoredDecade
from engine.store.local import is_temporary, sweep
from engine.store.location import checked
from engine.store.record import FORMAT, Record, identity, parse_record, record_content
from engine.store.values import Values, open_values
from engine.triangle.kernel import KERNELS, KernelName

_FORMAT_KEY = "similarity_store_format"
_ROOT = metadata.group({_FORMAT_KEY: FORMAT})
_APPROACH = metadata.group({})


class Store:
    """A zarr store at a path or URL.

    Parameters
    ----------
    location
        Path of a folder, or any URL that zarr takes.

    Raises
    ------
    StoreError
        For a URL that holds credentials, or of a store that no other process can see.
    """

    def __init__(self, location: str) -> None:
        self.location = checked(location)

    @property
    def path(self) -> Path | None:
        """The folder of the store; None when it is not on a disk."""
        return None if "://" in self.location else Path(self.location)

    @cached_property
    def _values(self) -> Values:
        return open_values(self.location)

    def exists(self) -> bool:
        """Whether there is a store that this engine can read; its root may be damaged.

        Raises
        ------
        StoreError
            When something else is there, or a store of a newer format.
        """
        if self.path is not None and _is_file(self.path):
            raise StoreError(
                f"{self.location}: is a file where the folder of a zarr store was expected: "
                "choose another --store or move the file"
            )
        found = self._values.get("zarr.json")
        if found == _ROOT:
            return True
        found_format = _format(found)
        formats = self._record_formats()
        # Records prove more than a root, of which a bit may have flipped.
        newest = max(formats, default=found_format or 0)
        if newest > FORMAT:
            raise StoreError(
                f"{self.location}: was written in format {newest}, and this version of the "
                f"engine knows format {FORMAT}; nothing was changed: use a newer version or "
                "another --store"
            )
        if found_format == 1 or formats:
            return True
        if found is None and not self._occupied():
            return False
        if self._values.get("zarr.json") != found:
            return self.exists()  # A run has made it just now.
        raise StoreError(
            f"{self.location}: is not empty, and nothing proves that it is a store of this engine; "
            "nothing was changed: choose another --store"
        )

    def _occupied(self) -> bool:
        """Whether anything lies there but hidden files and what a killed write has left."""
        if self.path is None:
            return bool(self._values.list_dir(""))
        return any(
            name in (".zgroup", ".zarray")  # zarr v2
            or not (name.startswith(".") or is_temporary(name))
            for name in self._values.list_dir("", hidden=True)
        )

    def _record_formats(self) -> set[int]:
        """Formats of the records whose digest is right, which prove the store ours."""
        found = set()
        for name in self._groups():
            content = record_content(self._values.get(f"{name.group}/zarr.json") or b"")
            if content is not None and type(number := content.get("format", 1)) is int:
                found.add(number)
        return found

    def damaged_root(self) -> list[str]:
        """Say whether the metadata of the root of an existing store are damaged."""
        damaged = self._values.get("zarr.json") != _ROOT
        return [f"{self.location}: its metadata are damaged"] if damaged else []

    def create(self) -> bool:
        """Make the store unless it is there, and mend its root; see `exists` for what is raised.

        Returns
        -------
        bool
            Whether there was a store before, with a damaged root.
        """
        there = self.exists()
        found = self._values.get("zarr.json")
        if found != _ROOT:
            self._values.set_durably("zarr.json", _ROOT)
        if self.path is not None:
            for folder in (self.path, *map(self.path.joinpath, self._values.list_dir(""))):
                sweep(folder)
        return there and found != _ROOT and _format(found) != 1

    def _groups(self) -> list[DecadeName]:
        """List what can be the groups of decades, by their names alone."""
        return sorted(
            DecadeName(approach, decade)
            for approach in self._values.list_dir("")
            for decade in self._values.list_dir(approach)
            if can_be_decade(approach, decade)
        )

    def names(self) -> list[DecadeName]:
        """List the decades of which the store holds anything, finished or not."""
        # Behind a URL nothing is empty, and each look costs a request.
        return [
            name
            for name in self._groups()
            if self.path is None or self._values.list_dir(name.group)
        ]

    def record(self, name: DecadeName) -> Record | None:
        """Read what a group was made from; None when it has no record.

        Raises
        ------
        DamagedError
            When there is a record but it is not what was written for this decade.
        """
        found = self._values.get(f"{name.group}/zarr.json")
        return None if found is None else parse_record(found, name.group)

    def write_record(self, name: DecadeName, record: Record) -> None:
        """Replace the record of a group, in one step, when it has reached the disk."""
        approach = f"{name.approach}/zarr.json"
        if self._values.get(approach) != _APPROACH:
            self._values.set_durably(approach, _APPROACH)
        self._values.set_durably(f"{name.group}/zarr.json", record.metadata())

    def has_checksums(self, name: DecadeName) -> bool:
        """Whether there is any row of checksums, without which no chunk counts."""
        return bool(self._values.list_dir(f"{name.group}/checksums/c"))

    def recognize(self, name: DecadeName, input_sha256: str) -> tuple[KernelName, bool] | None:
        """Find out with which settings the similarities of a group were computed, by its checksums.

        For a group whose record is damaged.

        Parameters
        ----------
        name
            The decade.
        input_sha256
            Of its embeddings file.

        Returns
        -------
        tuple or None
            Kernel and normalize; None when no row of checksums belongs to this input.
        """
        rows = self._values.list_dir(f"{name.group}/checksums/c")
        for row in filter(str.isdecimal, rows):
            encoded = self._values.get(f"{name.group}/checksums/c/{row}/0")
            for kernel, normalize in itertools.product(KERNELS, (False, True)):
                known = identity(name.group, input_sha256, kernel, normalize)
                if encoding.decode_checksums(encoded, known, int(row)) is not None:
                    return kernel, normalize
        return None

    def write_embeddings(
        self, name: DecadeName, ids: list[str], vectors: NDArray[np.float64]
    ) -> None:
        """Write ids and vectors of a decade; they count when `write_record` has said so."""
        arrays.write_embeddings(self._values, name.group, ids, vectors)

    def damaged_metadata(self, record: Record) -> list[str]:
        """Name the parts of a decade whose metadata are not what the engine writes."""
        approach = record.group.partition("/")[0]
        parts = arrays.damaged_metadata(
            self._values, record.group, record.n_films, record.n_dimensions
        )
        damaged = self._values.get(f"{approach}/zarr.json") != _APPROACH
        return [*parts, *([approach] if damaged else [])]

    def mend_metadata(self, record: Record) -> None:
        """Write the metadata of a decade again, where they are not what the engine writes."""
        arrays.write_metadata(self._values, record.group, record.n_films, record.n_dimensions)
        approach = f"{record.group.partition('/')[0]}/zarr.json"
        if self._values.get(approach) != _APPROACH:
            self._values.set_durably(approach, _APPROACH)

    def forget(self, name: DecadeName) -> None:
        """Delete a group, its record first."""
        self._values.delete(f"{name.group}/zarr.json")
        self._values.delete_dir(name.group)

    def forget_chunks(self, name: DecadeName) -> None:
        """Delete the similarities of a group, their checksums first."""
        self._values.delete_dir(f"{name.group}/checksums/c")
        self._values.delete_dir(f"{name.group}/similarities/c")

    def has_marker(self, name: str) -> bool:
        """Whether there is a marker that a run left for its workers."""
        return self._values.get(f".{name}") is not None

    def write_marker(self, name: str) -> None:
        """Leave a marker, a file beside the groups of which nothing but the name counts."""
        self._values.set_many({f".{name}": np.zeros(1, np.uint8)})

    def delete_markers(self, prefix: str) -> None:
        """Delete the markers whose names begin so, also those of runs that were killed."""
        for key in self._values.list_dir("", hidden=True):
            if key.startswith(f".{prefix}"):
                self._values.delete(key)

    def sweep(self, name: DecadeName) -> None:
        """Delete the temporary files that killed writes have left in the group of a decade."""
        if self.path is not None:
            for folder, _, _ in os.walk(self.path / name.group):
                sweep(Path(folder))

    def open(self, name: DecadeName, record: Record | None = None) -> StoredDecade:
        """Open a decade whose record is there.

        Parameters
        ----------
        name
            The decade.
        record
            Its record, if it is known already.

        Raises
        ------
        DamagedError
            When the record is not what was written.
        """
        record = record or self.record(name)
        if record is None:
            raise DamagedError("the record of its group is missing")
        return StoredDecade(name, record, self._values)


def _is_file(path: Path) -> bool:
    """Whether something is there that is no folder, at one look: folders come and go."""
    try:
        return not stat.S_ISDIR(path.stat().st_mode)
    except (FileNotFoundError, NotADirectoryError):
        return False


def _format(root: bytes | None) -> int | None:
    """Version of the format that the metadata of a root name; None when they name none."""
    try:
        found = orjson.loads(root or b"")["attributes"][_FORMAT_KEY]
    except (ValueError, TypeError, KeyError):  # No JSON, or JSON of another form.
        return None
    return found if type(found) is int else None
