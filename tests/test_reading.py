"""Reading embeddings: the same ids and bits as ``json.load`` and numpy, or one sentence why not.

The judge is always Python's own json module, with the rules of the notebook and the list of
differences in `engine.embeddings.reading` written out a second time, in the plainest way.
"""

import hashlib
import io
import json
import math
import os
import random
import struct
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import FrozenInstanceError
from decimal import Decimal, localcontext
from pathlib import Path
from types import SimpleNamespace
from typing import Any, BinaryIO

import numpy as np
import orjson
import pytest
from characters import any_character
from hypothesis import example, given, settings
from hypothesis import strategies as st
from waiting import PATIENCE

from engine.embeddings.parsing import Embeddings, parse_embeddings
from engine.embeddings.reading import CLOCK_TICK, fingerprint, is_there, read_embeddings
from engine.errors import InputError, shown

ROOT = Path(__file__).resolve().parents[1]
# A folder with embeddings/*/plots_*.json: the sample, or real data named in the environment.
DATA = Path(os.environ.get("ENGINE_TEST_DATA", ROOT / "data" / "sample"))
BOM = b"\xef\xbb\xbf"

Rows = tuple[list[str], list[list[float]]]


class JsonObject(list):  # type: ignore[type-arg]
    """The key-value pairs of a JSON object, with the keys that a dict would swallow."""


def judge(raw: bytes) -> Rows | None:
    """Ids and vectors by way of the json module, or None where the file is to be refused."""
    try:
        pairs = json.loads(raw.removeprefix(BOM).decode(), object_pairs_hook=JsonObject)
        if not isinstance(pairs, JsonObject):
            return None
        films: dict[str, list[float]] = {}
        for key, vector in pairs:
            key.encode()
            if "-" in key or type(vector) is not list or not vector:
                return None
            if not all(type(x) in (int, float) and math.isfinite(float(x)) for x in vector):
                return None
            try:
                key = str(int(key))
            except ValueError:
                if len(key) > 4300 and key.isdecimal():
                    return None
            numbers = [float(x) for x in vector]
            if films.setdefault(key, numbers) != numbers:
                return None
            films[key] = numbers  # What a dict makes of it: the first place, the last value.
    except (ValueError, OverflowError, RecursionError):
        return None
    if len({len(vector) for vector in films.values()}) > 1:
        return None
    return list(films), list(films.values())


def parse(raw: bytes, piece: int = 2**18) -> Rows | InputError:
    """The same from the reader; what is refused must be a line fit for a terminal."""
    try:
        read = parse_embeddings(io.BytesIO(raw), "plots_1990s.json", piece)
    except InputError as error:
        message = str(error)
        assert message.isprintable()
        assert len(message) < 1000
        assert message.startswith("plots_1990s.json, byte ")
        assert ": found " in message
        return error
    assert read.vectors.dtype == np.float64
    assert read.vectors.flags.c_contiguous
    assert read.sha256 == hashlib.sha256(raw).hexdigest()
    return read.ids, read.vectors.tolist()


def bits(rows: Rows | InputError | None) -> tuple[list[str], list[bytes]] | None:
    """What tells 0.0 from -0.0; None if refused."""
    if rows is None or isinstance(rows, InputError):
        return None
    return rows[0], [struct.pack(f"{len(vector)}d", *vector) for vector in rows[1]]


def written(folder: Path, raw: bytes, name: str = "plots_1990s.json") -> Path:
    path = folder / name
    path.write_bytes(raw)
    return path


# ------------------------------------------------------------------------- what is accepted


def test_files_of_the_data_folder_read_as_the_notebook_read_them() -> None:
    paths = sorted(DATA.glob("embeddings/*/plots_*.json"))
    if not paths:
        pytest.skip(f"no embeddings in {DATA}")
    for path in paths:
        with open(path) as file:
            notebook = {int(key): np.array(vector) for key, vector in json.load(file).items()}
        read = read_embeddings(path)
        assert read.ids == [str(key) for key in notebook]
        assert read.vectors.tobytes() == np.array(list(notebook.values())).tobytes()
        assert read.sha256 == hashlib.sha256(path.read_bytes()).hexdigest() == fingerprint(path)


@pytest.mark.parametrize("indent", [None, 0, 2, "\t"])
@pytest.mark.parametrize("dimensions", [1, 2, 16, 1024])
def test_minified_and_indented_files_give_the_same_bits(
    tmp_path: Path, indent: int | str | None, dimensions: int
) -> None:
    n = 300 if dimensions < 1024 else 30  # Several reads of a file, or many films in one.
    values = np.random.default_rng(dimensions).standard_normal((n, dimensions)).tolist()
    document = {str(3 * i): vector for i, vector in enumerate(values)}
    separators = (",", ":") if indent is None else None
    path = written(tmp_path, json.dumps(document, indent=indent, separators=separators).encode())
    read = read_embeddings(path)
    assert (read.ids, read.vectors.tolist()) == (list(document), values)
    assert read.vectors.shape == (n, dimensions)
    assert read.vectors.dtype == np.float64
    assert read.vectors.flags.c_contiguous


