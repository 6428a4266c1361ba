"""What the benchmark prints: tables, as plain text or as Markdown."""

import math
import statistics
from collections.abc import Sequence
from typing import Any

from lineup import COMPUTING, GROUPS, READING, TEXT, WHOLE, Row, engine_name
from stages import FLOOR, RUNS

_MB = 1e6


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


def contenders_table(
    rows: Sequence[Row], workers: Sequence[int], n_pairs: int, markdown: bool
) -> str:
    """Set each contender's medians beside those of the engine in the same group."""
    head = (
        *("", "", "wall s", "from - to", "CPU s", "ns/pair", "peak MB"),
        *("wall / engine", "CPU / engine", "runs", "result"),
    )
    known = {row.contender.name: row for row in rows}
    engine = {
        WHOLE: engine_name("dot", max(workers)),
        READING: "read-engine",
        COMPUTING: "compute-dot",
        TEXT: "text-engine",
    }
    lines = []
    above = ""
    for row in rows:
        group = row.contender.group
        lines.append(
            (
                "" if group == above else GROUPS[group],
                row.contender.label,
                *_figures(row, known.get(engine.get(group, "")), n_pairs),
                row.result,
            )
        )
        above = group
    return table(head, lines, 2, markdown)


def _figures(row: Row, engine: Row | None, n_pairs: int) -> tuple[str, ...]:
    wall, cpu, walls = row.median("wall"), row.median("cpu"), [run.wall for run in row.runs]
    return (
        number(wall),
        f"{min(walls):.2f} - {max(walls):.2f}" if len(walls) > 1 else "",
        number(cpu),
        number(wall / n_pairs * 1e9, 0),
        number(row.median("peak") / _MB, 0),
        number(wall / engine.median("wall")) if engine else "",
        number(cpu / engine.median("cpu")) if engine else "",
        str(len(walls) or ""),
    )


def ratios_table(rows: Sequence[Row], workers: Sequence[int], markdown: bool) -> str:
    """Set how many times faster the engine is; empty when there is nothing to compare."""
    known = {row.contender.name: row for row in rows}
    few, most = min(workers), max(workers)
    asked = [
        ("wall", "notebook", engine_name("dot", most)),
        ("wall", "notebook", engine_name("gemm", most)),
        ("wall", "rewrite", engine_name("dot", most)),
        *(("cpu", "notebook", engine_name("dot", n)) for n in sorted({few, most})),
    ]
    if few < most:
        asked += [
            ("wall", engine_name(kernel, few), engine_name(kernel, most))
            for kernel in ("dot", "gemm")
        ]
    lines = [
        (
            {"wall": "wall time", "cpu": "CPU time"}[figure],
            known[slow].contender.label,
            known[fast].contender.label,
            number(known[slow].median(figure) / known[fast].median(figure)),
        )
        for figure, slow, fast in asked
        if slow in known and fast in known
    ]
    return table(("", "of", "divided by that of", "ratio"), lines, 3, markdown) if lines else ""


def stages_table(profiles: Sequence[dict[str, Any]], markdown: bool) -> str:
    """Set what each stage of the engine costs, ns a pair, beside the floor of it."""
    stages = list(profiles[0]["runs"][RUNS[0]])
    lines = [
        (
            stage,
            *(
                number(statistics.median(profile["runs"][run][stage] for profile in profiles), 0)
                for run in RUNS
            ),
            FLOOR.get(stage, ""),
        )
        for stage in stages
    ]
    return table(("ns/pair, one worker", *RUNS, "floor"), lines, 1, markdown)


def flat_table(
    films: Sequence[int], inputs: Sequence[int], rows: Sequence[Sequence[Row]], markdown: bool
) -> str:
    """Set how the cost per pair goes with the size of a decade.

    Parameters
    ----------
    films
        Of the one decade; the first is so small that its run is all start-up.
    inputs
        Size of its input, bytes.
    rows
        For each, what was measured, with the same contenders in the same order.
    markdown
        Write Markdown.
    """
    head = (
        *("films", "pairs", "input MB", "", "wall s", "CPU s", "peak MB"),
        *("wall ns/pair", "to the first", "CPU ns/pair", "to the first", "result"),
    )
    lines = []
    for k, (n, size, measured) in enumerate(zip(films, inputs, rows, strict=True)):
        pairs = n * (n - 1) // 2
        for which, row in enumerate(measured):
            costs = []
            for figure in ("wall", "cpu"):
                start = rows[0][which].median(figure)
                cost = (row.median(figure) - start) / pairs * 1e9
                first = films[1] * (films[1] - 1) // 2
                base = (rows[1][which].median(figure) - start) / first * 1e9
                costs += [number(cost, 0), number(cost / base)] if k else ["", ""]
            lines.append(
                (
                    f"{n:,}" if which == 0 else "",
                    f"{pairs:,}" if which == 0 else "",
                    number(size / _MB, 1) if which == 0 else "",
                    row.contender.label,
                    number(row.median("wall")),
                    number(row.median("cpu")),
                    number(row.median("peak") / _MB, 0),
                    *costs,
                    row.result,
                )
            )
    return table(head, lines, 0, markdown)
