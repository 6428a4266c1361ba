"""The text of the legacy JSON: exactly what ``json.dump`` of the dict of all pairs writes.

Each pair is written as ``, "id1-id2": value``. The text of a row of the matrix is put together
from three kinds of pieces: the prefix of its film, a suffix for each later film, and the numbers,
which orjson formats thirty times faster than `repr`. Where the two would differ, `repr` decides.
"""

import json
import math
from collections.abc import Sequence

import numpy as np
import orjson
from numpy.typing import NDArray


def pair_prefix(film: str) -> bytes:
    """Text before the second id of a pair whose first id is `film`."""
    return b', "' + _escaped(film)


def pair_suffix(film: str) -> bytes:
    """Text from the hyphen to the value of a pair whose second id is `film`."""
    return b"-" + _escaped(film) + b'": '


_PLAIN_FROM, _PLAIN_BELOW = 1e-4, 1e16
"""Sizes that `repr` writes without an exponent."""
_encode = json.JSONEncoder().encode


def _escaped(film: str) -> bytes:
    # json escapes character by character, so the parts of a key can be escaped apart.
    return _encode(film)[1:-1].encode("ascii")


def numbers_text(values: NDArray[np.float64]) -> bytes:
    """Write numbers as ``json.dump`` does, with commas between.

    Parameters
    ----------
    values
        (m,), contiguous, m > 0.

    Returns
    -------
    bytes
        For instance ``b"0.5,1e-05,NaN"``.

    Notes
    -----
    `json` writes `float.__repr__`, which takes the shortest digits that give the same number
    back and puts an exponent below 1e-4 and from 1e16 on; orjson takes the same digits but
    another form of exponent, another bound, and writes ``null`` for what is not finite.
    """
    text = orjson.dumps(values, option=orjson.OPT_SERIALIZE_NUMPY)[1:-1]
    # Similarities of films are nearly always plain positive numbers, and NaN fails both bounds.
    if values.min() >= _PLAIN_FROM and values.max() < _PLAIN_BELOW:
        return text
    size = np.abs(values)
    other = np.flatnonzero(~((size >= _PLAIN_FROM) & (size < _PLAIN_BELOW)) & (size != 0))
    if not len(other):
        return text
    numbers = text.split(b",")
    for k in other.tolist():
        numbers[k] = _json_number(float(values[k]))
    return b",".join(numbers)


def _json_number(value: float) -> bytes:
    if math.isfinite(value):
        return repr(value).encode("ascii")
    return b"NaN" if math.isnan(value) else b"Infinity" if value > 0 else b"-Infinity"


def row_text(prefix: bytes, suffixes: Sequence[bytes], numbers: bytes) -> bytes:
    """Put together the text of the pairs of one film with later ones.

    Parameters
    ----------
    prefix
        Of the first film of each pair.
    suffixes
        Of the second films, m > 0 of them.
    numbers
        Text of m numbers, as `numbers_text` writes it.

    Returns
    -------
    bytes
        For instance ``b', "7-12": 0.5, "7-9": 0.25'``.
    """
    # Slices of one list, joined once: nothing faster was found that is still plain Python.
    pieces = [prefix] * (3 * len(suffixes))
    pieces[1::3] = suffixes
    pieces[2::3] = numbers.split(b",")
    return b"".join(pieces)


def row_length(prefix: bytes, length_of_suffixes: int, m: int, numbers: bytes) -> int:
    """Length in bytes of `row_text` for `m` pairs, known before it is put together."""
    return m * len(prefix) + length_of_suffixes + len(numbers) - (m - 1)
