"""The figures of a decade as HTML: its numbers, its histogram, its heat map.

Lengths are parts of what there is, so that a figure is as wide as the window lets it be, and all
text is text of the page. Colours stand in the style sheet, which has others for dark windows; what
they tell is told by light and dark, by lines and by words as well.
"""

import base64
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from html import escape

import numpy as np
from numpy.typing import NDArray

from engine.page.section import HeatMap, Section, ramp
from engine.query.overview import bin_edges, round_step
from engine.tables import count

_NUMBERS = (
    ("lowest", "min"),
    ("25th percentile", "25%"),
    ("median", "50%"),
    ("mean", "mean"),
    ("75th percentile", "75%"),
    ("highest", "max"),
)
"""What the page calls what `Decade.describe` has."""


@dataclass(frozen=True)
class Axes:
    """What the histograms of an approach have in common."""

    edges: NDArray[np.float64]
    top: float
    """Per cent of the pairs in the highest bin of all."""

    def x(self, similarity: float) -> float:
        """Per cent of the way from the left end to the right one."""
        low, high = self.edges[[0, -1]]
        with np.errstate(over="ignore", invalid="ignore"):
            per_cent = 100 * (similarity - low) / (high - low)
        return 100.0 if math.isnan(per_cent) else float(np.clip(per_cent, 0, 100))


def common_axes(sections: Sequence[Section]) -> Axes:
    """Find the axes on which the histograms of some decades can be compared."""
    distributions = [section.distribution for section in sections]
    edges = bin_edges(distributions)
    return Axes(edges, max(float(shown.share(edges).max()) for shown in distributions) or 1.0)


def number(value: float) -> str:
    """Write a similarity to four decimals, or four digits where these would be none or many."""
    if not math.isfinite(value):
        return "–" if math.isnan(value) else f"{value}"
    return f"{value:.4f}" if value == 0 or 1e-3 <= abs(value) < 1e3 else f"{value:.4g}"


def numbers(section: Section) -> str:
    """List films, pairs and what describes their similarities."""
    shown = section.distribution
    entries = [("films", f"{shown.n_films:,}"), ("pairs", f"{shown.n_pairs:,}")]
    entries += [(label, number(section.described[key])) for label, key in _NUMBERS]
    rows = (f"<div><dt>{label}</dt><dd>{value}</dd></div>" for label, value in entries)
    return f'<dl class="numbers">{"".join(rows)}</dl>'


def bars(section: Section, axes: Axes) -> str:
    """Draw the bars of a histogram, the most similar quarter of the pairs darker."""
    shares = section.distribution.share(axes.edges)
    n = len(shares)
    heights = 100 * (1 - shares / axes.top)
    percentile = n * axes.x(section.described["75%"]) / 100 if section.heat_map else n
    first = min(int(percentile), n - 1)
    # The bin that the percentile falls into is divided there.
    lower = _steps(heights[: first + 1], [*range(first + 1), percentile])
    upper = _steps(heights[first:], [percentile, *range(first + 1, n + 1)])
    return (
        f'<svg class="bars" viewBox="0 0 {n} 100" preserveAspectRatio="none" aria-hidden="true">'
        f'<path class="lower" d="{lower}"/><path class="upper" d="{upper}"/></svg>'
    )


def _steps(heights: NDArray[np.float64], edges: Sequence[float]) -> str:
    steps = (f"V{y:.4g}H{x:.4g}" for y, x in zip(heights, edges[1:], strict=True))
    return f"M{edges[0]:.4g} 100{''.join(steps)}V100Z"


def histogram(section: Section, axes: Axes) -> str:
    """Draw the distribution of the similarities with median and 75th percentile."""
    parts = [bars(section, axes), *_scales(axes)]
    if section.heat_map:
        parts.append(_mark(section, axes, "median", "50%"))
        parts.append(_mark(section, axes, "75th percentile", "75%"))
    width = f"{axes.edges[1] - axes.edges[0]:g}"
    return (
        '<figure class="distribution"><figcaption>How similar its pairs are</figcaption>'
        f'<p class="axis">% of the pairs per {width} of similarity</p>'
        f'<div class="plot" role="img" aria-label="{escape(_in_words(section, axes))}">'
        f'{"".join(parts)}</div><p class="axis across">similarity of a pair of films</p>'
        '<p class="key"><span class="swatch upper"></span> the most similar quarter of the pairs'
        "</p></figure>"
    )


