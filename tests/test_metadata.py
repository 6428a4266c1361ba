"""The metadata of the store: those that zarr-python writes, so that anybody's zarr reads it."""

import itertools
import json
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import zarr
from hypothesis import given
from hypothesis import strategies as st
from reference import films, put
from zarr.codecs import BytesCodec, Crc32cCodec

import engine
from engine.store import metadata

NAMES = {
    "vectors": ("film", "number"),
    "similarities": ("film", "other_film"),
    "checksums": ("row_block", "chunk"),
    "ids": ("film",),
}


def written_by_zarr(folder: Path, name: str, document: dict[str, Any]) -> dict[str, Any]:
    """The metadata that zarr-python writes for an array of the same shape and chunks."""
    is_text = name == "ids"
    zarr.create_array(
        folder / name,
        shape=document["shape"],
        chunks=document["chunk_grid"]["configuration"]["chunk_shape"],
        dtype="str" if is_text else "uint64" if name == "checksums" else "float64",
        serializer="auto" if is_text else BytesCodec(endian="little"),
        compressors=Crc32cCodec(),
        fill_value="" if is_text else 0 if name == "checksums" else np.nan,
        dimension_names=NAMES[name],
        overwrite=True,
    )
    found: dict[str, Any] = json.loads((folder / name / "zarr.json").read_text())
    return found


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(
    ("n_films", "n_dimensions"), [(2, 1), (300, 5), (1000, 1024), (8193, 16), (20_000, 300_000)]
)
def test_the_metadata_of_an_array_are_those_that_zarr_writes(
    tmp_path: Path, name: str, n_films: int, n_dimensions: int
) -> None:
    documents = metadata.arrays(n_films, n_dimensions)
    assert set(documents) == set(NAMES)
    document = json.loads(documents[name])
    assert document == written_by_zarr(tmp_path, name, document)


@given(st.integers(0, 10**7), st.integers(0, 10**6))
def test_the_arrays_have_the_shapes_of_the_decade(n_films: int, n_dimensions: int) -> None:
    documents = {k: json.loads(v) for k, v in metadata.arrays(n_films, n_dimensions).items()}
    shapes = {name: document["shape"] for name, document in documents.items()}
    assert shapes["vectors"] == [n_films, n_dimensions]
    assert shapes["similarities"] == [n_films, n_films]
    assert shapes["ids"] == [n_films]
    for document in documents.values():
        chunk = document["chunk_grid"]["configuration"]["chunk_shape"]
        assert len(chunk) == len(document["shape"]) == len(document["dimension_names"])
        assert min(chunk) >= 1
    rows, columns = shapes["checksums"]
    height, width = documents["similarities"]["chunk_grid"]["configuration"]["chunk_shape"]
    assert rows == -(-max(0, n_films - 1) // height)  # The last film's row has no pair.
    assert columns == -(-n_films // width) + 1  # A seal closes each row.


@given(st.integers(1, 10**6), st.integers(1, 10**6))
def test_a_chunk_of_vectors_is_two_mebibytes_at_most_or_one_film(n: int, d: int) -> None:
    films_in_chunk = metadata.vectors_chunk(d, n)
    assert 1 <= films_in_chunk <= n
    assert films_in_chunk == 1 or films_in_chunk * d * 8 <= 2 * 2**20
    assert films_in_chunk == n or (films_in_chunk + 1) * d * 8 > 2 * 2**20


def test_the_metadata_of_a_group_are_those_that_zarr_writes(tmp_path: Path) -> None:
    attributes = {"record": {"n_films": 3, "export": None}, "sha256": "00"}
    zarr.create_group(tmp_path, attributes=attributes, zarr_format=3)
    written = json.loads((tmp_path / "zarr.json").read_text())
    assert json.loads(metadata.group(attributes)) == written


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The store of a decade of 300 films, and the triangle of its similarities."""
    data = tmp_path_factory.mktemp("metadata")
    put(data, "genres", "1990", films(300, 5))
    assert engine.run(data, workers=1, export=False).ok
    return data / "similarities.zarr"


@cache
def triangle() -> np.ndarray:
    """The similarities of the 300 films by the notebook's loop, NaN where there is no pair."""
    vectors = np.array(list(films(300, 5).values()))
    matrix = np.full((300, 300), np.nan)
    for i, j in itertools.combinations(range(300), 2):
        matrix[i, j] = vectors[i] @ vectors[j]
    return matrix


def test_every_array_in_the_store_tells_zarr_the_names_of_its_dimensions(store: Path) -> None:
    group = zarr.open_group(store, mode="r", zarr_format=3)
    found = {
        path.rpartition("/")[2]: member.metadata.dimension_names  # type: ignore[union-attr]
        for path, member in group.members(max_depth=None)
        if isinstance(member, zarr.Array)
    }
    assert found == NAMES


def test_xarray_opens_a_decade_with_its_dimensions(store: Path) -> None:
    xarray = pytest.importorskip("xarray", reason="xarray is not installed: pip install '.[dev]'")
    dataset = xarray.open_zarr(
        store, group="genres/1990", consolidated=False, zarr_format=3, chunks=None
    )
    assert {name: array.dims for name, array in dataset.variables.items()} == NAMES
    assert list(dataset["ids"].values) == list(films(300, 5))
    assert dataset["vectors"].values.tolist() == list(films(300, 5).values())
    np.testing.assert_array_equal(dataset["similarities"].values, triangle())
    nearest = dataset["similarities"].isel(film=3).argmax("other_film")
    assert int(nearest) == int(np.nanargmax(triangle()[3]))


def test_dask_opens_similarities_lazily(store: Path) -> None:
    array = pytest.importorskip("dask.array", reason="dask is not installed: pip install '.[dev]'")
    lazy = array.from_zarr(str(store), component="genres/1990/similarities")
    assert lazy.chunks == ((256, 44), (256, 44))
    np.testing.assert_array_equal(lazy.compute(scheduler="synchronous"), triangle())


def test_zarr_opens_similarities(store: Path) -> None:
    stored = zarr.open_group(store, mode="r")["genres/1990/similarities"]
    assert isinstance(stored, zarr.Array)
    np.testing.assert_array_equal(stored[:], triangle())
