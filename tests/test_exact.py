"""The exact kernel: no way is taken but one that is, bit for bit, ``a @ b``."""

import ctypes
import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from functools import cache, partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from test_kernel import bits, each_apart, unit

from engine import native
from engine.triangle import exact
from engine.triangle.blas import one_blas_thread
from engine.triangle.exact import by_products, by_vecdot, proof_films, proven
from engine.triangle.kernel import similarities

Matrix = NDArray[np.float64]
ROOT = Path(__file__).resolve().parents[1]
DIMENSIONS = [0, 1, 2, 7, 15, 16, 17, 31, 32, 33, 47, 48, 49, 1000, 1024, 1040, 10_016]


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    with one_blas_thread():
        yield


@pytest.fixture(params=["native", "numpy"])
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    if request.param == "numpy":
        monkeypatch.setattr(native, "dot", None)
    elif native.dot is None:
        pytest.skip("no native part")
    return str(request.param)


@cache
def vectors_and_products(d: int) -> tuple[Matrix, list[tuple[Matrix, Matrix, int, list[int]]]]:
    """Vectors, and for some rows and columns of them what the notebook's product gives."""
    vectors = np.random.default_rng(d).standard_normal((150, d))
    return vectors, [
        (rows, columns, diagonal, bits(each_apart(rows, columns, diagonal)))
        for rows, columns, diagonal in (
            (vectors[:1], vectors[:1], -1),
            (vectors[:70], vectors, 0),
            (vectors[60:131], vectors[65:], -5),
            (vectors[:9], vectors[:3], -100),
        )
    ]


@pytest.mark.parametrize("d", DIMENSIONS)
def test_what_is_proven_is_bit_for_bit_the_product_of_two_vectors(way: str, d: int) -> None:
    vectors, wanted = vectors_and_products(d)
    for rows, columns, diagonal, products in wanted:
        found = similarities("dot", rows, columns, diagonal, dot=proven(vectors))
        assert bits(found) == products


@pytest.mark.parametrize("d", [3, 16, 40, 1024])
def test_every_magnitude_and_sign_and_what_is_not_finite_come_out_as_in_the_notebook(
    way: str, d: int
) -> None:
    random = np.random.default_rng(d)
    vectors = random.standard_normal((60, d)) * 10.0 ** random.integers(-320, 308, (60, d))
    vectors[::7] = 0.0
    vectors[1::7] = -0.0
    vectors[2::7] = np.copysign(1e200, vectors[2::7])
    found = similarities("dot", vectors, vectors, 0, dot=proven(vectors))
    expected = each_apart(vectors, vectors, 0)
    assert not np.isfinite(expected[np.triu_indices(60, 1)]).all()
    assert bits(found) == bits(expected)


@pytest.mark.parametrize("d", [1, 3, 16, 40, 1024])
def test_what_is_too_small_for_a_float_is_zero_without_a_sign_as_in_the_notebook(
    way: str, d: int
) -> None:
    vectors = unit(np.random.default_rng(d), 100, d)
    vectors[50], vectors[51] = 1e-200, -1e-200
    assert not {50, 51} & set(proof_films(100))
    found = similarities("dot", vectors, vectors, 0, dot=proven(vectors))
    assert json.dumps(found[50, 51]) == json.dumps(vectors[50] @ vectors[51]) == "0.0"
    assert bits(found) == bits(each_apart(vectors, vectors, 0))


def with_a_sign(rows: Matrix, columns: Matrix, diagonal: int, out: Matrix) -> None:
    by_vecdot(rows, columns, diagonal, out)
    out[out == 0] = -0.0


@pytest.mark.parametrize("d", [1, 16, 1024])
def test_zero_with_a_sign_is_rejected_even_where_the_vectors_of_a_decade_do_not_show_it(
    d: int,
) -> None:
    assert not is_proven(with_a_sign, unit(np.random.default_rng(d), 100, d))


@pytest.mark.parametrize("d", [768, 1024, 2048])
def test_of_all_numbers_of_lanes_one_at_most_is_taken_and_it_is_right_on_other_vectors(
    d: int,
) -> None:
    vectors = unit(np.random.default_rng(d), 200, d)
    expected = bits(each_apart(vectors[:70], vectors, -200))
    by_lanes = [(lanes, partial(by_products, lanes)) for lanes in (16, 32)]
    # How many lanes the native code has depends on the CPU.
    if native.dot:
        by_lanes += [
            (lanes, partial(native.dot.dots, lanes, False))
            for lanes in (16, 32)
            if lanes <= native.dot.LANES
        ]
    taken = [(lanes, way) for lanes, way in by_lanes if is_proven(way, vectors)]
    assert len({lanes for lanes, _ in taken}) <= 1
    for _, way in taken:
        assert bits(similarities("dot", vectors[:70], vectors, -200, dot=way)) == expected


