"""What is there of each decade, and what comes next, as values that print as tables."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

from engine import native
from engine.batch.forecast import Forecast
from engine.data_folder import DecadeName
from engine.disk import size
from engine.errors import shown
from engine.listing import Unread, not_read
from engine.tables import Part, Table, as_html, as_text, count, duration, per_cent
from engine.triangle.kernel import KernelName
from engine.triangle.rule import EVERY_PAIR, Rule


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
    """Pairs in the output: fewer than `n_pairs` when it was made by a rule."""
    min_similarity: float | None
    """With which the output was made, even if the next run makes another."""
    next: str
    """``"nothing"``, ``"read"`` (and compute and export), ``"compute"`` (and export),
    ``"export"``, ``"delete"`` (what the store has, as there is no input) or ``"fail"``."""
    reason: str
    """Why it is to be read again, or what it will fail for."""
    conflict: bool = False
    """An option contradicts what is computed."""
    forecast: Forecast = field(default_factory=Forecast)
    """How much the next run would read, compute, delete and write."""
    top_percent: float | None = None
    """As `min_similarity`."""
    top_k: int | None = None
    """As `min_similarity`."""

    @property
    def rule(self) -> Rule:
        """Which pairs are in the output."""
        return Rule(self.min_similarity, self.top_percent, self.top_k)


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
    way: str = field(default_factory=native.in_use)
    """What this machine computes with: ``"native (AVX-512)"`` or ``"Python"``, for instance."""
    refused: str = ""
    """Which option contradicts what is computed, so that the next run would end at once."""
    warning: str = ""
    """Where a disk has too little room for the next run."""
    seconds: float = 0.0
    """Wall time that the next run would take, roughly."""
    workers: int = 1
    """With so many worker processes."""
    min_similarity: float | None = None
    """Of the run that is described."""
    top_percent: float | None = None
    """Of the run that is described."""
    top_k: int | None = None
    """Of the run that is described."""
    replaced: list[str] = field(default_factory=list)
    """Which outputs the next run replaces by those of another rule, and how to have them back."""

    @property
    def rule(self) -> Rule:
        """Which pairs the next run exports."""
        return Rule(self.min_similarity, self.top_percent, self.top_k)

    def __repr__(self) -> str:
        return as_text(_parts(self))

    def _repr_html_(self) -> str:
        return as_html(_parts(self))


_HEAD = ("decade", "films", "pairs", "computed", "exported", "JSON", "written", "next run")


def _parts(status: Status) -> list[Part]:
    """Set what is there in a table for each approach, and below it what needs a word more."""
    parts: list[Part] = [
        f"{status.store}: {status.holder} is at work on it" if status.holder else ""
    ]
    for approach in sorted({decade.name.approach for decade in status.decades}):
        decades = [decade for decade in status.decades if decade.name.approach == approach]
        folder = shown(str(decades[0].input.parent), 100)
        parts.append(Table(_HEAD, list(map(_status_row, decades)), left=1, caption=folder))
    words = _filtered(status.decades)
    words += [d.reason for d in status.decades if d.reason and not (d.conflict and status.refused)]
    words += [*status.errors, not_read(status.unread)]
    parts.append("\n".join(word for word in words if word))
    if status.refused:
        parts.append(f"the next run ends at once: {status.refused}")
    elif all(decade.next == "nothing" for decade in status.decades):
        parts.append(f"everything {'else ' if status.errors else ''}is up to date")
    else:
        parts += [_next_run(status), *status.replaced, status.warning]
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
    """Say which outputs hold only the strong pairs, a line for each rule."""
    words = []
    for rule in sorted({decade.rule for decade in decades} - {EVERY_PAIR}, key=str):
        those = [decade for decade in decades if decade.rule == rule]
        kept = [decade for decade in those if decade.output_pairs is not None]
        if kept:
            pairs = sum(decade.output_pairs or 0 for decade in kept)
            words.append(
                f"{count(len(kept), 'decade')} exported with {rule.option}: "
                f"{pairs:,} of {sum(decade.n_pairs or 0 for decade in kept):,} pairs"
            )
        if n := len(those) - len(kept):
            words.append(
                f"{count(n, 'output')} made with {rule.option}; a run with these "
                f"options makes {'it' if n == 1 else 'them'} anew"
            )
    return words


def _next_run(status: Status) -> Part:
    """Say what the next run would do, a row for each kind of work."""
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
    most = "" if status.rule == EVERY_PAIR else f" at most, of {status.rule}"
    work = [
        ("read", read and f"{count(len(read), 'file')}, {size(sum(read))}"),
        ("delete", deleted and f"{size(deleted)} of the store"),
        (
            "compute",
            computed and f"{pairs}{count(computed, 'pair')}, {size(store_bytes)} of store",
        ),
        (
            "write",
            exported
            and f"{pairs}{count(exported, 'pair')}, {json}{size(output_bytes)} of JSON{most}",
        ),
        ("take", f"about {duration(status.seconds)} with {count(status.workers, 'worker')}"),
    ]
    rows = [(f"  {verb}", what) for verb, what in work if what]
    failing = sum(decade.next == "fail" for decade in status.decades)
    head = f"the next run works on {count(len(todo), 'decade')}"
    head += f", and fails for {count(failing, 'decade')}" if failing else ""
    return Table(("", ""), rows, caption=f"{head}, to", headed=False) if todo else head
