"""What the benchmark shows: tables of Markdown, straight enough to be read as text, and a chart."""

import math
from collections.abc import Sequence
from pathlib import Path

from lineup import Contender

_MB = 1e6
_FIGURES = {"wall": "wall time", "cpu": "CPU time"}
_ENGINE, _OTHERS = "#0b3c6f", "#e69f00"


def table(head: Sequence[str], rows: Sequence[Sequence[str]], left: int) -> str:
    """Set rows of cells in columns below their heads, the first `left` of them to the left."""
    widths = [max(map(len, column)) for column in zip(head, *rows, strict=True)]
    rule = ["-" * width if k < left else "-" * (width - 1) + ":" for k, width in enumerate(widths)]
    lines = [
        [f"{cell:{'<' if k < left else '>'}{widths[k]}}" for k, cell in enumerate(row)]
        for row in (head, rule, *rows)
    ]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def number(value: float, digits: int = 2) -> str:
    """Write a figure; nothing for NaN."""
    return "" if math.isnan(value) else f"{value:,.{digits}f}"


def contenders_table(contenders: Sequence[Contender], most: int, n_pairs: int) -> str:
    """Set each contender's medians beside those of the engine with the most workers."""
    head = ["", "wall s", "from - to", "CPU s", "ns/pair", "peak MB"]
    head += ["wall / engine", "CPU / engine", "runs", "result"]
    base = next(contender for contender in contenders if contender.name == f"dot-{most}").median
    rows = []
    for contender in contenders:
        found, walls = contender.median, [run.wall for run in contender.runs]
        spread = f"{min(walls):.2f} - {max(walls):.2f}" if len(walls) > 1 else ""
        row = [contender.label, number(found.wall), spread, number(found.cpu)]
        row += [number(found.wall / n_pairs * 1e9, 0), number(found.peak / _MB, 0)]
        row += [number(found.wall / base.wall), number(found.cpu / base.cpu)]
        rows.append([*row, str(len(walls) or ""), contender.result])
    return table(head, rows, left=1)


def ratios_table(contenders: Sequence[Contender], workers: Sequence[int]) -> str:
    """Set how many times faster the engine is; empty when there is nothing to compare."""
    known = {contender.name: contender for contender in contenders}
    dot, gemm = (f"{kernel}-{max(workers)}" for kernel in ("dot", "gemm"))
    asked = [("wall", "notebook", dot), ("wall", "notebook", gemm), ("cpu", "notebook", dot)]
    asked += [("wall", "numba", dot), ("wall", "pyarrow", gemm), ("wall", "rewrite", dot)]
    for kernel, fast in (("dot", dot), ("gemm", gemm)):
        asked += [(figure, f"before-{fast}", fast) for figure in _FIGURES]
        asked += [("wall", f"{kernel}-{min(workers)}", fast)]
    rows = []
    for figure, slow, fast in asked:
        if slow in known and fast in known and slow != fast:
            ratio = getattr(known[slow].median, figure) / getattr(known[fast].median, figure)
            rows.append([_FIGURES[figure], known[slow].label, known[fast].label, number(ratio)])
    return table(["", "of", "divided by that of", "ratio"], rows, left=3) if rows else ""


def flat_table(sizes: Sequence[tuple[int, int]], measured: Sequence[Sequence[Contender]]) -> str:
    """Set how the cost of a pair goes with the size of a decade: its films, bytes of its input.

    The first decade is so small that its run is all start-up.
    """
    head = ["films", "pairs", "input MB", "", "wall s", "CPU s", "peak MB", "wall ns/pair"]
    rows = []
    for (films, size), contenders in zip(sizes, measured, strict=True):
        pairs = math.comb(films, 2)
        decade = [f"{films:,}", f"{pairs:,}", number(size / _MB, 1)]
        for contender, start in zip(contenders, measured[0], strict=True):
            found, begin = contender.median, start.median
            row = [*decade, contender.label, number(found.wall), number(found.cpu)]
            costs = [found.wall - begin.wall, found.cpu - begin.cpu]
            cells = [
                number(cost / pairs * 1e9, 0) if contender is not start else "" for cost in costs
            ]
            rows.append([*row, number(found.peak / _MB, 0), *cells, contender.result])
            decade = ["", "", ""]
    return table([*head, "CPU ns/pair", "result"], rows, left=0)


def draw(contenders: Sequence[Contender], picture: Path) -> None:
    """Draw the wall times on a logarithmic scale."""
    from matplotlib.figure import Figure

    walls = sorted((other.median.wall, other.label) for other in contenders if other.runs)
    times, labels = [wall for wall, _ in walls], [label for _, label in walls]
    figure = Figure(figsize=(7.5, 0.7 + 0.27 * len(labels)), dpi=160, layout="constrained")
    axes = figure.add_subplot(
        xscale="log", xlabel="wall time, seconds (logarithmic scale; shorter is better)"
    )
    colours = [_ENGINE if label.startswith("engine") else _OTHERS for label in labels]
    bars = axes.barh(labels, times, color=colours, height=0.7)
    axes.bar_label(bars, [f"{time:,.1f}" for time in times], padding=3, fontsize=8)
    axes.xaxis.set_major_formatter("{x:g}")
    axes.margins(x=0.15, y=0.02)
    axes.tick_params(axis="y", length=0)
    axes.spines[["top", "right", "left"]].set_visible(False)
    # Without the version of matplotlib in it, the same times give the same file for longer.
    figure.savefig(picture, metadata={"Software": None})
