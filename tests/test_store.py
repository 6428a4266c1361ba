"""The store: what is written comes back to the bit, what is damaged does not come back at all."""

import dataclasses
import itertools
import json
import math
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import zarr
from reference import films, put, stamps

import engine
from engine.data_folder import DecadeName
from engine.errors import DamagedError, StoreError
from engine.store.record import Export
from engine.store.store import Store

NAME = DecadeName("genres", "1990")
OTHER = DecadeName("genres", "2000")


@pytest.fixture
def store(tmp_path: Path) -> Store:
    """A store with a finished decade of 300 films (two rows of chunks) and one of 3."""
    put(tmp_path, NAME.approach, NAME.decade, films(300, 5))
    put(tmp_path, OTHER.approach, OTHER.decade, films(3, 2))
    engine.run(tmp_path, workers=1, export=False)
    return Store(str(tmp_path / "similarities.zarr"))


def folder(store: Store, name: DecadeName = NAME) -> Path:
    assert store.path is not None
    return store.path / name.approach / name.decade


def chunk_files(store: Store) -> list[Path]:
    return sorted(path for path in (folder(store) / "similarities").rglob("c/*/*"))


def test_any_zarr_reads_the_similarities_above_the_diagonal_and_nan_elsewhere(
    store: Store,
) -> None:
    array = zarr.open_array(folder(store) / "similarities", mode="r", zarr_format=3)
    found = np.asarray(array[:])
    wanted = np.full((300, 300), math.nan)
    vectors = np.array(list(films(300, 5).values()))
    for i, j in itertools.combinations(range(300), 2):
        wanted[i, j] = vectors[i] @ vectors[j]
    assert found.dtype == np.float64
    np.testing.assert_array_equal(found, wanted)


def test_vectors_and_ids_come_back_as_they_were_read(store: Store) -> None:
    decade = store.open(NAME)
    assert decade.ids == list(films(300, 5))
    assert decade.vectors.tolist() == list(films(300, 5).values())


def test_only_chunks_that_hold_a_pair_are_stored(store: Store) -> None:
    assert store.chunks(NAME) == {(0, 0), (0, 1), (1, 1)}
    assert {(chunk.row, chunk.column) for chunk in store.open(NAME).expected()} == {
        (0, 0),
        (0, 1),
        (1, 1),
    }


def test_a_chunk_comes_back_with_the_cells_it_has(store: Store) -> None:
    decade = store.open(NAME)
    for chunk in decade.expected():
        values = decade.read(chunk)
        assert values is not None
        assert values.shape == (chunk.stop - chunk.start, chunk.right - chunk.left)
        assert int((~np.isnan(values)).sum()) == chunk.n_pairs


def test_a_chunk_that_is_written_again_is_the_same_file_content(store: Store) -> None:
    decade = store.open(NAME)
    before = [path.read_bytes() for path in chunk_files(store)]
    for chunk in decade.expected():
        values = decade.read(chunk)
        assert values is not None
        decade.write([chunk], values)
    assert [path.read_bytes() for path in chunk_files(store)] == before


def test_a_chunk_of_zeros_or_nan_is_stored_like_any_other(store: Store) -> None:
    decade = store.open(NAME)
    for path in chunk_files(store):
        path.unlink()
    first, second, _ = decade.expected()
    decade.write([first], np.full((256, 256), math.nan))
    decade.write([second], np.zeros((256, 44)))
    assert store.chunks(NAME) == {(0, 0), (0, 1)}


def test_a_chunk_that_is_not_there_has_no_values(store: Store) -> None:
    decade = store.open(NAME)
    for path in chunk_files(store):
        path.unlink()
    assert store.chunks(NAME) == set()
    for chunk in decade.expected():
        values = decade.read(chunk)
        assert values is None or np.isnan(values).all()


def flip(path: Path, at: int) -> None:
    content = bytearray(path.read_bytes())
    content[at] ^= 1
    path.write_bytes(content)


def cut(path: Path, at: int) -> None:
    os.truncate(path, at % path.stat().st_size)


@pytest.mark.parametrize("damage", [flip, cut])
@pytest.mark.parametrize("at", [0, 100, 2**18, -5, -1])
def test_a_damaged_chunk_of_similarities_is_not_read(
    store: Store, damage: Callable[[Path, int], None], at: int
) -> None:
    for path in chunk_files(store):
        damage(path, at)
    decade = store.open(NAME)
    assert [decade.read(chunk) for chunk in decade.expected()] == [None] * 3


@pytest.mark.parametrize("damage", [flip, cut])
@pytest.mark.parametrize("at", [0, -1])
@pytest.mark.parametrize("array", ["vectors", "ids"])
def test_damaged_vectors_and_ids_are_not_read(
    store: Store, damage: Callable[[Path, int], None], at: int, array: str
) -> None:
    (path,) = (path for path in (folder(store) / array / "c").rglob("*") if path.is_file())
    damage(path, at)
    with pytest.raises(DamagedError, match=array):
        getattr(store.open(NAME), array)


@pytest.mark.parametrize("array", ["vectors", "ids"])
def test_missing_vectors_and_ids_are_noticed(store: Store, array: str) -> None:
    (path,) = (path for path in (folder(store) / array / "c").rglob("*") if path.is_file())
    path.unlink()
    with pytest.raises(DamagedError, match=array):
        getattr(store.open(NAME), array)


@pytest.mark.parametrize("array", ["vectors", "ids", "similarities"])
@pytest.mark.parametrize("text", ["", "{}", "[", '{"zarr_format": 3, "node_type": "group"}'])
def test_damaged_metadata_of_an_array_is_noticed(store: Store, array: str, text: str) -> None:
    (folder(store) / array / "zarr.json").write_text(text)
    with pytest.raises(DamagedError):
        store.open(NAME)


