"""A whole decade asked at once gives what the notebook's loop, numpy and pandas give."""

import itertools
import json
import logging
import pickle
import shutil
from functools import cache
from pathlib import Path
from typing import Any

import joblib
import numpy as np
import pytest
from conftest import uncompute
from reference import films as made_up
from reference import output_path, put

import engine
from engine import Decade, NotComputedError
from engine.errors import StoreError

N = 300
"""Films, two row-blocks of them."""


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A decade of many films; one with ties; small ones. Nobody changes them."""
    data = tmp_path_factory.mktemp("whole")
    put(data, "genres", "1990", made_up(N, 7))
    corners = {str(k): [float(k % 3 == 0), float(k % 3 == 1)] for k in range(40)}
    put(data, "ties", "1990", corners)
    for n in range(3):
        put(data, "small", f"19{n}0", {str(k): [1.0, k] for k in range(n)})
    assert engine.run(data, workers=1).ok
    return data


def matrix_of(data: Path, approach: str) -> np.ndarray:
    """All similarities by the notebook's loop, NaN on the diagonal."""
    return _matrix_of((data / "embeddings" / approach / "plots_1990s.json").read_text())


@cache  # Many tests have the same films.
def _matrix_of(text: str) -> np.ndarray:
    vectors = [np.array(vector) for vector in json.loads(text).values()]
    matrix = np.full((len(vectors), len(vectors)), np.nan)
    for i, j in itertools.combinations(range(len(vectors)), 2):
        matrix[i, j] = matrix[j, i] = vectors[i] @ vectors[j]
    matrix.flags.writeable = False
    return matrix


def all_pairs(matrix: np.ndarray) -> list[tuple[int, int, float]]:
    return [(i, j, matrix[i, j]) for i, j in itertools.combinations(range(len(matrix)), 2)]


def found(decade: Decade, **rule: Any) -> list[tuple[int, int, float]]:
    return list(zip(*(part.tolist() for part in decade.pairs(**rule)), strict=True))


@pytest.fixture
def films(data: Path) -> Decade:
    return engine.open(data)["genres", 1990]


@pytest.fixture(scope="module")
def matrix(data: Path) -> np.ndarray:
    return matrix_of(data, "genres")


# --- the matrix ---------------------------------------------------------------------------------


def test_the_matrix_is_the_notebooks_both_ways(films: Decade, matrix: np.ndarray) -> None:
    np.testing.assert_array_equal(films.matrix(), matrix, strict=True)
    assert films.matrix_bytes() == matrix.nbytes


def test_the_matrix_may_be_put_elsewhere_and_rounded(
    films: Decade, matrix: np.ndarray, tmp_path: Path
) -> None:
    out = np.memmap(tmp_path / "matrix", np.float64, "w+", shape=matrix.shape)
    assert films.matrix(out) is out
    np.testing.assert_array_equal(out, matrix)
    rounded = films.matrix(dtype="float32")
    np.testing.assert_array_equal(rounded, matrix.astype(np.float32), strict=True)
    assert films.matrix_bytes("float32") == rounded.nbytes


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ({"out": np.empty((N, N - 1))}, rf"\({N}, {N}\) floats.* \({N}, {N - 1}\)"),
        ({"dtype": int}, "floats, which have a NaN"),
        ({"out": [[0.0] * N] * N}, "out is not an array of numpy that can be written"),
        ({"out": np.broadcast_to(0.0, (N, N))}, "out is not an array of numpy that can be written"),
        ({"out": np.empty((N, N)), "dtype": np.float32}, "of float64, and dtype is float32"),
    ],
)
def test_what_cannot_hold_the_matrix_is_refused(
    films: Decade, arguments: dict[str, Any], told: str
) -> None:
    with pytest.raises(ValueError, match=told):
        films.matrix(**arguments)


