"""The kernels: `dot` to the last bit, `gemm` within its bound, and nothing below the diagonal."""

import math
from typing import get_args

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from engine.triangle import exact
from engine.triangle.kernel import KERNELS, KernelName, similarities

Matrix = NDArray[np.float64]


def each_apart(rows: Matrix, columns: Matrix, diagonal: int) -> Matrix:
    """Each value apart, by ``a @ b``; NaN where a cell is no pair."""
    values = np.full((len(rows), len(columns)), math.nan)
    with np.errstate(all="ignore"):
        for i, a in enumerate(rows):
            for j, b in enumerate(columns):
                if j > diagonal + i:
                    values[i, j] = a @ b
    return values


def bits(values: Matrix) -> list[int]:
    """NaN equals NaN, and 0.0 is not -0.0."""
    found: list[int] = np.where(np.isnan(values), math.nan, values).view(np.int64).ravel().tolist()
    return found


def unit(random: np.random.Generator, n: int, d: int) -> Matrix:
    vectors = random.standard_normal((n, d))
    unit_vectors: Matrix = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    return unit_vectors


@given(
    st.integers(1, 12),
    st.integers(1, 40),
    st.integers(-15, 45),
    st.sampled_from([1, 2, 3, 7, 8, 9, 16, 31]),
    st.integers(0, 2**32),
)
def test_dot_is_bit_for_bit_the_product_of_two_vectors(
    r: int, c: int, diagonal: int, d: int, seed: int
) -> None:
    random = np.random.default_rng(seed)
    rows, columns = random.standard_normal((r, d)), random.standard_normal((c, d))
    found = similarities("dot", rows, columns, diagonal)
    assert found.dtype == np.float64
    assert found.shape == (r, c)
    assert bits(found) == bits(each_apart(rows, columns, diagonal))


@pytest.mark.parametrize("d", [1, 2, 16, 63, 64, 65, 1000, 1024, 1025])
def test_dot_is_exact_at_any_dimension(d: int) -> None:
    vectors = unit(np.random.default_rng(d), 150, d)
    rows, columns = vectors[:20], vectors
    assert bits(similarities("dot", rows, columns, 0)) == bits(each_apart(rows, columns, 0))


@pytest.mark.parametrize("films", [62, 63, 64, 65, 66, 127, 128, 129])
def test_dot_is_exact_around_the_edges_of_its_tiles(films: int) -> None:
    vectors = unit(np.random.default_rng(films), films, 5)
    for diagonal in (-films, -1, 0, 63, 64, 65):
        found = similarities("dot", vectors[:9], vectors, diagonal)
        assert bits(found) == bits(each_apart(vectors[:9], vectors, diagonal))


def test_dot_is_exact_with_tiles_of_one_film(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(exact, "TILE_BYTES", 1)
    vectors = unit(np.random.default_rng(), 40, 16)
    assert bits(similarities("dot", vectors, vectors, 0)) == bits(each_apart(vectors, vectors, 0))


def test_dot_is_exact_at_every_magnitude_and_sign() -> None:
    numbers = [0.0, -0.0, 1.0000000000000002, *(s * 10.0**-k for k in range(310) for s in (1, -1))]
    vectors = np.array([numbers, np.roll(numbers, 1)]).T.copy()
    some = vectors[::7]
    assert bits(similarities("dot", some, vectors, -1)) == bits(each_apart(some, vectors, -1))


HUGE = np.array([[1e200, 1e200], [1e200, -1e200], [-1e200, 1.0], [1.0, 1.0]])


def test_dot_overflows_as_the_product_of_two_vectors_does_but_without_a_warning() -> None:
    found = similarities("dot", HUGE, HUGE, 0)
    assert bits(found) == bits(each_apart(HUGE, HUGE, 0))
    assert {-math.inf, 2e200} <= set(found.ravel().tolist())


def test_gemm_overflows_without_a_warning() -> None:
    found = similarities("gemm", HUGE, HUGE, 0)
    assert (found[0, 2], found[0, 3]) == (-math.inf, 2e200)


@pytest.mark.parametrize("d", [1, 2, 16, 1024])
def test_gemm_is_within_its_bound_of_the_product_of_two_vectors(d: int) -> None:
    vectors = unit(np.random.default_rng(d), 130, d)
    found = similarities("gemm", vectors[3:40], vectors, 3)
    difference = np.abs(found - each_apart(vectors[3:40], vectors, 3))
    assert np.nanmax(difference) <= 2e-15


def test_every_kernel_is_told_in_words() -> None:
    assert tuple(KERNELS) == get_args(KernelName)


@pytest.mark.parametrize("name", KERNELS)
@given(r=st.integers(1, 9), c=st.integers(1, 9), diagonal=st.integers(-12, 12))
def test_cells_on_and_below_the_diagonal_are_nan_and_no_other(
    name: KernelName, r: int, c: int, diagonal: int
) -> None:
    found = similarities(name, np.ones((r, 3)), np.ones((c, 3)), diagonal)
    pairs = [[j > diagonal + i for j in range(c)] for i in range(r)]
    assert (~np.isnan(found)).tolist() == pairs


@pytest.mark.parametrize("name", KERNELS)
@pytest.mark.parametrize("d", [1, 16, 1024])
def test_similarities_within_a_wider_matrix_are_the_same_and_leave_the_rest_of_it(
    name: KernelName, d: int
) -> None:
    vectors = unit(np.random.default_rng(d), 150, d)
    alone = similarities(name, vectors[:40], vectors[:77], 5)
    wide = np.full((40, 100), 7.0)
    found = similarities(name, vectors[:40], vectors[:77], 5, out=wide[:, 20:97])
    assert np.shares_memory(found, wide)
    assert bits(wide[:, 20:97].copy()) == bits(alone)
    assert (wide[:, :20] == 7).all()
    assert (wide[:, 97:] == 7).all()


@pytest.mark.parametrize("name", KERNELS)
def test_the_vectors_are_left_as_they_were(name: KernelName) -> None:
    vectors = unit(np.random.default_rng(1), 20, 4)
    before = vectors.copy()
    similarities(name, vectors, vectors, 0)
    assert (vectors == before).all()
