"""The store: what is written comes back to the bit, what is damaged does not come back at all."""

import dataclasses
import hashlib
import itertools
import json
import math
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from uuid import uuid4

import numpy as np
import pytest
import zarr
from conftest import uncompute
from numpy.typing import NDArray
from reference import films, put, stamps

import engine
from engine.data_folder import DecadeName
from engine.errors import DamagedError, StoreError
from engine.store.arrays import StoredDecade
from engine.store.record import FORMAT, Export
from engine.store.store import Store
from engine.triangle.rule import Rule

NAME = DecadeName("genres", "1990")
OTHER = DecadeName("genres", "2000")


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What `store` is copied from."""
    root = tmp_path_factory.mktemp("made")
    put(root, NAME.approach, NAME.decade, films(300, 5))
    put(root, OTHER.approach, OTHER.decade, films(3, 2))
    assert engine.run(root, workers=1, export=False).ok
    return root


@pytest.fixture
def store(tmp_path: Path, made: Path) -> Store:
    """A store with a finished decade of 300 films (two rows of chunks) and one of 3."""
    shutil.copytree(made, tmp_path, dirs_exist_ok=True)
    return Store(str(tmp_path / "similarities.zarr"))


def folder(store: Store, name: DecadeName = NAME) -> Path:
    assert store.path is not None
    return store.path / name.approach / name.decade


def chunk_files(store: Store) -> list[Path]:
    return sorted(path for path in (folder(store) / "similarities").rglob("c/*/*"))


def read(decade: StoredDecade) -> list[NDArray[np.float64] | None]:
    """All chunks of a decade, as whoever reads them has them; None for those that do not count."""
    found: list[NDArray[np.float64] | None] = []
    for chunk in decade.expected():
        checksum = decade.checksums(chunk.row).get(chunk.column)
        try:
            found.append(None if checksum is None else decade.read(chunk, checksum))
        except DamagedError:
            found.append(None)
    return found


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


def test_any_zarr_reads_vectors_ids_and_the_checksums_of_the_chunks(store: Store) -> None:
    group = zarr.open_group(folder(store), mode="r", zarr_format=3)
    assert sorted(group.array_keys()) == ["checksums", "ids", "similarities", "vectors"]
    vectors, ids, checksums = (
        np.asarray(zarr.open_array(folder(store) / name, mode="r", zarr_format=3)[:]).tolist()
        for name in ("vectors", "ids", "checksums")
    )
    assert vectors == list(films(300, 5).values())
    assert ids == list(films(300, 5))
    # Beside the seal: the checksum with which zarr closes a chunk, plus 1; 0 left of the diagonal.
    first, second, third = (
        int.from_bytes(path.read_bytes()[-4:], "little") + 1 for path in chunk_files(store)
    )
    assert [row[:2] for row in checksums] == [[first, second], [0, third]]


def test_vectors_and_ids_come_back_as_they_were_read(store: Store) -> None:
    decade = store.open(NAME)
    assert decade.ids == list(films(300, 5))
    assert decade.vectors.tolist() == list(films(300, 5).values())


def test_only_chunks_that_hold_a_pair_are_stored(store: Store) -> None:
    stored = {(0, 0), (0, 1), (1, 1)}
    assert {(int(path.parent.name), int(path.name)) for path in chunk_files(store)} == stored
    assert store.open(NAME).chunks() == stored
    assert {(chunk.row, chunk.column) for chunk in store.open(NAME).expected()} == stored


def test_a_chunk_comes_back_with_the_cells_it_has(store: Store) -> None:
    decade = store.open(NAME)
    for chunk, values in zip(decade.expected(), read(decade), strict=True):
        assert values is not None
        assert values.shape == (chunk.stop - chunk.start, chunk.right - chunk.left)
        assert int((~np.isnan(values)).sum()) == chunk.n_pairs


def test_a_chunk_that_is_written_again_is_the_same_file_content(store: Store) -> None:
    decade = store.open(NAME)
    files = [path for path in folder(store).rglob("c/*/*") if path.is_file()]
    assert len(files) == 3 + 2 + 1  # chunks, rows of checksums, vectors
    before = [path.read_bytes() for path in files]
    for chunk, values in zip(decade.expected(), read(decade), strict=True):
        assert values is not None
        decade.write([(chunk, values)], chunk.row)
    assert [path.read_bytes() for path in files] == before


def test_a_chunk_of_zeros_or_nan_is_stored_like_any_other(store: Store) -> None:
    decade = store.open(NAME)
    for row in range(2):
        uncompute(folder(store), row)
    first, second, _ = decade.expected()
    decade.write([(first, np.full((256, 256), math.nan)), (second, np.zeros((256, 44)))], 0)
    assert decade.chunks() == {(0, 0), (0, 1)}
    nan, zeros, missing = read(decade)
    assert nan is not None
    assert np.isnan(nan).all()
    assert zeros is not None
    assert not zeros.any()
    assert missing is None


def test_a_chunk_that_is_not_there_has_no_values(store: Store) -> None:
    decade = store.open(NAME)
    for path in chunk_files(store):
        path.unlink()
    assert decade.chunks() == set()
    assert read(decade) == [None] * 3


def test_a_chunk_without_its_checksum_does_not_count(store: Store) -> None:
    shutil.rmtree(folder(store) / "checksums" / "c" / "0")
    decade = store.open(NAME)
    assert decade.chunks() == {(1, 1)}
    assert [values is None for values in read(decade)] == [True, True, False]


def test_the_checksums_of_chunks_written_before_are_kept(store: Store) -> None:
    decade = store.open(NAME)
    first, second, third = decade.expected()
    before = decade.checksums(0)
    decade.write([(second, np.ones((256, 44)))], 0)
    assert decade.checksums(0)[first.column] == before[first.column]
    assert decade.checksums(0)[second.column] != before[second.column]
    assert decade.chunks() == {(0, 0), (0, 1), (1, 1)}
    assert [decade.checksums(0), decade.checksums(third.row)] == decade.all_checksums()


@pytest.mark.parametrize("damage", ["flip", "cut", "moved", "deleted"])
def test_chunks_whose_row_of_checksums_is_damaged_do_not_count(store: Store, damage: str) -> None:
    rows = folder(store) / "checksums" / "c"
    row = rows / "0" / "0"
    if damage == "flip":
        flip(row, 3)
    elif damage == "cut":
        cut(row, -1)
    elif damage == "moved":
        row.write_bytes((rows / "1" / "0").read_bytes())
    else:
        row.unlink()
    assert store.open(NAME).chunks() == {(1, 1)}


def test_a_chunk_in_the_place_of_another_is_not_read(store: Store) -> None:
    first, second, _ = chunk_files(store)
    content = first.read_bytes()
    first.write_bytes(second.read_bytes())
    second.write_bytes(content)
    assert [values is None for values in read(store.open(NAME))] == [True, True, False]


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
    assert read(store.open(NAME)) == [None] * 3


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


@pytest.mark.parametrize("array", ["vectors", "ids", "similarities", "checksums"])
@pytest.mark.parametrize(
    "text", [None, "", "{}", "[", '{"zarr_format": 3, "node_type": "group"}', "other"]
)
def test_damaged_metadata_of_an_array_are_noticed_and_mended_from_the_record(
    store: Store, array: str, text: str | None
) -> None:
    path = folder(store) / array / "zarr.json"
    good = path.read_bytes()
    path.unlink()
    if text is not None:
        path.write_bytes(good.replace(b'"/"', b'"."') if text == "other" else text.encode())
    decade = store.open(NAME)
    before = stamps(folder(store))
    assert store.damaged_metadata(decade.record) == [array]
    assert all(values is not None for values in read(decade))
    store.mend_metadata(decade.record)
    assert path.read_bytes() == good
    assert store.damaged_metadata(decade.record) == []
    after = stamps(folder(store))
    name = f"{array}/zarr.json"
    assert {k: v for k, v in after.items() if k != name} == {
        k: v for k, v in before.items() if k != name
    }


def test_damaged_metadata_of_an_approach_are_noticed_and_mended(store: Store) -> None:
    path = folder(store).parent / "zarr.json"
    good = path.read_bytes()
    path.write_bytes(b"")
    record = store.open(NAME).record
    assert store.damaged_metadata(record) == ["genres"]
    store.mend_metadata(record)
    assert path.read_bytes() == good


def test_the_record_comes_back_as_it_was_written(store: Store) -> None:
    record = store.record(NAME)
    assert record is not None
    assert (record.n_films, record.n_dimensions) == (300, 5)
    export = Export(size=10, mtime_ns=2**62 + 1, rule=Rule(0.1), n_pairs=7)
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
    assert not folder(store).exists() or not any(folder(store).rglob("*"))
    assert stamps(folder(store, OTHER)) == before
    store.forget(NAME)  # once more does no harm


def test_temporary_files_of_killed_writes_are_swept_and_nothing_else(store: Store) -> None:
    assert store.path is not None
    before = stamps(store.path)
    (store.path / "film.mkv.partial").write_bytes(b"years of work")
    (folder(store) / "0.0123abc.partial").write_bytes(b"not one of ours")
    theirs = stamps(store.path)
    assert len(theirs) == len(before) + 2
    name = f"{uuid4().hex}.partial"
    (folder(store) / "similarities" / "c" / "0" / f"0.{name}").write_bytes(b"x")
    (folder(store) / f"zarr.{name}").write_bytes(b"x")
    (folder(store).parent / f"zarr.{name}").write_bytes(b"x")
    (store.path / f"zarr.{name}").write_bytes(b"x")
    store.create()
    store.sweep(NAME)
    assert stamps(store.path) == theirs


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


def a_store_that_a_newer_version_has_begun_to_take_over(path: Path) -> None:
    a_store_of_a_newer_format(path)
    for decade, number in (("1990", FORMAT), ("2000", FORMAT + 1)):
        record = {"n_films": 0, "format": number}
        digest = hashlib.sha256(f'{{"format":{number},"n_films":0}}'.encode()).hexdigest()
        zarr.create_group(
            path / "genres" / decade, attributes={"record": record, "sha256": digest}, zarr_format=3
        )


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
        *itertools.product(
            ["place", "place.zarr"],
            [
                somebody_else_s_folder,
                a_file,
                another_zarr_store,
                a_zarr_array,
                an_older_kind_of_zarr,
                a_store_of_a_newer_format,
                a_store_that_a_newer_version_has_begun_to_take_over,
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


@pytest.mark.parametrize("content", [None, b"", b"{", b"[" * 100_000, b'{"zarr_format": 4}'])
def test_a_damaged_root_is_mended_when_a_record_proves_the_store(
    store: Store, content: bytes | None
) -> None:
    assert store.path is not None
    root = store.path / "zarr.json"
    good, before = root.read_bytes(), stamps(store.path)
    root.unlink()
    if content is not None:
        root.write_bytes(content)
    again = Store(store.location)
    assert again.exists()
    assert again.create()
    assert root.read_bytes() == good
    after = stamps(store.path)
    assert {k: v for k, v in after.items() if k != "zarr.json"} == {
        k: v for k, v in before.items() if k != "zarr.json"
    }
    assert not again.create()


def test_the_settings_of_a_decade_without_a_record_are_recognized_by_its_checksums(
    store: Store,
) -> None:
    record = store.record(NAME)
    assert record is not None
    (folder(store) / "zarr.json").unlink()
    assert store.recognize(NAME, record.input_sha256) == ("dot", False)
    assert store.recognize(NAME, "00" * 32) is None
    shutil.copytree(folder(store), folder(store, DecadeName("genres", "2020")))
    assert store.recognize(DecadeName("genres", "2020"), record.input_sha256) is None
    shutil.rmtree(folder(store) / "checksums")
    assert store.recognize(NAME, record.input_sha256) is None


def test_a_folder_that_comes_and_goes_is_no_foreign_one(tmp_path: Path) -> None:
    """A run that begins makes it, just while somebody looks whether there is a store."""
    path = tmp_path / "similarities.zarr"
    code = "import os, sys\nwhile True:\n  os.mkdir(sys.argv[1])\n  os.rmdir(sys.argv[1])"
    with subprocess.Popen([sys.executable, "-c", code, str(path)]) as process:
        try:
            assert not any(Store(str(path)).exists() for _ in range(1000))
        finally:
            process.kill()
