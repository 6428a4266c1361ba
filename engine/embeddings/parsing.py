r"""The text of an embeddings file: ids and a matrix, or one sentence that says what is wrong.

A decade's file is one JSON object, id -> list of numbers. In the largest the vectors take 51 MB
and their text 140 MB, so the text is read in pieces, hashed as it passes, and parsed one film at
a time; beside the matrix only about a megabyte is held. Everything downstream trusts what comes
out of here, so what the notebook let through silently (a film given two vectors, NaN) is refused.

The notebook read with ``json.load`` of a text file, ``int(key)`` and ``np.array(vector)``. Where
both read a file, ids and numbers are equal to the last bit. Only this reader accepts:

- a UTF-8 byte order mark, which some editors and databases put before the text;
- keys that are not integers, kept as they are.

Only ``json.load`` accepts:

- ``NaN``, ``Infinity`` and numbers beyond float range (``1e400``): they spoil every similarity;
- anything but an object of id -> list of numbers, the lists of one length and not empty, without
  strings, ``null``, booleans, objects or lists in them: only vectors have a dot product;
- a key given twice, or two keys that become one id (``"7"`` and ``"007"``), with two vectors: one
  would be lost. With the same vector both readers keep the film once, at its first place;
- a key with ``-`` in it, the separator of ``"id1-id2"`` (so ``"-7"`` too);
- a key with a lone surrogate (``"\ud800"``): it cannot be stored as UTF-8;
- a key or a list of more than 16 MiB of text, blanks included: it must fit in memory, and half a
  million numbers are no embedding.

An integer key is what ``int`` converts, by the notebook's habit: ``" 7 "``, ``"+7"``, ``"1_0"``
and digits of other scripts too. Past its limit of 4300 digits it is refused here as there.
"""

import hashlib
import json
import math
import re
import struct
from dataclasses import dataclass
from typing import BinaryIO, NoReturn

import numpy as np
import orjson
from numpy.typing import NDArray

from engine import native
from engine.errors import InputError, shown

_PIECE = 2**18  # bytes a read: few enough to be in the cache still when they are parsed
LIMIT = 2**24  # bytes of one key or one list
_EXCERPT = 40  # bytes of the file that an error shows

# What may come before a list. Each pattern ends in a character of its own, so that where a read
# happens to end decides no match; its group is the key, or nothing at the end of the object.
_BLANK = rb"[ \t\n\r]*+"
_BLANKS = re.compile(_BLANK)
_FILM = rb'"((?:[^"\\\x00-\x1f]++|\\.)*+)"' + _BLANK + rb":" + _BLANK + rb"(?=[^ \t\n\r])"
_FIRST = re.compile(rb"(?:\xef\xbb\xbf)?" + _BLANK + rb"\{" + _BLANK + rb"(?:" + _FILM + rb"|\})")
_NEXT = re.compile(_BLANK + rb"(?:," + _BLANK + _FILM + rb"|\})")
_NUMBER = re.compile(rb"-?(?:0|[1-9][0-9]*+)(?:\.[0-9]++)?+(?:[eE][+-]?[0-9]++)?+")

if native.numbers:
    native.numbers.load_powers(native.powers_of_ten())

_T, _F, _COMMA = b"tf,"  # looked for as integers, three times as fast as b"t" in a short list
_DIGITS = 768  # of a number; beyond these orjson does not see whether all are zeros

_DAMAGED = "write the file again, it may be cut short or edited by hand"
_CORRECT = "correct this film or leave it out"


@dataclass(frozen=True, eq=False)
class Embeddings:
    """What one embeddings file holds.

    Attributes
    ----------
    ids : list of str
        One id a film, in the order of the file, all different, without ``-``.
    vectors : ndarray of float64, shape (n_films, n_dimensions)
        One row a film, C-contiguous, finite; of shape (0, 0) for ``{}``.
    sha256 : str
        Hex digest of the very bytes that were parsed.
    repeated : list of str
        The ids that were given more than once, always with the same vector.
    """

    ids: list[str]
    vectors: NDArray[np.float64]
    sha256: str
    repeated: list[str]