def test_an_empty_object_gives_no_films(tmp_path: Path) -> None:
    read = read_embeddings(written(tmp_path, b" {\n} \n"))
    assert read.ids == []
    assert read.vectors.shape == (0, 0)
    assert read.vectors.dtype == np.float64


def test_one_film_of_one_number() -> None:
    assert parse(b'{"7":[5]}') == (["7"], [[5.0]])


def test_a_byte_order_mark_is_accepted() -> None:
    assert parse(BOM + b'{"7": [0.5]}') == (["7"], [[0.5]])


KEYS = [
    "0",
    "7",
    "007",
    " 7 ",
    "+7",
    "1_000",
    "\u0663",
    "\u2007\u0663",
    "",
    " ",
    "tt0111161",
    "7.0",
    "7a",
]
KEYS += [
    "_7",
    "7__0",
    "true",
    "null",
    "]",
    "[",
    "}",
    ",",
    ":",
    '"',
    "\\",
    "/",
    "\t",
    "\0",
    "\x7f",
    "\x9b",
]
KEYS += [
    "é",
    "Amélie\n",
    "😀",
    "\u22127",
    "\ufeff",
    "9" * 4300,
    "0" * 4299 + "7",
    "x" * 10_000,
    "..",
]


@pytest.mark.parametrize("ascii_only", [True, False])
@pytest.mark.parametrize("key", KEYS, ids=lambda key: ascii(key[:12]))
def test_an_integer_key_is_written_plainly_and_any_other_kept(key: str, ascii_only: bool) -> None:
    raw = json.dumps({key: [1.0, 2.0]}, ensure_ascii=ascii_only).encode()
    try:
        expected = str(int(key))
    except ValueError:
        expected = key
    assert parse(raw) == ([expected], [[1.0, 2.0]])


def test_an_escaped_digit_is_a_digit() -> None:
    assert parse(rb'{"\u0037\/": [1], "\u0038": [2]}') == (["7/", "8"], [[1.0], [2.0]])


NUMBERS = (
    "0 -0 0.0 -0.0 1 -1 1e5 1E+5 1e-5 0e9 1e-400 -1e-400 5e-324 2.5e-324 2.4e-324 0.1 1e22 1e23"
)
NUMBERS += " 9007199254740993 9223372036854775807 9223372036854775808 -9223372036854775809"
NUMBERS += (
    " 18446744073709551615 18446744073709551616 1.7976931348623157e308 1.7976931348623158e308"
)
NUMBERS += f" {10**30} {2**1023} {2**1024 - 2**970 - 1} {'1' * 300} 1{'0' * 308}"
NUMBERS += f" {'9' * 50}.5 0.{'1' * 1000} 0.{'0' * 300}1e300"


@pytest.mark.parametrize("number", NUMBERS.split(), ids=lambda number: number[:24])
def test_a_number_has_the_bits_that_json_gives_it(number: str) -> None:
    raw = f'{{"7": [{number}, 0.5]}}'.encode()
    assert bits(parse(raw)) == bits((["7"], [[float(json.loads(number)), 0.5]]))


@pytest.mark.parametrize("digits", [767, 768, 769, 1000, 5000])
def test_the_middle_between_two_floats_is_rounded_as_json_rounds_it_however_long(
    digits: int,
) -> None:
    rng = random.Random(digits)
    values = [rng.uniform(1, 2) * 2.0 ** rng.randint(-60, 40) for _ in range(100)]
    with localcontext(prec=6000):
        middles = [(Decimal(x) + Decimal(math.nextafter(x, math.inf))) / 2 for x in values]
        texts = [f"{x:.{digits - 1 - x.adjusted()}f}" for x in middles]
    # Behind short ones, and where a list may end.
    texts = [each for text in texts for each in ("0.5", f"{text}1", "1e-5", text)]
    raw = f'{{"7": [{" , ".join(texts)}], "8": [{", ".join(reversed(texts))}]}}'.encode()
    assert bits(parse(raw)) == bits(judge(raw))


@pytest.mark.parametrize("wrong", ["NaN", "1e400", '"1"', '"1,2"', "null", "[]"])
def test_a_list_with_a_long_number_is_refused_for_what_is_none(wrong: str) -> None:
    found = parse(f'{{"7": [1, {wrong}, 1.{"0" * 1000}]}}'.encode())
    assert "expected a finite number as number 2 of the list" in str(found)


@pytest.mark.parametrize("piece", range(1, 40))
def test_where_a_read_ends_changes_nothing(piece: int) -> None:
    raw = BOM + ' {"7" : [ 1.5,\n-2e3 ],\t"\\"]é\\\\" :[3 , 4] , "x😀":\r\n[5,6]\n}\n \n'.encode()
    assert parse(raw, piece) == (["7", '"]é\\', "x😀"], [[1.5, -2e3], [3.0, 4.0], [5.0, 6.0]])


