"""One row-block from the store to its text: its cells, read or computed, and the text they make.

What is stored and intact is read; what is missing or does not match its checksum is computed, and
stored before its text is written.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from engine.data_folder import DecadeName
from engine.errors import DamagedError, EngineError
from engine.legacy_json.pairs import BlockText, FilmTexts
from engine.store.arrays import StoredDecade
from engine.store.store import Store
from engine.triangle.blocks import Chunk, RowBlock
from engine.triangle.kernel import similarities
from engine.triangle.selection import AtLeast, Every, Rows, Selection


@dataclass(frozen=True)
class Films:
    """The films of a decade as this process has them open: stored arrays and pieces of text."""

    stored: StoredDecade
    texts: FilmTexts


class Opened:
    """The decade that a process is at, kept from one row-block for the next."""

    def __init__(self) -> None:
        self._last: tuple[tuple[str, DecadeName, str], Films] | None = None

    def films(self, store: str, name: DecadeName, identity: str) -> Films:
        """Open a decade, unless it is the one that is open.

        Raises
        ------
        DamagedError
            When its metadata or ids are not what was written.
        EngineError
            When the store holds something else by now.
        """
        key = (store, name, identity)
        if self._last and self._last[0] == key:
            return self._last[1]
        self._last = None  # Two decades are never held at once.
        stored = Store(store).open(name)
        if stored.record.identity != identity:
            raise EngineError(
                f"{store}: {name} was restarted by another run; run the command again"
            )
        films = Films(stored, FilmTexts(stored.ids))
        self._last = key, films
        return films


@dataclass(frozen=True)
class Cells:
    """The cells of a row-block, and where they came from."""

    block: RowBlock
    values: NDArray[np.float64]
    """(rows, n_films - left); NaN where a cell is no pair, or was not to be had."""
    damaged: dict[Chunk, str]
    """Chunks that were stored and are not as they were → what is wrong with them."""
    missing: tuple[Chunk, ...]
    """Chunks that are not stored."""
    computed: tuple[Chunk, ...]
    """Chunks that `store_computed` has to write."""

    @property
    def rows(self) -> Rows:
        """The cells as rows of the triangle."""
        return Rows(self.block.start, self.block.n_films - self.values.shape[1], self.values)

    @property
    def lacking(self) -> list[str]:
        """What could not be read, a clause each."""
        return [*self.damaged.values(), *(f"{chunk} is not stored" for chunk in self.missing)]

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
    checksums = {} if fresh else stored.checksums(index)
    damaged: dict[Chunk, str] = {}
    missing: list[Chunk] = []
    for chunk in chunks:
        target = values[:, chunk.left - left : chunk.right - left]
        if chunk.column not in checksums:
            missing.append(chunk)
        else:
            try:
                target[:] = stored.read(chunk, checksums[chunk.column])
                continue
            except DamagedError as error:
                damaged[chunk] = str(error)
        if compute:
            _compute(stored, chunk, target)
        else:
            target[:] = np.nan
    computed = [*damaged, *missing] if compute else []
    return Cells(block, values, damaged, tuple(missing), tuple(computed))


def store_computed(stored: StoredDecade, found: Cells) -> None:
    """Write the chunks of a row-block that were computed to the store."""
    left = found.rows.left
    chunks = [
        (chunk, found.values[:, chunk.left - left : chunk.right - left]) for chunk in found.computed
    ]
    if chunks:
        stored.write(chunks, found.block.index)


def _compute(stored: StoredDecade, chunk: Chunk, target: NDArray[np.float64]) -> None:
    # Both factors from one matrix: numpy takes another routine, with other last bits, for the
    # product of an array with itself, and must do so each time or never.
    similarities(
        stored.record.kernel,
        stored.vectors[chunk.start : chunk.stop],
        stored.vectors[chunk.left : chunk.right],
        chunk.start - chunk.left,
        out=target,
        dot=stored.exact_kernel,
    )


def block_text(films: Films, found: Cells, selection: Selection) -> BlockText:
    """Prepare the text of the selected pairs of a row-block whose cells are all there."""
    start, values = found.block.start, found.values
    if isinstance(selection, Every):
        return films.texts.block(start, values, None)
    if isinstance(selection, AtLeast) and not np.isnan(selection.min_similarity):
        return films.texts.block(start, values, selection.min_similarity)
    # What is not at least -inf is NaN, and no rule keeps a similarity that is.
    kept = np.where(selection.keeps(found.rows), values, np.nan)
    return films.texts.block(start, kept, -np.inf)
