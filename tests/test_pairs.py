"""The text of a row-block, natively and in Python: what ``json.dumps`` writes of its pairs."""

import ctypes
import itertools
import json
import math
import mmap
import sys
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from test_text import ids as any_id
from test_text import numbers as any_number

from engine import native
from engine.legacy_json import pairs
from engine.legacy_json.pairs import BlockText, FilmTexts, NativeText, PythonText

WAYS = [NativeText, PythonText] if native.text else [PythonText]
PAGE = mmap.PAGESIZE


@pytest.fixture(params=WAYS)
def way(request: pytest.FixtureRequest) -> Callable[..., BlockText]:
    found: Callable[..., BlockText] = request.param
    return found


def expected(
    ids: list[str], start: int, values: NDArray[np.float64], lowest: float | None
) -> tuple[str, int]:
    """The text of the pairs and how many there are; a dict a pair, as ids may be equal."""
    first, texts = len(ids) - values.shape[1], []
    for i, j in itertools.combinations(range(len(ids)), 2):
        if start <= i < start + len(values):
            value = float(values[i - start, j - first])
            if lowest is None or value >= lowest:
                texts.append(", " + json.dumps({f"{ids[i]}-{ids[j]}": value})[1:-1])
    return "".join(texts), len(texts)


def written(text: BlockText) -> tuple[str, int]:
    pieces = b"".join(map(bytes, text.pieces()))
    assert text.length == len(pieces)
    return pieces.decode("ascii"), text.n_pairs


def check(
    way: Callable[..., BlockText],
    ids: list[str],
    start: int,
    values: NDArray[np.float64],
    lowest: float | None = None,
) -> None:
    assert written(way(FilmTexts(ids), start, values, lowest)) == expected(
        ids, start, values, lowest
    )


@pytest.mark.parametrize("way", WAYS)
@given(
    st.lists(any_id, min_size=2, max_size=9),
    st.data(),
    st.one_of(st.none(), st.floats(-2, 2), st.sampled_from([math.inf, -math.inf, 0.0])),
)
def test_a_row_block_is_written_as_json_dumps_writes_its_pairs(
    way: Callable[..., BlockText], ids: list[str], data: st.DataObject, lowest: float | None
) -> None:
    n = len(ids)
    start = data.draw(st.integers(0, n - 1))
    rows, left = data.draw(st.integers(1, n - start)), data.draw(st.integers(0, start))
    cells = st.lists(any_number, min_size=rows * (n - left), max_size=rows * (n - left))
    values = np.array(data.draw(cells)).reshape(rows, n - left)
    check(way, ids, start, values, lowest)


@pytest.mark.parametrize("lowest", [None, -1.0, 0.0, 0.5, 2.0])
def test_a_text_of_many_pieces_is_whole(
    way: Callable[..., BlockText], monkeypatch: pytest.MonkeyPatch, lowest: float | None
) -> None:
    monkeypatch.setattr(pairs, "BUFFER", 100)
    random = np.random.default_rng(1)
    ids = [str(film) for film in random.integers(0, 10**9, 60)]
    check(way, ids, 3, random.uniform(-1, 1, (20, 58)), lowest)


@pytest.mark.parametrize("length", [0, 1, 11, 12, 13, 15, 16, 17, 100, 2**20])
def test_ids_of_any_length_are_written_whole(way: Callable[..., BlockText], length: int) -> None:
    check(way, ["7", "x" * length, "8"], 0, np.array([[0.0, 0.5, 1.0], [0.0, 0.0, 1e-5]]))
    check(way, ["x" * length, "7"], 0, np.array([[0.0, -0.25]]))


def test_rows_without_pairs_and_rows_of_one_have_their_text(
    way: Callable[..., BlockText],
) -> None:
    check(way, ["1", "2"], 0, np.array([[0.1, 0.2], [0.3, 0.4]]))
    check(way, ["1", "2"], 1, np.array([[0.3, 0.4]]))
    check(way, ["1", "2"], 1, np.array([[0.4]]))
    check(way, ["1"], 0, np.array([[0.4]]))
    check(way, ["1", "2", "3"], 0, np.full((2, 3), math.nan), lowest=0.0)


# --- the native functions by themselves ---------------------------------------------------------


@pytest.fixture
def text() -> Any:
    if native.text is None:
        pytest.skip("no native part")
    return native.text


