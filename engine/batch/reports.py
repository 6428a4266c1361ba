"""What a run, and a look at what is there, give back: values that print as tables."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

from engine.data_folder import DecadeName
from engine.errors import shown
from engine.listing import Unread, not_read
from engine.tables import count, html_lines, html_table, per_cent, size, text_table
from engine.triangle.kernel import KernelName

_SUMMARY_HEAD = ("approach", "decade", "films", "pairs", "computed", "resumed", "JSON", "secs")
_STATUS_HEAD = (
    "decade",
    "films",
    "pairs",
    "computed",
    "exported",
    "JSON",
    "written",
    "next run",
)


@dataclass
class DecadeSummary:
    """What a run did for one decade."""

    name: DecadeName
    n_films: int = 0
    n_pairs: int = 0
    pairs_computed: int = 0
    """Computed by this run."""
    pairs_resumed: int = 0
    """Found in the store when the run began."""
    pairs_exported: int = 0
    """Written to the output by this run."""
    up_to_date: bool = False
    """There was nothing to do."""
    output_bytes: int | None = None
    """Size of the JSON; None when there is none."""
    seconds: float = 0.0
    """Wall time of the workers, summed."""
    error: str | None = None
    """Why it is not finished, in one sentence."""


@dataclass(frozen=True, repr=False)
class Summary:
    """What a run did; prints as the table of the command line."""

    decades: list[DecadeSummary]
    seconds: float
    """Wall time of the whole run."""
    min_similarity: float | None = None
    """Pairs below were left out of the outputs; None: every pair is in them."""
    errors: list[str] = field(default_factory=list)
    """Why the folder of an approach could not be used, a sentence for each."""

    @property
    def ok(self) -> bool:
        """Whether every decade is finished, and no folder had to be left out."""
        return not self.errors and all(decade.error is None for decade in self.decades)

    def __repr__(self) -> str:
        rows = list(map(_summary_row, self.decades))
        return f"{text_table(_SUMMARY_HEAD, rows)}\n\n{self._last_line()}"

    def _repr_html_(self) -> str:
        rows = list(map(_summary_row, self.decades))
        return html_table(_SUMMARY_HEAD, rows) + html_lines(self._last_line())

    def _last_line(self) -> str:
        finished = [decade for decade in self.decades if not decade.error]
        pairs = sum(decade.n_pairs for decade in finished)
        failed = len(self.decades) - len(finished) + len(self.errors)
        written = sum(decade.output_bytes or 0 for decade in finished)
        idle = all(decade.up_to_date for decade in self.decades)
        above = "" if (x := self.min_similarity) is None else f" (pairs ≥ {x:g})"
        return (
            f"{count(len(finished), 'decade')} {'up to date' if idle else 'done'}, "
            f"{pairs:,} pairs"
            + (f", {size(written)} of JSON{above}" if written else "")
            + (f"; {failed} failed" if failed else "")
            + f"; {self.seconds:.1f} s"
        )


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


@dataclass(frozen=True)
class DecadeStatus:
    """What is there of one decade, and what the next run would do with it."""

    name: DecadeName
    input: Path
    input_sha256: str | None
    """Of the input that was read."""
    read: str | None
    """When it was read, ISO 8601, UTC."""
    kernel: KernelName | None
    normalize: bool | None
    n_films: int | None
    """None: not read yet."""
    n_pairs: int | None
    pairs_computed: int
    """Pairs in the chunks that are there."""
    pairs_exported: int
    """Pairs whose row-blocks are in the output, finished or not."""
    output: Path
    output_bytes: int | None
    """Size of the finished output; None when there is none that counts."""
    output_written: str | None
    """When, ISO 8601, UTC."""
    output_pairs: int | None
    """Pairs in the output: fewer than `n_pairs` with `min_similarity`."""
    min_similarity: float | None
    """With which the output was made, even if the next run makes another."""
    next: str
    """``"nothing"``, ``"read"`` (and compute and export), ``"compute"`` (and export),
    ``"export"`` or ``"fail"``."""
    reason: str
    """Why it is to be read again, or what it will fail for."""


@dataclass(frozen=True, repr=False)
class Status:
    """What is there of each decade, and who is at work on it; prints as ``--status`` does."""

    store: str
    holder: str | None
    """The run that holds the store at the moment."""
    decades: list[DecadeStatus]
    errors: list[str] = field(default_factory=list)
    """Why the folder of an approach cannot be used, a sentence for each."""
    unread: list[Unread] = field(default_factory=list)
    """What is not read, though it may have been meant to be."""

    def __repr__(self) -> str:
        # One table, cut up, so that the columns of all approaches stand below one another.
        rows = list(map(_status_row, self.decades))
        head, *lines = text_table(_STATUS_HEAD, rows, left=1).splitlines()
        tables = [
            "\n".join([folder, head, *(lines[k] for k in part)])
            for folder, part in self._by_approach()
        ]
        parts = [self._at_work(), *tables, self._words(), self._last_line()]
        return "\n\n".join(part for part in parts if part)

    def _repr_html_(self) -> str:
        rows = list(map(_status_row, self.decades))
        tables = [
            html_table(_STATUS_HEAD, [rows[k] for k in part], left=1, caption=folder)
            for folder, part in self._by_approach()
        ]
        after = html_lines(self._words()) + html_lines(self._last_line())
        return "\n".join([html_lines(self._at_work()), *tables, after])

    def _by_approach(self) -> Iterator[tuple[str, list[int]]]:
        """Yield the folder of each approach, and which of the decades are in it."""
        for approach in sorted({decade.name.approach for decade in self.decades}):
            part = [k for k, decade in enumerate(self.decades) if decade.name.approach == approach]
            yield shown(str(self.decades[part[0]].input.parent), 100), part

    def _at_work(self) -> str:
        return f"{self.store}: {self.holder} is at work on it" if self.holder else ""

    def _words(self) -> str:
        """Write what needs a word more, a line each."""
        words = _filtered(self.decades)
        words += [decade.reason for decade in self.decades if decade.reason]
        words += [*self.errors, not_read(self.unread)]
        return "\n".join(word for word in words if word)

    def _last_line(self) -> str:
        todo = [decade for decade in self.decades if decade.next not in ("nothing", "fail")]
        left = sum((decade.n_pairs or 0) - decade.pairs_computed for decade in todo)
        unread = sum(decade.n_films is None for decade in todo)
        if all(decade.next == "nothing" for decade in self.decades):
            return f"everything {'else ' if self.errors else ''}is up to date"
        return (
            f"the next run works on {count(len(todo), 'decade')}"
            + (f", {left:,} pairs to compute" if left else "")
            + (f", {count(unread, 'file')} to read first" if unread else "")
        )


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
        per_cent(decade.pairs_computed, decade.n_pairs),
        per_cent(decade.pairs_exported, decade.n_pairs, decade.next == "nothing"),
        "" if decade.output_bytes is None else size(decade.output_bytes),
        written,
        decade.next,
    )


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
                f"{count(len(kept), 'decade')} exported with --min-similarity {x:g}: "
                f"{pairs:,} of {sum(decade.n_pairs or 0 for decade in kept):,} pairs"
            )
        if n := len(those) - len(kept):
            words.append(
                f"{count(n, 'output')} made with --min-similarity {x:g}; a run with these "
                f"options makes {'it' if n == 1 else 'them'} anew"
            )
    return words
