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
from engine.triangle.rule import EVERY_PAIR, Rule

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
    assert changed.output_identity(EVERY_PAIR) != RECORD.output_identity(EVERY_PAIR)


@pytest.mark.parametrize(
    "change",
    [
        {"machine": "openblas 0.3 Zen"},
        {"begun": "2024-01-01T00:00:01+00:00"},
        {"export": Export(1, 2, Rule(0.5), 3)},
    ],
)
def test_the_input_read_again_elsewhere_and_its_output_change_no_identity(
    change: dict[str, object],
) -> None:
    changed = dataclasses.replace(RECORD, **change)  # type: ignore[arg-type]
    assert changed.identity == RECORD.identity
    assert changed.output_identity(Rule(0.5)) == RECORD.output_identity(Rule(0.5))


rules = (
    st.just(EVERY_PAIR)
    | st.floats(-2, 2).map(Rule)
    | st.floats(0, 100, exclude_min=True).map(lambda p: Rule(top_percent=p))
    | st.integers(1, 9).map(lambda k: Rule(top_k=k))
)


@example([EVERY_PAIR, Rule(math.inf)])
@example([Rule(math.inf), Rule(-math.inf)])
@example([Rule(5.0), Rule(top_percent=5.0)])
@example([Rule(top_percent=5.0), Rule(top_k=5)])
@given(st.lists(rules, min_size=2, max_size=2, unique_by=repr))
def test_each_rule_makes_another_output(two: list[Rule]) -> None:
    if two[0] != two[1]:
        assert RECORD.output_identity(two[0]) != RECORD.output_identity(two[1])


def test_a_similarity_and_every_pair_make_the_outputs_that_they_made_in_version_1_0() -> None:
    def identity(min_similarity: str) -> str:
        content = {"min_similarity": min_similarity, "values": RECORD.identity}
        return hashlib.sha256(json.dumps(content, separators=(",", ":")).encode()).hexdigest()

    assert RECORD.output_identity(EVERY_PAIR) == identity("None")
    assert RECORD.output_identity(Rule(0.5)) == identity("0.5")


def test_an_identity_is_64_hexadecimal_digits() -> None:
    for identity in (RECORD.identity, RECORD.output_identity(Rule(top_percent=25))):
        assert len(identity) == 64
        assert int(identity, 16)


def sealed(content: object) -> bytes:
    """Metadata of a group whose record is this, with the right digest."""
    digest = hashlib.sha256(json.dumps(content, sort_keys=True, separators=(",", ":")).encode())
    attributes = {"record": content, "sha256": digest.hexdigest()}
    document = {"attributes": attributes, "zarr_format": 3, "node_type": "group"}
    return json.dumps(document, indent=2).encode()


@pytest.mark.parametrize(
    ("export", "written"),
    [
        (None, None),
        (
            Export(1, 2**62 + 1, Rule(0.5), 3),
            {"size": 1, "mtime_ns": 2**62 + 1, "min_similarity": 0.5, "n_pairs": 3},
        ),
        (
            Export(1, 2, EVERY_PAIR, 3),
            {"size": 1, "mtime_ns": 2, "min_similarity": None, "n_pairs": 3},
        ),
        (
            Export(1, 2, Rule(top_percent=25.0), 3),
            {"size": 1, "mtime_ns": 2, "min_similarity": None, "n_pairs": 3, "top_percent": 25.0},
        ),
        (
            Export(1, 2, Rule(top_k=10), 3),
            {"size": 1, "mtime_ns": 2, "min_similarity": None, "n_pairs": 3, "top_k": 10},
        ),
    ],
)
def test_a_record_comes_back_as_it_was_written(export: Export | None, written: object) -> None:
    record = dataclasses.replace(RECORD, export=export)
    assert record.metadata() == sealed({**dataclasses.asdict(record), "export": written})
    assert parse_record(record.metadata(), "genres/1990") == record


@pytest.mark.parametrize(
    "change",
    [
        {"top_percent": None},
        {"top_percent": 25},
        {"top_percent": "25"},
        {"top_k": 10.0},
        {"top_k": True},
        {"min_similarity": 1},
        {"rule": None},
        {"top_n": 5},
    ],
    ids=str,
)
def test_a_rule_of_another_kind_is_damage_though_its_digest_is_right(
    change: dict[str, object],
) -> None:
    export = {"size": 1, "mtime_ns": 2, "min_similarity": None, "n_pairs": 3}
    content = dataclasses.asdict(RECORD)
    assert parse_record(sealed({**content, "export": export}), "genres/1990").export
    with pytest.raises(DamagedError):
        parse_record(sealed({**content, "export": {**export, **change}}), "genres/1990")


@given(st.data())
def test_any_other_byte_in_a_record_is_damage(data: st.DataObject) -> None:
    content = bytearray(dataclasses.replace(RECORD, export=Export(1, 2, Rule(0.5), 3)).metadata())
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
