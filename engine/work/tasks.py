"""What a worker does: read an embeddings file, select pairs, or bring a row-block to its end.

A task is a small frozen value: where the store is, which decade, which row-block. It reads what
it needs from the store and writes only what it owns, so that doing it again, later or elsewhere,
gives the same. What goes wrong with one decade comes back as a sentence in the result.
"""

import math
import sys
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from engine.data_folder import DecadeName
from engine.embeddings.reading import read_embeddings
from engine.errors import DamagedError, EngineError, InputError, reason, shown
from engine.legacy_json.output import PartialOutput
from engine.store.arrays import StoredDecade, ids_sha256, vectors_sha256
from engine.store.record import Record
from engine.store.store import Store
from engine.triangle.blas import machine, one_blas_thread
from engine.triangle.kernel import KernelName
from engine.triangle.rule import Rule
from engine.triangle.selection import Rows, Selection
from engine.work.row_block import Cells, Opened, block_text, cells, store_computed

NORM_TOLERANCE = 1e-3
_LEAST_SQUARE = 1e-280


@dataclass(frozen=True)
class ReadTask:
    """Read the embeddings of a decade into the store; the record of it is for the run to write."""

    store: str
    name: DecadeName
    input: Path
    kernel: KernelName
    normalize: bool


@dataclass(frozen=True)
class SelectTask:
    """Find out which pairs of a decade a rule selects that compares them all."""

    store: str
    name: DecadeName
    identity: str
    """Of the record for which the task was made."""
    n_pairs: int
    compute: bool
    """Compute what is missing or damaged; else that is an error."""
    rule: Rule


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
    written: bool
    """Its text is said to be written already."""
    selection: Selection
    """Which of its pairs are in its text."""


Task: TypeAlias = ReadTask | SelectTask | BlockTask


@dataclass(frozen=True)
class Result:
    """What became of a task."""

    task: Task
    seconds: float
    """Wall time that the worker spent on it."""
    error: str | None = None
    """Why the decade cannot go on, in one sentence."""
    details: str = ""
    """The traceback of the error."""
    record: Record | None = None
    """What was read, of a `ReadTask`."""
    message: str = ""
    """What is worth knowing of what was read."""
    selection: Selection | None = None
    """What was selected, of a `SelectTask`."""
    pairs_computed: int = 0
    pairs_exported: int = 0
    """Pairs written to the output."""
    highest: float = math.nan
    """Highest similarity, where no pair of a row-block was written; NaN: there is none."""
    damaged: int = 0
    """Chunks that did not match their checksum and were computed again."""
    reread: bool = False
    """The error is in what was read into the store: reading the input again mends it."""


def performer() -> Callable[[Task], Result]:
    """Make what performs tasks in one process, one after another."""
    opened = Opened()
    return lambda task: perform(task, opened)


def perform(task: Task, opened: Opened | None = None) -> Result:
    """Do a task; what goes wrong with its data or its disk is part of the result."""
    begin = time.perf_counter()
    opened = opened or Opened()
    try:
        with one_blas_thread():
            if isinstance(task, ReadTask):
                result = _read(task)
            elif isinstance(task, SelectTask):
                result = _select(task, opened)
            else:
                result = _finish_row_block(task, opened)
    except (EngineError, InputError) as error:
        result = _failed(task, str(error))
    except DamagedError as error:
        result = _failed(task, f"{task.store}: {task.name}: {error}", reread=True)
    except OSError as error:
        result = _failed(task, f"{reason(error, task.store)} ({task.name})")
    except MemoryError:
        result = _failed(task, f"{task.name}: not enough memory; use fewer --workers")
    return replace(result, seconds=time.perf_counter() - begin)


def _failed(task: Task, error: str, *, reread: bool = False) -> Result:
    return Result(task, 0.0, error=error, details=traceback.format_exc(), reread=reread)


