"""One decade of similarities, asked for a pair, a film's row or its nearest films.

The store is made of chunks of the upper triangle. The similarities of one film are a stretch of
one row, right of the diagonal, and a stretch of one column, above it; only the chunks under those
are read. Each is verified against its checksum, as everywhere.
"""

import difflib
from collections.abc import Iterator
from functools import lru_cache
from itertools import groupby
from typing import SupportsIndex, TypeAlias

import numpy as np
from numpy.typing import NDArray

from engine.data_folder import DecadeName
from engine.errors import DamagedError, NotComputedError, NotFoundError, StoreError, shown
from engine.store.arrays import StoredDecade
from engine.store.source import Source
from engine.triangle.blocks import Chunk

FilmId: TypeAlias = str | SupportsIndex
"""A film's id as the store has it, or the number that it is the text of."""

_CHUNKS_KEPT = 32
"""Chunks that an open decade remembers: 16 MiB, a row of 6,000 films and more."""


class Decade:
    """The films of one decade and the similarities of their pairs.

    ``len(decade)`` is the number of films, iterating gives their ids, ``film in decade`` tells
    whether it has one. Ids are strings as in the JSON; an integer is taken for its text. Made by
    `Similarities.decade`; an open decade sees what a run adds to it.
    """

    def __init__(self, source: Source, stored: StoredDecade) -> None:
        self._source = source
        self._store = source.store
        self._stored = stored
        self._grid = stored.record.grid
        self._identity = stored.record.identity
        try:
            self._positions = {film: k for k, film in enumerate(stored.ids)}
        except DamagedError as error:
            raise self._damaged(str(error)) from None
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

    def __len__(self) -> int:
        return len(self._positions)

    def __iter__(self) -> Iterator[str]:
        return iter(self._stored.ids)

    def __contains__(self, film: object) -> bool:
        return _text(film) in self._positions

    def __repr__(self) -> str:
        computed = self._per_cent()
        return f"<{self.name}: {len(self):,} films, {self.n_pairs:,} pairs{computed}>"

    def __getitem__(self, pair: tuple[FilmId, FilmId]) -> float:
        """Similarity of two films, in either order; one chunk is read, or remembered.

        Raises
        ------
        NotComputedError
            When no run has computed it yet.
        NotFoundError
            When a film is not in this decade, or both are the same.
        StoreError
            When the chunk is damaged, or another run has restarted the decade since it was opened.
        """
        if not isinstance(pair, tuple) or len(pair) != 2:
            raise TypeError(
                f"{pair!r} is not a pair of ids; for all similarities of one film: row(id)"
            )
        first, second = pair
        i, j = sorted((self._position(first), self._position(second)))
        if i == j:
            raise NotFoundError(
                f"{self.name}: {shown(_text(first))} and {shown(_text(second))} are the same "
                "film, which is no pair"
            )
        chunk = self._grid.chunk(i // self._grid.height, j // self._grid.width)
        return float(self._chunk(chunk)[i - chunk.start, j - chunk.left])

    def row(self, film: FilmId, *, partial: bool = False) -> NDArray[np.float64]:
        """Similarities of one film with all films.

        Parameters
        ----------
        film
            Its id.
        partial
            Take what is computed so far, rather than refuse while some is missing.

        Returns
        -------
        NDArray[np.float64]
            (len(self),), in the order of `ids`. NaN at the film's own place, as a film and
            itself are no pair, and, if `partial`, where a similarity is not computed yet.

        Raises
        ------
        NotComputedError, NotFoundError, StoreError
            As for a pair.

        Examples
        --------
        >>> films = engine.open("data/sample")["embedding", 1920]  # doctest: +SKIP
        >>> films.row("15108870")[:3]  # doctest: +SKIP
        array([       nan, 0.78493133, 0.74890063])
        """
        i = self._position(film)
        row = np.full(len(self), np.nan)
        for chunk in self._chunks_of_row(i):
            try:
                values = self._chunk(chunk)
            except NotComputedError:
                if partial:
                    continue
                raise self._not_computed(
                    f"those of film {shown(_text(film))} are not all there"
                ) from None
            if chunk.start <= i < chunk.stop:
                first = max(i + 1, chunk.left)
                row[first : chunk.right] = values[i - chunk.start, first - chunk.left :]
            if chunk.left <= i < chunk.right:
                last = min(i, chunk.stop)
                row[chunk.start : last] = values[: last - chunk.start, i - chunk.left]
        return row

    def similar_to(
        self, film: FilmId, k: int = 10, *, partial: bool = False
    ) -> list[tuple[str, float]]:
        """Find the films most similar to one.

        Parameters
        ----------
        film
            Its id.
        k
            How many; fewer come back where there are no more.
        partial
            Choose from what is computed so far, rather than refuse while some is missing.

        Returns
        -------
        list[tuple[str, float]]
            Ids and similarities, best first, equal ones in file order; without the film itself.

        Raises
        ------
        NotComputedError, NotFoundError, StoreError
            As for a pair.
        ValueError
            When `k` is negative.
        """
        if k < 0:
            raise ValueError(f"k must be at least 0, not {k}")
        row = self.row(film, partial=partial)
        order = np.argsort(-row, kind="stable")  # NaN comes last.
        order = order[: np.count_nonzero(~np.isnan(row))][:k]
        ids = self._stored.ids
        return [(ids[j], float(row[j])) for j in order]

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
        # One that was stored and is gone is damaged, and is not left out.
        there = self._stored.all_checksums()
        expected = list(self._stored.expected())
        present = [chunk for chunk in expected if chunk.column in there[chunk.row]]
        if len(present) < len(expected):
            self._check_unchanged()
            if not partial:
                raise self._not_computed("not all are there")
        for _, row in groupby(present, key=lambda chunk: chunk.row):
            block = [(chunk, self._proven(chunk)) for chunk in row]
            self._check_unchanged()
            yield from block

    def _position(self, film: FilmId) -> int:
        found = self._positions.get(_text(film))
        if found is None:
            raise self._unknown(_text(film))
        return found

    def _unknown(self, film: str) -> NotFoundError:
        hint = ""
        if decades := self._source.decades_with(film, self.name.approach):
            hint = f"; it is in the {' and the '.join(decades)}"
        elif close := difflib.get_close_matches(film, self._stored.ids, cutoff=0.8):
            hint = f"; did you mean {' or '.join(map(shown, close))}?"
        return NotFoundError(f"{self.name}: there is no film '{shown(film)}'{hint}")

    def _chunks_of_row(self, i: int) -> list[Chunk]:
        row, column = i // self._grid.height, i // self._grid.width
        above = [self._grid.chunk(k, column) for k in range(row)]
        return above + list(self._grid.chunks(row))

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
        try:
            record = self._store.record(self.name)
        except DamagedError:
            record = None
        if record is None or record.identity != self._identity:
            raise StoreError(
                f"{self._store.location}: {self.name} was restarted by another run since "
                "it was opened, from another input or with other settings; open it again"
            )

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
        return self._source.damaged(self.name, what)


def _text(film: object) -> str:
    return film if isinstance(film, str) else str(film)
