"""What a run gives back: what it did for each decade, which prints as tables."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from engine.data_folder import DecadeName
from engine.disk import size
from engine.errors import shown
from engine.tables import Part, Table, as_html, as_text, count, terminal_width
from engine.triangle.rule import EVERY_PAIR, Rule


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
    output: Path | None = None
    """Where the JSON lies, or will lie."""

    def is_finished(self, export: bool) -> bool:
        """Whether a run, with or without its export, does nothing more for this decade."""
        if self.up_to_date or self.error is not None:
            return True
        stored = bool(self.n_films) and self.pairs_computed + self.pairs_resumed >= self.n_pairs
        return stored and not (export and self.output_bytes is None)


@dataclass(frozen=True, repr=False)
class Summary:
    """What a run did; prints as the tables of the command line."""

    decades: list[DecadeSummary]
    seconds: float
    """Wall time of the whole run."""
    min_similarity: float | None = None
    """Pairs below were left out of the outputs."""
    errors: list[str] = field(default_factory=list)
    """Why the folder of an approach could not be used, a sentence for each."""
    top_percent: float | None = None
    """Only the strongest so many per cent of each decade are in the outputs."""
    top_k: int | None = None
    """Only pairs among the so many best of either film are in the outputs."""

    @property
    def ok(self) -> bool:
        """Whether every decade is finished, and no folder had to be left out."""
        return not self.errors and all(decade.error is None for decade in self.decades)

    def __repr__(self) -> str:
        return as_text(_parts(self), terminal_width())

    def _repr_html_(self) -> str:
        return as_html(_parts(self))


_HEAD = ("decade", "films", "pairs", "computed", "resumed", "written", "JSON", "worker s")
_DISPENSABLE = (4, 1, 3, 5)


def _parts(summary: Summary) -> list[Part]:
    """Set what a run did in tables, one an approach, with a row of sums and a line on the whole."""
    found: list[Part] = []
    for approach in dict.fromkeys(decade.name.approach for decade in summary.decades):
        rows = [_summary_row(each) for each in summary.decades if each.name.approach == approach]
        found.append(_table(rows, caption=shown(approach, 40)))
    if len(summary.decades) > 1:
        found.append(_table([_sums(summary.decades)], headed=False))
    return [*found, _in_all(summary)]


def _table(rows: list[tuple[str, ...]], caption: str = "", headed: bool = True) -> Table:
    return Table(_HEAD, rows, 1, caption, headed, _DISPENSABLE)


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


def _in_all(summary: Summary) -> str:
    """Say what came of the run, and where the JSON lies."""
    finished = [decade for decade in summary.decades if not decade.error]
    failed = len(summary.decades) - len(finished) + len(summary.errors)
    idle = all(decade.up_to_date for decade in summary.decades)
    pairs = sum(decade.n_pairs for decade in finished)
    text = f"{count(len(finished), 'decade')} {'up to date' if idle else 'done'}, {pairs:,} pairs"
    text += f"; {failed} failed" if failed else ""
    text += f"; {summary.seconds:.1f} s"
    written = [d for d in finished if d.output and d.output_bytes is not None]
    rule = Rule(summary.min_similarity, summary.top_percent, summary.top_k)
    those = "" if rule == EVERY_PAIR else f" ({rule})"
    for folder in sorted({d.output.parent.parent for d in written if d.output}):
        n_bytes = sum(d.output_bytes or 0 for d in written)
        text += f"\n{size(n_bytes)} of JSON{those} → {shown(str(folder), 300)}/"
    return text
