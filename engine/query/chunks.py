"""The stored similarities of one decade, read chunk by chunk.

Each chunk is verified against its checksum, as everywhere, and belongs to the record with which the
decade was opened, or is refused.
"""

from collections.abc import Iterator
from functools import lru_cache
from itertools import groupby

import numpy as np
from numpy.typing import NDArray

from engine.data_folder import DecadeName
from engine.errors import DamagedError, NotComputedError, StoreError
from engine.store.arrays import StoredDecade
from engine.store.source import Source
from engine.triangle.blocks import Chunk
from engine.triangle.selection import Rows

_CHUNKS_KEPT = 32
"""Chunks that an open decade remembers: 16 MiB, a row of 6,000 films and more."""


class StoredPairs:
    """The films of one decade, and the similarities of their pairs as they are stored."""

    def __init__(self, source: Source, stored: StoredDecade) -> None:
        self._source = source
        self._store = source.store
        self._stored = stored
        self._grid = stored.record.grid
        self._identity = stored.record.identity
        # Asking for pair after pair mostly comes back to the same chunks.
        self._chunk = lru_cache(_CHUNKS_KEPT)(self._read_chunk)
        self._checksums: dict[int, dict[int, int]] = {}

    @property
    def name(self) -> DecadeName:
        """The approach and the decade."""
        return self._stored.name

    @property
    def ids(self) -> list[str]:
        """Ids of the films, in the order of the input file."""
        return list(self._stored.ids)

    @property
    def vectors(self) -> NDArray[np.float64]:
        """Vectors whose dot products the similarities are, (len(self), n_dimensions); read-only."""
        try:
            vectors = self._stored.vectors.view()
        except DamagedError as error:
            self._check_unchanged()
            raise self._damaged(str(error)) from None
        vectors.flags.writeable = False
        return vectors

    @property
    def n_pairs(self) -> int:
        """Number of pairs of different films, computed or not."""
        return self._grid.n_pairs

    @property
    def n_pairs_computed(self) -> int:
        """Number of pairs that are in the store now."""
        there = self._stored.chunks()
        return sum(c.n_pairs for c in self._stored.expected() if (c.row, c.column) in there)

    def chunks(self, *, partial: bool = False) -> Iterator[tuple[Chunk, NDArray[np.float64]]]:
        """Read all pairs, a chunk at a time, so that memory does not grow with their number.

        Parameters
        ----------
        partial
            Leave out what is not computed yet, rather than refuse.

        Yields
        ------
        tuple[Chunk, NDArray[np.float64]]
            Which rows and columns of the matrix of similarities, and those, with NaN where a
            cell is not above the diagonal.

        Raises
        ------
        NotComputedError, StoreError
            As for a pair.

        Examples
        --------
        >>> films = engine.open("data/sample")["embedding", 1920]  # doctest: +SKIP
        >>> for chunk, values in films.chunks():  # doctest: +SKIP
        ...     for i, j in np.argwhere(values > 0.93):
        ...         print(films.ids[chunk.start + i], films.ids[chunk.left + j])
        9659787 14016947
        427476 9678195
        5798548 7538851
        """
        for block in self._row_blocks(self._present(partial)):
            yield from block

    def _present(self, partial: bool) -> list[Chunk]:
        """List the chunks that are stored, row after row; unless `partial`, they must be all."""
        # One that was stored and is gone is damaged, and is not left out.
        there = self._stored.all_checksums()
        expected = list(self._stored.expected())
        present = [chunk for chunk in expected if chunk.column in there[chunk.row]]
        if len(present) < len(expected):
            self._check_unchanged()
            if not partial:
                raise self._not_computed("not all are there")
        return present

    def _row_blocks(
        self, present: list[Chunk]
    ) -> Iterator[list[tuple[Chunk, NDArray[np.float64]]]]:
        """Read the chunks of one row-block after another."""
        for _, row in groupby(present, key=lambda chunk: chunk.row):
            block = [(chunk, self._proven(chunk)) for chunk in row]
            self._check_unchanged()
            yield block

    def _rows(self, present: list[Chunk]) -> Iterator[Rows]:
        """Read whole rows, with NaN where a chunk is not present."""
        for block in self._row_blocks(present):
            start, stop = block[0][0].start, block[0][0].stop
            left = next(self._grid.chunks(block[0][0].row)).left
            values = np.full((stop - start, self._grid.n_films - left), np.nan)
            for chunk, found in block:
                values[:, chunk.left - left : chunk.right - left] = found
            yield Rows(start, left, values)

    def _read_chunk(self, chunk: Chunk) -> NDArray[np.float64]:
        values = self._proven(chunk)
        self._check_unchanged()
        return values

    def _proven(self, chunk: Chunk) -> NDArray[np.float64]:
        if chunk.column not in self._checksums.get(chunk.row, {}):
            self._checksums[chunk.row] = self._stored.checksums(chunk.row)
        checksum = self._checksums[chunk.row].get(chunk.column)
        if checksum is None:
            self._check_unchanged()
            raise self._not_computed("this is not among them")
        try:
            return self._stored.read(chunk, checksum)
        except DamagedError as error:
            self._check_unchanged()
            raise self._damaged(str(error)) from None

    def _check_unchanged(self) -> None:
        # What was read belongs to the record with which it was opened; the store may hold another.
        record = self._source.record(self.name)
        if record is None or record.identity != self._identity:
            raise self._source.changed(self.name, record)

    def _per_cent(self) -> str:
        computed = self.n_pairs_computed
        if computed == self.n_pairs:
            return ""
        return f", {100 * computed // self.n_pairs} % of them computed"

    def _not_computed(self, what: str) -> NotComputedError:
        return NotComputedError(
            f"{self._store.location}: {self.name}: {self.n_pairs:,} pairs"
            f"{self._per_cent()}, and {what}; "
            f"{self._source.remedy(self.name)}"
        )

    def _damaged(self, what: str) -> StoreError:
        return self._source.damaged_within(self.name, what)
