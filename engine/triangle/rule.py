"""The rule by which pairs are chosen, as a person gives it, and the selection that it comes to.

A similarity is a selection by itself. How strong the strongest per cent are, and which the best of
each film, is known when all similarities of a decade have been read.
"""

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from engine.triangle.quantiles import quantiles
from engine.triangle.selection import AtLeast, Every, Rows, Selection, above, among_best


@dataclass(frozen=True)
class Rule:
    """Which pairs are wanted: at most one of these is given, and without any it is every pair."""

    min_similarity: float | None = None
    """Those at or above."""
    top_percent: float | None = None
    """Those above the quantile ``1 - top_percent / 100`` of all pairs of a decade."""
    top_k: int | None = None
    """Those among the `top_k` best of either film, ties by file order."""

    @property
    def absolute(self) -> Every | AtLeast | None:
        """What it selects of any decade; None: all similarities must be known before one is."""
        if self.min_similarity is not None:
            return AtLeast(self.min_similarity)
        return Every() if self == EVERY_PAIR else None

    @property
    def relative(self) -> bool:
        """Whether all similarities of a decade must be known before one is judged."""
        return self.absolute is None

    @property
    def words(self) -> list[str]:
        """The option of the command line; nothing for every pair."""
        return [
            word
            for option, value in (
                ("--min-similarity", self.min_similarity),
                ("--top-percent", self.top_percent),
                ("--top-k", self.top_k),
            )
            if value is not None
            for word in (option, _text(value))
        ]

    @property
    def option(self) -> str:
        """The same in one text."""
        return " ".join(self.words)

    def __str__(self) -> str:
        if self.min_similarity is not None:
            return f"pairs ≥ {_text(self.min_similarity)}"
        if self.top_percent is not None:
            return f"the strongest {_text(self.top_percent)} % of the pairs"
        if self.top_k is not None:
            return f"pairs among the {self.top_k:,} best of either film"
        return "every pair"

    def most(self, n_films: int) -> int:
        """Most pairs that can be kept of a decade of so many films."""
        n_pairs = n_films * (n_films - 1) // 2
        if self.top_percent is not None:
            return math.ceil(n_pairs * self.top_percent / 100)
        if self.top_k is not None:
            return min(n_pairs, n_films * self.top_k)
        return n_pairs

    def selection(self, read: Callable[[], Iterable[Rows]], n_films: int) -> Selection:
        """Find out what it selects of a decade.

        Parameters
        ----------
        read
            Gives all rows of the triangle from the top; not called for a similarity or for every
            pair, once for the best of each film as long as these are few, and for the strongest per
            cent twice, or up to four times where very many similarities are very close.
        n_films
            How many films there are.
        """
        if self.top_percent is not None:
            part = (100 - self.top_percent) / 100
            return above(quantiles(lambda: (rows.known for rows in read()), [part])[0])
        if self.top_k is not None:
            return among_best(read, n_films, self.top_k)
        return self.absolute or Every()


EVERY_PAIR = Rule()


def _text(value: float) -> str:
    """Write a number as a person does who types it; read back it is the same."""
    return str(int(value)) if value == int(value) and abs(value) < 1e15 else repr(value)
