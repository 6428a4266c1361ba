"""The geometry: every pair in one chunk and one row-block, none counted twice or left out."""

from itertools import combinations, product

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from engine.triangle import blocks
from engine.triangle.blocks import Chunk, Grid, RowBlock

# Where the number of films changes the height, and where a row-block ends.
EDGES = [0, 256, 512, 2**13, 2**14, 2**15]
around_edges = st.builds(
    lambda edge, off: max(0, edge + off), st.sampled_from(EDGES), st.integers(-9, 9)
)
n_films = st.one_of(around_edges, st.integers(0, 40_000))
any_n_films = st.one_of(n_films, st.integers(0, 2**23))


def pairs_of(chunk: Chunk) -> int:
    """Pairs of a chunk, counted row by row."""
    return sum(max(0, chunk.right - max(chunk.left, i + 1)) for i in range(chunk.start, chunk.stop))


@pytest.mark.parametrize(
    ("tallest", "cells", "most"), [(4, 16, 64), (8, 64, 128), (1, 4, 8), (2, 2, 4)]
)
def test_every_pair_is_in_exactly_one_chunk_and_one_row_block(
    monkeypatch: pytest.MonkeyPatch, tallest: int, cells: int, most: int
) -> None:
    monkeypatch.setattr(blocks, "TALLEST", tallest)
    monkeypatch.setattr(blocks, "CHUNK_CELLS", cells)
    monkeypatch.setattr(blocks, "ROW_BLOCK_CELLS", most)
    for n in (*range(34), 63, 64, 65, 69):  # Rows become lower after 16, 32 and 64 films.
        grid = Grid(n)
        in_row_blocks: list[tuple[int, int]] = []
        in_chunks: list[tuple[int, int]] = []
        for block in grid.row_blocks():
            rows = range(block.start, block.stop)
            own = [(i, j) for i in rows for j in range(i + 1, n)]
            assert block.n_pairs == len(own) > 0
            in_row_blocks += own
            for chunk in grid.chunks(block.index):
                assert (chunk.start, chunk.stop, chunk.row) == (rows.start, rows.stop, block.index)
                cells_of_chunk = product(rows, range(chunk.left, chunk.right))
                own = [(i, j) for i, j in cells_of_chunk if i < j]
                assert chunk.n_pairs == len(own) > 0
                in_chunks += own
        everything = list(combinations(range(n), 2))
        assert in_row_blocks == everything  # also in the order of the output
        assert sorted(in_chunks) == everything
        assert grid.n_pairs == len(everything)
        assert grid.n_row_blocks == len(list(grid.row_blocks()))
        assert grid.n_chunks == sum(1 for b in grid.row_blocks() for _ in grid.chunks(b.index))


@given(n_films)
@example(8191)
@example(8192)
@example(8193)
@example(16385)
def test_row_blocks_are_whole_rows_one_after_another_and_hold_all_pairs(n: int) -> None:
    row_blocks = list(Grid(n).row_blocks())
    assert [block.index for block in row_blocks] == list(range(len(row_blocks)))
    ends = [0, *(block.stop for block in row_blocks)]
    assert [block.start for block in row_blocks] == ends[:-1]
    assert n - 1 <= ends[-1] <= n or n == 0  # the last film's row has no pair
    assert sum(block.n_pairs for block in row_blocks) == n * (n - 1) // 2 == Grid(n).n_pairs
    for block in (*row_blocks[:2], *row_blocks[-2:]):
        rows = range(block.start, block.stop)
        assert block.n_pairs == sum(n - 1 - i for i in rows) > 0


@given(any_n_films, st.data())
def test_the_chunks_of_a_row_block_cover_its_pairs_without_overlap(
    n: int, data: st.DataObject
) -> None:
    grid = Grid(n)
    if not grid.n_row_blocks:
        return
    block = grid.row_block(data.draw(st.integers(0, grid.n_row_blocks - 1)))
    chunks = list(grid.chunks(block.index))
    assert chunks[0].left <= block.start + 1  # nothing left out beside the diagonal
    assert [chunk.left for chunk in chunks[1:]] == [chunk.right for chunk in chunks[:-1]]
    assert chunks[-1].right == n
    for chunk in chunks:
        assert (chunk.row, chunk.start, chunk.stop) == (block.index, block.start, block.stop)
        assert chunk == grid.chunk(block.index, chunk.column)
        assert chunk.n_pairs == pairs_of(chunk) > 0
    assert sum(chunk.n_pairs for chunk in chunks) == block.n_pairs


@given(st.integers(0, 300), st.integers(1, 300), st.integers(0, 600), st.integers(1, 600))
def test_pairs_of_any_chunk_are_counted_right(start: int, rows: int, left: int, width: int) -> None:
    chunk = Chunk(0, 0, start, start + rows, left, left + width)
    assert chunk.n_pairs == pairs_of(chunk)


@given(st.integers(0, 300), st.integers(0, 40), st.integers(0, 40))
def test_pairs_of_any_row_block_are_counted_right(start: int, rows: int, after: int) -> None:
    stop = start + rows
    block = RowBlock(0, start, stop, stop + after)
    assert block.n_pairs == sum(stop + after - 1 - i for i in range(start, stop))


@given(any_n_films)
@example(10**6)
@example(10**7)
def test_no_row_block_is_larger_than_its_bound_unless_it_is_one_row(n: int) -> None:
    grid = Grid(n)
    assert grid.height * n <= blocks.ROW_BLOCK_CELLS or grid.height == 1
    if grid.n_row_blocks:
        assert grid.row_block(0).n_pairs <= max(blocks.ROW_BLOCK_CELLS, n)


@given(any_n_films)
def test_a_chunk_has_always_the_same_number_of_cells(n: int) -> None:
    grid = Grid(n)
    assert grid.height * grid.width == blocks.CHUNK_CELLS
    assert grid.width % grid.height == 0


@pytest.mark.parametrize(
    ("n", "height"), [(0, 256), (8192, 256), (8193, 128), (16384, 128), (16385, 64), (2**30, 1)]
)
def test_rows_get_fewer_as_they_get_longer(n: int, height: int) -> None:
    assert Grid(n).height == height


@pytest.mark.parametrize("n", [0, 1])
def test_films_without_a_pair_make_no_work(n: int) -> None:
    assert (Grid(n).n_pairs, Grid(n).n_row_blocks, Grid(n).n_chunks) == (0, 0, 0)
    assert list(Grid(n).row_blocks()) == []