def is_proven(each: exact.Exact, vectors: Matrix) -> bool:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(exact, "candidates", lambda _: iter([(each, exact.PRODUCT_FILMS + 1)]))
        return proven(vectors) is each


def off_by_one_bit(row: int, column: int) -> exact.Exact:
    def way(rows: Matrix, columns: Matrix, diagonal: int, out: Matrix) -> None:
        by_vecdot(rows, columns, diagonal, out)
        out[row, column] = np.nextafter(out[row, column], 9.0)

    return way


@pytest.mark.parametrize(("row", "column"), [(0, 0), (0, -1), (-1, 0), (-1, -1), (7, 11)])
def test_one_bit_of_one_pair_is_enough_to_be_rejected(row: int, column: int) -> None:
    vectors = unit(np.random.default_rng(1), 100, 64)
    assert is_proven(by_vecdot_again, vectors)
    assert not is_proven(off_by_one_bit(row, column), vectors)


def by_vecdot_again(rows: Matrix, columns: Matrix, diagonal: int, out: Matrix) -> None:
    by_vecdot(rows, columns, diagonal, out)


def lane_by_lane(lanes: int, rows: Matrix, columns: Matrix, diagonal: int, out: Matrix) -> None:
    """Lanes as ddot's may be, added one after another."""
    products = (rows[:, None, :] * columns[None, :, :]).reshape(*out.shape, -1, lanes)
    out[:] = products.sum(axis=2).cumsum(axis=2)[:, :, -1]


def unfilled(rows: Matrix, columns: Matrix, diagonal: int, out: Matrix) -> None:
    """One product of whatever shape."""
    np.matmul(rows, columns.T, out=out)


@pytest.mark.parametrize("plain", [False, True])
@pytest.mark.parametrize("wrong", [partial(lane_by_lane, 16), partial(lane_by_lane, 32), unfilled])
def test_a_wrong_tree_is_found_even_where_the_vectors_of_a_decade_do_not_show_it(
    wrong: exact.Exact, plain: bool
) -> None:
    vectors = np.eye(200, 64) if plain else unit(np.random.default_rng(2), 200, 64)
    assert not is_proven(wrong, vectors)


def test_of_two_numbers_of_lanes_one_is_found_to_be_wrong() -> None:
    vectors = unit(np.random.default_rng(3), 200, 1024)
    assert sum(is_proven(partial(by_products, lanes), vectors) for lanes in (16, 32)) <= 1


@pytest.mark.parametrize("films", [29, 31, 61, 63])
def test_products_that_are_not_filled_up_are_rejected_or_right(
    monkeypatch: pytest.MonkeyPatch, films: int
) -> None:
    monkeypatch.setattr(exact, "PRODUCT_FILMS", films)
    vectors = unit(np.random.default_rng(4), 200, 1024)
    for lanes in (16, 32):
        way = partial(by_products, lanes)
        if is_proven(way, vectors):
            found = similarities("dot", vectors, vectors, -200, dot=way)
            assert bits(found) == bits(each_apart(vectors, vectors, -200))


@pytest.mark.parametrize("n", [0, 1, 2, 3, 23, 24, 25, 1000, 22_390])
def test_the_films_of_the_proof_are_few_and_the_first_and_the_last_are_among_them(n: int) -> None:
    films = proof_films(n)
    assert films == sorted(set(films))
    assert len(films) == min(n, 24)
    assert films[:1] + films[-1:] == ([0, n - 1] if n else [])


def test_vectors_whose_order_of_bytes_is_spelled_out_are_as_any(way: str) -> None:
    vectors = unit(np.random.default_rng(6), 70, 48)
    # As zarr gives them; the type of numpy says so to whom asks for a buffer.
    spelled_out = np.ndarray(vectors.shape, np.dtype("float64").newbyteorder("<"), vectors)
    found = similarities("dot", spelled_out, spelled_out, 0, dot=proven(spelled_out))
    assert bits(found) == bits(each_apart(vectors, vectors, 0))


@pytest.mark.parametrize("n", [0, 1, 2])
def test_a_decade_of_few_films_is_proven_too(way: str, n: int) -> None:
    vectors = unit(np.random.default_rng(5), 2, 16)[:n]
    found = similarities("dot", vectors, vectors, 0, dot=proven(vectors))
    assert bits(found) == bits(each_apart(vectors, vectors, 0))


@pytest.mark.parametrize("d", [1, 16, 1024])
def test_the_rest_of_a_wider_matrix_is_left_as_it_is(way: str, d: int) -> None:
    vectors = unit(np.random.default_rng(d), 150, d)
    wide = np.full((40, 100), 7.0)
    similarities("dot", vectors[:40], vectors[:77], 5, out=wide[:, 20:97], dot=proven(vectors))
    assert bits(wide[:, 20:97].copy()) == bits(each_apart(vectors[:40], vectors[:77], 5))
    assert (wide[:, :20] == 7).all()
    assert (wide[:, 97:] == 7).all()


