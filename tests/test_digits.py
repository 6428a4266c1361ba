"""The digits of every kind of number: those of ``json.dumps``, natively and in Python."""

import numpy as np
import pytest
from digits import difference, first_difference, special

from engine import native

WAYS = ["native", "Python"]


@pytest.fixture(params=WAYS, autouse=True)
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    if request.param == "Python":
        monkeypatch.setattr(native, "text", None)
    elif native.text is None:
        pytest.skip("no native part")


def test_powers_bounds_and_all_lengths_of_digits_are_written_as_json_writes_them() -> None:
    assert difference(special()) == ""


def test_random_bit_patterns_are_written_as_json_writes_them() -> None:
    assert first_difference(100_000, 7) == ""


def test_a_wrong_digit_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    values = np.array([0.1, 0.2, 0.3])
    monkeypatch.setattr("digits.json.dumps", lambda _: "[0.1, 0.2, 0.4]")
    assert difference(values) != ""
