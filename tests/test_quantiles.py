"""Quantiles are numpy's and pandas' to the bit, however the numbers lie and in whatever pieces."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray

from engine.triangle import quantiles as module
from engine.triangle.quantiles import Read, describe, quantiles

PARTS = (0.0, 0.001, 0.25, 1 / 3, 0.5, 0.75, 0.9, 1.0)
finite = arrays(np.float64, st.integers(1, 60), elements=st.floats(-1e300, 1e300))
close = arrays(np.float64, st.integers(1, 60), elements=st.sampled_from([0.5, 0.8, -0.0, 0.0, 1.0]))


def in_pieces(numbers: NDArray[np.float64]) -> Read:
    return lambda: iter(np.array_split(numbers, 3))


@pytest.mark.parametrize("few", [0, 3, 10**6])
@given(numbers=finite | close)
def test_quantiles_are_numpys_to_the_bit(few: int, numbers: NDArray[np.float64]) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "BITS", 7)
        patch.setattr(module, "FEW", few)  # With 0 a number is found by its bits alone.
        assert quantiles(in_pieces(numbers), PARTS) == np.quantile(numbers, PARTS).tolist()


@given(
    arrays(np.float64, st.integers(1, 9), elements=st.sampled_from([-np.inf, -1.0, 2.0, np.inf]))
)
def test_beside_infinity_there_is_no_quantile_where_numpy_has_none(
    numbers: NDArray[np.float64],
) -> None:
    with np.errstate(invalid="ignore"):
        expected = np.quantile(numbers, PARTS)
    np.testing.assert_array_equal(quantiles(in_pieces(numbers), PARTS), expected)


def test_two_readings_are_enough_for_similarities_and_four_for_all_that_there_is() -> None:
    random = np.random.default_rng(0)
    spread = random.normal(0.8, 0.03, 2**21)
    equal = np.full(2**21, 0.7)
    for numbers, most in ((spread, 2), (equal, 4)):
        readings = []

        def read(numbers: NDArray[np.float64] = numbers) -> list[NDArray[np.float64]]:
            readings.append(1)  # noqa: B023
            return np.array_split(numbers, 8)

        assert quantiles(read, [0.75]) == [np.quantile(numbers, 0.75)]
        assert len(readings) <= most


def test_of_no_numbers_there_is_no_quantile() -> None:
    assert np.isnan(quantiles(list, [0.5, 0.75])).all()
    assert np.isnan([x for name, x in describe(list).items() if name != "count"]).all()


def test_numbers_beyond_the_largest_are_described_without_a_warning() -> None:
    found = describe(in_pieces(np.array([1e200, -1e200, 1.0, 2.0, np.inf, np.inf])))
    assert [found[name] for name in ("min", "50%", "max")] == [-1e200, 5e199, np.inf]
    assert np.isnan([found["std"], found["75%"]]).all()  # As pandas has them, too.
    assert describe(in_pieces(np.array([1e200, 2e200, 3e200])))["50%"] == 2e200


SOME = np.random.default_rng(0).normal(0.8, 0.001, 1000)


@pytest.mark.parametrize(
    "numbers",
    [
        *(SOME[:n] for n in (1, 2, 3, 1000)),
        np.full(9, 1e200),
        1e160 * (1 + SOME),
        SOME * 1e300,
    ],
    ids=lambda numbers: f"{len(numbers)} like {numbers[0]:.1g}",
)
@pytest.mark.filterwarnings("ignore:overflow encountered:RuntimeWarning")
def test_a_description_is_pandas(numbers: np.ndarray) -> None:
    pandas = pytest.importorskip("pandas", reason="pandas is not installed: pip install '.[dev]'")
    expected = pandas.Series(numbers).describe().to_dict()
    found = describe(in_pieces(numbers))
    assert list(found) == list(expected)
    rounded = ("mean", "std")
    for name, value in expected.items():
        if name in rounded:
            np.testing.assert_allclose(found[name], value, rtol=1e-12)
        else:
            assert found[name] == value
