"""Tables of what a run did, and of what is there."""

import shutil
import sys
from collections.abc import Sequence
from datetime import datetime

from engine.batch.status import DecadeStatus, Status
from engine.batch.summary import DecadeSummary, Summary
from engine.disk import size
from engine.errors import shown
from engine.listing import not_read


def table(head: Sequence[str], rows: Sequence[Sequence[str]], left: int = 2) -> str:
    """Set rows in columns as wide as their widest cell, the first `left` to the left.

    A row may hold an empty cell where the text of the cell before it runs on.
    """
    widths = [max(len(row[k]) for row in [head, *rows]) for k in range(len(head))]
    lines = []
    for row in [head, *rows]:
        cells = [
            f"{cell:<{width}}" if k < left else f"{cell:>{width}}"
            for k, (cell, width) in enumerate(zip(row, widths, strict=True))
        ]
        lines.append("  ".join(cells).rstrip())
    return "\n".join(lines)


def summary_table(summary: Summary, width: int | None = None) -> str:
    """Set what a run did in tables, one an approach, with a row of sums and a line on the whole.

    Parameters
    ----------
    summary
        What `engine.run` returns.
    width
        Columns there are, below 80 those of least use are left out; of the terminal by default.
    """
    head = ("decade", "films", "pairs", "computed", "resumed", "written", "JSON", "worker s")
    rows = [*map(_summary_row, summary.decades), _sums(summary.decades)]
    columns = _columns_that_fit(head, rows, _width() if width is None else width)
    shown_rows = [[row[k] for k in columns] for row in rows]
    # One table, cut up, so that the columns of all approaches stand below one another.
    head_line, *lines = table([head[k] for k in columns], shown_rows, left=1).splitlines()
    total = lines.pop()
    parts = []
    for approach in dict.fromkeys(decade.name.approach for decade in summary.decades):
        part = [k for k, decade in enumerate(summary.decades) if decade.name.approach == approach]
        parts.append("\n".join([shown(approach, 40), head_line, *(lines[k] for k in part)]))
    if len(summary.decades) > 1:
        parts.append(total)
    parts.append(_in_all(summary))
    return "\n\n".join(parts)


def _in_all(summary: Summary) -> str:
    """Say what came of the run, and where the JSON lies."""
    finished = [decade for decade in summary.decades if not decade.error]
    failed = len(summary.decades) - len(finished) + len(summary.errors)
    idle = all(decade.up_to_date for decade in summary.decades)
    pairs = sum(decade.n_pairs for decade in finished)
    text = f"{_count(len(finished), 'decade')} {'up to date' if idle else 'done'}, {pairs:,} pairs"
    text += f"; {failed} failed" if failed else ""
    text += f"; {summary.seconds:.1f} s"
    written = [d for d in finished if d.output and d.output_bytes is not None]
    above = "" if (x := summary.min_similarity) is None else f" (pairs ≥ {x:g})"
    for folder in sorted({d.output.parent.parent for d in written if d.output}):
        n_bytes = sum(d.output_bytes or 0 for d in written)
        text += f"\n{size(n_bytes)} of JSON{above} → {shown(str(folder), 300)}/"
    return text


def _summary_row(decade: DecadeSummary) -> tuple[str, ...]:
    known = decade.n_films or not decade.error
    done: tuple[str, ...] = ("up to date", "", "")
    if not known:
        done = ("", "", "")
    elif not decade.up_to_date or decade.error:
        done = _counts(decade.pairs_computed, decade.pairs_resumed, decade.pairs_exported)
    json = "" if decade.output_bytes is None else size(decade.output_bytes)
    return (
        f"{decade.name.decade}s",
        f"{decade.n_films:,}" if known else "",
        f"{decade.n_pairs:,}" if known else "",
        *done,
        "failed" if decade.error else json,
        f"{decade.seconds:,.1f}" if decade.seconds else "",
    )


def _sums(decades: Sequence[DecadeSummary]) -> tuple[str, ...]:
    n_bytes = [decade.output_bytes for decade in decades if decade.output_bytes is not None]
    return (
        "total",
        "",  # A film counts under each approach.
        f"{sum(decade.n_pairs for decade in decades):,}",
        *_counts(
            sum(decade.pairs_computed for decade in decades),
            sum(decade.pairs_resumed for decade in decades),
            sum(decade.pairs_exported for decade in decades),
        ),
        size(sum(n_bytes)) if n_bytes else "",
        f"{sum(decade.seconds for decade in decades):,.1f}",
    )


def _counts(*numbers: int) -> tuple[str, ...]:
    return tuple(f"{number:,}" for number in numbers)


_DISPENSABLE = (4, 1, 3, 5)
"""Columns of the summary that are left out where there is no room, the first first."""


def _columns_that_fit(head: Sequence[str], rows: Sequence[Sequence[str]], width: int) -> list[int]:
    columns = list(range(len(head)))
    widths = [max(len(row[k]) for row in [head, *rows]) for k in columns]
    for k in _DISPENSABLE:
        if sum(widths[k] + 2 for k in columns) - 2 <= width:
            break
        columns.remove(k)
    return columns


def _width() -> int:
    """Columns of the terminal; 80 where there is none."""
    return shutil.get_terminal_size().columns if sys.stdout.isatty() else 80


