"""Pictures of similarities: their distribution in each decade, and which films are alike.

Drawn from what `engine.query.overview` has counted; where a run has not finished, the picture says
how much of it is there. Needs matplotlib, which is an extra.
"""

import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal, TypeAlias

import matplotlib
import numpy as np
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray
from PIL import Image  # comes with matplotlib

from engine.disk import write_whole
from engine.errors import shown as printable
from engine.query.overview import Distribution, bin_edges, colour_range

PIXELS = 500
"""Most rows and columns of a heat map."""
UPPER, LOWER, MEDIAN, PERCENTILE = "#e69f00", "#a6c8e4", "#0b3c6f", "#8a4b00"
"""Colours of the most similar quarter, of the other pairs, and of the lines at quantiles."""
MISSING, GREY = "#d9d9d9", "#404040"
"""Colours of cells without a value, and of what is explained."""
_DASHES = (0, (3, 1.5))
_DPI = 160
STYLE: Any = {
    "font.size": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": "#808080",
    "xtick.color": "#404040",
    "ytick.color": "#404040",
    "text.parse_math": False,  # A dollar sign in the name of an approach is a dollar sign.
    "svg.hashsalt": "similarities",
    "svg.fonttype": "none",  # Text that can be searched, copied and read aloud.
    "figure.labelsize": 10,
    "legend.borderpad": 0,
    "legend.borderaxespad": 0,
    "legend.frameon": False,
}
"""Of matplotlib, for every picture."""

Side: TypeAlias = Literal["left", "right"]


def draw_distributions(approach: str, distributions: Sequence[Distribution]) -> Figure:
    """Draw small multiples on common axes, one for each decade."""
    n = len(distributions)
    columns = 3 if n in (5, 6, 9) else min(n, 4)
    rows = -(-n // columns)
    edges = bin_edges(distributions)
    shares = [shown.share(edges) for shown in distributions]
    # The numbers stand where there is less to cover.
    lower_half, upper_half = (sum(part) for part in np.array_split(np.sum(shares, axis=0), 2))
    side: Side = "left" if lower_half < upper_half else "right"
    # In inches, as a layout engine would not keep the legend clear of the title.
    width = 9.0 if n > 1 else 6.4
    panel_height = 1.35 if rows > 1 else 1.9
    height = 1.72 + rows * panel_height + (rows - 1) * 0.75
    left, right, bottom, top = 0.65 / width, 1 - 0.15 / width, 0.6 / height, 1 - 1.12 / height
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(width, height))
        panels = list(figure.subplots(rows, columns, squeeze=False, sharex=True, sharey=True).flat)
        figure.subplots_adjust(left, bottom, right, top, wspace=0.1, hspace=0.75 / panel_height)
        title = figure.text(
            left, 1 - 0.12 / height, f"How similar films are: {printable(approach, 40)}"
        )
        title.set(va="top", fontsize=13, weight="bold")
        beneath = (left, 1 - 0.4 / height)
        figure.legend(handles=_legend(), loc="upper left", bbox_to_anchor=beneath, ncols=3)
        middle = (bottom + top) / 2
        figure.supxlabel("similarity of a pair of films", x=(left + right) / 2, y=0.12 / height)
        figure.supylabel(
            f"% of pairs per {edges[1] - edges[0]:g} of similarity", x=0.1 / width, y=middle
        )
        panels[0].set(xlim=(edges[0], edges[-1]), ylim=(0, 1.2 * np.max(shares) or 1.0))
        panels[0].xaxis.set_major_locator(MaxNLocator(4, steps=[1, 2, 2.5, 5, 10]))
        panels[0].yaxis.set_major_locator(MaxNLocator(4, steps=[1, 2, 2.5, 5, 10]))
        for panel, shown, share in zip(panels, distributions, shares, strict=False):
            _draw_panel(panel, shown, edges, share, side)
        for panel in panels[n:]:
            panel.set_axis_off()
        for panel in panels[:n][-columns:]:
            panel.tick_params(labelbottom=True)
    return figure


def _legend() -> list[Artist]:
    return [
        Line2D([], [], color=MEDIAN, linewidth=1.4, label="median"),
        Line2D([], [], color=PERCENTILE, linewidth=1.4, linestyle=_DASHES, label="75th percentile"),
        Patch(color=UPPER, label="the most similar quarter of the pairs"),
    ]


