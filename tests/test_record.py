"""The record: what counts as the same values, and as the same output."""

import dataclasses
import hashlib
import json
import math

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from engine.errors import DamagedError, OldFormatError
from engine.store.record import Export, Record, parse_record

RECORD = Record(
    group="genres/1990",
    n_films=300,
    n_dimensions=16,
    input_sha256="00" * 32,
    ids_sha256="11" * 32,
    vectors_sha256="22" * 32,
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
        {"group": "genres/2000"},
        {"group": "embedding/1990"},
        {"input_sha256": "01" * 32},
        {"kernel": "gemm"},
        {"normalize": True},
    ],
)
def test_whatever_may_change_a_value_changes_the_identity(change: dict[str, object]) -> None:
    changed = dataclasses.replace(RECORD, **change)  # type: ignore[arg-type]
    assert changed.identity != RECORD.identity
    assert changed.output_identity(None) != RECORD.output_identity(None)


@pytest.mark.parametrize(
    "change",
    [
        {"machine": "openblas 0.3 Zen"},
        {"begun": "2024-01-01T00:00:01+00:00"},
        {"export": Export(1, 2, 0.5, 3)},
    ],
)
def test_the_input_read_again_elsewhere_and_its_output_change_no_identity(
    change: dict[str, object],
) -> None:
    changed = dataclasses.replace(RECORD, **change)  # type: ignore[arg-type]
    assert changed.identity == RECORD.identity
    assert changed.output_identity(0.5) == RECORD.output_identity(0.5)


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


def sealed(content: object) -> bytes:
    """Metadata of a group whose record is this, with the right digest."""
    digest = hashlib.sha256(json.dumps(content, sort_keys=True, separators=(",", ":")).encode())
    attributes = {"record": content, "sha256": digest.hexdigest()}
    document = {"attributes": attributes, "zarr_format": 3, "node_type": "group"}
    return json.dumps(document, indent=2).encode()


@pytest.mark.parametrize("export", [None, Export(1, 2**62 + 1, 0.5, 3), Export(1, 2, None, 3)])
def test_a_record_comes_back_as_it_was_written(export: Export | None) -> None:
    record = dataclasses.replace(RECORD, export=export)
    assert record.metadata() == sealed(dataclasses.asdict(record))
    assert parse_record(record.metadata(), "genres/1990") == record


@given(st.data())
def test_any_other_byte_in_a_record_is_damage(data: st.DataObject) -> None:
    content = bytearray(dataclasses.replace(RECORD, export=Export(1, 2, 0.5, 3)).metadata())
    at = data.draw(st.integers(0, len(content) - 1))
    content[at] ^= data.draw(st.integers(1, 255))
    with pytest.raises(DamagedError):
        parse_record(bytes(content), "genres/1990")


@given(st.binary(max_size=50) | st.integers(0, 10**6).map(lambda n: b"[" * n))
def test_what_is_no_record_is_damage_whatever_it_is(content: bytes) -> None:
    with pytest.raises(DamagedError):
        parse_record(content, "genres/1990")


@pytest.mark.parametrize("field", [field.name for field in dataclasses.fields(Record)])
@pytest.mark.parametrize("value", [None, True, -1, "x", [], {}, {"size": 1}])
def test_a_field_of_another_kind_is_damage_though_its_digest_is_right(
    field: str, value: object
) -> None:
    content = dataclasses.asdict(RECORD)
    if (field, value) in [("export", None), ("normalize", True), ("machine", "x"), ("begun", "x")]:
        return
    if field == "n_off_norm" and value == -1:
        return
    with pytest.raises(DamagedError):
        parse_record(sealed({**content, field: value}), "genres/1990")


@pytest.mark.parametrize("field", [field.name for field in dataclasses.fields(Record)])
def test_a_record_with_a_field_too_few_or_too_many_is_damage(field: str) -> None:
    content = dataclasses.asdict(RECORD)
    for wrong in ({**content, f"{field}_": 1}, {k: content[k] for k in content if k != field}):
        with pytest.raises(DamagedError):
            parse_record(sealed(wrong), "genres/1990")


def test_a_record_of_another_decade_is_damage_that_says_so() -> None:
    with pytest.raises(DamagedError, match="another decade"):
        parse_record(RECORD.metadata(), "genres/2000")


def test_a_record_of_the_first_format_is_told_from_a_damaged_one() -> None:
    content = dataclasses.asdict(RECORD)
    for name in ("group", "ids_sha256", "vectors_sha256", "format"):
        del content[name]
    with pytest.raises(OldFormatError, match="format 1"):
        parse_record(sealed(content), "genres/1990")


def test_the_geometry_follows_from_the_number_of_films() -> None:
    assert RECORD.grid.n_films == 300
