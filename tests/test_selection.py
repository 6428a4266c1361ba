"""Which pairs are kept: what sorting each film's similarities in plain Python gives."""

import itertools
import math
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray

from engine.triangle import selection as module
from engine.triangle.selection import AtLeast, Rows, Selection, above, among_best, nearest

# Few different numbers, so that there are ties, and some that are no numbers.
levels = st.sampled_from([-math.inf, -0.5, 0.0, 0.25, 0.5, 1.0, math.inf, math.nan])
matrices = st.integers(0, 12).flatmap(lambda n: arrays(np.float64, (n, n), elements=levels))


def rows(matrix: NDArray[np.float64], height: int) -> Iterator[Rows]:
    """The rows of the triangle, `height` at a time, from the chunk of the diagonal on."""
    n = len(matrix)
    triangle = np.where(np.triu(np.ones((n, n), dtype=bool), 1), matrix, np.nan)
    for start in range(0, max(0, n - 1), height):
        yield Rows(start, start, triangle[start : start + height, start:])


def best(matrix: NDArray[np.float64], film: int, k: int) -> list[int]:
    """The k best of a film: by similarity, then by place in the file."""
    value = {j: matrix[min(film, j), max(film, j)] for j in range(len(matrix)) if j != film}
    known = [j for j, x in value.items() if not math.isnan(x)]
    return sorted(known, key=lambda j: (-value[j], j))[:k]


def kept(selection: Selection, matrix: NDArray[np.float64], height: int) -> list[tuple[int, int]]:
    found = []
    for part in rows(matrix, height):
        for i, j in np.argwhere(selection.keeps(part)).tolist():
            found.append((part.start + i, part.left + j))
    return found


@given(matrix=matrices, height=st.integers(1, 5), k=st.integers(0, 13))
def test_the_nearest_are_the_best_first_ties_by_file_order(
    matrix: NDArray[np.float64], height: int, k: int
) -> None:
    films, values = nearest(rows(matrix, height), len(matrix), k)
    assert films.shape == values.shape == (len(matrix), max(0, min(k, len(matrix) - 1)))
    for film in range(len(matrix)):
        wanted = best(matrix, film, k)
        lacking = films.shape[1] - len(wanted)
        assert films[film].tolist() == wanted + [-1] * lacking
        similarity = [matrix[min(film, j), max(film, j)] for j in wanted] + [np.nan] * lacking
        np.testing.assert_array_equal(values[film], similarity)


@given(matrix=matrices, height=st.integers(1, 5), k=st.integers(0, 13))
def test_a_pair_is_kept_when_it_is_among_the_best_of_either_film(
    matrix: NDArray[np.float64], height: int, k: int
) -> None:
    n = len(matrix)
    of = [best(matrix, film, k) for film in range(n)]
    wanted = [(i, j) for i, j in itertools.combinations(range(n), 2) if j in of[i] or i in of[j]]
    assert kept(among_best(lambda: rows(matrix, height), n, k), matrix, height) == wanted


@given(matrix=matrices, height=st.integers(1, 5), k=st.integers(1, 13), held=st.integers(1, 30))
def test_the_best_are_the_same_when_only_those_of_a_few_films_are_held_at_once(
    matrix: NDArray[np.float64], height: int, k: int, held: int
) -> None:
    n = len(matrix)
    whole = among_best(lambda: rows(matrix, height), n, k)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "HELD", held)
        by_parts = among_best(lambda: rows(matrix, height), n, k)
    assert kept(by_parts, matrix, height) == kept(whole, matrix, height)


def test_no_more_of_the_best_are_held_than_may_be(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "HELD", 40)
    sizes: list[int] = []

    def counted(*arguments: Any) -> Any:
        found = nearest(*arguments)
        sizes.append(found[0].size)
        return found

    monkeypatch.setattr(module, "nearest", counted)
    matrix = np.random.default_rng(0).random((30, 30))
    among_best(lambda: rows(matrix, 4), 30, 7)
    assert sizes == [35] * 6


@given(matrix=matrices, height=st.integers(1, 5), threshold=st.sampled_from([-0.5, 0.0, 0.25, 2.0]))
def test_at_least_takes_what_is_equal_and_above_does_not(
    matrix: NDArray[np.float64], height: int, threshold: float
) -> None:
    pairs = list(itertools.combinations(range(len(matrix)), 2))
    at_least = [pair for pair in pairs if matrix[pair] >= threshold]
    assert kept(AtLeast(threshold), matrix, height) == at_least
    assert kept(above(threshold), matrix, height) == [p for p in pairs if matrix[p] > threshold]


def test_among_many_ties_the_first_in_the_file_are_the_best() -> None:
    n, k = 300, 5
    films, _ = nearest(rows(np.full((n, n), 0.5), 64), n, k)
    for film in range(n):
        assert films[film].tolist() == [j for j in range(k + 1) if j != film][:k]


@pytest.mark.parametrize("k", [1, 7])
def test_the_nearest_of_many_films_are_those_of_a_sorted_matrix(k: int) -> None:
    n = 500
    matrix = np.triu(np.random.default_rng(k).random((n, n)), 1)
    matrix += matrix.T
    np.fill_diagonal(matrix, -1)
    wanted = np.argsort(-matrix, axis=1, kind="stable")[:, :k]
    films, values = nearest(rows(matrix, 64), n, k)
    np.testing.assert_array_equal(films, wanted)
    np.testing.assert_array_equal(values, np.take_along_axis(matrix, wanted, 1))