def _scales(axes: Axes) -> Iterator[str]:
    """Write round numbers along both axes."""
    step = round_step(axes.top / 2)
    for share in np.arange(1, axes.top / step) * step:
        yield f'<span class="share" style="--y:{100 * share / axes.top:.4g}">{share:g}</span>'
    low, high = axes.edges[[0, -1]]
    step = round_step((high - low) / 3)
    if high - low > 4.01 * step:  # Labels of more than five would touch in a narrow window.
        step = round_step(2.6 * step)
    for k in range(math.ceil(low / step - 1e-6), math.floor(high / step + 1e-6) + 1):
        # 3 * 0.1 is not 0.3.
        label = f"{round(k * step, 12):g}"
        yield f'<span class="tick" style="--x:{axes.x(k * step):.4g}">{label}</span>'


def _mark(section: Section, axes: Axes, label: str, key: str) -> str:
    """Stand a line on its bar, which it leaves whole, and write beside it where there is room."""
    value = section.described[key]
    x = axes.x(value)
    shares = section.distribution.share(axes.edges)
    share = shares[min(int(x / 100 * len(shares)), len(shares) - 1)]
    side = "left" if x > 50 else "right"
    kind = "median" if key == "50%" else "percentile"
    return (
        f'<span class="mark {kind} {side}" style="--x:{x:.4g};--y:{100 * share / axes.top:.4g}">'
        f"<span>{label} <b>{number(value)}</b></span></span>"
    )


def _in_words(section: Section, axes: Axes) -> str:
    shown = section.distribution
    if not section.heat_map:
        return "Histogram without a pair."
    most = int(np.argmax(shown.share(axes.edges)))
    low, high = (number(float(edge)) for edge in axes.edges[most : most + 2])
    quarter, half, rest = (number(section.described[key]) for key in ("25%", "50%", "75%"))
    return (
        f"Histogram of the similarities of {count(shown.n_counted, 'pair')}: a quarter lies below "
        f"{quarter}, half below the median of {half}, and a quarter above the 75th percentile of "
        f"{rest}. The highest bar is from {low} to {high}."
    )


def heat_map(section: Section) -> str:
    """Show which films are alike."""
    drawn = section.heat_map
    if drawn is None:
        return ""
    films = count(section.distribution.n_films, "film")
    alternative = (
        f"Heat map of the similarities of {films} with each other, ordered so that similar ones "
        "stand together: light squares along the diagonal are groups of films that are alike. "
        "The table below can be sorted in this order."
    )
    return (
        '<figure class="heat"><figcaption>Which films are alike</figcaption>'
        f'<img class="map" alt="{alternative}" src="{_as_url(drawn.png)}">'
        f'<p class="ramp"><span>≤ {number(drawn.low)}</span><img alt="" src="{_as_url(ramp())}">'
        f"<span>≥ {number(drawn.high)}</span></p>"
        f'<p class="key">{_explained(section, drawn)}</p></figure>'
    )


def _explained(section: Section, drawn: HeatMap) -> str:
    text = (
        "The films, down and across, in an order in which similar ones stand together. The "
        "lighter, the more similar"
    )
    if drawn.together > 1:
        text += f"; each dot is the mean of {drawn.together} × {drawn.together} films"
    hatched = ["what is not computed yet"] if section.distribution.per_cent < 100 else []
    if section.distribution.n_beyond:
        hatched.append("what cannot be drawn")
    if drawn.together == 1:
        hatched.append("a film and itself, which are no pair")
    return f"{text}. Hatched: {', '.join(hatched)}." if hatched else f"{text}."


def _as_url(png: bytes) -> str:
    return f"data:image/png;base64,{base64.b64encode(png).decode('ascii')}"