def parse_embeddings(file: BinaryIO, name: str, piece: int = _PIECE) -> Embeddings:
    """Parse an open embeddings file, from its beginning to its end, in one pass.

    Parameters
    ----------
    file : binary file
    name : str
        What errors call the file.
    piece : int
        Bytes to read at a time. The result does not depend on it.

    Raises
    ------
    InputError
        If the content is not as `read_embeddings` wants it.
    MemoryError
        If there is not enough memory.
    """
    text = _Text(file, name, piece)
    indices: dict[str, int] = {}  # id -> its row of the matrix
    keys: list[str] = []  # the key that became it
    repeated: dict[str, None] = {}
    length = 0
    matrix = bytearray()  # grows in place; joining arrays at the end would hold the matrix twice
    raw_key = text.take(_FIRST, 'a JSON object in UTF-8, {"id": [numbers], ...}')
    while raw_key is not None:
        try:
            key = _key(raw_key)
            film = _id(key)
        except _IdError as reason:
            text.refuse(str(reason), "a key that can be an id", _CORRECT)
        row = text.take_list()
        # Nothing for a list that is unusual or wrong, or the first: its length is not known yet.
        packed = native.numbers.packed(row, length) if native.numbers else None
        if packed is None:
            try:
                numbers = _elements(row)
                if not length:
                    length = len(numbers)
                    vector = struct.Struct(f"{length}d")
                packed = vector.pack(*numbers) if len(numbers) == length else b""
            except (ValueError, struct.error):
                text.refuse_list(row, film)
        if not packed:
            found = f"{len(numbers):,} numbers"
            expected = f'{length:,} as for id "{shown(next(iter(indices)))}"'
            text.refuse(found, expected, "embed both with one model", film, back=len(row))
        index = indices.setdefault(film, len(keys))
        if index == len(keys):
            keys.append(key)
            matrix += packed
        else:
            there = slice(index * vector.size, (index + 1) * vector.size)
            if vector.unpack(matrix[there]) != vector.unpack(packed):
                found = f'the keys "{shown(keys[index])}" and "{shown(key)}", which are one id'
                expected = "the same vector for both"
                text.refuse(found, expected, "leave one of the two out", film, back=len(row))
            matrix[there] = packed  # Of 0.0 and -0.0 the last counts, as with json.load.
            repeated[film] = None
        raw_key = text.take(_NEXT, '"," and the next "id": [numbers], or "}"')
    sha256 = text.take_rest()
    vectors = np.frombuffer(matrix, dtype=np.float64).reshape(len(keys), length)
    return Embeddings(list(indices), vectors, sha256, list(repeated))


class _Text:
    """A window that moves forwards over the text of a file."""

    def __init__(self, file: BinaryIO, name: str, piece: int) -> None:
        self._file, self._name, self._piece = file, name, piece
        self._sha256 = hashlib.sha256()
        self._window = b""
        self._at = 0  # where in the window the next thing begins
        self._passed = 0  # bytes of the file before the window
        self._end = ""  # why the window grows no more

    def take(self, pattern: re.Pattern[bytes], expected: str) -> bytes | None:
        """Move past what comes next; return the key in it."""
        while (match := pattern.match(self._window, self._at)) is None:
            if not self._grow():
                self._at = _past_blanks(self._window, self._at)
                rest = self._window[self._at :]
                found = [_quoted(rest)] * bool(rest) + [self._end] * (len(rest) < _EXCERPT)
                self.refuse(", then ".join(found), expected, _DAMAGED)
        self._at = match.end()
        return match[1]

    def take_list(self) -> bytes:
        """Move past a list, up to its first "]"; past all that is held if it has none."""
        searched = 0
        while (end := self._window.find(b"]", self._at + searched)) < 0:
            searched = len(self._window) - self._at
            if not self._grow():
                end = len(self._window)
                break
        row = self._window[self._at : end + 1]
        self._at += len(row)
        return row

    def take_rest(self) -> str:
        """Move past blanks to the end of the file; return the SHA-256 of the whole."""
        while True:
            self._at = _past_blanks(self._window, self._at)
            if rest := self._window[self._at :]:
                self.refuse(_quoted(rest), "the end of the file", _DAMAGED)
            if not self._grow():
                return self._sha256.hexdigest()

    def refuse_list(self, row: bytes, film: str) -> NoReturn:
        """Refuse the list just taken, for the first thing that should not be in it."""
        at, found, expected = _first_wrong(row)
        if row[at:]:
            self.refuse(found or _quoted(row[at:]), expected, _CORRECT, film, back=len(row) - at)
        self.refuse(self._end, expected, _DAMAGED, film)

    def refuse(
        self, found: str, expected: str, remedy: str, film: str | None = None, back: int = 0
    ) -> NoReturn:
        """Refuse the file for what stands at the beginning of the window, or `back` before it."""
        where = f", byte {self._passed + self._at - back:,}"
        where += "" if film is None else f', id "{shown(film)}"'
        raise InputError(sentence(self._name, where, found, expected, remedy))

    def _grow(self) -> bool:
        """Let go of what is taken and read on; False at the end, or if too much is held."""
        held = self._window[self._at :]
        if len(held) > LIMIT:
            self._end = f"no end within {LIMIT:,} bytes"
            return False
        # At least doubled, else a long list would be copied once for each of its pieces.
        more = min(max(self._piece, len(held)), LIMIT + 1 - len(held))
        new = self._file.read(more)
        self._sha256.update(new)
        self._passed += self._at
        self._window, self._at = held + new, 0
        self._end = "the end of the file" if self._window or self._passed else "an empty file"
        return bool(new)