def test_a_matrix_that_the_machine_has_no_memory_for_is_refused_before_it_is_begun(
    films: Decade, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO, "engine"):
        films.matrix()
    assert "a matrix of 300 x 300 float64 takes 0.00 GB" in caplog.text
    pages = {"SC_PAGE_SIZE": 1, "SC_PHYS_PAGES": 8 * N * N - 1}
    monkeypatch.setattr("os.sysconf", pages.__getitem__)
    with pytest.raises(MemoryError, match=r"300 x 300 float64 takes .* this machine has"):
        films.matrix()
    assert films.matrix(np.empty((N, N))).shape == films.matrix(dtype="float32").shape


def test_a_decade_is_not_quietly_an_array_of_ids(films: Decade) -> None:
    with pytest.raises(TypeError, match=r"genres 1990s is no array: .*films\.matrix\(\)"):
        np.asarray(films)


@pytest.mark.parametrize("n", [15, 20, 40])
def test_chunks_that_are_wider_than_high_give_the_same(
    n: int, tmp_path: Path, small_blocks: None
) -> None:
    put(tmp_path, "genres", "1990", made_up(n))
    assert engine.run(tmp_path, workers=1, export=False).ok
    films, matrix = engine.open(tmp_path)["genres", 1990], matrix_of(tmp_path, "genres")
    np.testing.assert_array_equal(films.matrix(), matrix)
    assert found(films) == all_pairs(matrix)
    order = np.argsort(-matrix, axis=1, kind="stable")[:, :3]
    np.testing.assert_array_equal(films.nearest(3)[0], order)
    assert films.quantile(0.75) == np.quantile(matrix[np.triu_indices(n, 1)], 0.75)


# --- pairs --------------------------------------------------------------------------------------


def test_without_a_rule_there_are_all_pairs_in_their_order(
    films: Decade, matrix: np.ndarray
) -> None:
    assert found(films) == all_pairs(matrix)


def test_the_pairs_at_or_above_a_similarity_are_kept(films: Decade, matrix: np.ndarray) -> None:
    threshold = matrix[3, 280]
    wanted = [pair for pair in all_pairs(matrix) if pair[2] >= threshold]
    assert found(films, min_similarity=threshold) == wanted
    assert found(films, min_similarity=2) == []


@pytest.mark.parametrize("approach", ["genres", "ties"])
@pytest.mark.parametrize("per_cent", [25, 50, 0.1, 99.9])
def test_the_top_per_cent_are_the_pairs_above_pandas_percentile(
    approach: str, per_cent: float, data: Path
) -> None:
    pandas = pytest.importorskip("pandas", reason="pandas is not installed: pip install '.[dev]'")
    pairs = all_pairs(matrix_of(data, approach))
    frame = pandas.DataFrame(pairs, columns=["i", "j", "similarity"])
    part = 1 - per_cent / 100
    described = frame["similarity"].describe(percentiles=[part])
    strong = frame[frame["similarity"] > described.iloc[4]]
    wanted = list(strong.itertuples(index=False, name=None))
    assert found(engine.open(data)[approach, 1990], top_percent=per_cent) == wanted


def test_the_top_quarter_is_what_the_steps_on_the_whole_json_leave(data: Path) -> None:
    pandas = pytest.importorskip("pandas", reason="pandas is not installed: pip install '.[dev]'")
    networkx = pytest.importorskip("networkx", reason="networkx is not installed: '.[dev]'")
    similarities = json.loads(output_path(data, "genres", "1990").read_text())
    rows = [(*key.split("-"), value) for key, value in similarities.items()]
    frame = pandas.DataFrame(rows, columns=["film", "other_film", "similarity"])
    strong = frame[frame["similarity"] > frame.describe()["similarity"]["75%"]]
    films = engine.open(data)["genres", 1990]
    own = films.to_frame(top_percent=25)
    assert list(own.astype({"film": str, "other_film": str}).itertuples(False, None)) == list(
        strong.itertuples(False, None)
    )
    graph = networkx.Graph()
    graph.add_nodes_from(films.ids)
    graph.add_weighted_edges_from(strong.itertuples(index=False, name=None))
    assert list(films.to_networkx(top_percent=25).edges(data=True)) == list(graph.edges(data=True))
    assert list(films.to_networkx(top_percent=25)) == films.ids


