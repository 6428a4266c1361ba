"""Which pairs are strong: the rules, as functions of whole rows of the triangle.

A pair is kept when it is at or above a similarity, or when it is among the best of either of its
films. Rows come one row-block after another, so no rule needs more memory than a row-block and
what it keeps.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

HELD = 2**21
"""Best films of films that may be held at once, at some 60 bytes each."""


class Rows(NamedTuple):
    """Whole rows of the upper triangle, as a row-block has them."""

    start: int
    """Film of the first row."""
    left: int
    """Film of the first column; the last column is that of the last film."""
    values: NDArray[np.float64]
    """(rows, n_films - left), NaN where a cell is no pair, or its similarity is not known."""

    @property
    def films(self) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
        """Films of the rows, as a column, and of the columns, as a row."""
        n_rows, n_columns = self.values.shape
        first, second = np.ogrid[
            self.start : self.start + n_rows, self.left : self.left + n_columns
        ]
        return first, second

    @property
    def known(self) -> NDArray[np.float64]:
        """(m,), the similarities that are numbers, as pandas describes them."""
        return self.values[~np.isnan(self.values)]


class Pairs(NamedTuple):
    """Pairs of films, in the order of the JSON: ``i, j, values = films.pairs(top_k=10)``."""

    i: NDArray[np.intp]
    """(m,), place of the first film of each pair in `Decade.ids`."""
    j: NDArray[np.intp]
    """(m,), of the second, which is always the later one."""
    values: NDArray[np.float64]
    """(m,), similarities."""


@dataclass(frozen=True)
class Every:
    """Keep every pair, also one whose similarity is NaN."""

    def keeps(self, rows: Rows) -> NDArray[np.bool_]:
        """Tell which cells are kept, (rows, n_films - left)."""
        first, second = rows.films
        return first < second


@dataclass(frozen=True)
class AtLeast:
    """Keep the pairs at or above a similarity; none when it is NaN."""

    min_similarity: float

    def keeps(self, rows: Rows) -> NDArray[np.bool_]:
        """Tell which cells are kept, (rows, n_films - left)."""
        return rows.values >= self.min_similarity


@dataclass(frozen=True)
class AmongBest:
    """Keep the pairs that are among the k best of either film, ties by file order.

    For each film it is enough to know the last of its k best: what is more similar is kept, and of
    what is as similar that which stands no later in the file.
    """

    similarity: NDArray[np.float64]
    """(n_films,), of each film with the last of its k best; -inf when it has fewer."""
    film: NDArray[np.intp]
    """(n_films,), which film that is; n_films when it has fewer."""

    def keeps(self, rows: Rows) -> NDArray[np.bool_]:
        """Tell which cells are kept, (rows, n_films - left)."""
        values, (first, second) = rows.values, rows.films
        kept = np.asarray(values >= np.minimum(self.similarity[first], self.similarity[second]))
        # Few are left, of which it takes longer to tell.
        i, j = np.nonzero(kept)
        left, of = values[i, j], (i + rows.start, j + rows.left)
        kept[i, j] = False
        for film, other in (of, of[::-1]):
            least = self.similarity[film]
            kept[i, j] |= (left > least) | ((left == least) & (other <= self.film[film]))
        return kept


Selection: TypeAlias = Every | AtLeast | AmongBest


def kept_pairs(selection: Selection, rows: Rows) -> Pairs:
    """List the pairs that are kept of some rows, in the order of the JSON."""
    i, j = np.nonzero(selection.keeps(rows))
    return Pairs(i + rows.start, j + rows.left, rows.values[i, j])


def above(threshold: float) -> AtLeast:
    """Keep the pairs strictly above a similarity: at least the next float after it.

    Nothing is above infinity, or above what is not a number.
    """
    return AtLeast(float(np.nextafter(threshold, np.inf)) if threshold < np.inf else np.nan)


def among_best(read: Callable[[], Iterable[Rows]], n_films: int, k: int) -> AtLeast | AmongBest:
    """Find for each film the last of its `k` best.

    Parameters
    ----------
    read
        Gives all rows from the top; called once as long as the best of all films are few, and else
        once for as many films as may be held. Not at all when the best are all, or none.
    n_films, k
        How many films there are, and how many are the best of each.
    """
    if k < 1 or k >= n_films - 1:
        return AtLeast(-np.inf if k else np.nan)
    similarity, film = np.empty(n_films), np.empty(n_films, dtype=np.intp)
    for start in range(0, n_films, max(1, HELD // k)):
        part = range(start, min(start + max(1, HELD // k), n_films))
        films, values = nearest(read(), n_films, k, part)
        fewer = films[:, -1] < 0
        similarity[part.start : part.stop] = np.where(fewer, -np.inf, values[:, -1])
        film[part.start : part.stop] = np.where(fewer, n_films, films[:, -1])
    return AmongBest(similarity, film)


def nearest(
    rows: Iterable[Rows], n_films: int, k: int, part: range | None = None
) -> tuple[NDArray[np.intp], NDArray[np.float64]]:
    """Find the `k` most similar films of every film.

    Parameters
    ----------
    rows
        All rows of the triangle, in their order.
    n_films, k
        How many films there are, and how many are wanted of each.
    part
        Of which films, one after another; of all by default.

    Returns
    -------
    tuple[NDArray[np.intp], NDArray[np.float64]]
        Films and similarities, both (len(part), min(k, n_films - 1)), the most similar first and
        equal ones in file order. Where a film has fewer the film is -1 and the similarity NaN.
    """
    part = range(n_films) if part is None else part
    k = max(0, min(k, n_films - 1))
    films = np.full((len(part), k), -1, dtype=np.intp)
    # Negated, so that the best is the least, and NaN, which numpy sorts last, the worst.
    distances = np.full((len(part), k), np.nan)
    for start, left, values in rows if k else ():
        if start >= part.stop:
            break  # The rows from here on are of later films.
        # What a film has so far stands before what comes now in the file: first the films above it,
        # as row after row comes, and last, with its own row, those to the right of it.
        columns = np.arange(max(left, part.start), max(left, part.stop))
        above = -values[:, columns - left]
        # A tie with the last of the best changes nothing, as the film there comes first.
        better = ~(np.fmin.reduce(above, axis=0) >= distances[columns - part.start, -1])
        columns = columns[better] - part.start
        _improve(films, distances, columns, start, np.ascontiguousarray(above.T[better]))
        own = np.arange(max(start, part.start), min(start + len(values), part.stop))
        _improve(films, distances, own - part.start, left, -values[own - start])
    films[np.isnan(distances)] = -1
    return films, -distances


def _improve(
    films: NDArray[np.intp],
    distances: NDArray[np.float64],
    of: NDArray[np.intp],
    first: int,
    candidates: NDArray[np.float64],
) -> None:
    """Put the best of some candidates, which stand later in the file, among the best so far.

    Parameters
    ----------
    films, distances
        The best so far of some films, (m, k).
    of
        (f,): of which of those.
    first
        The film of the first candidate.
    candidates
        (f, c): their distances from the films first, first + 1, ...
    """
    k = films.shape[1]
    columns = _least(candidates, k)
    both = np.concatenate([distances[of], np.take_along_axis(candidates, columns, 1)], axis=1)
    names = np.concatenate([films[of], first + columns], axis=1)
    order = np.argsort(both, axis=1, kind="stable")[:, :k]
    distances[of] = np.take_along_axis(both, order, 1)
    films[of] = np.take_along_axis(names, order, 1)


def _least(values: NDArray[np.float64], k: int) -> NDArray[np.intp]:
    """Columns of the `k` least of each row, in ascending order; NaN is the largest."""
    if values.shape[1] <= k:
        return np.broadcast_to(np.arange(values.shape[1]), values.shape)
    columns = np.argpartition(values, k - 1, axis=1)[:, :k]
    last = np.take_along_axis(values, columns[:, k - 1 :], 1)
    # Of values equal to the last any may have come; they are to be the first of them.
    tied = np.flatnonzero(np.count_nonzero(values <= last, axis=1) > k)
    columns[tied] = np.argsort(values[tied], axis=1, kind="stable")[:, :k]
    columns.sort(axis=1)
    return columns
