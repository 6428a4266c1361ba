"""What a person sees: bars and messages while a run works, a table when it is done."""

import sys
import time
from collections.abc import Sequence
from datetime import datetime
from typing import Any, TextIO

from tqdm.auto import tqdm

from engine.batch import Summary
from engine.job import DecadeSummary
from engine.progress import Progress
from engine.reading import shown
from engine.status import DecadeStatus, Status

_LINE_SECONDS = 10.0
"""Between two lines of progress where there are no bars."""


class TerminalProgress(Progress):
    """Bars on a terminal, a line now and then elsewhere, and messages, all on stderr.

    Parameters
    ----------
    quiet
        Only errors.
    verbose
        Tracebacks after errors.
    stream
        Where to; stderr by default.
    """

    def __init__(
        self, *, quiet: bool = False, verbose: bool = False, stream: TextIO | None = None
    ) -> None:
        self.stream = stream or sys.stderr
        self.quiet = quiet
        self.verbose = verbose
        self.done: dict[str, int] = {}
        self.total: dict[str, int] = {}
        self._bars: dict[str, Any] = {}
        self._units: dict[str, str] = {}
        self._said = time.monotonic()

    def stage(self, name: str, total: int, done: int, unit: str) -> None:
        """Open the bar of a stage, or set it back to where the stage stands."""
        self.total[name], self.done[name], self._units[name] = total, done, unit
        if self.quiet:
            return
        if name == "computing" and "reading" in self._bars:
            self._bars.pop("reading").close()
        if name in self._bars:
            self._bars.pop(name).close()
        if self.stream.isatty():
            self._bars[name] = tqdm(
                total=total,
                initial=done,
                desc=f"{name:<9}",
                unit=unit if unit == "B" else f" {unit}",
                unit_scale=True,
                file=self.stream,
                dynamic_ncols=True,
                smoothing=0.1,
                bar_format="{desc} {percentage:3.0f}% |{bar}| {n_fmt}/{total_fmt} "
                "[{remaining} left, {rate_fmt}]",
            )

    def advance(self, name: str, amount: int) -> None:
        """Move a bar on, or now and then write a line."""
        if name not in self.total:
            return
        self.done[name] = min(self.total[name], self.done[name] + amount)
        if name in self._bars:
            self._bars[name].update(self.done[name] - self._bars[name].n)
        elif not self.quiet and time.monotonic() - self._said > _LINE_SECONDS:
            self._said = time.monotonic()
            print(self.standing(), file=self.stream, flush=True)

    def standing(self) -> str:
        """How far each stage has come, in one line."""
        return "; ".join(
            f"{name} {100 * self.done[name] // max(1, total)} % of {total:,} {self._units[name]}"
            for name, total in self.total.items()
        )

    def message(self, text: str) -> None:
        """Write a message above the bars."""
        if not self.quiet:
            self._write(text)

    def error(self, text: str, details: str = "") -> None:
        """Write an error above the bars."""
        if self.verbose and details:
            self._write(details.rstrip())
        self._write(f"error: {text}")

    def _write(self, text: str) -> None:
        tqdm.write(text, file=self.stream)
        self.stream.flush()

    def close(self) -> None:
        """Leave the bars as they stand."""
        for bar in self._bars.values():
            bar.close()
        self._bars.clear()


def size(n_bytes: float) -> str:
    """Write a number of bytes for a person, in at most seven characters.

    Examples
    --------
    >>> size(272988)
    '273 kB'
    """
    for unit in ("B", "kB", "MB", "GB"):
        if n_bytes < 999.5:
            digits = 0 if n_bytes >= 99.95 or unit == "B" else 1
            return f"{n_bytes:.{digits}f} {unit}"
        n_bytes /= 1000
    return f"{n_bytes:.1f} TB"


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
    head = ("approach", "decade", "films", "pairs", "computed", "resumed", "JSON", "seconds")
    rows = [_summary_row(decade) for decade in summary.decades]
    lines = [table(head, rows)]
    finished = [decade for decade in summary.decades if not decade.error]
    pairs = sum(decade.n_pairs for decade in finished)
    failed = len(summary.decades) - len(finished)
    written = sum(decade.output_bytes or 0 for decade in finished)
    idle = all(decade.up_to_date for decade in summary.decades)
    above = "" if (x := summary.min_similarity) is None else f" (pairs at or above {x:g})"
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
        shown(decade.name.approach, 14),
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
    for approach in sorted({decade.name.approach for decade in status.decades}):
        decades = [decade for decade in status.decades if decade.name.approach == approach]
        rows = [_status_row(decade) for decade in decades]
        folder = shown(str(decades[0].input.parent), 100)
        parts.append(f"{folder}\n{table(head, rows, left=1)}")
    words = [
        f"{decade.name}: exported with --min-similarity {decade.min_similarity:g}, "
        f"{decade.output_pairs:,} pairs"
        for decade in status.decades
        if decade.min_similarity is not None
    ]
    words += [decade.reason for decade in status.decades if decade.reason]
    parts.append("\n".join(words))
    todo = [decade for decade in status.decades if decade.next not in ("nothing", "fail")]
    left = sum((decade.n_pairs or 0) - decade.pairs_computed for decade in todo)
    unread = sum(decade.n_films is None for decade in todo)
    parts.append(
        "everything is up to date"
        if all(decade.next == "nothing" for decade in status.decades)
        else f"the next run works on {_count(len(todo), 'decade')}"
        + (f", {left:,} pairs to compute" if left else "")
        + (f", {_count(unread, 'file')} to read first" if unread else "")
    )
    return "\n\n".join(part for part in parts if part)


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
    return f"{n} {noun}" + ("" if n == 1 else "s")
