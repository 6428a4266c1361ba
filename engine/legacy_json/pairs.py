"""The text of a row-block: how long it is first, then the text itself, piece by piece.

In two steps because the offset of a text in the output is known only when the lengths of those
before it are. Natively, the digits of all values are found in the first step and written, with the
ids, in the second. In Python, the first step formats the numbers of each row.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate, compress
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from engine import native
from engine.legacy_json.text import numbers_text, pair_prefix, pair_suffix, row_length, row_text

BUFFER = 2**18
"""Bytes of a piece of native text: what stays in the L2 cache until it is written."""
_LONGEST_NUMBER = 64
"""More than a number takes with what is written beside it."""

if native.text:
    native.text.load_powers(native.powers_of_ten())


Piece: TypeAlias = bytes | NDArray[np.uint8]
"""Bytes of a text."""


class FilmTexts:
    """The ids of the films of a decade as the pieces of text that they are in each pair."""

    def __init__(self, ids: Sequence[str]) -> None:
        self.ids = ids
        self.suffixes = [pair_suffix(film) for film in ids]
        self.ends = np.array([0, *accumulate(map(len, self.suffixes))], dtype=np.int64)
        self.joined = b"".join(self.suffixes) if native.text else b""

    def block(
        self, film: int, values: NDArray[np.float64], min_similarity: float | None
    ) -> "BlockText":
        """Prepare the text of a row-block.

        Parameters
        ----------
        film
            Number of the film in its first row.
        values
            (rows, columns), contiguous; the last column is that of the last film. The cells of
            later films than that of the row are its pairs.
        min_similarity
            Leave pairs below out; None: keep all.
        """
        way = NativeText if native.text else PythonText
        return way(self, film, values, min_similarity)


class NativeText:
    """By `text.c`."""

    def __init__(
        self,
        films: FilmTexts,
        film: int,
        values: NDArray[np.float64],
        min_similarity: float | None,
    ) -> None:
        assert native.text
        self._write = native.text.write
        lowest = np.nan if min_similarity is None else min_similarity
        words = np.empty(values.shape, dtype=np.uint64)  # What is known of each value.
        self._block = (films.joined, films.ends, values, words, values.shape[1], film, lowest)
        longest = int(np.diff(films.ends).max(initial=0))
        self._size = max(BUFFER, 2 * longest + _LONGEST_NUMBER)
        self._n_rows = len(values)
        self.length, self.n_pairs = native.text.measure(*self._block)

    def pieces(self) -> Iterator[NDArray[np.uint8]]:
        """Write it, piece by piece."""
        row = column = 0
        while row < self._n_rows:
            buffer = np.empty(self._size, dtype=np.uint8)
            length, row, column = self._write(*self._block, buffer, row, column)
            if length:
                yield buffer[:length]


@dataclass(frozen=True)
class _Row:
    """The pairs of one film with later ones, numbers formatted."""

    film: int
    n_pairs: int
    numbers: bytes
    length: int
    """Bytes of its text."""
    kept: list[bool] | None
    """Which of the later films; None: all."""


class PythonText:
    """By numpy, orjson and Python."""

    def __init__(
        self,
        films: FilmTexts,
        film: int,
        values: NDArray[np.float64],
        min_similarity: float | None,
    ) -> None:
        self._films = films
        self._rows = list(_rows(films, film, values, min_similarity))
        self.length = sum(row.length for row in self._rows)
        self.n_pairs = sum(row.n_pairs for row in self._rows)

    def pieces(self) -> Iterator[bytes]:
        """Put it together, a row at a time."""
        for row in self._rows:
            suffixes = self._films.suffixes[row.film + 1 :]
            if row.kept is not None:
                suffixes = list(compress(suffixes, row.kept))
            yield row_text(pair_prefix(self._films.ids[row.film]), suffixes, row.numbers)


BlockText: TypeAlias = NativeText | PythonText
"""The text of the pairs of a row-block: its `length` in bytes, `n_pairs`, and its `pieces`."""


def _rows(
    films: FilmTexts, start: int, values: NDArray[np.float64], min_similarity: float | None
) -> Iterator[_Row]:
    n, width = len(films.ids), values.shape[1]
    for film in range(start, min(start + len(values), n - 1)):
        numbers = values[film - start, film + 1 - (n - width) :]
        suffixes_length, kept = int(films.ends[n] - films.ends[film + 1]), None
        if min_similarity is not None:
            chosen = numbers >= min_similarity
            numbers, kept = numbers[chosen], chosen.tolist()
            suffixes_length = sum(map(len, compress(films.suffixes[film + 1 :], kept)))
        if m := len(numbers):
            text = numbers_text(numbers)
            prefix = pair_prefix(films.ids[film])
            yield _Row(film, m, text, row_length(prefix, suffixes_length, m, text), kept)
