"""The text: character for character what ``json.dumps`` of the dict of all pairs writes."""

import json
import math
import sys

import numpy as np
import pytest
from characters import any_character
from hypothesis import given
from hypothesis import strategies as st

from engine.legacy_json.text import numbers_text, pair_prefix, pair_suffix, row_length, row_text

# Any text that UTF-8 can hold, and what json escapes more often than chance would have it.
ids = st.one_of(
    st.text(any_character, max_size=12),
    st.text(st.sampled_from('07"\\/\b\n\t\x7f\x00é\u2028\U0001f3ac '), max_size=9),
)
numbers = st.one_of(
    st.floats(),
    st.floats(-2, 2),
    st.builds(
        lambda sign, digits, exponent: float(f"{sign}{digits}e{exponent}"),
        st.sampled_from(["", "-"]),
        st.integers(0, 10**17),
        st.integers(-345, 310),
    ),
)
SIZES = [
    *(float(f"{digits}e{k}") for k in range(-330, 309) for digits in ("1", "9.999999999999999")),
    *(math.nextafter(10.0**k, side) for k in range(-17, 18) for side in (0.0, math.inf)),
    *(0.0, 0.5, 1.0, 1.0000000000000002, 0.9999999999999999, 2.0**53, 5e-324, sys.float_info.max),
]


@given(st.lists(numbers, min_size=1, max_size=30))
def test_numbers_are_written_as_json_dumps_writes_them(values: list[float]) -> None:
    text = numbers_text(np.array(values))
    assert b"[" + text.replace(b",", b", ") + b"]" == json.dumps(values).encode("ascii")


@pytest.mark.parametrize("sign", [1, -1])
def test_every_magnitude_is_written_as_json_dumps_writes_it(sign: int) -> None:
    values = [sign * size for size in SIZES]
    for value in values:
        assert numbers_text(np.array([value])) == json.dumps(value).encode("ascii")
    everything = numbers_text(np.array(values))
    assert everything.decode() == ",".join(json.dumps(value) for value in values)


@pytest.mark.parametrize("value", [math.nan, -math.nan, math.inf, -math.inf, 0.0, -0.0])
@pytest.mark.parametrize("beside", [[], [0.5], [1e-5, 1e16, -0.25]])
def test_what_is_not_finite_or_not_positive_is_written_as_json_dumps_writes_it(
    value: float, beside: list[float]
) -> None:
    values = [*beside, value, *beside]
    assert numbers_text(np.array(values)).decode() == ",".join(json.dumps(x) for x in values)


def test_many_similarities_are_written_as_json_dumps_writes_them() -> None:
    random = np.random.default_rng(7)
    values = random.random(50_000) * 10.0 ** random.integers(-18, 1, 50_000)
    assert json.dumps(values.tolist()).encode() == b"[%s]" % numbers_text(values).replace(
        b",", b", "
    )


@given(ids, st.lists(st.tuples(ids, numbers), min_size=1, max_size=8))
def test_a_row_is_written_as_json_dumps_writes_the_pairs(
    film: str, others: list[tuple[str, float]]
) -> None:
    prefix, suffixes = pair_prefix(film), [pair_suffix(other) for other, _ in others]
    values = numbers_text(np.array([value for _, value in others]))
    text = row_text(prefix, suffixes, values)
    # One dict a pair, because two of these made-up ids may be equal.
    pairs = [json.dumps({f"{film}-{other}": value})[1:-1] for other, value in others]
    assert text.decode("ascii") == ", " + ", ".join(pairs)
    assert row_length(prefix, sum(map(len, suffixes)), len(others), values) == len(text)