def test_any_blanks_after_the_object_are_accepted() -> None:
    assert parse(b'{"7": [1]}' + b" \r\n\t" * 10**6) == (["7"], [[1.0]])


def test_what_was_read_is_a_value_that_stays_as_it_is() -> None:
    read = parse_embeddings(io.BytesIO(b"{}"), "x")
    with pytest.raises(FrozenInstanceError):
        read.sha256 = ""  # type: ignore[misc]


@pytest.mark.parametrize(
    ("raw", "repeated"),
    [
        ('{"7": [1, 2], "8": [3, 4], "7": [1, 2]}', ["7"]),
        ('{"7": [1, 2], "8": [3, 4], "007": [1.0, 20e-1], " 7 ": [1, 2]}', ["7"]),
        ('{"8": [3, 4], "7": [0.0, -0.0], "7": [-0.0, 0]}', ["7"]),
        ('{"a": [0, 1], "\\u0061": [-0.0, 1], "8": [1, 1], "8": [1, 1]}', ["a", "8"]),
        ('{"7": [9007199254740993, 1], "7": [9007199254740992, 1]}', ["7"]),
        ('{"7": [1, 2]}', []),
    ],
)
def test_a_film_given_again_with_the_same_vector_is_kept_once_as_json_and_dicts_keep_it(
    raw: str, repeated: list[str]
) -> None:
    notebook: dict[str, list[float]] = {}
    for key, vector in json.loads(raw).items():
        notebook[str(int(key)) if key.strip().isdecimal() else key] = vector
    for piece in (3, 2**18):
        found = parse(raw.encode(), piece)
        assert bits(found) == bits((list(notebook), list(notebook.values())))
    assert parse_embeddings(io.BytesIO(raw.encode()), "x").repeated == repeated


# -------------------------------------------------------------------------- what is refused

