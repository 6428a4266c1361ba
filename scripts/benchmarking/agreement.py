"""Whether two contenders of the benchmark came to the same result.

Texts that should be equal are compared byte by byte. Others may part numbers by ``","`` or by
``", "`` and differ in the last digits: they must hold the same keys in the same order, and values
that differ by no more than a tolerance. The files are read in pieces, as one of them can be
larger than the memory that is left.
"""

import filecmp
import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import orjson
from numpy.typing import NDArray

_PIECE = 2**22


class DisagreementError(Exception):
    """Two results differ; the text is one sentence that says where and by how much."""


@dataclass(frozen=True, eq=False)
class Pairs:
    """What a file of similarities holds."""

    keys: str | None
    """SHA-256 of the keys in their order; None when the file holds values alone."""
    values: NDArray[np.float64]
    """(n_pairs,)"""


def read_pairs(path: Path) -> Pairs:
    """Read a JSON object of similarities, or a ``.npy`` of the values alone.

    Parameters
    ----------
    path
        Its keys hold no comma, which is where the text is cut.

    Raises
    ------
    ValueError
        When the file is not JSON.
    """
    if path.suffix == ".npy":
        return Pairs(None, np.load(path))
    keys = hashlib.sha256()
    values = [np.empty(0)]
    for piece in _pieces(path):
        pairs = orjson.loads(b"{" + piece + b"}")
        keys.update("\n".join([*pairs, ""]).encode())
        values.append(np.array(list(pairs.values()), np.float64))
    return Pairs(keys.hexdigest(), np.concatenate(values))


def _pieces(path: Path) -> Iterator[bytes]:
    with open(path, "rb") as file:
        if file.read(1) != b"{":
            raise ValueError("is not a JSON object")
        rest = b""
        while piece := file.read(_PIECE):
            whole, comma, rest = (rest + piece).rpartition(b",")
            if comma:
                yield whole
    if not rest.rstrip().endswith(b"}"):
        raise ValueError("is cut short")
    yield rest.rstrip()[:-1]


def compare(found: Path, expected: Path, tolerance: float | None) -> float:
    """Compare all files of two folders.

    Parameters
    ----------
    found, expected
        The folders; a ``.npy`` in one stands for the ``.json`` of the same name in the other.
    tolerance
        How far two values may be apart; None: the files must be equal byte for byte.

    Returns
    -------
    float
        The largest difference of two values; 0 for equal bytes.

    Raises
    ------
    DisagreementError
        At the first file that differs.
    """
    there, wanted = _files(found), _files(expected)
    if not wanted or there.keys() != wanted.keys():
        names = ", ".join(sorted(there.keys() ^ wanted.keys())) or "no file at all"
        raise DisagreementError(f"{found} and {expected} do not hold the same files: {names}")
    if tolerance is None:
        for name, path in there.items():
            if not filecmp.cmp(path, wanted[name], shallow=False):
                raise DisagreementError(f"{name}: the bytes differ")
        return 0.0
    return max(_difference(name, path, wanted[name], tolerance) for name, path in there.items())


def _files(folder: Path) -> dict[str, Path]:
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder).with_suffix("")): path for path in files}


def _difference(name: str, found: Path, expected: Path, tolerance: float) -> float:
    try:
        pairs = read_pairs(found)
    except ValueError as error:
        raise DisagreementError(f"{name}: {error}") from None
    reference = read_pairs(expected)
    if len(pairs.values) != len(reference.values):
        raise DisagreementError(
            f"{name}: {len(pairs.values):,} pairs instead of {len(reference.values):,}"
        )
    if pairs.keys and reference.keys and pairs.keys != reference.keys:
        raise DisagreementError(f"{name}: other keys, or the same in another order")
    differences = np.abs(pairs.values - reference.values)
    # Negated, so that NaN is no agreement.
    if not (differences <= tolerance).all():
        largest = float(differences.max())
        raise DisagreementError(f"{name}: a value is {largest:.2g} off, more than {tolerance:.2g}")
    return float(differences.max(initial=0.0))


def digest(folder: Path) -> str:
    """SHA-256 of the names and bytes of all files of a folder."""
    content = hashlib.sha256()
    for name, path in _files(folder).items():
        with open(path, "rb") as file:
            content.update(f"{name}\n{hashlib.file_digest(file, 'sha256').hexdigest()}\n".encode())
    return content.hexdigest()
