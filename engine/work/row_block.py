"""One row-block from the store to its text: its cells, read or computed, and the text they make.

What is stored and intact is read; what is missing or does not match its checksum is computed, and
stored before its text is written.
"""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from engine.data_folder import DecadeName
from engine.errors import EngineError
from engine.legacy_json.pairs import BlockText, FilmTexts
from engine.store.arrays import StoredDecade
from engine.store.store import Store
from engine.triangle.blocks import Chunk, RowBlock, neighbours
from engine.triangle.kernel import similarities


@dataclass(frozen=True)
class Films:
    """The films of a decade as this process has them open: stored arrays and pieces of text."""

    stored: StoredDecade
    texts: FilmTexts


@lru_cache(maxsize=1)
def opened(store: str, name: DecadeName, identity: str) -> Films:
    """Open a decade; the last one is kept, for its next row-block.

    Raises
    ------
    DamagedError
        When its metadata or ids are not what was written.
    EngineError
        When the store holds something else by now.
    """
    stored = Store(store).open(name)
    if stored.record.identity != identity:
        raise EngineError(
            f"{store}: {name} was begun again while this run was at work; run the command again"
        )
    return Films(stored, FilmTexts(stored.ids))


@dataclass(frozen=True)
class Cells:
    """The cells of a row-block, and where they came from."""

    block: RowBlock
    values: NDArray[np.float64]
    """(rows, n_films - left); NaN where a cell is no pair, or was not to be had."""
    damaged: tuple[Chunk, ...]
    """Chunks that did not match their checksum."""
    missing: tuple[Chunk, ...]
    """Chunks that were not there."""
    computed: tuple[Chunk, ...]
    """Chunks that `store_computed` has to write."""

    @property
    def pairs_computed(self) -> int:
        """Pairs in the chunks that were computed."""
        return sum(chunk.n_pairs for chunk in self.computed)


def cells(stored: StoredDecade, index: int, *, fresh: bool, compute: bool) -> Cells:
    """Read the chunks of a row-block, and compute those that cannot be read.

    Parameters
    ----------
    stored
        The decade.
    index
        Number of the row-block.
    fresh
        Nothing of it is stored: there is no need to look.
    compute
        False: leave NaN where a chunk cannot be read.

    Raises
    ------
    DamagedError
        When vectors that are needed cannot be read.
    """
    grid = stored.record.grid
    block, chunks = grid.row_block(index), list(grid.chunks(index))
    left = chunks[0].left
    values = np.empty((block.stop - block.start, grid.n_films - left))
    damaged, missing = [], []
    for chunk in chunks:
        place = values[:, chunk.left - left : chunk.right - left]
        found = None if fresh else stored.read(chunk)
        if found is None and not fresh:
            damaged.append(chunk)
        elif found is None or not _complete(stored, chunk, found):
            missing.append(chunk)
            found = None
        if found is not None:
            place[:] = found
        elif not compute:
            place[:] = np.nan
        else:
            _compute(stored, chunk, place)
    computed = damaged + missing if compute else []
    return Cells(block, values, tuple(damaged), tuple(missing), tuple(computed))


def store_computed(stored: StoredDecade, found: Cells) -> None:
    """Write the chunks of a row-block that were computed to the store."""
    left = found.block.n_films - found.values.shape[1]
    for run in neighbours(found.computed):
        stored.write(run, found.values[:, run[0].left - left : run[-1].right - left])


def _complete(stored: StoredDecade, chunk: Chunk, values: NDArray[np.float64]) -> bool:
    # zarr gives NaN for a chunk that is not there; a pair may also be NaN by itself (infinity
    # less infinity).
    n_values = values.size - int(np.isnan(values).sum())
    return n_values == chunk.n_pairs or stored.has(chunk)


def _compute(stored: StoredDecade, chunk: Chunk, place: NDArray[np.float64]) -> None:
    # Both factors from one matrix: numpy takes another routine, with other last bits, for the
    # product of an array with itself, and must do so each time or never.
    similarities(
        stored.record.kernel,
        stored.vectors[chunk.start : chunk.stop],
        stored.vectors[chunk.left : chunk.right],
        chunk.start - chunk.left,
        out=place,
        dot=stored.exact_kernel,
    )


def block_text(films: Films, found: Cells, min_similarity: float | None) -> BlockText:
    """Prepare the text of a row-block whose cells are all there; see `FilmTexts.block`."""
    return films.texts.block(found.block.start, found.values, min_similarity)