def _read(task: ReadTask) -> Result:
    embeddings = read_embeddings(task.input)
    vectors = embeddings.vectors
    norms = _norms(vectors)
    off = np.abs(norms - 1) > NORM_TOLERANCE
    if task.normalize and len(norms):
        if len(bad := np.flatnonzero((norms == 0) | ~np.isfinite(norms))):
            what = "is all zeros" if norms[bad[0]] == 0 else "is longer than a float can hold"
            raise EngineError(
                f'{task.input}: the vector of id "{shown(embeddings.ids[bad[0]])}" {what} and '
                "cannot be scaled to unit length: correct it, or run without --normalize"
            )
        vectors /= norms[:, None]
    record = Record(
        group=task.name.group,
        n_films=len(embeddings.ids),
        n_dimensions=vectors.shape[1],
        input_sha256=embeddings.sha256,
        ids_sha256=ids_sha256(embeddings.ids),
        vectors_sha256=vectors_sha256(vectors),
        kernel=task.kernel,
        normalize=task.normalize,
        machine=machine(),
        begun=datetime.now(UTC).isoformat(),
        n_off_norm=int(off.sum()),
        # JSON has no infinity.
        norm_min=float(norms.min()) if len(norms) else 1.0,
        norm_max=min(float(norms.max()), sys.float_info.max) if len(norms) else 1.0,
    )
    Store(task.store).write_embeddings(task.name, embeddings.ids, vectors)
    return Result(task, 0.0, record=record, message=_repetitions(task, embeddings.repeated))


def _repetitions(task: ReadTask, ids: Sequence[str]) -> str:
    if not ids:
        return ""
    return (
        f"{shown(str(task.input), 300)}: {len(ids):,} {'id' if len(ids) == 1 else 'ids'} given "
        "more than once, always with the same vector, and kept once, at the first place; the first "
        f'is "{shown(ids[0])}"'
    )


def _norms(vectors: NDArray[np.float64]) -> NDArray[np.float64]:
    norms: NDArray[np.float64]
    with np.errstate(over="ignore", under="ignore"):
        squares = np.vecdot(vectors, vectors)
    norms = np.sqrt(squares)
    for film in np.flatnonzero(~((squares > _LEAST_SQUARE) & np.isfinite(squares))):
        norms[film] = math.hypot(*vectors[film])  # Squares leave the range of a float, lengths not.
    return norms


def _select(task: SelectTask, opened: Opened) -> Result:
    stored = opened.films(task.store, task.name, task.identity).stored
    result = Result(task, 0.0)

    def read() -> Iterator[Rows]:
        nonlocal result
        for row_block in range(stored.record.grid.n_row_blocks):
            found = _whole_cells(task, stored, row_block, fresh=False)
            result = replace(
                result,
                pairs_computed=result.pairs_computed + found.pairs_computed,
                damaged=result.damaged + len(found.damaged),
            )
            yield found.rows

    selection = task.rule.selection(read, stored.record.n_films)
    return replace(result, selection=selection)


def _whole_cells(
    task: SelectTask | BlockTask, stored: StoredDecade, row_block: int, *, fresh: bool
) -> Cells:
    """Read a row-block, and compute and store what cannot be read, if the task may."""
    found = cells(stored, row_block, fresh=fresh, compute=task.compute)
    if not task.compute and found.lacking:
        raise EngineError(
            f"{task.store}: {task.name}: {found.lacking[0]}; run without --export-only to compute "
            "it again"
        )
    store_computed(stored, found)
    return found


def _finish_row_block(task: BlockTask, opened: Opened) -> Result:
    output = task.output
    if task.written and output and output.intact(task.row_block):
        return Result(task, 0.0)
    films = opened.films(task.store, task.name, task.identity)
    found = _whole_cells(task, films.stored, task.row_block, fresh=task.fresh)
    result = Result(task, 0.0, pairs_computed=found.pairs_computed, damaged=len(found.damaged))
    if output is None:
        return result
    text = block_text(films, found, task.selection)
    if not text.n_pairs:
        result = replace(result, highest=float(np.fmax.reduce(found.values, axis=None)))
    output.publish(task.row_block, text.length)
    output.write(task.row_block, output.offset(task.row_block), text.pieces(), text.n_pairs)
    return replace(result, pairs_exported=text.n_pairs)