FILM = ', id "7": found '
REFUSED = {
    "empty file": (b"", "byte 0: found an empty file, expected a JSON object"),
    "blanks": (b" \n ", "byte 3: found the end of the file, expected a JSON object"),
    "not JSON": (b"id,vector\n7,0.5", "byte 0: found `id,vector 7,0.5`, then the end of the file"),
    "a list": (b"[null]", "byte 0: found `[null]`"),
    "a number": (b"7", "expected a JSON object"),
    "UTF-16": ('{"7": [1]}'.encode("utf-16"), r"byte 0: found `\xff\xfe{\x00"),
    "UTF-16 without mark": ('{"7": [1]}'.encode("utf-16-le"), r'byte 0: found `{\x00"\x00'),
    "two marks": (2 * BOM + b"{}", "byte 0: found `\\ufeff\\ufeff{}`"),
    "cut after brace": (b"{", "byte 0: found `{`, then the end of the file"),
    "cut in key": (b'{"7": [1], "8', 'byte 9: found `, "8`, then the end of the file'),
    "cut after key": (b'{"7": [1], "8": ', 'found `, "8": `, then the end of the file'),
    "cut after comma": (b'{"7": [1], ', "found `, `, then the end of the file"),
    "cut in list": (b'{"7": [1, 2', f'byte 11{FILM}the end of the file, expected "," or "]"'),
    "cut after number": (b'{"7": [1, ', f"byte 10{FILM}the end of the file, expected a finite"),
    "cut after list": (b'{"7": [1]', 'byte 9: found the end of the file, expected ","'),
    "trailing brace": (b'{"7": [1]}}', "byte 10: found `}`, expected the end of the file"),
    "trailing text": (b'{"7": [1]}\n {"8"', 'byte 12: found `{"8"`, expected the end'),
    "trailing NUL": (b'{"7": [1]}\0', r"byte 10: found `\x00`, expected the end of the file"),
    "trailing form feed": (b'{"7": [1]}\f', r"byte 10: found `\x0c`, expected the end of the file"),
    "comma at the end": (
        b'{"7": [1],}',
        'byte 9: found `,}`, then the end of the file, expected ","',
    ),
    "comma first": (b'{,"7": [1]}', 'byte 0: found `{,"7": [1]}`'),
    "no comma": (b'{"7": [1] "8": [1]}', 'byte 10: found `"8": [1]}`, then'),
    "no colon": (b'{"7": [1], "8" [1]}', 'byte 9: found `, "8" [1]}`, then'),
    "key without quotes": (b'{"7": [1], 8: [1]}', "byte 9: found `, 8: [1]}`, then"),
    "quotes of Python": (b"{'7': [1]}", "byte 0: found `{'7': [1]}`"),
    "control character": (b'{"a\x1b[2J": [1]}', 'byte 0: found `{"a\\x1b[2J": [1]}`'),
    "line break in key": (b'{"a\nb": [1]}', 'byte 0: found `{"a b": [1]}`'),
    "bad escape": (rb'{"a\x": [1]}', r"found `a\x` with a backslash that begins no JSON escape"),
    "UTF-8 broken in key": (
        b'{"a\xff": [1]}',
        r"byte 7: found `a\xff` with bytes that are not UTF-8",
    ),
    "surrogate as bytes": (b'{"\xed\xa0\x80": [1]}', "with bytes that are not UTF-8"),
    "lone surrogate": (
        rb'{"a\ud800": [1]}',
        r"byte 12: found `a\ud800` with half a surrogate pair",
    ),
    "dash": (b'{"7": [1], "1-2": [1]}', 'byte 18: found "1-2" with the "-" that separates'),
    "negative": (b'{"-7": [1]}', 'found "-7" with the "-" that separates the ids of a pair'),
    "escaped dash": (rb'{"1\u002d2": [1]}', 'found "1-2" with the "-"'),
    "integer too long": (b'{"%s": [1]}' % (b"1" * 4301), "an integer of more than 4,300 digits"),
    "same key": (
        b'{"7": [1], "7": [2]}',
        f'byte 16{FILM}the keys "7" and "7", which are one id, expected the same vector for both',
    ),
    "same integer": (b'{"7": [1], "007": [2]}', f'byte 18{FILM}the keys "7" and "007"'),
    "same key a third time": (b'{"7": [1], "7": [1], "7": [2]}', f"byte 26{FILM}the keys"),
    "same key, longer": (b'{"7": [1], "7": [1, 1]}', f"byte 16{FILM}2 numbers, expected 1"),
    "same key, no vector": (b'{"7": [1], "7": null}', f"byte 16{FILM}`null}}`"),
    "same text": (rb'{"\u0061": [1], "a": [2]}', 'id "a": found the keys "a" and "a"'),
    "vector null": (b'{"7": null}', f"byte 6{FILM}`null}}`, expected a list of numbers"),
    "vector number": (b'{"7": 5, "8": [1]}', f'byte 6{FILM}`5, "8": [1]`, expected a list'),
    "vector string": (b'{"7": "[1]"}', f'byte 6{FILM}`"[1]`, expected a list'),
    "vector object": (b'{"7": {"a": [1]}}', f'byte 6{FILM}`{{"a": [1]`, expected a list'),
    "no vector": (b'{"7": }', f"byte 6{FILM}`}}`, expected a list"),
    "vector empty": (b'{"7": [ ]}', f"byte 8{FILM}`]`, expected a finite number as number 1"),
    "later empty": (b'{"6": [1], "7": []}', f"byte 17{FILM}`]`, expected a finite number"),
    "string": (b'{"7": [1, "2"]}', f'byte 10{FILM}`"2"]`, expected a finite number as number 2'),
    "string with bracket": (b'{"7": ["]", 1]}', f'byte 7{FILM}`"]`'),
    "null": (
        b'{"7": [1, 2, null, 4]}',
        f"byte 13{FILM}`null, 4]`, expected a finite number as number 3",
    ),
    "true": (b'{"7": [true]}', f"byte 7{FILM}`true]`"),
    "false": (b'{"7": [1, false]}', f"byte 10{FILM}`false]`"),
    "list in the list": (b'{"7": [[1, 2]]}', f"byte 7{FILM}`[1, 2]`"),
    "empty list in the list": (b'{"7": [1, []]}', f"byte 10{FILM}`[]`"),
    "object in the list": (b'{"7": [{}]}', f"byte 7{FILM}`{{}}]`"),
    "NaN": (b'{"7": [NaN]}', f"byte 7{FILM}`NaN]`, expected a finite number"),
    "Infinity": (b'{"7": [1, Infinity]}', f"byte 10{FILM}`Infinity]`, expected a finite number"),
    "-Infinity": (b'{"7": [-Infinity]}', f"byte 7{FILM}`-Infinity]`, expected a finite number"),
    "1e400": (b'{"7": [1, -1e400]}', f"byte 10{FILM}`-1e400`, which is beyond the range of float"),
    "long integer": (b'{"7": [1%s]}' % (b"0" * 309), "which is beyond the range of float"),
    "just too large": (f'{{"7": [{2**1024 - 2**970}]}}'.encode(), "beyond the range of float"),
    "leading zero": (b'{"7": [01]}', f'byte 8{FILM}`1]`, expected "," or "]" after number 1'),
    "no digit after point": (b'{"7": [1.]}', f'byte 8{FILM}`.]`, expected "," or "]"'),
    "no digit before point": (b'{"7": [.5]}', f"byte 7{FILM}`.5]`, expected a finite number"),
    "plus": (b'{"7": [+1]}', f"byte 7{FILM}`+1]`, expected a finite number"),
    "hexadecimal": (b'{"7": [0x10]}', f"byte 8{FILM}`x10]`"),
    "digits of another script": ('{"7": [٣]}'.encode(), f"byte 7{FILM}`\u0663]`"),
    "comma in the end": (
        b'{"7": [1, ]}',
        f"byte 10{FILM}`]`, expected a finite number as number 2",
    ),
    "two commas": (b'{"7": [1,,2]}', f"byte 9{FILM}`,2]`, expected a finite number as number 2"),
    "no comma in list": (b'{"7": [1 2]}', f'byte 9{FILM}`2]`, expected "," or "]" after number 1'),
    "comment": (b'{"7": [1 /* one */]}', f"byte 9{FILM}`/* one */]`"),
    "NUL in the list": (b'{"7": [1\0]}', f"byte 8{FILM}`\\x00]`"),
    "UTF-8 broken in the list": (b'{"7": [1\xff]}', f"byte 8{FILM}`\\xff]`"),
    "shorter": (b'{"6": [1, 2], "7": [1]}', f'byte 19{FILM}1 numbers, expected 2 as for id "6"'),
    "longer": (b'{"6": [1], "7": [1, 2]}', f'byte 16{FILM}2 numbers, expected 1 as for id "6"'),
    "deep lists": (b'{"7": ' + b"[" * 10**6 + b"]" * 10**6 + b"}", f"byte 7{FILM}`[[[["),
    "deep lists, open": (b"[" * 10**6, "byte 0: found `[[[["),
    "deep objects": (b'{"7": ' + b'{"7":' * 10**6, f'byte 6{FILM}`{{"7":{{"7":'),
}


