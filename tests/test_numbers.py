"""Numbers read natively: what ``float`` makes of them, or no answer; never another one."""

import json
import random
import struct
import sys
from collections.abc import Callable, Iterator
from itertools import islice
from types import SimpleNamespace
from typing import Any

import floats
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from test_pairs import Guarded
from test_reading import ODDITIES, _mutated, bits, parse

from engine import native

if native.numbers is None:
    pytest.skip("no native part", allow_module_level=True)

packed: Callable[[Any, int], bytes | None] = native.numbers.packed
LIST = b"[1.5 ,\n-2e3,\t0.000123456789012345678 , 12345678,1.2345678e-7,0 , -0.0, 4.25E+2\r]"
VALUES = struct.pack("8d", *json.loads(LIST))


def read(texts: Iterator[str]) -> int:
    """Hold texts against float; how many are not read."""
    found, unread = floats.difference(texts)
    assert found == ""
    return unread


@pytest.mark.parametrize(
    "texts", [floats.powers, floats.lengths, floats.zeros, floats.nearest_to_middles]
)
def test_a_number_is_read_as_float_reads_it(texts: Callable[[], Iterator[str]]) -> None:
    read(texts())


def test_the_middle_between_two_floats_is_rounded_as_float_rounds_it() -> None:
    read(floats.middles(1000, 7))


def test_random_numbers_are_read_as_float_reads_them() -> None:
    read(islice(floats.random_texts(7), 100_000))


def test_a_wrong_number_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    wrong = SimpleNamespace(packed=lambda *_: struct.pack("d", 0.4))
    monkeypatch.setattr(native, "numbers", wrong)
    assert floats.difference(["0.4", "0.3"]) == ("0.3 as 0.4", 0)


def test_the_numbers_of_vectors_are_not_left_to_python() -> None:
    rng = random.Random(7)
    for size in (1e-9, 0.03, 1.0, 1000.0):
        texts = [repr(rng.gauss(0, size)) for _ in range(5_000)]
        assert read(iter([*texts, "0.0", "-0.0", "0", "1", "-1", "0.5", "1e-05"])) == 0


def test_blanks_between_numbers_are_those_of_json() -> None:
    assert packed(LIST, 8) == VALUES
    assert packed(b"[ \t\r\n1 \t\r\n, \t\r\n2 \t\r\n]", 2) == struct.pack("2d", 1, 2)
    for blank in (b"\x0b", b"\x0c", b"\xa0", b"\0", b"/**/"):
        assert packed(b"[1," + blank + b"2]", 2) is None
        assert packed(b"[1" + blank + b",2]", 2) is None


@pytest.mark.parametrize("text", [*ODDITIES.split(), "1e", "1e+", "1.e5", ".", "-.5", "00", "-01"])
def test_what_is_no_finite_number_is_left_to_python(text: str) -> None:
    assert packed(f"[0.5,{text}]".encode(), 2) is None
    assert packed(f"[{text}, 0.5]".encode(), 2) is None


@pytest.mark.parametrize("count", [-(2**63), -1, 0, 1, 7, 9, 40, 2**61, 2**62, 2**63 - 1])
def test_a_list_of_another_length_is_left_to_python(count: int) -> None:
    assert packed(LIST, count) is None
    assert packed(b"[]", count) is None


@pytest.mark.parametrize(
    "text",
    [b"", b"]", b"[", b"1]", b"[[1]", b"[1]]", b"[1] ]", b" [1]", b"[1,]", b"[,1]", b"[1;2]"],
)
def test_what_is_no_list_is_left_to_python(text: bytes) -> None:
    assert packed(text, 1) is None
    assert packed(text, 2) is None


@pytest.mark.parametrize("digits", [20, 10**3, 10**7])
def test_very_long_numbers_are_left_to_python_unless_they_are_nothing(digits: int) -> None:
    long = b"7" * digits
    for text in (long, b"0." + long, b"1." + long, b"1e" + long, b"1e-" + long, b"0e" + long):
        assert packed(b"[" + text + b"]", 1) is None
    assert packed(b"[0." + b"0" * digits + b"]", 1) == bytes(8)
    assert packed(b"[0." + b"0" * digits + b"1e1]", 1) in (None, struct.pack("d", 10.0**-digits))


@pytest.mark.skipif(sys.platform != "linux", reason="mprotect by ctypes")
@pytest.mark.parametrize("at_end", [False, True])
def test_a_list_cut_short_anywhere_is_left_to_python_and_no_byte_beyond_it_is_touched(
    at_end: bool,
) -> None:
    for length in range(len(LIST)):
        assert packed(Guarded(length, at_end=at_end).filled(LIST[:length]), 8) is None
        cut = LIST[:length] + b"]"
        found = packed(Guarded(length + 1, at_end=at_end).filled(cut), 8)
        assert found in (None, packed(cut, 8))
    assert packed(Guarded(len(LIST), at_end=at_end).filled(LIST), 8) == VALUES


@settings(max_examples=200)
@given(st.text(alphabet="[],-+.eE0123456789 \n\x2f:").map(lambda text: f"[{text}]".encode()))
def test_whatever_is_read_is_what_json_reads(text: bytes) -> None:
    for count in range(1, 5):
        found = packed(text, count)
        if found is not None:
            assert found == struct.pack(f"{count}d", *json.loads(text))


@given(_mutated(), st.sampled_from([1, 5, 64, 2**18]))
def test_files_are_read_and_refused_in_the_same_words_natively_and_in_python(
    raw: bytes, piece: int
) -> None:
    natively = parse(raw, piece)
    with pytest.MonkeyPatch.context() as context:
        context.setattr(native, "numbers", None)
        in_python = parse(raw, piece)
    assert bits(natively) == bits(in_python)
    assert str(natively) == str(in_python)