@pytest.mark.parametrize("approach", ["genres", "ties"])
@pytest.mark.parametrize("k", [1, 3, 1000])
def test_the_top_k_are_the_pairs_among_the_best_of_either_film(
    approach: str, k: int, data: Path
) -> None:
    matrix = matrix_of(data, approach)
    films = range(len(matrix))
    best = [set(sorted(set(films) - {i}, key=lambda j: (-matrix[i, j], j))[:k]) for i in films]
    wanted = [
        pair for pair in all_pairs(matrix) if pair[1] in best[pair[0]] or pair[0] in best[pair[1]]
    ]
    assert found(engine.open(data)[approach, 1990], top_k=k) == wanted


@pytest.mark.parametrize(
    ("rule", "told"),
    [
        ({"min_similarity": 0.5, "top_k": 3}, "only one can be given"),
        ({"min_similarity": "high"}, "'high' is not a finite number"),
        ({"top_percent": 0}, "0 is not a percentage between 0 and 100"),
        ({"top_percent": 100}, "100 is not a percentage between 0 and 100"),
        ({"top_k": 0}, "0 is not a positive integer"),
        ({"top_k": 2.5}, "2.5 is not a positive integer"),
    ],
)
def test_a_rule_that_is_none_is_refused(films: Decade, rule: dict[str, Any], told: str) -> None:
    with pytest.raises(ValueError, match=told):
        films.pairs(**rule)


# --- the nearest of all films -------------------------------------------------------------------


@pytest.mark.parametrize("approach", ["genres", "ties"])
def test_the_nearest_are_those_of_a_sorted_row(approach: str, data: Path) -> None:
    matrix = matrix_of(data, approach)
    order = np.argsort(-matrix, axis=1, kind="stable")[:, :5]
    places, values = engine.open(data)[approach, 1990].nearest(5)
    np.testing.assert_array_equal(places, order)
    np.testing.assert_array_equal(values, np.take_along_axis(matrix, order, 1))


# --- the distribution ---------------------------------------------------------------------------


@pytest.mark.parametrize("part", [0, 0.25, 0.5, 0.75, 0.999, 1])
def test_a_quantile_is_numpys_to_the_bit(films: Decade, matrix: np.ndarray, part: float) -> None:
    assert films.quantile(part) == np.quantile(matrix[np.triu_indices(N, 1)], part)


def test_a_quantile_outside_of_everything_is_refused(films: Decade) -> None:
    with pytest.raises(ValueError, match="a quantile is from 0 to 1, not 75"):
        films.quantile(75)


def test_a_description_is_pandas(films: Decade, matrix: np.ndarray) -> None:
    pandas = pytest.importorskip("pandas", reason="pandas is not installed: pip install '.[dev]'")
    wanted = pandas.Series(matrix[np.triu_indices(N, 1)]).describe()
    described = films.describe()
    assert list(described) == list(wanted.index)
    assert [described[name] for name in ("count", "min", "25%", "50%", "75%", "max")] == [
        wanted[name] for name in ("count", "min", "25%", "50%", "75%", "max")
    ]
    np.testing.assert_allclose(list(described.values()), wanted.to_numpy(), rtol=1e-12)


@pytest.mark.parametrize("n", [0, 1, 2])
def test_a_decade_of_hardly_a_film_has_hardly_an_answer(n: int, data: Path) -> None:
    small = engine.open(data)["small", 1900 + 10 * n]
    assert len(small) == n
    assert small.matrix().shape == (n, n)
    assert len(found(small)) == small.n_pairs == n // 2
    assert found(small, top_percent=25) == []
    assert len(found(small, top_k=1)) == n // 2
    assert [part.shape for part in small.nearest(3)] == [(n, max(0, n - 1))] * 2
    assert small.describe()["count"] == n // 2
    assert np.isnan(small.quantile(0.5)) == (n < 2)


