"""What the benchmark shows: tables of Markdown, straight enough to be read as text, and a chart."""

import math
from collections.abc import Sequence
from pathlib import Path

from lineup import Contender, Engine

_MB = 1e6
_FIGURES = {"wall": "wall time", "cpu": "CPU time"}
_ENGINE, _OTHERS = "#0b3c6f", "#e69f00"


def table(rows: Sequence[Sequence[tuple[str, str]]], left: int) -> str:
    """Set rows of cells, each with its head, in columns, the first `left` of them to the left."""
    head = [title for title, _ in rows[0]]
    cells = [[cell for _, cell in row] for row in rows]
    widths = [max(map(len, column)) for column in zip(head, *cells, strict=True)]
    rule = ["-" * width if k < left else "-" * (width - 1) + ":" for k, width in enumerate(widths)]
    lines = [
        [f"{cell:{'<' if k < left else '>'}{widths[k]}}" for k, cell in enumerate(line)]
        for line in (head, rule, *cells)
    ]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def number(value: float, digits: int = 2) -> str:
    """Write a figure; nothing for NaN."""
    return "" if math.isnan(value) else f"{value:,.{digits}f}"


def contenders_table(contenders: Sequence[Contender], most: int, n_pairs: int) -> str:
    """Set each contender's medians beside those of the engine with the most workers."""
    engine = next(contender for contender in contenders if contender.name == f"dot-{most}")
    rows = []
    for contender in contenders:
        wall, cpu, peak = map(contender.median, ("wall", "cpu", "peak"))
        walls = [run.wall for run in contender.runs]
        row = [
            ("", contender.label),
            ("wall s", number(wall)),
            ("from - to", f"{min(walls):.2f} - {max(walls):.2f}" if len(walls) > 1 else ""),
            ("CPU s", number(cpu)),
            ("ns/pair", number(wall / n_pairs * 1e9, 0)),
            ("peak MB", number(peak / _MB, 0)),
            ("wall / engine", number(wall / engine.median("wall"))),
            ("CPU / engine", number(cpu / engine.median("cpu"))),
            ("runs", str(len(walls) or "")),
            ("result", contender.result),
        ]
        rows.append(row)
    return table(rows, left=1)


def ratios_table(
    contenders: Sequence[Contender], workers: Sequence[int], engines: Sequence[Engine]
) -> str:
    """Set how many times faster the engine is; empty when there is nothing to compare."""
    known = {contender.name: contender for contender in contenders}
    few, most = min(workers), max(workers)
    asked = [
        ("wall", "notebook", f"dot-{most}"),
        ("wall", "notebook", f"gemm-{most}"),
        ("cpu", "notebook", f"dot-{most}"),
        ("wall", "numba", f"dot-{most}"),
        ("wall", "pyarrow", f"gemm-{most}"),
        ("wall", "rewrite", f"dot-{most}"),
    ]
    for fast in (f"dot-{most}", f"gemm-{most}"):
        for engine in engines[1:]:
            asked += [(figure, engine.prefix + fast, fast) for figure in _FIGURES]
        if few < most:
            asked.append(("wall", fast.replace(str(most), str(few)), fast))
    rows = []
    for figure, slow, fast in asked:
        if slow in known and fast in known:
            ratio = known[slow].median(figure) / known[fast].median(figure)
            names = [("of", known[slow].label), ("divided by that of", known[fast].label)]
            rows.append([("", _FIGURES[figure]), *names, ("ratio", number(ratio))])
    return table(rows, left=3) if rows else ""


def flat_table(
    films: Sequence[int], inputs: Sequence[int], measured: Sequence[Sequence[Contender]]
) -> str:
    """Set how the cost per pair goes with the size of a decade: its films, bytes of its input.

    The first decade is so small that its run is all start-up.
    """
    pairs = [n * (n - 1) // 2 for n in films]
    rows = []
    for k, contenders in enumerate(measured):
        sizes = [f"{films[k]:,}", f"{pairs[k]:,}", number(inputs[k] / _MB, 1)]
        for contender, start, first in zip(contenders, *measured[:2], strict=True):
            wall, cpu, peak = map(contender.median, ("wall", "cpu", "peak"))
            costs = []
            for figure, title in (("wall", "wall ns/pair"), ("cpu", "CPU ns/pair")):
                begin = start.median(figure)
                cost = (contender.median(figure) - begin) / pairs[k]
                growth = cost / ((first.median(figure) - begin) / pairs[1])
                costs.append((title, number(cost * 1e9, 0) if k else ""))
                costs.append(("to the first", number(growth) if k else ""))
            row = [
                *zip(("films", "pairs", "input MB"), sizes, strict=True),
                ("", contender.label),
                ("wall s", number(wall)),
                ("CPU s", number(cpu)),
                ("peak MB", number(peak / _MB, 0)),
                *costs,
                ("result", contender.result),
            ]
            rows.append(row)
            sizes = ["", "", ""]
    return table(rows, left=0)


def draw(contenders: Sequence[Contender], picture: Path) -> None:
    """Draw the wall times on a logarithmic scale."""
    from matplotlib.figure import Figure

    walls = {
        contender.label: contender.median("wall") for contender in contenders if contender.runs
    }
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
    # Without the version of matplotlib in it, the same times give the same file for longer.
    figure.savefig(picture, metadata={"Software": None})
