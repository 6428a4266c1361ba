"""One row-block, stored or computed, whole or in part: the same cells and the same text."""

import itertools
import json
from pathlib import Path

import numpy as np
import pytest
from conftest import uncompute
from numpy.typing import NDArray
from reference import films, put

import engine
from engine.data_folder import DecadeName
from engine.errors import EngineError
from engine.store.arrays import StoredDecade
from engine.store.store import Store
from engine.triangle.blocks import Chunk
from engine.triangle.selection import AtLeast
from engine.work.row_block import Films, Opened, block_text, cells, store_computed

NAME = DecadeName("genres", "1990")
N = 300  # two row-blocks, three chunks


def opened_films(root: Path, n: int = N, d: int = 3) -> Films:
    put(root, NAME.approach, NAME.decade, films(n, d))
    engine.run(root, workers=1, export=False)
    store = Store(str(root / "similarities.zarr"))
    record = store.record(NAME)
    assert record is not None
    return Opened().films(store.location, NAME, record.identity)


@pytest.fixture
def decade(tmp_path: Path) -> Films:
    return opened_films(tmp_path)


def chunk_file(root: Path, row: int, column: int) -> Path:
    folder = root / "similarities.zarr" / "genres" / "1990" / "similarities" / "c"
    return folder / str(row) / str(column)


def half_computed(root: Path, decade: Films) -> None:
    """Leave the first chunk of the first row-block, as if no other had been computed yet."""
    first = next(decade.stored.expected())
    values = decade.stored.read(first, decade.stored.checksums(0)[0])
    assert values is not None
    uncompute(root / "similarities.zarr" / "genres" / "1990", 0)
    decade.stored.write([(first, values)], 0)


def triangle(first: int, last: int) -> list[float]:
    vectors = np.array(list(films(N, 3).values()))
    pairs = itertools.combinations(range(N), 2)
    return [float(vectors[i] @ vectors[j]) for i, j in pairs if first <= i < last]


def read(decade: Films, index: int, *, fresh: bool = False, compute: bool = True) -> list[float]:
    found = cells(decade.stored, index, fresh=fresh, compute=compute)
    return [float(x) for x in found.values[~np.isnan(found.values)]]


def test_stored_cells_are_read_and_nothing_is_computed(decade: Films) -> None:
    found = [cells(decade.stored, index, fresh=False, compute=True) for index in range(2)]
    assert [(f.pairs_computed, f.damaged, f.missing) for f in found] == [(0, {}, ())] * 2
    assert read(decade, 0) == triangle(0, 256)
    assert read(decade, 1) == triangle(256, N)


def test_cells_that_are_not_stored_are_computed_and_stored(tmp_path: Path, decade: Films) -> None:
    content = chunk_file(tmp_path, 0, 1).read_bytes()
    half_computed(tmp_path, decade)
    found = cells(decade.stored, 0, fresh=False, compute=True)
    assert [(chunk.row, chunk.column) for chunk in found.missing] == [(0, 1)]
    assert found.damaged == {}
    assert found.pairs_computed == 256 * 44
    assert not chunk_file(tmp_path, 0, 1).exists()
    store_computed(decade.stored, found)
    assert chunk_file(tmp_path, 0, 1).read_bytes() == content
    assert read(decade, 0, compute=False) == triangle(0, 256)


def test_damaged_cells_are_computed_and_stored_again(tmp_path: Path, decade: Films) -> None:
    content = chunk_file(tmp_path, 0, 0).read_bytes()
    damaged = bytearray(content)
    damaged[8 * 256 * 9 + 8 * 200] ^= 1
    chunk_file(tmp_path, 0, 0).write_bytes(damaged)
    found = cells(decade.stored, 0, fresh=False, compute=True)
    assert [(chunk.row, chunk.column) for chunk in found.damaged] == [(0, 0)]
    assert found.pairs_computed == 256 * 255 // 2
    assert chunk_file(tmp_path, 0, 0).read_bytes() == damaged
    store_computed(decade.stored, found)
    assert chunk_file(tmp_path, 0, 0).read_bytes() == content
    assert read(decade, 0, compute=False) == triangle(0, 256)


def test_cells_that_may_not_be_computed_are_told_apart_and_left_out(
    tmp_path: Path, decade: Films
) -> None:
    half_computed(tmp_path, decade)
    chunk_file(tmp_path, 0, 0).write_bytes(b"")
    found = cells(decade.stored, 0, fresh=False, compute=False)
    assert [(chunk.row, chunk.column) for chunk in found.damaged] == [(0, 0)]
    assert [(chunk.row, chunk.column) for chunk in found.missing] == [(0, 1)]
    assert found.pairs_computed == 0
    assert np.isnan(found.values).all()
    assert not chunk_file(tmp_path, 0, 1).exists()


def test_a_chunk_that_was_stored_and_is_gone_is_damaged(tmp_path: Path, decade: Films) -> None:
    chunk_file(tmp_path, 0, 1).unlink()
    found = cells(decade.stored, 0, fresh=False, compute=True)
    assert [(chunk.row, chunk.column) for chunk in found.damaged] == [(0, 1)]
    assert found.missing == ()
    assert found.pairs_computed == 256 * 44


def test_a_fresh_row_block_is_computed_without_being_read(tmp_path: Path, decade: Films) -> None:
    assert read(decade, 0, fresh=True) == triangle(0, 256)


@pytest.mark.parametrize("gone", [[0, 1, 2, 3], [1, 2], [0, 3], []])
def test_only_what_is_missing_is_written_and_in_one_call(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, gone: list[int]
) -> None:
    decade = opened_films(tmp_path, n=800)
    for column in gone:
        chunk_file(tmp_path, 0, column).unlink()
    calls: list[list[int]] = []

    def write(
        self: StoredDecade, chunks: list[tuple[Chunk, NDArray[np.float64]]], row_block: int
    ) -> None:
        calls.append([chunk.column for chunk, _ in chunks])
        original(self, chunks, row_block)

    original = StoredDecade.write
    monkeypatch.setattr(StoredDecade, "write", write)
    for _ in range(2):
        store_computed(decade.stored, cells(decade.stored, 0, fresh=False, compute=True))
        assert calls == ([gone] if gone else [])


def test_the_text_of_a_row_block_is_that_of_its_pairs(decade: Films) -> None:
    ids = list(films(N, 3))
    vectors = np.array(list(films(N, 3).values()))
    for index, (first, last) in enumerate([(0, 256), (256, N)]):
        found = cells(decade.stored, index, fresh=False, compute=False)
        text = block_text(decade, found, AtLeast(0.5))
        pieces = b"".join(map(bytes, text.pieces()))
        wanted = {
            f"{ids[i]}-{ids[j]}": float(vectors[i] @ vectors[j])
            for i, j in itertools.combinations(range(N), 2)
            if first <= i < last and vectors[i] @ vectors[j] >= 0.5
        }
        assert (text.length, text.n_pairs) == (len(pieces), len(wanted))
        assert b"{" + pieces[2:] + b"}" == json.dumps(wanted).encode()


def test_a_decade_that_was_begun_again_is_not_opened_as_what_it_was(tmp_path: Path) -> None:
    old = opened_films(tmp_path).stored.record.identity
    put(tmp_path, NAME.approach, NAME.decade, films(9))
    engine.run(tmp_path, workers=1)
    with pytest.raises(EngineError, match="restarted by another run"):
        Opened().films(str(tmp_path / "similarities.zarr"), NAME, "00" * 32)
    with pytest.raises(EngineError, match="restarted by another run"):
        Opened().films(str(tmp_path / "similarities.zarr"), NAME, old)
