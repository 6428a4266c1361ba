"""What a run gives back: what it did for each decade, which prints as a table."""

from dataclasses import dataclass, field

from engine.data_folder import DecadeName
from engine.errors import shown
from engine.tables import Part, Table, as_html, as_text, count, size


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
        return as_text(_parts(self))

    def _repr_html_(self) -> str:
        return as_html(_parts(self))


def _parts(summary: Summary) -> list[Part]:
    """One row a decade, and a last line with the sums."""
    head = ("approach", "decade", "films", "pairs", "computed", "resumed", "JSON", "secs")
    return [Table(head, list(map(_summary_row, summary.decades))), _last_line(summary)]


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


def _last_line(summary: Summary) -> str:
    finished = [decade for decade in summary.decades if not decade.error]
    pairs = sum(decade.n_pairs for decade in finished)
    failed = len(summary.decades) - len(finished) + len(summary.errors)
    written = sum(decade.output_bytes or 0 for decade in finished)
    idle = all(decade.up_to_date for decade in summary.decades)
    above = "" if (x := summary.min_similarity) is None else f" (pairs ≥ {x:g})"
    return (
        f"{count(len(finished), 'decade')} {'up to date' if idle else 'done'}, "
        f"{pairs:,} pairs"
        + (f", {size(written)} of JSON{above}" if written else "")
        + (f"; {failed} failed" if failed else "")
        + f"; {summary.seconds:.1f} s"
    )
