"""The record: what counts as the same values, and as the same output."""

import dataclasses
import math

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from engine.store.record import Export, Record

RECORD = Record(
    n_films=300,
    n_dimensions=16,
    input_sha256="00" * 32,
    kernel="dot",
    normalize=False,
    machine="openblas 0.3 Haswell",
    begun="2024-01-01T00:00:00+00:00",
    n_off_norm=0,
    norm_min=0.999,
    norm_max=1.0,
)


@pytest.mark.parametrize(
    "change",
    [
        {"n_films": 301},
        {"n_dimensions": 15},
        {"input_sha256": "01" * 32},
        {"kernel": "gemm"},
        {"normalize": True},
        {"machine": "openblas 0.3 Zen"},
        {"begun": "2024-01-01T00:00:01+00:00"},
    ],
)
def test_whatever_may_change_a_value_changes_the_identity(change: dict[str, object]) -> None:
    changed = dataclasses.replace(RECORD, **change)  # type: ignore[arg-type]
    assert changed.identity != RECORD.identity
    assert changed.output_identity(None) != RECORD.output_identity(None)


def test_what_is_said_of_the_output_changes_no_identity() -> None:
    exported = dataclasses.replace(RECORD, export=Export(1, 2, 0.5, 3))
    assert exported.identity == RECORD.identity
    assert exported.output_identity(0.5) == RECORD.output_identity(0.5)


@example([None, math.inf])
@example([math.inf, -math.inf])
@given(st.lists(st.none() | st.floats(-2, 2), min_size=2, max_size=2, unique_by=str))
def test_each_min_similarity_is_another_output(two: list[float | None]) -> None:
    if two[0] != two[1]:
        assert RECORD.output_identity(two[0]) != RECORD.output_identity(two[1])


def test_an_identity_is_64_hexadecimal_digits() -> None:
    for identity in (RECORD.identity, RECORD.output_identity(0.25)):
        assert len(identity) == 64
        assert int(identity, 16)


def test_the_geometry_follows_from_the_number_of_films() -> None:
    assert RECORD.grid.n_films == 300
