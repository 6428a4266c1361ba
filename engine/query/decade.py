"""One decade of similarities, asked for a pair, a film's row or its nearest films.

The store is made of chunks of the upper triangle. The similarities of one film are a stretch of
one row, right of the diagonal, and a stretch of one column, above it; only the chunks under those
are read.
"""

import difflib
from collections.abc import Callable, Iterator
from typing import Any, NoReturn, SupportsIndex, TypeAlias

import numpy as np
from numpy.typing import NDArray

from engine.arguments import whole_number
from engine.data_folder import DecadeName
from engine.errors import DamagedError, NotComputedError, NotFoundError, shown
from engine.query.whole import WholeDecade
from engine.store.arrays import StoredDecade
from engine.store.source import Source, open_source
from engine.tables import Table, as_html, as_text, per_cent
from engine.triangle.blocks import Chunk

FilmId: TypeAlias = str | SupportsIndex
"""A film's id as the store has it, or the number that it is the text of."""

HEAD = ("approach", "decade", "films", "pairs", "computed")
"""Of the table that a decade prints as."""


class Decade(WholeDecade):
    """The films of one decade and the similarities of their pairs.

    ``len(decade)`` is the number of films, iterating gives their ids, ``film in decade`` tells
    whether it has one. Ids are strings as in the JSON; an integer is taken for its text. Made by
    `Similarities.decade`; an open decade sees what a run adds to it.
    """

    def __init__(self, source: Source, stored: StoredDecade) -> None:
        super().__init__(source, stored)
        try:
            self._positions = {film: k for k, film in enumerate(stored.ids)}
        except DamagedError as error:
            raise self._damaged(str(error)) from None

    def __len__(self) -> int:
        return len(self._positions)

    def __iter__(self) -> Iterator[str]:
        return iter(self._stored.ids)

    def __contains__(self, film: object) -> bool:
        return _text(film) in self._positions

    def __repr__(self) -> str:
        computed = self._per_cent()
        return f"<{self.name}: {len(self):,} films, {self.n_pairs:,} pairs{computed}>"

    def __str__(self) -> str:
        return as_text([Table(HEAD, [self.table_row()])])

    def _repr_html_(self) -> str:
        return as_html([Table(HEAD, [self.table_row()])])

    def table_row(self) -> tuple[str, ...]:
        """Cells of the table that it prints as: approach, decade, films, pairs, computed."""
        return (
            shown(self.name.approach),
            f"{self.name.decade}s",
            f"{len(self):,}",
            f"{self.n_pairs:,}",
            per_cent(self.n_pairs_computed, self.n_pairs),
        )

    def __array__(self, dtype: object = None, copy: object = None) -> NoReturn:
        raise TypeError(
            f"{self.name} is no array: numpy.asarray(films.matrix()) has its similarities, "
            "films.ids its ids"
        )

    def __reduce__(self) -> tuple[Callable[..., "Decade"], tuple[Any, ...]]:
        return _open_again, (*self._source.absolute(), self.name, self._identity)

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
        self, film: FilmId, k: str | SupportsIndex = 10, *, partial: bool = False
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
            When `k` is no integer, or negative.
        """
        k = whole_number(k, "an integer of at least 0", least=0)
        row = self.row(film, partial=partial)
        order = np.argsort(-row, kind="stable")  # NaN comes last.
        order = order[: np.count_nonzero(~np.isnan(row))][:k]
        ids = self._stored.ids
        return [(ids[j], float(row[j])) for j in order]

    def _position(self, film: FilmId) -> int:
        text = _text(film)
        if text in self._positions:
            return self._positions[text]
        hint = ""
        if decades := self._source.decades_with(text, self.name.approach):
            hint = f"; it is in the {' and the '.join(decades)}"
        elif close := difflib.get_close_matches(text, self._stored.ids, cutoff=0.8):
            hint = f"; did you mean {' or '.join(map(shown, close))}?"
        raise NotFoundError(f"{self.name}: there is no film '{shown(text)}'{hint}")

    def _chunks_of_row(self, i: int) -> list[Chunk]:
        row, column = i // self._grid.height, i // self._grid.width
        above = [self._grid.chunk(k, column) for k in range(row)]
        return above + list(self._grid.chunks(row))


def _open_again(data: str, store: str, name: DecadeName, identity: str) -> Decade:
    """Open a decade where a pickled one has landed, if it is still the same."""
    source = open_source(data, store)
    record = source.record(name)
    if record is None or record.identity != identity:
        raise source.changed(name, record)
    return Decade(source, source.store.open(name, record))


def _text(film: object) -> str:
    return film if isinstance(film, str) else str(film)