KINDS = """
import numpy as np, sys
from engine import native
from engine.triangle.blas import machine, one_blas_thread
from engine.triangle.exact import by_vecdot, proven
with one_blas_thread():
    for d in (16, 48, 1000, 1024):
        vectors = np.random.default_rng(d).standard_normal((120, d))
        way, out = proven(vectors), np.full((2, 120, 120), 7.0)
        way(vectors, vectors, -120, out[0])
        by_vecdot(vectors, vectors, -120, out[1])
        assert (out[0] == out[1]).all(), d
        name = "vecdot" if way is by_vecdot else str(way.args[0])
        print(machine().split()[-1], native.dot.LANES if native.dot else 0, d, name)
"""


@pytest.mark.parametrize(
    ("kind", "lanes"), [("Haswell", 16), ("Zen", 16), ("SkylakeX", 32), ("Nehalem", 0)]
)
def test_each_kind_of_openblas_has_its_way_and_one_that_is_not_known_has_vecdot(
    kind: str, lanes: int
) -> None:
    done = subprocess.run(
        [sys.executable, "-c", KINDS],
        cwd=ROOT,
        env={**os.environ, "OPENBLAS_CORETYPE": kind},
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode < 0:
        pytest.skip(f"this machine has not what {kind} has")
    assert done.returncode == 0, done.stderr
    found = [line.split() for line in done.stdout.splitlines()]
    if found[0][0] not in (kind, {"Zen": "Haswell"}.get(kind)):
        pytest.skip(f"this BLAS cannot do as on {kind}")
    able = int(found[0][1]) >= max(lanes, 16)
    assert [way for *_, way in found if able] == [str(lanes or "vecdot")] * (4 * able)


# --- the native function by itself --------------------------------------------------------------


@pytest.fixture
def dots() -> Callable[..., Any]:
    if native.dot is None or not native.dot.LANES:
        pytest.skip("no native part")
    return partial(native.dot.dots, 16, False)


@pytest.mark.parametrize(
    ("rows", "columns", "out"),
    [
        ((3, 4), (5, 5), (3, 5)),
        ((3, 4), (5, 4), (5, 3)),
        ((3, 4), (5, 4), (3, 4)),
        ((3, 4), (5, 4), (2, 5)),
        ((3, 4), (4,), (3, 5)),
        ((3, 4), (5, 4), (15,)),
    ],
)
def test_matrices_that_do_not_fit_each_other_are_an_error(
    dots: Callable[..., Any],
    rows: tuple[int, ...],
    columns: tuple[int, ...],
    out: tuple[int, ...],
) -> None:
    place = np.full(out, 7.0)
    with pytest.raises(ValueError, match=r"do not fit|expected a matrix"):
        dots(np.ones(rows), np.ones(columns), -9, place)
    assert (place == 7).all()


def test_what_is_no_matrix_of_numbers_in_rows_is_an_error(dots: Callable[..., Any]) -> None:
    good, out = np.ones((4, 4)), np.ones((4, 4))
    frozen = out.copy()
    frozen.flags.writeable = False
    for bad in (good.astype(np.float32), good.astype(np.int64), np.ones((4, 8))[:, ::2], good.T[:]):
        if bad.strides != good.strides or bad.dtype != good.dtype:
            with pytest.raises(ValueError, match="expected a matrix"):
                dots(bad, good, -9, out)
            with pytest.raises(ValueError, match="expected a matrix"):
                dots(good, bad, -9, out)
            with pytest.raises(ValueError, match="expected a matrix"):
                dots(good, good, -9, bad)
    with pytest.raises((BufferError, ValueError)):
        dots(good, good, -9, frozen)
    with pytest.raises(TypeError):
        dots(None, good, -9, out)
    # Memory of two dimensions of which no strides are told.
    with pytest.raises(ValueError, match="expected a matrix"):
        dots(((ctypes.c_double * 4) * 4)(), good, -9, out)


@pytest.mark.parametrize("n", [3, 700])
def test_a_diagonal_far_out_leaves_all_pairs_or_none(dots: Callable[..., Any], n: int) -> None:
    vectors = unit(np.random.default_rng(n), n, 1024)  # 700: rows and columns of several tiles
    every, none = np.full((2, n, n), 7.0)
    dots(vectors, vectors, -(2**63), every)
    dots(vectors, vectors, 2**63 - 1, none)
    assert (every != 7).all()
    assert (none == 7).all()


def test_a_number_of_lanes_that_no_kernel_has_is_an_error(dots: Callable[..., Any]) -> None:
    assert native.dot
    with pytest.raises(ValueError, match="no kernel with 8 lanes"):
        native.dot.dots(8, False, np.ones((1, 1)), np.ones((1, 1)), -9, np.ones((1, 1)))