class _IdError(ValueError):
    """Why a key cannot be an id."""


def _key(raw: bytes) -> str:
    """The key that stands between two quotes."""
    try:
        key = raw.decode()
        if "\\" in key:
            key = str(json.loads(f'"{key}"'))
            key.encode()
    except UnicodeDecodeError:
        raise _IdError(f"{_quoted(raw)} with bytes that are not UTF-8") from None
    except UnicodeEncodeError:
        raise _IdError(f"{_quoted(raw)} with half a surrogate pair") from None
    except ValueError:  # What is left for json to refuse between two quotes.
        raise _IdError(f"{_quoted(raw)} with a backslash that begins no JSON escape") from None
    return key


def _id(key: str) -> str:
    """The id that a key becomes."""
    if "-" in key:
        raise _IdError(f'"{shown(key)}" with the "-" that separates the ids of a pair')
    try:
        return str(int(key))
    except ValueError:
        # int() refuses what is no integer and what is too long an integer alike.
        if len(key) > 4300 and key.strip().lstrip("+").replace("_", "").isdecimal():
            raise _IdError(f'"{shown(key)}", an integer of more than 4,300 digits') from None
        return key


def _elements(row: bytes) -> list[float]:
    """The elements of a JSON list that is not empty and holds no boolean; else ValueError.

    What else is no number is for struct to refuse, which only takes ``True`` for 1.0.
    """
    if row[:1] != b"[" or _T in row or _F in row:
        raise ValueError
    elements: list[float] = orjson.loads(row)
    if not elements:
        raise ValueError
    if _may_be_long(row):
        # A comma within a string shifts the texts; such a list is refused either way.
        texts = zip(row[1:-1].split(b","), elements, strict=False)
        elements = [float(text) if isinstance(x, float) else x for text, x in texts]
    return elements


def _may_be_long(row: bytes) -> bool:
    """Whether a number may have so many digits that orjson rounds it otherwise than float.

    It rounds up what is the very middle between two floats, where the even one is the nearest.
    """
    at = 0
    while len(row) - at > _DIGITS:
        at = row.rfind(_COMMA, at, at + _DIGITS) + 1
        if not at:
            return True
    return False


def _first_wrong(row: bytes) -> tuple[int, str, str]:
    """The first thing that a list of finite numbers cannot hold.

    Returns its offset, what it is ("" for what just stands there), and what should be there.
    Where nothing is wrong the parser was refused memory, which it does not tell apart.
    """
    if row[:1] != b"[":
        return 0, "", 'a list of numbers, "["'
    at, position = 1, 1
    while True:
        at = _past_blanks(row, at)
        number = _NUMBER.match(row, at)
        if number is None or math.isinf(float(number[0])):
            found = _quoted(number[0]) + ", which is beyond the range of float" if number else ""
            return at, found, f"a finite number as number {position:,} of the list"
        at = _past_blanks(row, number.end())
        if row[at : at + 1] == b"]":
            raise MemoryError
        if row[at : at + 1] != b",":
            return at, "", f'"," or "]" after number {position:,} of the list'
        at, position = at + 1, position + 1


def _past_blanks(text: bytes, at: int) -> int:
    match = _BLANKS.match(text, at)
    return at if match is None else match.end()


def _quoted(text: bytes) -> str:
    """The beginning of a piece of the file, as it stands there but on one line."""
    start = re.sub(rb"[ \t\n\r]+", b" ", text[: 10 * _EXCERPT])[:_EXCERPT]
    return f"`{shown(start.decode(errors='backslashreplace'))}`"


def sentence(name: str, where: str, found: str, expected: str, remedy: str) -> str:
    """Say of a file what was found where, what was expected, and what to do."""
    return f"{shown(name, 300)}{where}: found {found}, expected {expected}; {remedy}"
