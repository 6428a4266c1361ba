"""The chart of the benchmark: wall time of each contender, from the table in a document.

python scripts/benchmarking/chart.py docs/benchmark.md docs/images/benchmark.png
"""

import sys
from pathlib import Path

from matplotlib.figure import Figure

_ENGINE, _OTHERS = "#0b3c6f", "#e69f00"


def wall_times(document: str) -> dict[str, float]:
    """Take the wall seconds of each contender from the first Markdown table that has them."""
    lines = document[document.index("| wall s |") :].partition("\n\n")[0].splitlines()[2:]
    cells = ([cell.strip() for cell in line.strip("|").split("|")] for line in lines)
    return {label: float(wall.replace(",", "")) for label, wall, *_ in cells if wall}


def draw(document: Path, picture: Path) -> None:
    """Draw the wall times that stand in a document, on a logarithmic scale."""
    walls = wall_times(document.read_text())
    labels = sorted(walls, key=walls.__getitem__)
    figure = Figure(figsize=(7.5, 0.7 + 0.27 * len(labels)), dpi=160, layout="constrained")
    axes = figure.add_subplot(
        xscale="log", xlabel="wall time, seconds (logarithmic scale; shorter is better)"
    )
    colours = [_ENGINE if label.startswith("engine") else _OTHERS for label in labels]
    bars = axes.barh(labels, [walls[label] for label in labels], color=colours, height=0.7)
    axes.bar_label(bars, [f"{walls[label]:,.1f}" for label in labels], padding=3, fontsize=8)
    axes.xaxis.set_major_formatter("{x:g}")
    axes.margins(x=0.15, y=0.02)
    axes.tick_params(axis="y", length=0)
    axes.spines[["top", "right", "left"]].set_visible(False)
    # Without the version of matplotlib in it, the same table gives the same file for longer.
    figure.savefig(picture, metadata={"Software": None})


if __name__ == "__main__":
    draw(Path(sys.argv[1]), Path(sys.argv[2]))
