"""What a worker does: read one embeddings file, or bring one row-block to its end.

A task is a small frozen value: where the store is, which decade, which row-block. It reads what
it needs from the store and writes only what it owns, so that doing it again, later or elsewhere,
gives the same. What goes wrong with one decade comes back as a sentence in the result.
"""

import os
import time
import traceback
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import lru_cache
from itertools import accumulate, compress
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_info, threadpool_limits

from engine.blocks import Chunk, RowBlock
from engine.errors import EngineError
from engine.folder import DecadeName
from engine.kernel import KernelName, similarities
from engine.output import PartialOutput
from engine.reading import InputError, read_embeddings
from engine.store import DamagedError, Record, Store, StoredDecade
from engine.text import numbers_text, pair_prefix, pair_suffix, row_length, row_text

NORM_TOLERANCE = 1e-3
_PATIENCE = 60.0


@dataclass(frozen=True)
class ReadTask:
    """Read the embeddings of a decade into the store."""

    store: str
    name: DecadeName
    input: Path
    kernel: KernelName
    normalize: bool


@dataclass(frozen=True)
class BlockTask:
    """Compute what is missing of a row-block, and put its text into the output."""

    store: str
    name: DecadeName
    identity: str
    """Of the record for which the task was made; a task that comes too late does nothing."""
    row_block: int
    row_block_pairs: int
    fresh: bool
    """Nothing of the row-block is stored: there is no need to look."""
    compute: bool
    """Compute what is missing or damaged; else that is an error."""
    output: PartialOutput | None
    """Where its text belongs; None: compute only."""
    placed: bool
    """Its text is said to be in place already."""
    min_similarity: float | None


@dataclass(frozen=True)
class Result:
    """What became of a task."""

    task: ReadTask | BlockTask
    seconds: float
    """Wall time that the worker spent on it."""
    error: str | None = None
    """Why the decade cannot go on, in one sentence."""
    details: str = ""
    """The traceback of the error."""
    record: Record | None = None
    """What was read, of a `ReadTask`."""
    pairs_computed: int = 0
    pairs_exported: int = 0
    """Pairs written to the output."""
    damaged: int = 0
    """Chunks that did not match their checksum and were computed again."""
    reread: bool = False
    """The error is in what was read into the store: reading the input again mends it."""
    again: bool = False
    """Its place in the output was not known in time: the task is to be done again."""


def perform(task: ReadTask | BlockTask) -> Result:
    """Do a task; what goes wrong with its data or its disk is part of the result."""
    begin = time.perf_counter()
    try:
        # More BLAS threads than one would change the last bits of a matrix product.
        with threadpool_limits(1, user_api="blas"):
            result = _read(task) if isinstance(task, ReadTask) else _finish_row_block(task)
    except (EngineError, InputError) as error:
        result = _failed(task, str(error))
    except DamagedError as error:
        text = f"{task.store}: {task.name}: {error} is missing or damaged"
        result = _failed(task, text, reread=True)
    except OSError as error:
        path = error.filename or task.store
        result = _failed(task, f"{path}: {error.strerror or error} ({task.name})")
    except MemoryError:
        result = _failed(task, f"{task.name}: not enough memory; use fewer --workers")
    if result.error and isinstance(task, BlockTask) and task.output:
        _abandon(task)
    return replace(result, seconds=time.perf_counter() - begin)


def _failed(task: ReadTask | BlockTask, error: str, *, reread: bool = False) -> Result:
    return Result(task, 0.0, error=error, details=traceback.format_exc(), reread=reread)


def _abandon(task: BlockTask) -> None:
    assert task.output is not None
    # The disk that failed the task may fail this, too; those who wait lose patience.
    with suppress(OSError):
        task.output.abandon(task.row_block)


def machine() -> str:
    """Name what the last bits of a dot product depend on: the BLAS and the CPU kind it uses."""
    blas = [pool for pool in threadpool_info() if pool["user_api"] == "blas"]
    names = {
        f"{pool['internal_api']} {pool.get('version') or '?'} {pool.get('architecture') or '?'}"
        for pool in blas
    }
    return ", ".join(sorted(names)) or f"numpy {np.__version__} {os.uname().machine}"


def _read(task: ReadTask) -> Result:
    embeddings = read_embeddings(task.input)
    vectors = embeddings.vectors
    norms = np.sqrt(np.vecdot(vectors, vectors))
    off = np.abs(norms - 1) > NORM_TOLERANCE
    if task.normalize and len(norms):
        if not norms.all():
            film = embeddings.ids[int(np.flatnonzero(norms == 0)[0])]
            raise EngineError(
                f"{task.input}: the vector of {film!r} is all zeros and cannot be scaled to unit "
                "length: correct it, or run without --normalize"
            )
        vectors /= norms[:, None]
    record = Record(
        n_films=len(embeddings.ids),
        n_dimensions=vectors.shape[1],
        input_sha256=embeddings.sha256,
        kernel=task.kernel,
        normalize=task.normalize,
        machine=machine(),
        begun=datetime.now(UTC).isoformat(),
        n_off_norm=int(off.sum()),
        norm_min=float(norms.min(initial=np.inf)) if len(norms) else 1.0,
        norm_max=float(norms.max(initial=0.0)) if len(norms) else 1.0,
    )
    Store(task.store).begin(task.name, embeddings.ids, vectors, record)
    return Result(task, 0.0, record=record)


