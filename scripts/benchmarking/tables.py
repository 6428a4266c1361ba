"""What the benchmark prints: tables, as plain text or as Markdown."""

import itertools
import math
from collections.abc import Sequence

from lineup import Engine, Row

_MB = 1e6
_FIGURES = {"wall": "wall time", "cpu": "CPU time"}


def table(head: Sequence[str], rows: Sequence[Sequence[str]], left: int, markdown: bool) -> str:
    """Set rows in columns, the first `left` of them to the left."""
    widths = [max(map(len, column)) for column in zip(head, *rows, strict=True)]
    lines = [
        [f"{cell:{'<' if k < left else '>'}{widths[k]}}" for k, cell in enumerate(row)]
        for row in (head, *rows)
    ]
    if not markdown:
        return "\n".join("  ".join(line).rstrip() for line in lines)
    rule = ["-" * width if k < left else "-" * (width - 1) + ":" for k, width in enumerate(widths)]
    return "\n".join(f"| {' | '.join(line)} |" for line in (lines[0], rule, *lines[1:]))


def number(value: float, digits: int = 2) -> str:
    """Write a figure; nothing for NaN."""
    return "" if math.isnan(value) else f"{value:,.{digits}f}"


def contenders_table(rows: Sequence[Row], most: int, n_pairs: int, markdown: bool) -> str:
    """Set each contender's medians beside those of the engine with the most workers."""
    head = (
        *("", "wall s", "from - to", "CPU s", "ns/pair", "peak MB"),
        *("wall / engine", "CPU / engine", "runs", "result"),
    )
    engine = next((row for row in rows if row.contender.name == f"dot-{most}"), None)
    lines = []
    for row in rows:
        wall, cpu, walls = row.median("wall"), row.median("cpu"), [run.wall for run in row.runs]
        lines.append(
            (
                row.contender.label,
                number(wall),
                f"{min(walls):.2f} - {max(walls):.2f}" if len(walls) > 1 else "",
                number(cpu),
                number(wall / n_pairs * 1e9, 0),
                number(row.median("peak") / _MB, 0),
                number(wall / engine.median("wall")) if engine else "",
                number(cpu / engine.median("cpu")) if engine else "",
                str(len(walls) or ""),
                row.result,
            )
        )
    return table(head, lines, 1, markdown)


def ratios_table(
    rows: Sequence[Row], workers: Sequence[int], engines: Sequence[Engine], markdown: bool
) -> str:
    """Set how many times faster the engine is; empty when there is nothing to compare."""
    known = {row.contender.name: row for row in rows}
    few, most = min(workers), max(workers)
    asked = [
        (figure, slow, f"{kernel}-{most}")
        for slow, figure, kernels in (
            ("notebook", "wall", ("dot", "gemm")),
            ("notebook", "cpu", ("dot",)),
            ("numba", "wall", ("dot",)),
            ("pyarrow", "wall", ("gemm",)),
            ("rewrite", "wall", ("dot",)),
        )
        for kernel in kernels
    ]
    for kernel in ("dot", "gemm"):
        asked += [
            (figure, f"{slow.prefix}{kernel}-{most}", f"{fast.prefix}{kernel}-{most}")
            for fast, slow in itertools.combinations(engines, 2)
            for figure in _FIGURES
        ]
        if few < most:
            asked.append(("wall", f"{kernel}-{few}", f"{kernel}-{most}"))
    lines = [
        (
            _FIGURES[figure],
            known[slow].contender.label,
            known[fast].contender.label,
            number(known[slow].median(figure) / known[fast].median(figure)),
        )
        for figure, slow, fast in asked
        if slow in known and fast in known
    ]
    return table(("", "of", "divided by that of", "ratio"), lines, 3, markdown) if lines else ""


def flat_table(
    films: Sequence[int], inputs: Sequence[int], rows: Sequence[Sequence[Row]], markdown: bool
) -> str:
    """Set how the cost per pair goes with the size of a decade: its films, bytes of its input.

    The first decade is so small that its run is all start-up.
    """
    head = (
        *("films", "pairs", "input MB", "", "wall s", "CPU s", "peak MB"),
        *("wall ns/pair", "to the first", "CPU ns/pair", "to the first", "result"),
    )

    def cost(k: int, which: int, figure: str) -> float:
        pairs = films[k] * (films[k] - 1) // 2
        return (rows[k][which].median(figure) - rows[0][which].median(figure)) / pairs * 1e9

    lines = []
    for k, (n, size, measured) in enumerate(zip(films, inputs, rows, strict=True)):
        sizes = (f"{n:,}", f"{n * (n - 1) // 2:,}", number(size / _MB, 1))
        for which, row in enumerate(measured):
            costs = []
            for figure in _FIGURES if k else ():
                here, first = cost(k, which, figure), cost(1, which, figure)
                costs += [number(here, 0), number(here / first)]
            lines.append(
                (
                    *(sizes if which == 0 else ("", "", "")),
                    row.contender.label,
                    number(row.median("wall")),
                    number(row.median("cpu")),
                    number(row.median("peak") / _MB, 0),
                    *(costs or [""] * 4),
                    row.result,
                )
            )
    return table(head, lines, 0, markdown)
