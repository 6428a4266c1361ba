"""The geometry of the upper triangle: chunks, and the row-blocks they make up.

The pairs of a decade of `n` films are the cells above the diagonal of an `n` × `n` matrix. The
matrix is cut into chunks of `height` × `width` cells; the chunks that hold a pair at all and
stand in one row of chunks are a *row-block*, the unit of work. Text of a row-block is one
contiguous piece of the output, so a row-block needs whole rows, and to keep what a worker holds
bounded, its rows get fewer as they get longer. A chunk has always the same number of cells.

The cut depends on the number of films alone: the last bits of a matrix product depend on the
shape of its factors, so a cut that followed the workers or the memory would change the output.
"""

from collections.abc import Iterator
from dataclasses import dataclass

CHUNK_CELLS = 256 * 256
"""Cells of a chunk (512 KiB of float64): where zarr's cost per chunk no longer shows."""
ROW_BLOCK_CELLS = 2**21
"""Most cells of a row-block as long as it has more than one row: 16 MiB of float64."""
TALLEST = 256
"""Most rows of a chunk, and of a row-block."""


@dataclass(frozen=True)
class RowBlock:
    """Whole rows of the triangle: row `start` to row `stop`, and all films after each."""

    index: int
    start: int
    stop: int
    n_films: int

    @property
    def n_pairs(self) -> int:
        """Number of pairs (i, j) with i in the block and i < j < n_films."""
        rows = self.stop - self.start
        return rows * (self.n_films - 1) - (self.start + self.stop - 1) * rows // 2


@dataclass(frozen=True)
class Chunk:
    """One chunk of the matrix: rows `start` to `stop`, columns `left` to `right`."""

    row: int
    column: int
    start: int
    stop: int
    left: int
    right: int

    def __str__(self) -> str:
        return f"the chunk of similarities in row {self.row}, column {self.column}"

    @property
    def n_pairs(self) -> int:
        """Number of cells above the diagonal of the matrix."""
        # Rows above `left` have all columns; each later one has one fewer than the row before.
        whole = max(0, min(self.stop, self.left) - self.start)
        first = self.right - 1 - max(self.start, self.left)
        rows = min(self.stop - self.start - whole, max(0, first))
        return whole * (self.right - self.left) + rows * first - rows * (rows - 1) // 2


@dataclass(frozen=True)
class Grid:
    """The chunks and row-blocks of the upper triangle of `n_films` × `n_films` cells."""

    n_films: int

    @property
    def height(self) -> int:
        """Rows of a chunk, and of a row-block."""
        height = TALLEST
        while height > 1 and height * self.n_films > ROW_BLOCK_CELLS:
            height //= 2
        return height

    @property
    def width(self) -> int:
        """Columns of a chunk; a multiple of `height`."""
        return CHUNK_CELLS // self.height

    @property
    def n_columns(self) -> int:
        """Number of chunks side by side in the whole matrix."""
        return -(-self.n_films // self.width)

    @property
    def n_pairs(self) -> int:
        """Number of pairs of different films."""
        return self.n_films * (self.n_films - 1) // 2

    @property
    def n_row_blocks(self) -> int:
        """Number of row-blocks that hold a pair (the last film's row has none)."""
        return max(0, -(-(self.n_films - 1) // self.height))

    @property
    def n_chunks(self) -> int:
        """Number of chunks that hold a pair."""
        height, width, columns = self.height, self.width, self.n_columns
        # Left of a row-block's first pair, that of row k * height, there are these chunks.
        return sum(columns - (k * height + 1) // width for k in range(self.n_row_blocks))

    def row_block(self, index: int) -> RowBlock:
        """Row-block number `index`, from 0 at the top."""
        start = index * self.height
        return RowBlock(index, start, min(start + self.height, self.n_films), self.n_films)

    def row_blocks(self) -> Iterator[RowBlock]:
        """All row-blocks that hold a pair, from the top: the longest first."""
        return map(self.row_block, range(self.n_row_blocks))

    def chunk(self, row: int, column: int) -> Chunk:
        """The chunk at a place of the chunk grid."""
        start, left = row * self.height, column * self.width
        return Chunk(
            row,
            column,
            start,
            min(start + self.height, self.n_films),
            left,
            min(left + self.width, self.n_films),
        )

    def chunks(self, row: int) -> Iterator[Chunk]:
        """The chunks of row-block `row` that hold a pair, from the diagonal to the right."""
        for column in range(row * self.height // self.width, self.n_columns):
            chunk = self.chunk(row, column)
            if chunk.right - 1 > chunk.start:
                yield chunk