@dataclass(frozen=True)
class _Films:
    """A decade opened in this worker, with the pieces of text that its row-blocks share."""

    stored: StoredDecade
    prefixes: list[bytes]
    suffixes: list[bytes]
    suffixes_length: list[int]
    """Bytes of suffixes[j:], for each j."""


@lru_cache(maxsize=1)
def _opened(store: str, name: DecadeName, identity: str) -> _Films:
    stored = Store(store).open(name)
    if stored.record.identity != identity:
        raise EngineError(
            f"{store}: {name} was begun again while this run was at work; run the command again"
        )
    suffixes = [pair_suffix(film) for film in stored.ids]
    lengths = list(accumulate(map(len, reversed(suffixes)), initial=0))
    return _Films(stored, [pair_prefix(film) for film in stored.ids], suffixes, lengths[::-1])


def _finish_row_block(task: BlockTask) -> Result:
    if task.placed and not task.fresh and task.output and task.output.intact(task.row_block):
        return Result(task, 0.0)
    films = _opened(task.store, task.name, task.identity)
    block = films.stored.record.grid.row_block(task.row_block)
    values, result = _values(task, films.stored, block)
    if task.output is None or result.error:
        return result
    rows = _formatted(films, block, values, task.min_similarity)
    del values
    pairs = sum(row.n_pairs for row in rows)
    task.output.publish(task.row_block, sum(row.length for row in rows), pairs)
    offset = task.output.offset(task.row_block, _PATIENCE, _parent_alive())
    if offset is None:
        return replace(result, again=True)
    task.output.place(task.row_block, offset, (row.text(films) for row in rows), pairs)
    return replace(result, pairs_exported=pairs)


def _parent_alive() -> Callable[[], bool]:
    parent = os.getppid()
    return lambda: os.getppid() == parent


def _values(
    task: BlockTask, stored: StoredDecade, block: RowBlock
) -> tuple[NDArray[np.float64], Result]:
    """Read or compute the cells of a row-block, from the first chunk's left edge to the right."""
    chunks = list(stored.record.grid.chunks(block.index))
    left = chunks[0].left
    values = np.empty((block.stop - block.start, stored.record.n_films - left))
    result = Result(task, 0.0)
    for chunk in chunks:
        found = None if task.fresh else stored.read(chunk)
        if found is None or not _complete(chunk, found):
            damaged = found is None
            if not task.compute:
                what = "is damaged" if damaged else "is missing"
                raise EngineError(
                    f"{task.store}: {task.name}: the chunk of similarities in row {chunk.row}, "
                    f"column {chunk.column} {what}; run without --export-only to compute it again"
                )
            found = similarities(
                stored.record.kernel,
                # Both from one matrix: numpy takes another routine, with other last bits, for
                # the product of an array with itself, and must do so each time.
                stored.vectors[chunk.start : chunk.stop],
                stored.vectors[chunk.left : chunk.right],
                chunk.start - chunk.left,
            )
            stored.write(chunk, found)
            result = replace(
                result,
                pairs_computed=result.pairs_computed + chunk.n_pairs,
                damaged=result.damaged + (damaged and not task.fresh),
            )
        values[:, chunk.left - left : chunk.right - left] = found
    return values, result


def _complete(chunk: Chunk, values: NDArray[np.float64]) -> bool:
    # zarr gives NaN for a chunk that is not there. A pair that is NaN by itself (infinity less
    # infinity) is computed at each reading; it comes out the same.
    return int(np.isnan(values).sum()) == values.size - chunk.n_pairs


@dataclass(frozen=True)
class _Row:
    """One row of a row-block: its numbers as text, and which pairs they belong to."""

    film: int
    n_pairs: int
    numbers: bytes
    length: int
    """Bytes of its text."""
    kept: list[bool] | None
    """Which of the later films; None: all."""

    def text(self, films: _Films) -> bytes:
        suffixes = films.suffixes[self.film + 1 :]
        if self.kept is not None:
            suffixes = list(compress(suffixes, self.kept))
        return row_text(films.prefixes[self.film], suffixes, self.numbers)


def _formatted(
    films: _Films, block: RowBlock, values: NDArray[np.float64], min_similarity: float | None
) -> list[_Row]:
    """Format the numbers of a row-block; rows without pairs are left out."""
    rows = []
    first = block.n_films - values.shape[1]
    for film in range(block.start, min(block.stop, block.n_films - 1)):
        numbers = values[film - block.start, film + 1 - first :]
        suffixes_length, kept = films.suffixes_length[film + 1], None
        if min_similarity is not None:
            chosen = numbers >= min_similarity
            numbers, kept = numbers[chosen], chosen.tolist()
            suffixes_length = sum(map(len, compress(films.suffixes[film + 1 :], kept)))
        if m := len(numbers):
            text = numbers_text(numbers)
            length = row_length(films.prefixes[film], suffixes_length, m, text)
            rows.append(_Row(film, m, text, length, kept))
    return rows
