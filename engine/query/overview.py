"""What pictures of a decade are made of: a distribution, and a matrix of ordered films made small.

All is read chunk by chunk, so that memory does not grow with the number of pairs; only the
vectors are held whole, to find an order.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from engine.data_folder import DecadeName
from engine.query.decade import Decade
from engine.triangle.blas import one_blas_thread

FINE_BINS = 2**16
"""Bins in which quantiles are looked for."""
FEWEST_BINS = 40
"""Of a histogram; the width of each is a round number."""
_LARGEST = 1e300
"""What can still be drawn: differences, sums and per cents of it are no infinity."""
_NARROWEST = 1e-300
"""What can still be divided into `FINE_BINS`."""
_COMPONENTS = 32
"""Directions in which films are compared when they are ordered."""


@dataclass(frozen=True)
class Distribution:
    """How often each similarity occurs in a decade, in `FINE_BINS` bins of equal width."""

    name: DecadeName
    n_films: int
    n_pairs: int
    counts: NDArray[np.int64]
    """(FINE_BINS,), of the pairs that are computed and can be drawn."""
    low: float
    """Left edge of the first bin: the lowest similarity."""
    high: float
    """Right edge of the last bin: the highest similarity."""
    n_beyond: int = 0
    """Number of pairs that are computed and in no bin: too large, or no number."""

    @property
    def n_counted(self) -> int:
        """Number of pairs in the bins."""
        return int(self.counts.sum())

    @property
    def per_cent(self) -> int:
        """How many of a hundred pairs are computed, rounded down."""
        return 100 * (self.n_counted + self.n_beyond) // self.n_pairs if self.n_pairs else 100

    @property
    def centres(self) -> NDArray[np.float64]:
        """Middle of each bin."""
        width = (self.high - self.low) / FINE_BINS
        return self.low + (np.arange(FINE_BINS, dtype=np.float64) + 0.5) * width

    def quantile(self, part: float) -> float:
        """Find the similarity below which a part of the pairs lies.

        Parameters
        ----------
        part
            For instance 0.75.

        Returns
        -------
        float
            What ``numpy.quantile`` gives for all pairs, within half the width of a bin: 1.5e-5
            or less for vectors of unit length. NaN when there is no pair.
        """
        if not self.n_counted:
            return math.nan
        rank = part * (self.n_counted - 1)
        cumulated = np.cumsum(self.counts)
        below, above = np.searchsorted(cumulated, [math.floor(rank), math.ceil(rank)], "right")
        lower, upper = self.centres[below], self.centres[above]
        return float(lower + (rank % 1) * (upper - lower))

    def share(self, edges: NDArray[np.float64]) -> NDArray[np.float64]:
        """Per cent of the pairs in each bin of a picture."""
        counted, _ = np.histogram(self.centres, edges, weights=self.counts.astype(np.float64))
        shares: NDArray[np.float64] = 100 * counted / max(1, self.n_counted)
        return shares


def measure(films: Decade) -> Distribution:
    """Count the similarities of a decade, reading all that is computed of it, twice."""
    low, high, n_computed = math.inf, -math.inf, 0
    for chunk, values in films.chunks(partial=True):
        drawn = values[_drawable(values)]
        low = min(low, float(drawn.min(initial=math.inf)))
        high = max(high, float(drawn.max(initial=-math.inf)))
        n_computed += chunk.n_pairs
    counts = np.zeros(FINE_BINS, dtype=np.int64)
    if low > high:  # No pair at all.
        return Distribution(films.name, len(films), films.n_pairs, counts, 0.0, 1.0, n_computed)
    if high - low < _NARROWEST:
        low = min(np.nextafter(low, -np.inf), low - _NARROWEST)
        high = max(np.nextafter(high, np.inf), high + _NARROWEST)
    scale, n_computed = FINE_BINS / (high - low), 0
    for chunk, values in films.chunks(partial=True):
        drawn = values[_drawable(values)]
        n_computed += chunk.n_pairs
        bins = ((drawn - low) * scale).astype(np.int64)
        # What a run has added since the first reading may lie outside, too.
        np.clip(bins, 0, FINE_BINS - 1, out=bins)
        counts += np.bincount(bins, minlength=FINE_BINS)
    n_beyond = n_computed - int(counts.sum())
    return Distribution(films.name, len(films), films.n_pairs, counts, low, high, n_beyond)


def _drawable(values: NDArray[np.float64]) -> NDArray[np.bool_]:
    return np.asarray(np.abs(values) <= _LARGEST)


def bin_edges(distributions: Sequence[Distribution]) -> NDArray[np.float64]:
    """Divide what the similarities of some decades have in common into bins of a round width."""
    counted = [shown for shown in distributions if shown.n_counted]
    low = min((shown.quantile(0.0005) for shown in counted), default=0.0)
    high = max((shown.high for shown in counted), default=1.0)
    low, high = _apart(low, high)
    each = round_step((high - low) / FEWEST_BINS)
    # A highest similarity of 1.0000000000000002 needs no bin beyond 1.
    first, last = math.floor(low / each), math.ceil(high / each - 1e-6)
    return each * np.arange(first, last + 1, dtype=np.float64)


def colour_range(image: NDArray[np.float64]) -> tuple[float, float]:
    """Find which similarities the ends of the colours of a heat map stand for.

    The few that are far from all others would leave no colours for these.
    """
    return _apart(*np.quantile(image[np.isfinite(image)], [0.02, 0.98]))


def _apart(low: float, high: float) -> tuple[float, float]:
    """The ends of a scale, which must differ also where all similarities are the same."""
    if high - low > 1e-9 * max(abs(low), abs(high)):
        return low, high
    margin = 0.05 * max(abs(low), abs(high)) or 0.05
    return low - margin, high + margin


def round_step(step: float) -> float:
    """Find the round number (1, 2 or 5 times a power of ten) next below."""
    power = 10.0 ** math.floor(math.log10(step))
    return max(factor for factor in (1, 2, 5) if factor * power <= step) * power


def order_films(vectors: NDArray[np.float64], together: int = 1) -> NDArray[np.intp]:
    """Order films so that similar ones stand together.

    Films are split in two again and again, each time along the direction in which they differ
    most (the principal direction divisive partitioning of D. Boley, 1998) and then to the nearer
    of the two means; of two halves the one more like its neighbour outside stands beside it.

    Parameters
    ----------
    vectors
        (n_films, n_dimensions).
    together
        Groups of so many films are not split; within them the order stays that of the file.

    Returns
    -------
    NDArray[np.intp]
        (n_films,), a permutation: which film stands at which place.
    """
    points = _principal(vectors)
    # For matrices as small as those to come threads cost more than they bring.
    with one_blas_thread():
        return _in_order(points, together)


def _in_order(points: NDArray[np.float64], together: int) -> NDArray[np.intp]:
    ordered: list[NDArray[np.intp]] = []
    # Each group with the means of its neighbours to the left and right; the leftmost on top.
    groups: list[tuple[NDArray[np.intp], list[NDArray[np.float64]], list[NDArray[np.float64]]]]
    groups = [(np.arange(len(points)), [], [])]
    while groups:
        films, left, right = groups.pop()
        second = _second_half(points[films]) if len(films) > together else np.array([False])
        if not 0 < np.count_nonzero(second) < len(films):
            ordered.append(films)
            continue
        halves = [films[~second], films[second]]
        means = [points[half].mean(axis=0) for half in halves]
        straight = _distance(means[0], left) + _distance(means[1], right)
        if straight > _distance(means[1], left) + _distance(means[0], right):
            halves.reverse()
            means.reverse()
        groups.append((halves[1], means[:1], right))
        groups.append((halves[0], left, means[1:]))
    return np.concatenate(ordered)


def _principal(vectors: NDArray[np.float64]) -> NDArray[np.float64]:
    """The vectors in as few dimensions as show how they differ."""
    # Only directions count; without a common scale numbers like 1e200 would overflow, here in the
    # sum, and then in the product.
    centred = vectors / max(1.0, float(np.abs(vectors).max(initial=0.0)) / 1e150)
    centred -= centred.mean(axis=0)
    centred /= np.abs(centred).max(initial=np.finfo(np.float64).tiny)
    _, directions = np.linalg.eigh(centred.T @ centred)
    points: NDArray[np.float64] = centred @ directions[:, -_COMPONENTS:]
    return points


def _second_half(points: NDArray[np.float64]) -> NDArray[np.bool_]:
    second: NDArray[np.bool_]
    centred = points - points.mean(axis=0)
    direction = np.linalg.eigh(centred.T @ centred)[1][:, -1]
    # An eigenvector has no sign of its own: the largest part is made positive.
    second = centred @ direction * np.sign(direction[np.argmax(np.abs(direction))]) > 0
    for _ in range(10):
        if not 0 < np.count_nonzero(second) < len(second):
            break
        means = [points[~second].mean(axis=0), points[second].mean(axis=0)]
        distances = [((points - mean) ** 2).sum(axis=1) for mean in means]
        second = distances[1] < distances[0]
    return second


def _distance(point: NDArray[np.float64], others: list[NDArray[np.float64]]) -> float:
    return sum(float(np.linalg.norm(point - other)) for other in others)


def mean_by_pixel(films: Decade, order: NDArray[np.intp], together: int) -> NDArray[np.float64]:
    """Reduce the matrix of similarities to an image.

    Parameters
    ----------
    films
        The decade; what is computed of it is read once.
    order
        (len(films),): which film stands at which place.
    together
        How many films share a row, and a column, of the image.

    Returns
    -------
    NDArray[np.float64]
        (pixels, pixels), symmetric: the mean of the similarities of the pairs whose films stand
        in a pixel's row and column; NaN where there are none.
    """
    pixels = -(-len(films) // together)
    pixel = np.empty(len(films), dtype=np.intp)
    pixel[order] = np.arange(len(films)) // together
    sums, counts = np.zeros((2, pixels**2))
    for chunk, values in films.chunks(partial=True):
        rows, columns = pixel[chunk.start : chunk.stop], pixel[chunk.left : chunk.right]
        indices = rows[:, None] * pixels + columns
        known = _drawable(values)
        np.add.at(sums, indices[known], values[known])
        np.add.at(counts, indices[known], 1.0)
    cells = (pixels, pixels)
    # Of a pair either film may stand first.
    sums, counts = (part.reshape(cells) + part.reshape(cells).T for part in (sums, counts))
    image = np.full(cells, np.nan)
    np.divide(sums, counts, out=image, where=counts > 0)
    return image
