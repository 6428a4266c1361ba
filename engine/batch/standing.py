"""What is there of each decade, and what comes next, as values that print as tables."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

from engine.data_folder import DecadeName
from engine.errors import shown
from engine.listing import Unread, not_read
from engine.tables import Part, Table, as_html, as_text, count, per_cent, size
from engine.triangle.kernel import KernelName


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
        return as_text(_parts(self))

    def _repr_html_(self) -> str:
        return as_html(_parts(self))


def _parts(status: Status) -> list[Part]:
    """A table for each approach, and below it what needs a word more."""
    head = ("decade", "films", "pairs", "computed", "exported", "JSON", "written", "next run")
    parts: list[Part] = [
        f"{status.store}: {status.holder} is at work on it" if status.holder else ""
    ]
    for approach in sorted({decade.name.approach for decade in status.decades}):
        decades = [decade for decade in status.decades if decade.name.approach == approach]
        folder = shown(str(decades[0].input.parent), 100)
        parts.append(Table(head, list(map(_status_row, decades)), left=1, caption=folder))
    words = _filtered(status.decades)
    words += [decade.reason for decade in status.decades if decade.reason]
    words += [*status.errors, not_read(status.unread)]
    parts.append("\n".join(word for word in words if word))
    parts.append(_last_line(status))
    return parts


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


def _last_line(status: Status) -> str:
    todo = [decade for decade in status.decades if decade.next not in ("nothing", "fail")]
    left = sum((decade.n_pairs or 0) - decade.pairs_computed for decade in todo)
    unread = sum(decade.n_films is None for decade in todo)
    if all(decade.next == "nothing" for decade in status.decades):
        return f"everything {'else ' if status.errors else ''}is up to date"
    return (
        f"the next run works on {count(len(todo), 'decade')}"
        + (f", {left:,} pairs to compute" if left else "")
        + (f", {count(unread, 'file')} to read first" if unread else "")
    )