@pytest.mark.parametrize(("raw", "message"), REFUSED.values(), ids=REFUSED.keys())
def test_a_bad_file_is_refused_with_its_name_the_place_and_what_stands_there(
    tmp_path: Path, raw: bytes, message: str
) -> None:
    assert judge(raw) is None, "the judge must refuse it too"
    path = written(tmp_path, raw)
    with pytest.raises(InputError) as refused:
        read_embeddings(path)
    assert str(refused.value).startswith(f"{shown(str(path), 300)}, byte ")
    assert message in str(refused.value)
    assert str(refused.value).isprintable()
    assert "; " in str(refused.value)
    assert isinstance(parse(raw, piece=3), InputError) or len(raw) > 10**5


@pytest.mark.parametrize("error", [orjson.JSONDecodeError("no buffer", "", 0), MemoryError()])
def test_a_good_list_is_not_blamed_when_its_parser_is_refused_memory(
    error: Exception, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(text: bytes) -> None:
        raise error

    monkeypatch.setattr("engine.embeddings.parsing.orjson.loads", refused)
    for raw in (b'{"7": [1, 2.5 ]}', b'{"7": [0]}'):
        with pytest.raises(MemoryError):
            parse_embeddings(io.BytesIO(raw), "x")


HUGE = {
    "one number": (b'{"7": [', b"1"),
    "one fraction": (b'{"7": [0.', b"1"),
    "one exponent": (b'{"7": [1e', b"1"),
    "one string": (b'{"7": ["', b"1"),
    "one key": (b'{"7": [1], "', b"1"),
    "backslashes": (b'{"', b"\\"),
    "blanks": (b'{"7": [1', b" "),
    "nested lists": (b'{"7": ', b"["),
    "NUL": (b'{"7": [1]', b"\0"),
}


@pytest.mark.parametrize(("head", "filling"), HUGE.values(), ids=HUGE.keys())
def test_text_without_end_is_refused_long_before_all_of_it_is_read(
    head: bytes, filling: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("engine.embeddings.parsing.LIMIT", 2**20)
    file = io.BytesIO(head + filling * 2**22)
    with pytest.raises(InputError):
        parse_embeddings(file, "x")
    assert file.tell() <= 2**20 + 2**19


def test_a_list_of_just_the_limit_is_read_and_a_longer_one_refused() -> None:
    def raw(length: int) -> bytes:
        return b'{"7": [1' + b" " * (length - 3) + b"]}"

    assert parse(raw(2**24)) == (["7"], [[1.0]])
    assert "no end within 16,777,216 bytes" in str(parse(raw(2**24 + 2)))


def test_a_key_without_end_is_refused_at_the_limit() -> None:
    file = io.BytesIO(b'{"' + b"1" * (2**24 + 2**22))
    with pytest.raises(InputError):
        parse_embeddings(file, "x")
    assert 2**24 <= file.tell() < 2**24 + 2**20


# ------------------------------------------------------------------------- files themselves


def test_a_missing_file_a_folder_a_pipe_and_a_broken_link_are_refused(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "link").symlink_to("nowhere")
    (tmp_path / "folder").mkdir()
    for name, reason in {
        "missing": "no such file or directory",
        "link": "no such file or directory",
        "folder": "a folder",
        "folder/": "a folder",
        "pipe": "no regular file",
        "x" * 300: "file name too long",
    }.items():
        path = tmp_path / name
        for read in (read_embeddings, fingerprint):
            with pytest.raises(InputError) as refused:
                read(path)
            assert f"found {reason}, expected a file that can be read" in str(refused.value)
            assert path.name[-20:] in str(refused.value)


def test_whether_an_input_is_there_is_known_or_an_error(tmp_path: Path) -> None:
    there = written(tmp_path, b"{}")
    assert is_there(there)
    assert is_there(tmp_path)
    for path in (tmp_path / "missing", tmp_path / "no" / "folder", there / "below"):
        assert not is_there(path)
    (tmp_path / "loop").symlink_to("loop")
    for path in (tmp_path / "loop", tmp_path / ("x" * 300)):
        with pytest.raises(InputError, match="expected a file that can be read"):
            is_there(path)


def test_a_file_without_permission_is_refused() -> None:
    code = (
        "import os, pathlib, sys\n"
        "from engine.errors import InputError\n"
        "from engine.embeddings.reading import fingerprint, read_embeddings\n"
        "if os.getuid() == 0: os.setuid(65534)\n"  # root may read whatever its mode
        "for read in (read_embeddings, fingerprint):\n"
        "    try: read(pathlib.Path(sys.argv[1]))\n"
        "    except InputError as error: print(error)\n"
    )
    with tempfile.TemporaryDirectory() as folder:
        os.chmod(folder, 0o755)
        path = written(Path(folder), b"{}")
        path.chmod(0)
        run = subprocess.run(
            [sys.executable, "-c", code, path], cwd=ROOT, capture_output=True, text=True, check=True
        )
    line = f"{path}: found permission denied, expected a file that can be read; check the path"
    assert [printed.startswith(line) for printed in run.stdout.splitlines()] == [True, True]


def test_a_hostile_path_cannot_reach_the_terminal(tmp_path: Path) -> None:
    with pytest.raises(InputError) as refused:
        read_embeddings(written(tmp_path, b"", "\x1b[2J\n\udcff.json"))
    assert r"\x1b[2J\n\udcff.json" in str(refused.value)
    assert str(refused.value).isprintable()


def test_memory_is_the_matrix_and_little_more(tmp_path: Path) -> None:
    n, vector = 1500, np.random.default_rng(0).standard_normal(1024)
    text = json.dumps(vector.tolist())
    films = ", ".join(f'"{i}": {text}' for i in range(n))
    path = written(tmp_path, f"{{{films}}}".encode())
    code = (
        "import pathlib, sys\n"
        "from engine.embeddings.reading import read_embeddings\n"
        "def kibibytes(field):\n"
        "    lines = open('/proc/self/status').read().splitlines()\n"
        "    return next(int(line.split()[1]) for line in lines if line.startswith(field))\n"
        "before = kibibytes('VmRSS')\n"
        "read_embeddings(pathlib.Path(sys.argv[1]))\n"
        "print(kibibytes('VmHWM') - before)\n"
    )
    if not Path("/proc/self/status").exists():
        pytest.skip("peak memory is read from /proc")
    run = subprocess.run(
        [sys.executable, "-c", code, path], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert int(run.stdout) * 1024 < n * vector.nbytes + 6 * 2**20


# --------------------------------------------------------------------- files that change


@pytest.fixture
def changing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Here somebody writes an input while it is read, as conftest.py says nobody does."""
    monkeypatch.setattr("engine.embeddings.reading.CLOCK_TICK", CLOCK_TICK)


class Writer:
    """Another process that changes a file again and again, and rests when it is asked to."""

    def __init__(self, code: str, path: Path) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-c", RESTS + code, path],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            bufsize=0,
        )
        assert self._process.stdin
        assert self._process.stdout
        self._orders, self._answers = self._process.stdin, self._process.stdout

    def __enter__(self) -> "Writer":
        self._answers.readline()  # It has begun.
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.wait()
        self._orders.close()
        self._answers.close()

    @contextmanager
    def at_rest(self) -> Iterator[None]:
        """Keep it, between two changes, from going on."""
        self._orders.write(b"r")
        self._answers.readline()
        yield
        self._orders.write(b"g")


RESTS = """
import os, random, select, sys
def rest():
    if select.select([0], [], [], random.uniform(0, 0.1))[0]:
        os.read(0, 1)
        print(flush=True)
        os.read(0, 1)
"""
IN_PLACE = """
path, stamps = sys.argv[1], os.stat(sys.argv[1])
texts = [open(path, "rb").read().replace(b"1.5", new) for new in (b"2.5", b"1.5")]
file = os.open(path, os.O_WRONLY)
print(flush=True)
while True:
    for text in texts:
        os.pwrite(file, text, 0)
        os.utime(path, ns=(stamps.st_atime_ns, stamps.st_mtime_ns))
        rest()
"""
BY_RENAME = """
path = sys.argv[1]
texts = [open(path, "rb").read().replace(b"1.5", new) for new in (b"2.5", b"1.5")]
print(flush=True)
while True:
    for text in texts:
        with open(path + "~", "wb") as file:
            file.write(text)
        os.replace(path + "~", path)
        rest()
"""


def changing_file(folder: Path) -> Path:
    """A file of several reads."""
    document = {str(i): [1.5] * 1024 for i in range(60)}
    return written(folder, json.dumps(document).encode())


def slowly(file: BinaryIO, name: str) -> Embeddings:
    """Parse a file as if it were a large one, which another process has the time to change."""

    def read(size: int) -> bytes:
        time.sleep(0.002)
        return file.read(size)

    return parse_embeddings(SimpleNamespace(read=read), name, 2**15)  # type: ignore[arg-type]


@pytest.mark.usefixtures("changing")
@pytest.mark.parametrize("code", [IN_PLACE, BY_RENAME], ids=["in place", "by rename"])
def test_old_and_new_content_are_never_mixed(
    tmp_path: Path, code: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("engine.embeddings.reading.parse_embeddings", slowly)
    path = changing_file(tmp_path)
    contents = {
        hashlib.sha256(path.read_bytes().replace(b"1.5", new)).hexdigest(): float(new)
        for new in (b"1.5", b"2.5")
    }
    outcomes = set()

    def read_once() -> None:
        try:
            read = read_embeddings(path)
        except InputError as error:
            outcomes.add(str(error))
        else:
            assert (read.vectors == contents[read.sha256]).all()
            outcomes.add(read.sha256)

    with Writer(code, path) as writer:
        for _ in range(2):
            for _ in range(5):
                read_once()
            with writer.at_rest():
                before = hashlib.sha256(path.read_bytes()).hexdigest()
                assert read_embeddings(path).sha256 == before
    assert all("changes while it is read" in refused for refused in outcomes - set(contents))


def test_a_file_of_this_moment_is_read_when_its_stamp_would_tell_a_change(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, rests = written(tmp_path, b'{"7": [1.5]}'), 0

    def rest(seconds: float) -> None:
        nonlocal rests
        if rests == 0:
            path.write_bytes(b'{"7": [2.5]}')
            monkeypatch.setattr("engine.embeddings.reading.CLOCK_TICK", CLOCK_TICK)
        rests += 1
        sleep(CLOCK_TICK)

    sleep = time.sleep
    # However busy the machine is, at first the file is of this moment.
    monkeypatch.setattr("engine.embeddings.reading.CLOCK_TICK", PATIENCE)
    monkeypatch.setattr("engine.embeddings.reading.time.sleep", rest)
    assert read_embeddings(path).vectors.tolist() == [[2.5]]
    before = rests
    assert read_embeddings(path).vectors.tolist() == [[2.5]]
    assert rests == before, "its stamp is old enough"


@pytest.mark.usefixtures("changing")
@pytest.mark.parametrize("change", ["touched", "cut and written"])
def test_a_file_that_never_rests_is_refused(
    tmp_path: Path, change: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, reads = changing_file(tmp_path), 0
    text = path.read_bytes()

    def disturbed(*arguments: Any) -> Any:
        nonlocal reads
        reads += 1
        if change == "cut and written":
            os.truncate(path, len(text) // 2)
        try:
            return parse_embeddings(*arguments)
        finally:
            path.write_bytes(text) if change == "cut and written" else os.utime(path)

    monkeypatch.setattr("engine.embeddings.reading.parse_embeddings", disturbed)
    with pytest.raises(InputError, match="changes while it is read"):
        read_embeddings(path)
    assert reads > 1


def test_a_change_that_keeps_size_and_stamp_gives_another_fingerprint(tmp_path: Path) -> None:
    path = written(tmp_path, b'{"7": [1.5]}')
    before, stamps = fingerprint(path), path.stat()
    path.write_bytes(b'{"7": [2.5]}')
    os.utime(path, ns=(stamps.st_atime_ns, stamps.st_mtime_ns))
    assert before == hashlib.sha256(b'{"7": [1.5]}').hexdigest()
    assert fingerprint(path) == hashlib.sha256(b'{"7": [2.5]}').hexdigest()


# ------------------------------------------------------------------------ text for a terminal


@given(st.text(any_character), st.integers(8, 100))
@example("x" * 10**7, 60)
@example("\x1b" * 10**6, 60)
def test_shown_text_is_printable_and_short(text: str, limit: int) -> None:
    assert shown(text, limit).isprintable()
    assert len(shown(text, limit)) <= limit
    if text.isprintable() and len(text) <= limit:
        assert shown(text, limit) == text


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Amélie 😀", "Amélie 😀"),
        ("\x1b[31m\r\n\0", r"\x1b[31m\r\n\x00"),
        ("\u202egnp.exe", r"\u202egnp.exe"),
        ("\ud800", r"\ud800"),
        ("a" * 50 + "b" * 50, "a" * 29 + "…" + "b" * 29),
    ],
)
def test_what_could_harm_a_terminal_is_escaped(text: str, expected: str) -> None:
    assert shown(text) == expected


# -------------------------------------------------------------------------------- fuzzing

ODDITIES = r"""NaN Infinity -Infinity 1e400 -1e999 true false null [] {} [1] "1" "]" "" "\u0031" 01
1. .5 +1 - 1e nan 0x1 1_0 ٣ /**/ // '1' undefined"""

_keys = st.one_of(
    st.integers(0, 20).map(str),
    st.sampled_from([*KEYS[:-4], "-7", "a-b", "\ud800", "\udc00\ud800"]),
    st.text(any_character, max_size=4),
)
# The parts of a number. As one regular expression they take seconds to prepare.
_integers = st.integers(0, 10**31 - 1)
_fractions = st.just("") | st.text("0123456789", min_size=1, max_size=30).map(".{}".format)
_exponents = st.just("") | st.builds(
    "{}{}{}".format,
    st.sampled_from("eE"),
    st.sampled_from(["", "+", "-"]),
    st.text("0123456789", min_size=1, max_size=3),
)
_numbers = st.one_of(
    st.floats(allow_nan=False, allow_infinity=False).map(repr),
    st.floats(-1, 1).map(repr),
    st.integers().map(str),
    st.builds("{}{}{}{}".format, st.sampled_from(["", "-"]), _integers, _fractions, _exponents),
    st.sampled_from(NUMBERS.split()),
)
_oddities = st.sampled_from(ODDITIES.split())
_blanks = st.sampled_from(["", "", "", " ", "\n", "\t", "\r\n  ", "\x0b", "\xa0"])
_fragments = st.one_of(
    st.sampled_from([bytes([byte]) for byte in b'[]{},:"\\-01e. \n\0\x1f\x7f\xff']),
    st.sampled_from([b"\\u", b"\\ud83d", b"\xed\xa0\x80", BOM, b"true", b"NaN", b"[" * 2000]),
    st.binary(max_size=3),
)


@st.composite
def _documents(draw: st.DrawFn) -> bytes:
    """The text of an embeddings file, most often a good one."""
    dimensions = draw(st.integers(1, 4))
    odd = draw(st.integers(0, 3)) == 0
    films: list[str] = []
    vectors: list[list[str]] = []
    for _ in range(draw(st.integers(0, 4))):
        sizes = st.integers(0, 4) if odd else st.just(dimensions)
        element = st.one_of(_numbers, _oddities) if odd else _numbers
        vector = [draw(element) for _ in range(draw(sizes))]
        if vectors and draw(st.integers(0, 3)) == 0:
            vector = vectors[-1]  # With the same key it is the same film once more.
        vectors.append(vector)
        key = json.dumps(draw(_keys), ensure_ascii=draw(st.booleans()))
        blank = draw(_blanks) if odd else draw(_blanks).strip("\x0b\xa0")
        films.append(
            f"{blank}{key}{blank}:{blank}[{blank}{f'{blank},'.join(vector)}{blank}]{blank}"
        )
    text = "{" + ",".join(films) + "}"
    return text.encode(errors="surrogatepass")


@st.composite
def _mutated(draw: st.DrawFn) -> bytes:
    """The text of an embeddings file, with up to three pieces cut out, put in or doubled."""
    raw = draw(_documents())
    for _ in range(draw(st.integers(0, 3))):
        start = draw(st.integers(0, len(raw)))
        end = min(len(raw), start + draw(st.sampled_from([0, 0, 1, 1, 2, 10, 1000])))
        fragment = draw(st.one_of(_fragments, st.just(raw[start:end] * 2)))
        raw = raw[:start] + fragment + raw[end:]
    return raw


_any_text = given(_mutated(), st.sampled_from([1, 2, 5, 64, 2**18]))


@_any_text
def test_reader_and_json_module_agree_on_any_text(raw: bytes, piece: int) -> None:
    assert bits(parse(raw, piece)) == bits(judge(raw))


@pytest.mark.storm
@settings(max_examples=2000)
@_any_text
def test_reader_and_json_module_agree_on_a_storm_of_texts(raw: bytes, piece: int) -> None:
    assert bits(parse(raw, piece)) == bits(judge(raw))


@given(st.lists(_numbers, min_size=1, max_size=20))
def test_numbers_have_the_bits_that_the_json_module_gives_them(numbers: list[str]) -> None:
    raw = f'{{"7": [{", ".join(numbers)}]}}'.encode()
    assert bits(parse(raw)) == bits(judge(raw))


@settings(max_examples=100)
@given(st.binary() | st.text(alphabet='{}[]",:-+.eE0123456789 \n\\utrfalsn').map(str.encode))
def test_no_bytes_at_all_bring_the_reader_down(raw: bytes) -> None:
    assert bits(parse(raw)) == bits(judge(raw))
