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
    """SHA-256 of each file of a folder, by its path there."""
    found = {}
    for path in sorted(filter(Path.is_file, folder.rglob("*"))):
        with open(path, "rb") as file:
            found[str(path.relative_to(folder))] = hashlib.file_digest(file, "sha256").hexdigest()
    return found


def check(
    found: Path, wanted: dict[str, str], reference: Path | None, tolerance: float | None
) -> str:
    """Say how the result in a folder agrees with the first one, which must be an exact one.

    `wanted` takes the digests of the first, and `reference` is where its folder is moved to; None:
    it is not kept. `tolerance` is how far two values may be apart; None: files must be equal byte
    for byte. `DisagreementError` is raised at the first file that does not agree.
    """
    there = digests(found)
    if there and not wanted and tolerance is None:
        wanted.update(there)
        if reference:
            found.rename(reference)
        return "(reference)"
    if not there or there.keys() != wanted.keys():
        names = ", ".join(sorted(there.keys() ^ wanted.keys())) or "no file at all"
        raise DisagreementError(f"{found} does not hold the same files as the first: {names}")
    different = [name for name in there if there[name] != wanted[name]]
    largest = 0.0
    for name in different:
        if tolerance is None or reference is None:
            raise DisagreementError(f"{name}: the bytes differ")
        try:
            largest = max(largest, _difference(found / name, reference / name, tolerance))
        except ValueError as error:
            raise DisagreementError(f"{name}: {error}") from None
    return f"within {largest:.1e}" if different else "same bytes"


def _difference(found: Path, expected: Path, tolerance: float) -> float:
    """Return the largest difference of two values of two files; `ValueError` when they differ."""
    keys, values = _read(found)
    wanted, reference = _read(expected)
    if len(values) != len(reference):
        raise ValueError(f"{len(values):,} pairs instead of {len(reference):,}")
    if keys != wanted:
        raise ValueError("other keys, or the same in another order")
    largest = float(np.abs(values - reference).max(initial=0.0))
    if not largest <= tolerance:  # Negated, so that NaN is no agreement.
        raise ValueError(f"a value is {largest:.2g} off, more than {tolerance:.2g}")
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
