"""What is done and what the next run would do, for a person or a script; nothing is changed."""

import os
from datetime import UTC, datetime
from pathlib import Path

from engine.arguments import Names, Number, Years, read_arguments
from engine.batch.choice import choose
from engine.batch.plan import DecadeState, Settings, contradiction, look
from engine.batch.standing import DecadeStatus, Status
from engine.data_folder import DataFolder
from engine.store.lock import holder
from engine.store.store import Store
from engine.triangle.kernel import KernelName


def status(
    data: str | os.PathLike[str] = "data",
    *,
    store: str | os.PathLike[str] | None = None,
    approaches: Names | None = None,
    decades: Years | None = None,
    kernel: KernelName | None = None,
    normalize: bool | None = None,
    min_similarity: Number | None = None,
) -> Status:
    """Say what is done and what a run with the same arguments would do.

    Parameters
    ----------
    data, store, approaches, decades, kernel, normalize, min_similarity
        As for `engine.run`.

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
        approaches=approaches,
        decades=decades,
        kernel=kernel,
        normalize=normalize,
        min_similarity=min_similarity,
    )
    settings = Settings(asked.kernel, asked.normalize, asked.min_similarity)
    folder = DataFolder(Path(data))
    place = Store(str(folder.default_store if store is None else store))
    there = place.exists()
    choice = choose(folder, place, asked.approaches, asked.decades, there)
    if there:
        states = look(folder, place, choice.names, settings)
    else:
        states = [
            DecadeState(name, folder.input(name), folder.output(name)) for name in choice.names
        ]
    found = [_status(state, settings) for state in states]
    return Status(place.location, holder(place), found, choice.errors, choice.unread)


def _status(state: DecadeState, settings: Settings) -> DecadeStatus:
    record = state.record
    export = record.export if record and state.exported else None
    exported = 0
    if record and state.exported:
        exported = state.n_pairs
    elif record:
        placed = state.partial(settings).placed()
        exported = sum(block.n_pairs for block in state.row_blocks() if placed[block.index])
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
        min_similarity=_min_similarity(state),
        next=_next(state),
        reason=state.error or contradiction([state]) or state.note,
    )


def _min_similarity(state: DecadeState) -> float | None:
    if state.record and state.record.export and state.output.exists():
        return state.record.export.min_similarity
    return None


def _next(state: DecadeState) -> str:
    if state.error or state.conflict:
        return "fail"
    if state.record is None:
        return "read"
    if not state.computed:
        return "compute"
    return "nothing" if state.exported else "export"


def _iso(mtime_ns: int) -> str:
    return datetime.fromtimestamp(mtime_ns / 1e9, UTC).isoformat(timespec="seconds")
