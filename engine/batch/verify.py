"""Check every stored chunk against its checksum, and every output against what is stored.

Nothing is changed. The text of each row-block is made once more from the store, as the export
does it, and its checksum compared with that of the same bytes of the output. While a run is at
work, a decade that it has not finished is left out: what it lacks is no fault.
"""

import os
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

import google_crc32c

from engine.arguments import Count, Names, Years, read_arguments
from engine.batch.choice import choose
from engine.batch.cost import cpu_seconds, worth
from engine.data_folder import DecadeName
from engine.embeddings.reading import fingerprint
from engine.errors import (
    DamagedError,
    EngineError,
    InputError,
    StoreError,
    WorkersDiedError,
    reason,
)
from engine.legacy_json import finalize
from engine.legacy_json.output import checksum
from engine.listing import check_root, meant_root
from engine.progress import Progress, listener
from engine.store.lock import holder
from engine.store.record import Record
from engine.store.source import Source
from engine.store.store import Store
from engine.triangle.blas import one_blas_thread
from engine.triangle.rule import EVERY_PAIR
from engine.triangle.selection import Selection
from engine.work.pool import WorkerDiedError, Workers, cpus
from engine.work.row_block import Opened, block_text, cells
from engine.work.tasks import SelectTask, performer


@dataclass(frozen=True)
class VerifyTask:
    """Read a row-block and make its text."""

    store: str
    name: DecadeName
    identity: str
    row_block: int
    row_block_pairs: int
    selection: Selection | None
    """Which of its pairs are in the output; None: that is not known."""


@dataclass(frozen=True)
class Verified:
    """What a row-block was found to be."""

    task: VerifyTask
    problems: tuple[str, ...] = ()
    """What is wrong, a sentence each."""
    lacks: bool = False
    """A chunk is missing."""
    length: int = 0
    """Bytes of its text."""
    checksum: int = 0
    """CRC-32C of its text."""


def examiner() -> Callable[[VerifyTask], Verified]:
    """Make what examines row-blocks in one process, one after another."""
    opened = Opened()
    return lambda task: examine(task, opened)


def examine(task: VerifyTask, opened: Opened) -> Verified:
    """Read a row-block from the store and make its text; what is wrong is part of the result."""
    where = f"{task.store}: {task.name}"
    try:
        with one_blas_thread():
            films = opened.films(task.store, task.name, task.identity)
            found = cells(films.stored, task.row_block, fresh=False, compute=False)
            problems = tuple(f"{where}: {what}" for what in found.lacking)
            if problems:
                return Verified(task, problems, lacks=bool(found.missing))
            if task.selection is None:
                return Verified(task)
            text, found_checksum = block_text(films, found, task.selection), 0
            for piece in text.pieces():
                found_checksum = google_crc32c.extend(found_checksum, piece)
    except (DamagedError, EngineError) as error:
        return Verified(task, (f"{where}: {error}",))
    except OSError as error:
        return Verified(task, (reason(error, where),))
    return Verified(task, length=text.length, checksum=found_checksum)


@dataclass
class _Decade:
    """What was found of a decade."""

    name: DecadeName
    record: Record | str | None
    """As it was at the beginning; a text: what of it is damaged."""
    problems: list[str] = field(default_factory=list)
    """What is wrong, a sentence each."""
    lacks: bool = False
    """A part is missing or out of date, which a run at work is about to add or to replace."""
    tasks: list[VerifyTask] | None = None
    """None: its chunks cannot be judged."""
    select: SelectTask | None = None
    """Finds out first which pairs belong in its output, where all are compared for it."""
    unselected: str = ""
    """Why it is not known which pairs belong in its output."""
    verified: list[Verified] = field(default_factory=list)


def verify(
    data: str | os.PathLike[str] = "data",
    *,
    store: str | os.PathLike[str] | None = None,
    workers: Count | None = None,
    approaches: Names | None = None,
    decades: Years | None = None,
    progress: Progress | bool | None = None,
) -> list[str]:
    """Check every chunk's checksum, and compare every output with the store.

    Parameters
    ----------
    data, store, workers, approaches, decades, progress
        As for `engine.run`.

    Returns
    -------
    list[str]
        What is wrong, a sentence each; empty when all is as it should be.

    Raises
    ------
    EngineError
        When there is no store, or none that can be read.
    ValueError
        When an argument is not what it should be.
    """
    asked = read_arguments(approaches=approaches, decades=decades, workers=workers)
    source = Source.at(data, store)
    folder = source.folder
    check_root(folder)
    if not source.store.exists():
        todo = meant_root(folder) or "run the engine first"
        raise EngineError(f"{source.store.location}: there is no store to verify; {todo}")
    progress = listener(progress)
    choice = choose(folder, source.store, asked.approaches, asked.decades, True)
    who = holder(source.store)
    if who:
        progress.message(
            f"{source.store.location}: {who} is at work on it; only what is finished is judged"
        )
    found = {name: _begun(source, name) for name in choice.names}
    problems: list[str] = []

    def blame(found: Iterable[str]) -> None:
        for problem in found:
            problems.append(problem)
            progress.error(problem)

    def conclude(decade: _Decade) -> None:
        output = folder.output(decade.name)
        _judge_output(decade, output)
        if _at_work(decade, source.store, output, who):
            progress.message(f"{decade.name}: is not finished; left out")
        else:
            blame(decade.problems)

    blame([*choice.errors, *source.store.damaged_root()])
    for decade in found.values():
        if not decade.tasks:
            conclude(decade)
    usable = min(asked.workers or cpus(), cpus())
    with Workers(progress.message) as processes:
        try:
            _select(found, processes, usable, progress)
            groups = [decade.tasks or [] for decade in found.values()]
            total = sum(task.row_block_pairs for tasks in groups for task in tasks)
            progress.stage("verifying", total, 0, "pairs")
            n = worth(usable, cpu_seconds(n_exported=total))
            for result in processes.perform_all(examiner, groups, n):
                progress.advance("verifying", result.task.row_block_pairs)
                decade = found[result.task.name]
                decade.verified.append(result)
                decade.problems += result.problems
                decade.lacks |= result.lacks
                if len(decade.verified) == len(decade.tasks or ()):
                    conclude(decade)
        except WorkerDiedError as death:
            raise WorkersDiedError(
                f"a worker process {death}; run the command again with fewer --workers"
            ) from None
    progress.close()
    return problems