def _draw_panel(
    panel: Axes,
    shown: Distribution,
    edges: NDArray[np.float64],
    share: NDArray[np.float64],
    side: Side,
) -> None:
    panel.set_title(f"{shown.name.decade}s", loc="left", fontsize=11, weight="bold", pad=20)
    if shown.per_cent < 100:
        panel.set_title(f"{shown.per_cent} % of the pairs", loc="right", fontsize=9, pad=20)
    _label(panel, "left", 6, _size(shown), GREY, va="bottom")
    if not shown.n_counted:
        return
    median, percentile = shown.quantile(0.5), shown.quantile(0.75)
    panel.stairs(share, edges, fill=True, color=LOWER)
    # The bin that the percentile falls into is divided there.
    first = min(int(np.searchsorted(edges, percentile, "right")) - 1, len(share) - 1)
    upper = np.concatenate([[percentile], edges[first + 1 :]])
    panel.stairs(share[first:], upper, fill=True, color=UPPER)
    # Each stands on its bar: over it, it would hide a good part of one.
    top = panel.get_ylim()[1]
    at = np.searchsorted(edges, [median, percentile], "right") - 1
    feet = share[np.minimum(at, len(share) - 1)]
    panel.vlines(median, feet[0], top, MEDIAN, linewidth=1.4)
    panel.vlines(percentile, feet[1], top, PERCENTILE, linewidth=1.4, linestyle=_DASHES)
    _label(panel, side, -3, f"median {_number(median)}", MEDIAN)
    _label(panel, side, -16, f"75th percentile\n{_number(percentile)}", PERCENTILE)


def _label(
    panel: Axes, side: Side, up: float, text: str, color: str, va: Literal["top", "bottom"] = "top"
) -> None:
    panel.annotate(
        text,
        (0, 1) if side == "left" else (1, 1),
        xycoords="axes fraction",
        xytext=(0 if va == "bottom" else 5 if side == "left" else 0, up),
        textcoords="offset points",
        color=color,
        ha=side,
        va=va,
    )


def _number(value: float) -> str:
    return f"{value:.3f}" if abs(value) < 100 else f"{value:.3g}"


def _size(shown: Distribution) -> str:
    films = "film" if shown.n_films == 1 else "films"
    return f"{shown.n_films:,} {films}, {shown.n_pairs:,} pairs"


def draw_heat_map(image: NDArray[np.float64], together: int, shown: Distribution) -> Figure:
    """Draw a matrix of similarities whose films are in order.

    Parameters
    ----------
    image
        As from `mean_by_pixel`.
    together
        How many films share a row of it.
    shown
        The distribution of the same decade.
    """
    low, high = colour_range(image)
    # Every pixel becomes a square of so many points: nothing is blurred, and files stay small.
    side = len(image) * max(1, round(960 / len(image)))
    width, height = side + 250, side + 160
    with matplotlib.rc_context({**STYLE, "axes.spines.top": True, "axes.spines.right": True}):
        figure = Figure(figsize=(width / _DPI, height / _DPI))
        axes = figure.add_axes((60 / width, 60 / height, side / width, side / height))
        axes.set_title(
            f"Which films are alike: {printable(str(shown.name), 50)}",
            loc="left",
            fontsize=13,
            weight="bold",
            pad=22,
        )
        size = _size(shown)
        if shown.per_cent < 100:
            size += f", {shown.per_cent} % of them computed, the rest is grey"
        _label(axes, "left", 6, size, GREY, va="bottom")
        mesh = axes.imshow(
            image,
            cmap=matplotlib.colormaps["viridis"].resampled(128).with_extremes(bad=MISSING),
            vmin=low,
            vmax=high,
            interpolation="nearest",
        )
        axes.set(xticks=[], yticks=[])
        axes.set_xlabel("films, ordered so that similar ones stand together", fontsize=10)
        axes.set_ylabel("the same films in the same order", fontsize=10)
        beside = figure.add_axes(
            ((60 + side + 40) / width, (60 + side / 8) / height, 30 / width, 0.75 * side / height)
        )
        bar = figure.colorbar(mesh, cax=beside, extend="both")
        mean = f", mean of {together} × {together} films" if together > 1 else ""
        bar.set_label(f"similarity{mean}", fontsize=10)
    return figure


def save(figure: Figure, path: Path) -> list[Path]:
    """Write a figure as PNG and SVG, each whole or not at all."""
    written = []
    for kind, metadata in (("png", {"Software": None}), ("svg", {"Date": None})):
        content = io.BytesIO()
        with matplotlib.rc_context(STYLE):
            figure.savefig(content, format=kind, dpi=_DPI, metadata=metadata)
        if kind == "png":
            content = _with_palette(content)
        written.append(write_whole(path.with_name(f"{path.name}.{kind}"), content.getvalue()))
    return written


def _with_palette(png: io.BytesIO) -> io.BytesIO:
    """The same picture in 256 colours, none off by more than can be seen: half the size."""
    content = io.BytesIO()
    with Image.open(png) as image:
        few = image.convert("RGB").quantize(
            256, Image.Quantize.MAXCOVERAGE, dither=Image.Dither.NONE
        )
        few.save(content, "png", optimize=True)
    return content
