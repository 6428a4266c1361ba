"""Whether two contenders of the benchmark came to the same result.

Equal bytes are seen by their digests. Other texts may part numbers by ``","`` or by ``", "`` and
differ in the last digits: they must hold the same keys in the same order, and values that differ by
no more than a tolerance. Files are read in pieces: one can be larger than the memory that is left.
"""

import hashlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import orjson
from numpy.typing import NDArray

PIECE = 2**22
"""Bytes that are compared at a time."""


class DisagreementError(Exception):
    """Two results differ; the text is one sentence that says where and by how much."""


def digests(folder: Path) -> dict[str, str]:
    """SHA-256 of each file of a folder."""
    found = {}
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        with open(path, "rb") as file:
            found[str(path.relative_to(folder))] = hashlib.file_digest(file, "sha256").hexdigest()
    return found


def difference(
    found: Path, expected: Path, wanted: dict[str, str], tolerance: float | None
) -> float:
    """Compare all files of two folders, and return the largest difference of two values.

    Parameters
    ----------
    found, expected
        The folders; the second is not looked at when the bytes must be equal.
    wanted
        The digests of what is expected.
    tolerance
        How far two values may be apart; None: the files must be equal byte for byte.

    Raises
    ------
    DisagreementError
        At the first file that differs.
    """
    there = digests(found)
    if not wanted or there.keys() != wanted.keys():
        names = ", ".join(sorted(there.keys() ^ wanted.keys())) or "no file at all"
        raise DisagreementError(f"{found} and {expected} do not hold the same files: {names}")
    largest = 0.0
    for name in there:
        if there[name] != wanted[name]:
            if tolerance is None:
                raise DisagreementError(f"{name}: the bytes differ")
            largest = max(largest, _difference(name, found / name, expected / name, tolerance))
    return largest


def _difference(name: str, found: Path, expected: Path, tolerance: float) -> float:
    try:
        keys, values = _read(found)
    except ValueError as error:
        raise DisagreementError(f"{name}: {error}") from None
    wanted, reference = _read(expected)
    if len(values) != len(reference):
        raise DisagreementError(f"{name}: {len(values):,} pairs instead of {len(reference):,}")
    if keys != wanted:
        raise DisagreementError(f"{name}: other keys, or the same in another order")
    largest = float(np.abs(values - reference).max(initial=0.0))
    if not largest <= tolerance:  # Negated, so that NaN is no agreement.
        raise DisagreementError(f"{name}: a value is {largest:.2g} off, more than {tolerance:.2g}")
    return largest


def _read(path: Path) -> tuple[str, NDArray[np.float64]]:
    """Read SHA-256 of the keys in their order, and the values; no key may hold a comma."""
    keys, values = hashlib.sha256(), [np.empty(0)]
    for piece in _pieces(path):
        pairs = orjson.loads(b"{" + piece + b"}")
        keys.update("\n".join([*pairs, ""]).encode())
        values.append(np.array(list(pairs.values()), np.float64))
    return keys.hexdigest(), np.concatenate(values)


def _pieces(path: Path) -> Iterator[bytes]:
    with open(path, "rb") as file:
        if file.read(1) != b"{":
            raise ValueError("is not a JSON object")
        rest = b""
        while piece := file.read(PIECE):
            whole, comma, rest = (rest + piece).rpartition(b",")
            if comma:
                yield whole
    if not rest.rstrip().endswith(b"}"):
        raise ValueError("is cut short")
    yield rest.rstrip()[:-1]