def _read(store: Store, name: DecadeName) -> Record | str | None:
    try:
        return store.record(name)
    except (DamagedError, StoreError) as error:
        return str(error)


def _begun(source: Source, name: DecadeName) -> _Decade:
    """Judge what does not take a look at every chunk."""
    folder, store = source.folder, source.store
    where = f"{store.location}: {name}"
    record = _read(store, name)
    decade = _Decade(name, record)
    if not isinstance(record, Record):
        decade.problems.append(f"{where}: {record or 'is not in the store'}")
        decade.lacks = record is None
        return decade
    try:
        if fingerprint(folder.input(name)) != record.input_sha256:
            decade.lacks = True
            decade.problems.append(f"{folder.input(name)}: has changed since it was read")
    except InputError as error:
        decade.problems.append(str(error))
    decade.problems += [
        f"{where}: the metadata of {part} are damaged" for part in store.damaged_metadata(record)
    ]
    try:
        stored = store.open(name, record)
        _ = stored.ids
        stored.check_vectors()
    except DamagedError as error:
        decade.problems.append(f"{where}: {error}")
        return decade
    rule = record.export.rule if record.export else EVERY_PAIR
    stored_as = (store.location, name, record.identity)
    if rule.relative:
        decade.select = SelectTask(*stored_as, record.grid.n_pairs, False, rule)
    decade.tasks = [
        VerifyTask(*stored_as, block.index, block.n_pairs, rule.absolute)
        for block in record.grid.row_blocks()
    ]
    return decade


def _select(
    decades: dict[DecadeName, _Decade], processes: Workers, n_workers: int, progress: Progress
) -> None:
    """Find out which pairs belong in an output whose rule compares all pairs of a decade."""
    tasks = [decade.select for decade in decades.values() if decade.select and decade.tasks]
    if not tasks:
        return
    total = sum(task.n_pairs for task in tasks)
    progress.stage("selecting", total, 0, "pairs")
    n = worth(n_workers, cpu_seconds(n_selected=total))
    for result in processes.perform_all(performer, ([task] for task in tasks), n):
        decade, selection = decades[result.task.name], result.selection
        decade.unselected = result.error or ""
        decade.tasks = [replace(task, selection=selection) for task in decade.tasks or ()]
        progress.advance("selecting", decade.select.n_pairs if decade.select else 0)


def _at_work(decade: _Decade, store: Store, output: Path, who: str | None) -> bool:
    """Whether a run is at work on a decade, or was since it was first looked at."""
    if _read(store, decade.name) != decade.record:
        return True
    return decade.lacks and bool(who or holder(store) or holder(output))


def _judge_output(decade: _Decade, output: Path) -> None:
    record = decade.record
    if decade.tasks is None or not isinstance(record, Record):
        return  # There is nothing to compare it with.
    found = list(_output(output, record, decade))
    decade.problems += found
    decade.lacks |= bool(found) and not finalize.is_there(output, record.export)


def _output(output: Path, record: Record, decade: _Decade) -> Iterator[str]:
    """Compare an output with the lengths and checksums of the texts that it should hold."""
    if record.export is None:
        if output.exists():
            yield f"{output}: was not written from the store as it is now"
        return
    if any(block.problems for block in decade.verified):
        yield f"{output}: cannot be compared with a damaged store"
        return
    if decade.unselected:
        yield decade.unselected
        return
    texts = sorted(decade.verified, key=lambda block: block.task.row_block)
    try:
        found = output.stat().st_size
        expected = max(2, sum(block.length for block in texts))
        if found != expected:
            yield f"{output}: has {found:,} bytes where {expected:,} were expected"
            return
        with open(output, "rb") as file:
            ends = file.read(1) + os.pread(file.fileno(), 1, expected - 1)
        offset = 0
        for block in texts:
            if checksum(output, offset, block.length) != block.checksum:
                yield (
                    f"{output}: differs from the store between byte {max(0, offset - 1):,} and "
                    f"byte {offset + block.length - 1:,}"
                )
            offset += block.length
        if ends != b"{}":
            yield f"{output}: begins with {ends[:1]!r} and ends with {ends[1:]!r}, not with braces"
    except OSError as error:
        yield reason(error, output)