def status_table(status: Status) -> str:
    """Set what is there in a table for each approach, and below it what needs a word more."""
    head = ("decade", "films", "pairs", "computed", "exported", "JSON", "written", "next run")
    parts = [f"{status.store}: {status.holder} is at work on it" if status.holder else ""]
    # One table, cut up, so that the columns of all approaches stand below one another.
    head_line, *lines = table(head, list(map(_status_row, status.decades)), left=1).splitlines()
    for approach in sorted({decade.name.approach for decade in status.decades}):
        part = [k for k, decade in enumerate(status.decades) if decade.name.approach == approach]
        folder = shown(str(status.decades[part[0]].input.parent), 100)
        parts.append("\n".join([folder, head_line, *(lines[k] for k in part)]))
    words = _filtered(status.decades)
    words += [d.reason for d in status.decades if d.reason and not (d.conflict and status.refused)]
    words += [*status.errors, not_read(status.unread)]
    parts.append("\n".join(word for word in words if word))
    if status.refused:
        parts.append(f"the next run ends at once: {status.refused}")
    elif all(decade.next == "nothing" for decade in status.decades):
        parts.append(f"everything {'else ' if status.errors else ''}is up to date")
    else:
        parts.append(_next_run(status))
    return "\n\n".join(part for part in parts if part)


def _next_run(status: Status) -> str:
    """Say what the next run would do, a line for each kind of work."""
    todo = [decade for decade in status.decades if decade.next not in ("nothing", "fail")]
    coming = [decade.forecast for decade in todo]
    read = [each.read_bytes for each in coming if each.read_bytes]
    computed = sum(each.pairs_to_compute for each in coming)
    exported = sum(each.pairs_to_export for each in coming)
    deleted = sum(each.deleted_bytes for each in coming)
    store_bytes = sum(each.store_bytes for each in coming)
    output_bytes = sum(each.output_bytes for each in coming)
    # Of what has not been read, the number of films is an estimate; the JSON is one in any case.
    pairs, json = ("about ", "") if read else ("", "about ")
    x = status.min_similarity
    most = "" if x is None else f" at most, of pairs ≥ {x:g}"
    work = [
        ("read", read and f"{_count(len(read), 'file')}, {size(sum(read))}"),
        ("delete", deleted and f"{size(deleted)} of the store"),
        (
            "compute",
            computed and f"{pairs}{_count(computed, 'pair')}, {size(store_bytes)} of store",
        ),
        (
            "write",
            exported
            and f"{pairs}{_count(exported, 'pair')}, {json}{size(output_bytes)} of JSON{most}",
        ),
        ("take", f"about {duration(status.seconds)} with {_count(status.workers, 'worker')}"),
    ]
    lines = [f"  {verb:<8} {what}" for verb, what in work if what]
    failing = sum(decade.next == "fail" for decade in status.decades)
    head = f"the next run works on {_count(len(todo), 'decade')}"
    head += f", and fails for {_count(failing, 'decade')}" if failing else ""
    return "\n".join([f"{head}, to", *lines, *filter(None, [status.warning])] if todo else [head])


def _filtered(decades: Sequence[DecadeStatus]) -> list[str]:
    """Say which outputs hold the strong pairs alone, a line for each threshold."""
    words = []
    thresholds = {x for decade in decades if (x := decade.min_similarity) is not None}
    for x in sorted(thresholds):
        those = [decade for decade in decades if decade.min_similarity == x]
        kept = [decade for decade in those if decade.output_pairs is not None]
        if kept:
            pairs = sum(decade.output_pairs or 0 for decade in kept)
            words.append(
                f"{_count(len(kept), 'decade')} exported with --min-similarity {x:g}: "
                f"{pairs:,} of {sum(decade.n_pairs or 0 for decade in kept):,} pairs"
            )
        if n := len(those) - len(kept):
            words.append(
                f"{_count(n, 'output')} made with --min-similarity {x:g}; a run with these "
                f"options makes {'it' if n == 1 else 'them'} anew"
            )
    return words


def _status_row(decade: DecadeStatus) -> tuple[str, ...]:
    year = f"{decade.name.decade}s"
    if decade.n_pairs is None:
        return (year, "", "", "", "", "", "", decade.next)
    written = ""
    if decade.output_written:
        local = datetime.fromisoformat(decade.output_written).astimezone()
        written = f"{local:%m-%d %H:%M}"
    return (
        year,
        f"{decade.n_films:,}",
        f"{decade.n_pairs:,}",
        _per_cent(decade.pairs_computed, decade.n_pairs),
        _per_cent(decade.pairs_exported, decade.n_pairs, decade.next == "nothing"),
        "" if decade.output_bytes is None else size(decade.output_bytes),
        written,
        decade.next,
    )


def _per_cent(part: int, whole: int, done: bool = True) -> str:
    # Rounded down: 100 % is said of what is whole, and only of that.
    return f"{100 * part // whole} %" if whole else "100 %" if done else "0 %"


def _count(n: int, noun: str) -> str:
    return f"{n:,} {noun}" + ("" if n == 1 else "s")


def duration(seconds: float) -> str:
    """Write a time for a person who plans with it, in one unit.

    Examples
    --------
    >>> duration(260)
    '4 min'
    """
    if seconds < 90:
        return f"{max(1, round(seconds))} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