def test_the_record_comes_back_as_it_was_written(store: Store) -> None:
    record = store.record(NAME)
    assert record is not None
    assert (record.n_films, record.n_dimensions) == (300, 5)
    export = Export(size=10, mtime_ns=2**62 + 1, min_similarity=0.1, n_pairs=7)
    changed = dataclasses.replace(record, export=export)
    store.write_record(NAME, changed)
    assert Store(store.location).record(NAME) == changed
    assert Store(store.location).record(OTHER) != changed


@pytest.mark.parametrize("field", ["n_films", "kernel", "input_sha256", "norm_max"])
def test_an_edited_record_is_noticed(store: Store, field: str) -> None:
    path = folder(store) / "zarr.json"
    content = json.loads(path.read_text())
    content["attributes"]["record"][field] = 3
    path.write_text(json.dumps(content))
    with pytest.raises(DamagedError):
        store.record(NAME)


def test_a_group_without_a_record_holds_nothing_that_counts(store: Store) -> None:
    assert store.record(DecadeName("genres", "2010")) is None
    (folder(store) / "zarr.json").unlink()
    assert store.record(NAME) is None


def test_what_is_forgotten_is_gone_and_the_rest_as_it_was(store: Store) -> None:
    assert store.names() == [NAME, OTHER]
    before = stamps(folder(store, OTHER))
    store.forget(NAME)
    assert store.names() == [OTHER]
    assert store.record(NAME) is None
    assert store.chunks(NAME) == set()
    assert not folder(store).exists() or not any(folder(store).rglob("*"))
    assert stamps(folder(store, OTHER)) == before
    store.forget(NAME)  # once more does no harm


def test_temporary_files_of_killed_writes_are_swept_and_nothing_else(store: Store) -> None:
    assert store.path is not None
    before = stamps(store.path)
    (folder(store) / "similarities" / "c" / "0" / "0.0123abc.partial").write_bytes(b"x")
    (store.path / "zarr.0123abc.partial").write_bytes(b"x")
    store.sweep()
    assert stamps(store.path) == before


def test_to_create_a_store_that_is_there_changes_nothing(store: Store) -> None:
    assert store.path is not None
    before = stamps(store.path)
    Store(store.location).create()
    assert stamps(store.path) == before


def test_a_new_store_is_empty(tmp_path: Path) -> None:
    store = Store(str(tmp_path / "deep" / "in" / "similarities.zarr"))
    assert not store.exists()
    store.create()
    assert store.exists()
    assert store.names() == []


def test_an_empty_folder_may_become_a_store(tmp_path: Path) -> None:
    assert not Store(str(tmp_path)).exists()
    Store(str(tmp_path)).create()
    assert Store(str(tmp_path)).exists()


def somebody_else_s_folder(path: Path) -> None:
    path.mkdir()
    (path / "thesis.txt").write_text("years of work")


def a_file(path: Path) -> None:
    path.write_text("years of work")


def another_zarr_store(path: Path) -> None:
    zarr.create_group(path, zarr_format=3).create_array("x", shape=(1,), dtype="int8")


def a_zarr_array(path: Path) -> None:
    zarr.create_array(path, shape=(1,), dtype="int8")


def an_older_kind_of_zarr(path: Path) -> None:
    zarr.create_group(path, zarr_format=2).create_array("x", shape=(1,), dtype="int8")


def a_store_of_a_newer_format(path: Path) -> None:
    Store(str(path)).create()
    metadata = path / "zarr.json"
    content = json.loads(metadata.read_text())
    (key,) = content["attributes"]
    content["attributes"][key] += 1
    metadata.write_text(json.dumps(content))


@pytest.mark.parametrize(
    ("name", "what"),
    [
        # A folder called .zarr may be a store that lost its root metadata, and is taken over.
        ("place", somebody_else_s_folder),
        *itertools.product(
            ["place", "place.zarr"],
            [
                a_file,
                another_zarr_store,
                a_zarr_array,
                an_older_kind_of_zarr,
                a_store_of_a_newer_format,
            ],
        ),
    ],
)
def test_what_is_not_a_store_of_this_engine_is_refused_and_left_alone(
    tmp_path: Path, name: str, what: Callable[[Path], None]
) -> None:
    path = tmp_path / name
    what(path)
    before = stamps(tmp_path)
    with pytest.raises(StoreError, match="place") as caught:
        Store(str(path)).create()
    assert stamps(tmp_path) == before
    assert "--store" in str(caught.value)


def test_a_read_only_store_cannot_be_written(store: Store) -> None:
    asked = Store(store.location, read_only=True)
    record = asked.record(NAME)
    assert record is not None
    decade = asked.open(NAME)
    (first, *_) = decade.expected()
    assert decade.read(first) is not None
    with pytest.raises(Exception, match=r"read.only"):
        decade.write([first], np.zeros((256, 256)))


def test_a_folder_that_comes_and_goes_is_no_foreign_one(tmp_path: Path) -> None:
    """A run that begins makes it, just while somebody looks whether there is a store."""
    path = tmp_path / "similarities.zarr"
    code = "import os, sys\nwhile True:\n  os.mkdir(sys.argv[1])\n  os.rmdir(sys.argv[1])"
    with subprocess.Popen([sys.executable, "-c", code, str(path)]) as process:
        try:
            assert not any(Store(str(path)).exists() for _ in range(1000))
        finally:
            process.kill()