class Guarded:
    """Memory between two pages that kill the process when they are touched."""

    def __init__(self, n_bytes: int, *, at_end: bool) -> None:
        inside = max(1, -(-n_bytes // PAGE)) * PAGE
        self._map = mmap.mmap(-1, inside + 2 * PAGE)
        self._address = ctypes.addressof(ctypes.c_char.from_buffer(self._map))
        self._inside = inside
        self.protect(0)
        begin = PAGE + (inside - n_bytes if at_end else 0)
        self.bytes = np.frombuffer(self._map, np.uint8, n_bytes, begin)

    def protect(self, protection: int) -> None:
        libc = ctypes.CDLL(None, use_errno=True)
        for page in (self._address, self._address + PAGE + self._inside):
            assert libc.mprotect(ctypes.c_void_p(page), PAGE, protection) == 0

    def filled(self, content: bytes) -> NDArray[np.uint8]:
        self.bytes[:] = np.frombuffer(content, np.uint8)
        return self.bytes


@pytest.mark.skipif(sys.platform != "linux", reason="mprotect by ctypes")
@pytest.mark.parametrize("at_end", [False, True])
@pytest.mark.parametrize("length", [0, 5, 16, 40, 3000])
def test_no_byte_beyond_the_ends_of_any_memory_is_touched(
    text: Any, at_end: bool, length: int
) -> None:
    ids = [chr(97 + k) * length for k in range(9)]
    films, random = FilmTexts(ids), np.random.default_rng(length)
    values = random.uniform(-1, 1, (8, 9)) * 10.0 ** random.integers(-9, 20, (8, 9))

    def guarded(content: bytes) -> NDArray[np.uint8]:
        return Guarded(len(content), at_end=at_end).filled(content)

    block = (
        guarded(b"".join(films.suffixes)),
        guarded(films.ends.tobytes()),
        guarded(values.tobytes()),
        guarded(bytes(values.nbytes)),
        9,
        0,
        math.nan,
    )
    n_bytes, n_pairs = text.measure(*block)
    whole, n_expected = expected(ids, 0, values, None)
    assert (n_bytes, n_pairs) == (len(whole), n_expected)
    for size in range(2 * length + 80, 2 * length + 400, 7):
        out, found = guarded(bytes(size)), b""
        row = column = 0
        while row < 8:
            used, row, column = text.write(*block, out, row, column)
            found += out[:used].tobytes()
        assert found.decode() == whole


def small(text: Any, **other: Any) -> Any:
    films = FilmTexts(["11", "22", "33"])
    found = {
        "suffixes": b"".join(films.suffixes),
        "ends": films.ends,
        "values": np.full((2, 3), 0.5),
        "words": np.zeros((2, 3), np.uint64),
        "width": 3,
        "film": 0,
        "lowest": math.nan,
        **other,
    }
    return text.measure(*found.values())


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("suffixes", b""),
        ("suffixes", b'-11": -22": -33":'),
        ("ends", np.array([0, 5, 10, 2**62])),
        ("ends", np.array([-1, 5, 10, 15])),
        ("ends", np.array([0, 5, 4, 15])),
        ("ends", np.array([0, 3, 6, 9])),
        ("ends", np.array([-(2**63), 2**63 - 1, 10, 15])),
        ("ends", np.array([5, -(2**63), 10, 15])),
        ("ends", np.array([0, 5])),
        ("ends", b""),
        ("ends", b"1234567"),
        ("values", np.full((2, 2), 0.5)),
        ("values", b"1"),
        ("values", np.full((4, 3), 0.5)),
        ("words", np.zeros((1, 3), np.uint64)),
        ("width", 0),
        ("width", -1),
        ("width", 4),
        ("width", 2**62),
        ("width", 2**63 - 1),
        ("film", -1),
        ("film", 2),
        ("film", 2**63 - 1),
        ("film", -(2**63)),
    ],
)
def test_a_block_that_does_not_fit_is_an_error(text: Any, name: str, value: Any) -> None:
    assert small(text) == (3 * len(', "11-22": 0.5'), 3)
    with pytest.raises(ValueError, match=r"do not fit|out of place"):
        small(text, **{name: value})


def test_a_buffer_too_small_for_a_pair_is_an_error_and_stays_as_it_is(text: Any) -> None:
    films = FilmTexts(["1" * 50, "2" * 50])
    values, words = np.array([[0.0, 0.5]]), np.zeros((1, 2), np.uint64)
    block = (films.joined, films.ends, values, words, 2, 0, math.nan)
    for size in range(120):
        out = bytearray(b"7" * size)
        with pytest.raises(ValueError, match="too small"):
            text.write(*block, out, 0, 0)
        assert out == b"7" * size


@pytest.mark.parametrize(("row", "column"), [(-1, 0), (0, -1), (-(2**63), 0)])
def test_a_place_that_is_none_is_an_error(text: Any, row: int, column: int) -> None:
    films = FilmTexts(["1", "2"])
    values, words = np.array([[0.0, 0.5]]), np.zeros((1, 2), np.uint64)
    with pytest.raises(ValueError, match="no such row or column"):
        text.write(
            films.joined, films.ends, values, words, 2, 0, math.nan, bytearray(999), row, column
        )
    for far in ((9, 0), (0, 9), (2**63 - 1, 2**63 - 1)):
        block = (films.joined, films.ends, values, words, 2, 0, math.nan)
        assert text.write(*block, bytearray(999), *far)[0] == 0


def test_words_that_no_measuring_left_do_no_harm(text: Any) -> None:
    films = FilmTexts(["1", "2"])
    values = np.array([[0.0, 0.5]])
    for word in (2**64 - 1, 1, 2**57 - 1, 2**63, 20 << 57, 63 << 57, 0x0123456789ABCDEF):
        words, out = np.full((1, 2), word, np.uint64), bytearray(999)
        block = (films.joined, films.ends, values, words, 2, 0, math.nan)
        assert 0 < text.write(*block, out, 0, 0)[0] < 60


def test_other_things_than_memory_are_an_error(text: Any) -> None:
    with pytest.raises(TypeError):
        small(text, values=None)
    with pytest.raises((TypeError, BufferError)):
        small(text, words=bytes(48))
    with pytest.raises(ValueError, match="two words for each power"):
        text.load_powers(b"")
