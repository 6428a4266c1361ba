"""The arrays of one decade in the store, read and written chunk by chunk.

A chunk of similarities counts when the row of checksums of its row-block holds its checksum; the
row counts when its seal proves that it belongs to this record and this row-block. Vectors and ids
count when they have the SHA-256 that the record holds. Whatever else is found was damaged, moved
here from elsewhere, or written by a process of an earlier run that nobody knows of any more.
"""

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from engine.data_folder import DecadeName
from engine.errors import DamagedError
from engine.store import encoding, metadata
from engine.store.record import Record
from engine.store.values import Values
from engine.triangle.blocks import Chunk
from engine.triangle.exact import Exact, proven


def ids_sha256(ids: Sequence[str]) -> str:
    """SHA-256 of the chunk of ids, as a hex digest."""
    return hashlib.sha256(encoding.encode_texts(ids).tobytes()).hexdigest()


def vectors_sha256(vectors: NDArray[np.float64]) -> str:
    """SHA-256 of vectors, (n_films, n_dimensions), as a hex digest."""
    content: Any = np.ascontiguousarray(vectors, "<f8")
    return hashlib.sha256(content).hexdigest()


def write_embeddings(
    values: Values, group: str, ids: Sequence[str], vectors: NDArray[np.float64]
) -> None:
    """Write the ids and vectors of a decade, and the metadata of all its arrays."""
    write_metadata(values, group, *vectors.shape)
    values.delete_dir(f"{group}/vectors/c")  # There may have been more of them.
    # Lost in a power cut, they would take what was computed with them.
    values.set_durably(f"{group}/ids/c/0", encoding.encode_texts(ids).tobytes())
    n, d = vectors.shape
    height = metadata.vectors_chunk(d, n)
    for k in range(-(-n // height)):  # One by one: together they are as large as the vectors.
        films = vectors[k * height : (k + 1) * height]
        encoded = encoding.encode(films, (height, max(1, d)))
        values.set_many({f"{group}/vectors/c/{k}/0": encoded})


def write_metadata(values: Values, group: str, n_films: int, n_dimensions: int) -> None:
    """Write the metadata of the arrays of a decade, where they are not as they should be."""
    for name in damaged_metadata(values, group, n_films, n_dimensions):
        document = metadata.arrays(n_films, n_dimensions)[name]
        values.set_durably(f"{group}/{name}/zarr.json", document)


def damaged_metadata(values: Values, group: str, n_films: int, n_dimensions: int) -> list[str]:
    """Name the arrays of a decade whose metadata are not what `write_metadata` writes."""
    expected = metadata.arrays(n_films, n_dimensions)
    found = values.get_many(f"{group}/{name}/zarr.json" for name in expected)
    return [
        name for name, content in zip(expected, found, strict=True) if content != expected[name]
    ]


@dataclass
class StoredDecade:
    """The arrays of one decade."""

    name: DecadeName
    record: Record
    values: Values

    @cached_property
    def ids(self) -> list[str]:
        """Ids of the films, in the order of the input; kept once read.

        Raises
        ------
        DamagedError
            When they are missing or damaged.
        """
        encoded = self.values.get(f"{self.name.group}/ids/c/0")
        ids = encoding.decode_texts(encoded)
        known = encoded is not None and hashlib.sha256(encoded).hexdigest()
        if ids is None or known != self.record.ids_sha256 or len(ids) != self.record.n_films:
            raise DamagedError("the ids are damaged")
        return ids

    @cached_property
    def vectors(self) -> NDArray[np.float64]:
        """Vectors of the films, (n_films, n_dimensions), read-only; kept once read.

        Raises
        ------
        DamagedError
            When they are missing or damaged.
        """
        shape, at = (self.record.n_films, self.record.n_dimensions), 0
        vectors = np.empty((0, shape[1]))
        for films in self._proven_vectors():
            if at == 0:  # Not before: a first chunk of its size proves that a film is so long.
                vectors = np.empty(shape)
            vectors[at : at + len(films)] = films
            at += len(films)
        vectors.flags.writeable = False
        return vectors

    @cached_property
    def exact_kernel(self) -> Exact:
        """The fastest way to compute dot products that is proven on these vectors."""
        return proven(self.vectors)

    def check_vectors(self) -> None:
        """Prove the vectors, without holding all of them.

        Raises
        ------
        DamagedError
            When they are missing or damaged.
        """
        for _ in self._proven_vectors():
            pass

    def _proven_vectors(self) -> Iterator[NDArray[np.float64]]:
        """Read the vectors chunk by chunk; they count when the last has come."""
        n, d = self.record.n_films, self.record.n_dimensions
        height, sha256 = metadata.vectors_chunk(d, n), hashlib.sha256()
        for k in range(-(-n // height)):
            encoded = self.values.get(f"{self.name.group}/vectors/c/{k}/0")
            films = min(height, n - k * height)
            found = encoding.decode(encoded, (height, max(1, d)), films, d)
            if found is None:
                raise DamagedError("the vectors are damaged")
            sha256.update(np.ascontiguousarray(found, "<f8"))  # type: ignore[arg-type]
            yield found
        if sha256.hexdigest() != self.record.vectors_sha256:
            raise DamagedError("the vectors are damaged")

    def checksums(self, row_block: int) -> dict[int, int]:
        """Read which chunks of a row-block are stored.

        Returns
        -------
        dict[int, int]
            Column of each chunk → checksum of its values; empty when none is stored, or nothing
            proves that they belong here.
        """
        return self._entries(row_block, self.values.get(self._checksums_key(row_block)))

    def all_checksums(self) -> list[dict[int, int]]:
        """Read the checksums of all row-blocks, as `checksums` does."""
        return [self._entries(row, found) for row, found in enumerate(self._rows())]

    def damaged_checksums(self) -> list[int]:
        """List the row-blocks whose checksums are there and do not belong there."""
        identity = self.record.identity
        return [
            row
            for row, found in enumerate(self._rows())
            if found is not None and encoding.decode_checksums(found, identity, row) is None
        ]

    def _rows(self) -> list[bytes | None]:
        keys = map(self._checksums_key, range(self.record.grid.n_row_blocks))
        return self.values.get_many(keys)

    def chunks(
        self, checksums: Sequence[dict[int, int]] | None = None
    ) -> frozenset[tuple[int, int]]:
        """List the (row, column) of the chunks that are stored; `all_checksums` may be given.

        A row of checksums proves that a chunk was stored, reading the chunk that it still is what
        it was. Here a file that is gone or cut short is left out; behind a URL nobody looks.
        """
        grid = self.record.grid
        whole = (None, encoding.encoded_size((grid.height, grid.width)))
        return frozenset(
            (row, chunk.column)
            for row, there in enumerate(checksums or self.all_checksums())
            for chunk in grid.chunks(row)
            if chunk.column in there and self.values.size(self._chunk_key(chunk)) in whole
        )

    def _entries(self, row_block: int, encoded: bytes | None) -> dict[int, int]:
        entries = encoding.decode_checksums(encoded, self.record.identity, row_block)
        return {column: entry - 1 for column, entry in enumerate(entries or ()) if entry}

    def read(self, chunk: Chunk, checksum: int) -> NDArray[np.float64]:
        """Read a chunk of similarities.

        Parameters
        ----------
        chunk
            Which one.
        checksum
            Of its values, as `checksums` has it.

        Returns
        -------
        NDArray[np.float64]
            (chunk.stop - chunk.start, chunk.right - chunk.left), read-only; NaN where a cell is
            no pair.

        Raises
        ------
        DamagedError
            When it is gone, damaged, or not the one that belongs here.
        """
        encoded = self.values.get(self._chunk_key(chunk))
        if encoded is None:
            raise DamagedError(f"{chunk} is missing")
        shape = (self.record.grid.height, self.record.grid.width)
        rows, columns = chunk.stop - chunk.start, chunk.right - chunk.left
        found = encoding.decode(encoded, shape, rows, columns)
        if found is None or encoding.trailer(encoded) != checksum:
            raise DamagedError(f"{chunk} is damaged")
        return found

    def write(self, chunks: Sequence[tuple[Chunk, NDArray[np.float64]]], row_block: int) -> None:
        """Write chunks of a row-block, then its checksums, by which they count.

        Parameters
        ----------
        chunks
            Each with its values, (chunk.stop - chunk.start, chunk.right - chunk.left), NaN where
            a cell is no pair.
        row_block
            Number of the row-block, which nobody else may be writing.
        """
        grid = self.record.grid
        entries = [0] * grid.n_columns
        for column, checksum in self.checksums(row_block).items():
            entries[column] = checksum + 1
        encoded: dict[str, Any] = {}
        for chunk, values in chunks:
            content = encoding.encode(values, (grid.height, grid.width))
            encoded[self._chunk_key(chunk)] = content
            entries[chunk.column] = encoding.trailer(content) + 1
        self.values.set_many(encoded)
        row = encoding.encode_checksums(self.record.identity, row_block, entries)
        self.values.set_many({self._checksums_key(row_block): row})

    def expected(self) -> Iterator[Chunk]:
        """All chunks that hold a pair."""
        grid = self.record.grid
        for row in range(grid.n_row_blocks):
            yield from grid.chunks(row)

    def _chunk_key(self, chunk: Chunk) -> str:
        return f"{self.name.group}/similarities/c/{chunk.row}/{chunk.column}"

    def _checksums_key(self, row_block: int) -> str:
        return f"{self.name.group}/checksums/c/{row_block}/0"
