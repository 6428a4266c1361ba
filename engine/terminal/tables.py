"""Tables of what a run did, and of what is there."""

from collections.abc import Sequence
from datetime import datetime

from engine.batch.job import DecadeSummary
from engine.batch.run import Summary
from engine.batch.status import DecadeStatus, Status
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


def summary_table(summary: Summary) -> str:
    """Set what a run did in a table, one row a decade, and a last line with the sums."""
    head = ("approach", "decade", "films", "pairs", "computed", "resumed", "JSON", "secs")
    rows = [_summary_row(decade) for decade in summary.decades]
    lines = [table(head, rows)]
    finished = [decade for decade in summary.decades if not decade.error]
    pairs = sum(decade.n_pairs for decade in finished)
    failed = len(summary.decades) - len(finished) + len(summary.errors)
    written = sum(decade.output_bytes or 0 for decade in finished)
    idle = all(decade.up_to_date for decade in summary.decades)
    above = "" if (x := summary.min_similarity) is None else f" (pairs ≥ {x:g})"
    lines.append(
        f"{_count(len(finished), 'decade')} {'up to date' if idle else 'done'}, "
        f"{pairs:,} pairs"
        + (f", {size(written)} of JSON{above}" if written else "")
        + (f"; {failed} failed" if failed else "")
        + f"; {summary.seconds:.1f} s"
    )
    return "\n\n".join(lines)


def _summary_row(decade: DecadeSummary) -> tuple[str, ...]:
    if decade.error:
        done = ("failed", "")
    elif decade.up_to_date:
        done = ("up to date", "")
    else:
        done = (f"{decade.pairs_computed:,}", f"{decade.pairs_resumed:,}")
    known = decade.n_films or not decade.error
    return (
        shown(decade.name.approach, 13),
        f"{decade.name.decade}s",
        f"{decade.n_films:,}" if known else "",
        f"{decade.n_pairs:,}" if known else "",
        *done,
        "" if decade.output_bytes is None else size(decade.output_bytes),
        f"{decade.seconds:.1f}" if decade.seconds else "",
    )


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
