"""What pictures are made of agrees with numpy on the whole matrix, made from the JSON apart."""

import itertools
import json
import math
import shutil
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

import engine
from engine import run
from engine.query.decade import Decade
from engine.query.overview import FINE_BINS, mean_by_pixel, measure, order_films

ROOT = Path(__file__).parents[1]
NAMES = [(a, d) for a in ("embedding", "custom_genres") for d in (1910, 1920, 1930)]


def matrix_of(data: Path, approach: str, decade: int) -> NDArray[np.float64]:
    return _matrix_of((data / "embeddings" / approach / f"plots_{decade}s.json").read_text())


@cache  # Many tests have the same films.
def _matrix_of(text: str) -> NDArray[np.float64]:
    vectors = [np.array(vector) for vector in json.loads(text).values()]
    matrix = np.full((len(vectors), len(vectors)), np.nan)
    for (i, a), (j, b) in itertools.combinations(enumerate(vectors), 2):
        matrix[i, j] = matrix[j, i] = a @ b
    matrix.flags.writeable = False
    return matrix


def pairs_of(matrix: NDArray[np.float64]) -> NDArray[np.float64]:
    return matrix[np.triu_indices(len(matrix), 1)]


def made(data: Path, vectors: list[list[float]]) -> Decade:
    path = data / "embeddings" / "made" / "plots_2000s.json"
    path.parent.mkdir(parents=True)
    path.write_text(json.dumps(dict(enumerate(vectors))))
    assert run(data, workers=1, export=False).ok
    return engine.open(data)["made", 2000]


@pytest.fixture(scope="module")
def sample(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The sample with a finished store, which nobody changes."""
    data = tmp_path_factory.mktemp("overview") / "sample"
    shutil.copytree(ROOT / "data" / "sample" / "embeddings", data / "embeddings")
    assert run(data, workers=1, export=False).ok
    return data


@pytest.mark.parametrize(("approach", "decade"), NAMES)
def test_quantiles_are_those_of_numpy(approach: str, decade: int, sample: Path) -> None:
    pairs = pairs_of(matrix_of(sample, approach, decade))
    found = measure(engine.open(sample)[approach, decade])
    assert (found.n_counted, found.n_pairs, found.per_cent) == (len(pairs), len(pairs), 100)
    assert (found.low, found.high) == (pairs.min(), pairs.max())
    for part in (0, 0.0005, 0.05, 0.25, 0.5, 0.75, 0.99, 1):
        expected = np.percentile(pairs, 100 * part)
        assert abs(found.quantile(part) - expected) <= (found.high - found.low) / FINE_BINS / 1.99


@pytest.mark.parametrize(("approach", "decade"), NAMES)
def test_bars_are_those_of_a_histogram(approach: str, decade: int, sample: Path) -> None:
    pairs = pairs_of(matrix_of(sample, approach, decade))
    edges = np.linspace(-1.0, 1.0, 101)
    expected = 100 * np.histogram(pairs, edges)[0] / len(pairs)
    found = measure(engine.open(sample)[approach, decade]).share(edges)
    assert found.sum() == pytest.approx(100)
    assert np.abs(found - expected).max() <= 100 * 3 / len(pairs) + 0.01


@pytest.mark.parametrize(
    ("vectors", "median"),
    [([], math.nan), ([[1, 0]], math.nan), ([[1, 0], [0.5, 1]], 0.5), ([[3, 4]] * 300, 25.0)],
)
def test_hardly_a_film_and_films_all_alike(
    vectors: list[list[float]], median: float, tmp_path: Path
) -> None:
    found = measure(made(tmp_path, vectors))
    assert found.quantile(0.5) == pytest.approx(median, nan_ok=True)
    assert found.quantile(0.75) == pytest.approx(median, nan_ok=True)
    assert found.n_counted == len(vectors) * (len(vectors) - 1) // 2


def test_an_unfinished_decade_is_measured_as_far_as_it_goes(sample: Path, tmp_path: Path) -> None:
    data = Path(shutil.copytree(sample, tmp_path / "sample"))
    (data / "similarities.zarr/embedding/1930/checksums/c/0/0").unlink()
    matrix = matrix_of(data, "embedding", 1930).copy()
    matrix[:256] = matrix[:, :256] = np.nan
    pairs = pairs_of(matrix)
    films = engine.open(data)["embedding", 1930]
    found = measure(films)
    assert (found.n_counted, found.per_cent) == (270 * 269 // 2, 26)
    assert found.quantile(0.5) == pytest.approx(np.nanmedian(pairs), abs=1e-5)
    order = np.arange(len(films))
    np.testing.assert_array_equal(mean_by_pixel(films, order, 1), matrix)


@pytest.mark.parametrize("together", [1, 5])
def test_films_of_one_cluster_stand_together(together: int) -> None:
    rng = np.random.default_rng(0)
    cluster = rng.integers(0, 7, 500)
    vectors = np.eye(40)[cluster] + 0.05 * rng.normal(size=(500, 40))
    order = order_films(vectors, together)
    assert sorted(order) == list(range(500))
    assert np.count_nonzero(np.diff(cluster[order])) == 6


def test_alike_clusters_stand_beside_each_other() -> None:
    rng = np.random.default_rng(0)
    place = rng.integers(0, 6, 300)
    angle = 0.3 * place + 0.01 * rng.normal(size=300)
    order = order_films(np.stack([np.cos(angle), np.sin(angle)], axis=1))
    assert set(np.abs(np.diff(place[order]))) == {0, 1}


@pytest.mark.parametrize("vectors", [np.ones((1, 3)), np.ones((2000, 2)), np.zeros((3, 1))])
def test_films_all_alike_keep_their_order(vectors: NDArray[np.float64]) -> None:
    assert list(order_films(vectors)) == list(range(len(vectors)))


def test_the_order_depends_on_directions_alone() -> None:
    vectors = np.random.default_rng(0).normal(size=(200, 5))
    assert list(order_films(vectors * 2.0**600)) == list(order_films(vectors))


@pytest.mark.parametrize("together", [2, 7, 600])
def test_a_pixel_is_the_mean_of_its_pairs(together: int, sample: Path) -> None:
    films = engine.open(sample)["embedding", 1920]
    order = np.random.default_rng(0).permutation(len(films))
    matrix = matrix_of(sample, "embedding", 1920)[order][:, order]
    blocks = [slice(start, start + together) for start in range(0, len(films), together)]
    with np.errstate(invalid="ignore"):
        expected = [
            [np.nansum(matrix[i, j]) / np.float64(np.isfinite(matrix[i, j]).sum()) for j in blocks]
            for i in blocks
        ]
    image = mean_by_pixel(films, order, together)
    assert np.allclose(image, np.array(expected), rtol=1e-13, equal_nan=True)
