"""Exact quantiles, and what else describes many numbers, in memory that does not grow with them.

The bits of a float64, read as an integer, stand in the order of the numbers when those of negative
numbers are turned. A first reading counts how often each beginning of 20 bits occurs, which leaves
one bin for each rank that is looked for; a second takes the numbers in that bin, or, if they are
still too many, counts by the next 20 bits.
"""

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

Read: TypeAlias = Callable[[], Iterable[NDArray[np.float64]]]
"""Gives all numbers, the same each time, in pieces (m,) without NaN."""

BITS = 20
"""Of a key that are looked at in one reading: 8 MiB of counts."""
FEW = 2**21
"""Numbers that may be held at once: 16 MiB, as many as a row-block has."""
_SIGN = np.uint64(2**63)


@dataclass(frozen=True)
class _Bin:
    """The numbers whose keys have the same first bits."""

    prefix: int = 0
    rest: int = 64
    """Number of bits after the prefix."""
    below: int = 0
    """Numbers before those of the bin."""
    count: int = 0
    """Numbers in it."""

    @property
    def _width(self) -> int:
        return min(BITS, self.rest)

    def members(self, keys: NDArray[np.uint64]) -> NDArray[np.bool_] | slice:
        """Tell which numbers are in the bin."""
        return slice(None) if self.rest == 64 else keys >> np.uint64(self.rest) == self.prefix

    def counts(self, keys: NDArray[np.uint64]) -> NDArray[np.int64]:
        """Count the numbers of the bin by the next bits of their keys."""
        bits = keys[self.members(keys)] >> np.uint64(self.rest - self._width)
        bits &= np.uint64(2**self._width - 1)
        return np.bincount(bits.astype(np.int64), minlength=2**self._width)

    def narrowed(self, counts: NDArray[np.int64], rank: int) -> "_Bin":
        """Find, by the counts of the next bits, the part of the bin that holds a rank."""
        cumulated = np.cumsum(counts)
        bits = int(np.searchsorted(cumulated, rank - self.below, side="right"))
        count = int(counts[bits])
        below = self.below + int(cumulated[bits]) - count
        return _Bin(self.prefix << self._width | bits, self.rest - self._width, below, count)


def quantiles(read: Read, parts: Sequence[float]) -> list[float]:
    """Find the numbers below which parts of all numbers lie.

    Parameters
    ----------
    read
        Gives all numbers; called twice, or up to four times where very many are very close.
    parts
        Each from 0 to 1.

    Returns
    -------
    list[float]
        To the bit what `numpy.quantile` gives by its default, linear interpolation between the two
        nearest ranks; NaN of no numbers.
    """
    everything = _Bin()
    counts = _counted(read, [everything])[everything]
    n = int(counts.sum())
    if n == 0:
        return [math.nan for _ in parts]
    positions = [(n - 1) * part for part in parts]
    # The number after it counts even for a position that is a rank: beside infinity numpy has NaN.
    between = {x: (math.floor(x), min(math.floor(x) + 1, n - 1)) for x in positions}
    ranks = {rank for two in between.values() for rank in two}
    found = _at_ranks(read, {rank: everything.narrowed(counts, rank) for rank in ranks})
    # Between inf and inf numpy finds NaN, and warns.
    with np.errstate(over="ignore", invalid="ignore"):
        return [
            float(np.quantile([found[rank] for rank in between[x]], x - math.floor(x)))
            for x in positions
        ]


def _at_ranks(read: Read, bins: dict[int, _Bin]) -> dict[int, float]:
    """Find the number at each rank, in ascending order and from 0, of which the bin is known."""
    found: dict[int, float] = {}
    while bins:
        known = {rank: each for rank, each in bins.items() if not each.rest}
        found |= {rank: _number(each.prefix) for rank, each in known.items()}
        few = {each for each in bins.values() if each.rest and each.count <= FEW}
        many = {each for each in bins.values() if each.rest and each.count > FEW}
        held: dict[_Bin, list[NDArray[np.float64]]] = {each: [] for each in few}
        counts = _counted(read, many, held) if few or many else {}
        members = {each: np.sort(np.concatenate(pieces)) for each, pieces in held.items()}
        for rank, each in bins.items():
            if each in few:
                found[rank] = float(members[each][rank - each.below])
        bins = {
            rank: each.narrowed(counts[each], rank) for rank, each in bins.items() if each in many
        }
    return found


def _counted(
    read: Read, bins: Iterable[_Bin], held: dict[_Bin, list[NDArray[np.float64]]] | None = None
) -> dict[_Bin, NDArray[np.int64]]:
    """Read once: count the numbers of some bins by their next bits, and take those of others."""
    counts = {each: np.zeros(2**each._width, dtype=np.int64) for each in bins}
    for numbers in read():
        keys = _keys(numbers)
        for each in counts:
            counts[each] += each.counts(keys)
        for each, pieces in (held or {}).items():
            pieces.append(numbers[each.members(keys)])
    return counts


def _keys(numbers: NDArray[np.float64]) -> NDArray[np.uint64]:
    """Integers in the order of the numbers."""
    bits = numbers.view(np.uint64)
    negative = bits >= _SIGN
    return np.where(negative, ~bits, bits | _SIGN)


def _number(key: int) -> float:
    bits = key ^ 2**63 if key >= 2**63 else key ^ (2**64 - 1)
    return float(np.uint64(bits).view(np.float64))


def describe(read: Read) -> dict[str, float]:
    """Describe numbers as `pandas.Series.describe` does.

    Parameters
    ----------
    read
        Gives all numbers; called once more than by `quantiles`.

    Returns
    -------
    dict[str, float]
        ``count``, ``mean``, ``std`` (of a sample: the sum of squares is divided by one less than
        the count), ``min``, ``25%``, ``50%``, ``75%`` and ``max``; what too few numbers do not
        have is NaN.
    """
    count, mean, squares = 0, 0.0, 0.0
    low, high = math.inf, -math.inf
    for numbers in filter(len, read()):
        # Two sets are put together by their means (Chan, Golub and LeVeque, 1979): the plain sum
        # of squares would lose half of the digits.
        n = len(numbers)
        # What is too large for a float64 is inf or NaN here, as pandas has it.
        with np.errstate(over="ignore", invalid="ignore"):
            own = float(numbers.mean())
            squares += float(((numbers - own) ** 2).sum())
        between = own - mean
        if count:  # Else it is no distance, and the square of a large number would be infinite.
            squares += between * between * (count * n / (count + n))
        mean += between * n / (count + n)
        count += n
        low, high = min(low, float(numbers.min())), max(high, float(numbers.max()))
    quarters = quantiles(read, (0.25, 0.5, 0.75))
    return {
        "count": float(count),
        "mean": mean if count else math.nan,
        "std": math.sqrt(squares / (count - 1)) if count > 1 else math.nan,
        "min": low if count else math.nan,
        **dict(zip(("25%", "50%", "75%"), quarters, strict=True)),
        "max": high if count else math.nan,
    }
