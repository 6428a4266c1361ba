"""What is done and what the next run would do, for a person or a script; nothing is changed."""

import os
from dataclasses import asdict
from datetime import UTC, datetime

from engine.arguments import Arguments, Count, Names, Number, Years, read_arguments
from engine.batch.choice import choose
from engine.batch.cost import wall_seconds, worth
from engine.batch.forecast import Forecast, forecast
from engine.batch.plan import DecadeState, contradiction, decade_states, not_computed
from engine.batch.preflight import short_of_space
from engine.batch.replaced import exported_before, replaced
from engine.batch.standing import DecadeStatus, Status
from engine.store.lock import holder
from engine.store.source import Source
from engine.store.store import Store
from engine.triangle.kernel import KernelName
from engine.triangle.rule import EVERY_PAIR, Rule
from engine.work.pool import cpus


def status(
    data: str | os.PathLike[str] = "data",
    *,
    store: str | os.PathLike[str] | None = None,
    workers: Count | None = None,
    approaches: Names | None = None,
    decades: Years | None = None,
    kernel: KernelName | None = None,
    normalize: bool | None = None,
    min_similarity: Number | None = None,
    top_percent: Number | None = None,
    top_k: Count | None = None,
    compute: bool = True,
    export: bool = True,
    restart: bool = False,
) -> Status:
    """Say what is done and what a run with the same arguments would do.

    Parameters
    ----------
    data, store, workers, approaches, decades, kernel, normalize
        As for `engine.run`.
    min_similarity, top_percent, top_k
        As for `engine.run`; at most one.
    compute, export, restart
        As for `engine.run`: what a run with them would do is described, not done.

    Returns
    -------
    Status
        Also while a run is at work.

    Raises
    ------
    EngineError
        When there are no inputs and no store, or the store cannot be read.
    ValueError
        When an argument is not what it should be.
    """
    asked = read_arguments(
        workers=workers,
        approaches=approaches,
        decades=decades,
        kernel=kernel,
        normalize=normalize,
        min_similarity=min_similarity,
        top_percent=top_percent,
        top_k=top_k,
        compute=compute,
        export=export,
        restart=restart,
    )
    source = Source.at(data, store)
    folder = source.folder
    there = source.store.exists()
    choice = choose(folder, source.store, asked.approaches, asked.decades, there)
    if there:
        states = decade_states(source, choice.names, asked, input_needed=asked.compute)
    else:
        states = [
            DecadeState(name, folder.input(name), folder.output(name)) for name in choice.names
        ]
    found = [_status(state, source.store, asked) for state in states]
    usable = min(asked.workers or cpus(), cpus())
    seconds = sum(decade.forecast.seconds for decade in found)
    used = worth(usable, seconds)
    before = exported_before(source, choice.names if there else ())
    written = [decade.name for decade in found if decade.next in ("read", "compute", "export")]
    return Status(
        source.store.location,
        holder(source.store),
        found,
        choice.errors,
        choice.unread,
        refused="" if restart else contradiction(states, asked),
        warning=short_of_space(
            source.store, [(decade.output, decade.forecast) for decade in found]
        ),
        seconds=wall_seconds(seconds, used),
        workers=used,
        replaced=list(replaced(before, written, source, asked)) if export else [],
        **asdict(asked.rule),
    )


def _status(state: DecadeState, store: Store, asked: Arguments) -> DecadeStatus:
    record = state.record
    following = _next(state, asked)
    export = record.export if record and state.exported else None
    exported = 0
    if record and state.exported:
        exported = state.n_pairs
    elif record:
        written = state.partial(asked.rule).written()
        exported = sum(block.n_pairs for block in state.row_blocks() if written[block.index])
        # A run at work has come further since its chunks were listed.
        exported = min(exported, state.pairs_stored)
    return DecadeStatus(
        name=state.name,
        input=state.input,
        input_sha256=record.input_sha256 if record else None,
        read=record.begun if record else None,
        kernel=record.kernel if record else None,
        normalize=record.normalize if record else None,
        n_films=record.n_films if record else None,
        n_pairs=record.grid.n_pairs if record else None,
        pairs_computed=state.pairs_stored,
        pairs_exported=exported,
        output=state.output,
        output_bytes=export.size if export else None,
        output_written=_iso(export.mtime_ns) if export else None,
        output_pairs=export.n_pairs if export else None,
        next=following,
        reason=_reason(state, asked, following),
        conflict=bool(state.conflict) and not asked.restart,
        forecast=Forecast() if following == "fail" else forecast(state, store, asked),
        **asdict(_rule(state)),
    )


def _rule(state: DecadeState) -> Rule:
    if state.record and state.record.export and state.output.exists():
        return state.record.export.rule
    return EVERY_PAIR


def _next(state: DecadeState, asked: Arguments) -> str:
    if asked.restart and not state.input.exists():
        return "delete"
    if state.error or (state.conflict and not asked.restart):
        return "fail"
    if asked.restart:
        return "read"
    if not asked.compute and not state.computed:
        return "fail"
    if state.record is None:
        return "read"
    if not state.computed:
        return "compute"
    return "nothing" if state.exported or not asked.export else "export"


def _reason(state: DecadeState, asked: Arguments, following: str) -> str:
    if following == "fail":
        return state.error or contradiction([state], asked) or not_computed(state)
    return "" if asked.restart else state.stale


def _iso(mtime_ns: int) -> str:
    return datetime.fromtimestamp(mtime_ns / 1e9, UTC).isoformat(timespec="seconds")
