"""Hold what is stored against its checksums, and every output against what is stored.

Nothing is changed. The text of each row-block is made once more from the store, as the export
does it, and its checksum compared with that of the same bytes of the output.
"""

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import google_crc32c

from engine.batch.plan import choose
from engine.data_folder import DataFolder, DecadeName
from engine.embeddings.reading import fingerprint
from engine.errors import DamagedError, EngineError, InputError
from engine.legacy_json.output import checksum
from engine.progress import Progress
from engine.store.record import Record
from engine.store.store import Store
from engine.triangle.blas import one_blas_thread
from engine.work.pool import cpus, no_worker_left, perform_all, worth
from engine.work.row_block import block_text, cells, opened

_SECONDS_PER_PAIR = 100e-9


@dataclass(frozen=True)
class VerifyTask:
    """Read a row-block and make its text."""

    store: str
    name: DecadeName
    identity: str
    row_block: int
    row_block_pairs: int
    min_similarity: float | None


@dataclass(frozen=True)
class Verified:
    """What a row-block was found to be."""

    task: VerifyTask
    problems: tuple[str, ...]
    length: int = 0
    """Bytes of its text."""
    checksum: int = 0
    """CRC-32C of its text."""


def examine(task: VerifyTask) -> Verified:
    """Read a row-block from the store and make its text; what is wrong is part of the result."""
    place = f"{task.store}: {task.name}"
    try:
        with one_blas_thread():
            films = opened(task.store, task.name, task.identity)
            found = cells(films.stored, task.row_block, fresh=False, compute=False)
            problems = tuple(
                f"{place}: the chunk of similarities in row {chunk.row}, column {chunk.column} "
                f"{what}"
                for what, chunks in (("is damaged", found.damaged), ("is missing", found.missing))
                for chunk in chunks
            )
            if problems:
                return Verified(task, problems)
            text, found_checksum = block_text(films, found, task.min_similarity), 0
            for piece in text.pieces():
                found_checksum = google_crc32c.extend(found_checksum, piece)
    except (DamagedError, EngineError) as error:
        return Verified(task, (f"{place}: {error}",))
    except OSError as error:
        return Verified(task, (f"{error.filename or place}: {error.strerror or error}",))
    return Verified(task, (), text.length, found_checksum)


def verify(
    data: str | os.PathLike[str] = "data",
    *,
    store: str | os.PathLike[str] | None = None,
    workers: int | None = None,
    approaches: Sequence[str] | None = None,
    decades: Sequence[str] | None = None,
    progress: Progress | None = None,
) -> list[str]:
    """Read every chunk against its checksum and every output against the store.

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
    """
    folder = DataFolder(Path(data))
    place = Store(str(folder.default_store if store is None else store))
    if not place.exists():
        raise EngineError(f"{place.location}: there is no store to verify; run the engine first")
    progress = progress or Progress()
    names = choose(folder, place, approaches, decades, True)
    problems: list[str] = []

    def report(found: Sequence[str]) -> None:
        for problem in found:
            problems.append(problem)
            progress.error(problem)

    records: dict[DecadeName, Record] = {}
    for name in names:
        found, record = _record(folder, place, name)
        report(found)
        if record:
            records[name] = record
    tasks = [
        VerifyTask(
            place.location,
            name,
            record.identity,
            block.index,
            block.n_pairs,
            record.export.min_similarity if record.export else None,
        )
        for name, record in records.items()
        for block in record.grid.row_blocks()
    ]
    total = sum(task.row_block_pairs for task in tasks)
    progress.stage("verifying", total, 0, "pairs")
    workers = worth(min(workers or cpus(), cpus()), total * _SECONDS_PER_PAIR)
    verified: dict[DecadeName, list[Verified]] = {name: [] for name in records}
    with no_worker_left():
        for result in perform_all(examine, tasks, workers):
            verified[result.task.name].append(result)
            progress.advance("verifying", result.task.row_block_pairs)
            report(result.problems)
    for name, record in records.items():
        report(list(_output(folder.output(name), record, verified[name])))
    progress.close()
    return problems


def _record(folder: DataFolder, store: Store, name: DecadeName) -> tuple[list[str], Record | None]:
    try:
        record = store.record(name)
        if record is None:
            return [f"{store.location}: {name}: is not in the store"], None
        stored = store.open(name)
        _ = stored.ids, stored.vectors  # Reading them is what verifies them.
    except DamagedError as error:
        return [f"{store.location}: {name}: {error} is damaged"], None
    try:
        if fingerprint(folder.input(name)) != record.input_sha256:
            return [f"{folder.input(name)}: has changed since it was read"], record
    except InputError as error:
        return [str(error)], record
    return [], record


def _output(output: Path, record: Record, verified: list[Verified]) -> Iterator[str]:
    """Compare an output with the lengths and checksums of the texts that it should hold."""
    if record.export is None:
        if output.exists():
            yield f"{output}: was not written from the store as it is now"
        return
    if any(block.problems for block in verified):
        yield f"{output}: cannot be compared with a damaged store"
        return
    texts = sorted(verified, key=lambda block: block.task.row_block)
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
        yield f"{output}: {error.strerror or error}"