# --- what is missing, damaged or elsewhere ------------------------------------------------------


def test_what_is_not_computed_is_said_or_left_out_for_the_asking(
    data: Path, matrix: np.ndarray, tmp_path: Path
) -> None:
    shutil.copytree(data, tmp_path / "data")
    uncompute(tmp_path / "data" / "similarities.zarr" / "genres" / "1990", 0)
    films = engine.open(tmp_path / "data")["genres", 1990]
    for ask in (
        films.matrix,
        films.pairs,
        films.nearest,
        films.describe,
        lambda: films.quantile(0.5),
        lambda: films.pairs(top_k=1),
        lambda: films.pairs(top_percent=25),
    ):
        with pytest.raises(NotComputedError, match="not all are there"):
            ask()
    matrix = matrix.copy()
    matrix[:256] = matrix[:, :256] = np.nan
    np.testing.assert_array_equal(films.matrix(partial=True), matrix)
    places, _ = films.nearest(1, partial=True)
    assert places[:256].tolist() == [[-1]] * 256
    assert places[256:, 0].tolist() == np.nanargmax(matrix[256:], axis=1).tolist()


def test_a_damaged_chunk_is_never_believed(data: Path, tmp_path: Path) -> None:
    shutil.copytree(data, tmp_path / "data")
    path = tmp_path / "data/similarities.zarr/genres/1990/similarities/c/0/1"
    path.write_bytes(path.read_bytes()[:-1])
    films = engine.open(tmp_path / "data")["genres", 1990]
    for ask in (films.matrix, films.pairs, films.nearest, films.describe):
        with pytest.raises(StoreError, match="row 0, column 1 is damaged"):
            ask()


def test_a_missing_package_is_named(films: Decade, monkeypatch: pytest.MonkeyPatch) -> None:
    for package in ("pandas", "networkx"):
        monkeypatch.setitem(__import__("sys").modules, package, None)
    with pytest.raises(ImportError, match=r"to_frame\(\) needs pandas: pip install pandas"):
        films.to_frame(top_k=1)
    with pytest.raises(ImportError, match=r"to_networkx\(\) needs networkx: pip install networkx"):
        films.to_networkx(top_k=1)


# --- pickled ------------------------------------------------------------------------------------


def test_what_is_pickled_opens_again_where_it_lands(
    data: Path, films: Decade, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(data.parent)
    similarities = engine.open(data.name)  # A path that leads nowhere from elsewhere.
    pickled = [pickle.dumps(each) for each in (similarities, similarities["genres", 1990])]
    monkeypatch.chdir(tmp_path)
    opened, again = map(pickle.loads, pickled)
    assert list(opened) == list(engine.open(data))
    assert again.ids == films.ids
    assert again[films.ids[0], films.ids[299]] == films[films.ids[0], films.ids[299]]


def test_other_processes_take_decades(data: Path) -> None:
    decades = list(engine.open(data).values())
    described = joblib.Parallel(2)(joblib.delayed(Decade.describe)(films) for films in decades)
    np.testing.assert_equal(described, [films.describe() for films in decades])


def test_a_pickled_decade_that_was_restarted_meanwhile_is_refused(tmp_path: Path) -> None:
    put(tmp_path, "genres", "1990", made_up(3))
    assert engine.run(tmp_path, workers=1).ok
    pickled = pickle.dumps(engine.open(tmp_path)["genres", 1990])
    put(tmp_path, "genres", "1990", made_up(4))
    assert engine.run(tmp_path, workers=1).ok
    with pytest.raises(StoreError, match="was restarted by another run since it was opened"):
        pickle.loads(pickled)
    shutil.rmtree(tmp_path / "similarities.zarr")
    with pytest.raises(NotComputedError, match="there is no store yet"):
        pickle.loads(pickled)
