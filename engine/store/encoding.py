"""The bytes of a chunk: its values in little-endian order, and their CRC-32C at the end.

This is what zarr's codecs ``bytes`` (or ``vlen-utf8``) and ``crc32c`` write. Decoding gives None
for whatever else is found, so damage is what was proven to be, and nothing else is taken for it.
"""

from collections.abc import Sequence

import google_crc32c
import numpy as np
from numpy.typing import NDArray

_TRAILER = 4
"""Bytes of the checksum at the end of a chunk."""
_LENGTH = 4
"""Bytes of the number of texts in a chunk, and of the length of each."""


def encode(values: NDArray[np.float64], shape: tuple[int, int]) -> NDArray[np.uint8]:
    """Encode the values of a chunk.

    Parameters
    ----------
    values
        (rows, columns), at most `shape`: a chunk at the edge of its array holds fewer.
    shape
        Of every chunk of the array; what is over is filled with NaN.

    Returns
    -------
    NDArray[np.uint8]
        The bytes of the chunk.
    """
    encoded = np.empty(encoded_size(shape), np.uint8)
    cells = encoded[:-_TRAILER].view("<f8").reshape(shape)
    if values.shape != shape:
        cells[:] = np.nan
    cells[: values.shape[0], : values.shape[1]] = values
    return _sealed(encoded)


def encoded_size(shape: tuple[int, int]) -> int:
    """Bytes of an encoded chunk."""
    return 8 * shape[0] * shape[1] + _TRAILER


def decode(
    encoded: bytes | None, shape: tuple[int, int], n_rows: int, n_columns: int
) -> NDArray[np.float64] | None:
    """Decode the values of a chunk; None when it is not one that `encode` wrote.

    Parameters
    ----------
    encoded
        Its bytes; None when it is not there.
    shape
        Of every chunk of the array.
    n_rows, n_columns
        What of it lies within the array.

    Returns
    -------
    NDArray[np.float64] or None
        (n_rows, n_columns), read-only.
    """
    if encoded is None or len(encoded) != encoded_size(shape) or not intact(encoded):
        return None
    cells = np.frombuffer(encoded, "<f8", count=shape[0] * shape[1]).reshape(shape)
    return cells[:n_rows, :n_columns]


def encode_texts(texts: Sequence[str]) -> NDArray[np.uint8]:
    """Encode a chunk of texts: their number, then of each its length and its UTF-8."""
    parts = [len(texts).to_bytes(_LENGTH, "little")]
    for text in texts:
        content = text.encode()
        parts += [len(content).to_bytes(_LENGTH, "little"), content]
    return _sealed(np.frombuffer(bytearray(b"".join([*parts, bytes(_TRAILER)])), np.uint8))


def decode_texts(encoded: bytes | None) -> list[str] | None:
    """Decode a chunk of texts; None when it is not one that `encode_texts` wrote."""
    if encoded is None or len(encoded) < _LENGTH + _TRAILER or not intact(encoded):
        return None
    content, at, texts = encoded[:-_TRAILER], _LENGTH, []
    while at < len(content):
        end = at + _LENGTH + int.from_bytes(content[at : at + _LENGTH], "little")
        try:
            texts.append(content[at + _LENGTH : end].decode())
        except UnicodeDecodeError:
            return None
        at = end
    if at != len(content) or len(texts) != int.from_bytes(content[:_LENGTH], "little"):
        return None
    return texts


def encode_checksums(identity: str, row: int, entries: Sequence[int]) -> NDArray[np.uint8]:
    """Encode the row of the checksums of a row-block, closed by a seal.

    Parameters
    ----------
    identity
        Of the record that the chunks belong to.
    row
        Number of the row-block.
    entries
        For each chunk of the row, from the left edge of the matrix, the CRC-32C of its values
        plus 1; 0 where none is stored.
    """
    cells = np.array([*entries, _seal(identity, row, entries)], dtype="<u8")
    encoded = np.empty(cells.nbytes + _TRAILER, np.uint8)
    encoded[:-_TRAILER] = cells.view(np.uint8)
    return _sealed(encoded)


def decode_checksums(encoded: bytes | None, identity: str, row: int) -> list[int] | None:
    """Decode a row of checksums; None unless its seal proves that it belongs to record and row."""
    if encoded is None or len(encoded) < 8 + _TRAILER or len(encoded) % 8 != _TRAILER:
        return None
    if not intact(encoded):
        return None
    *entries, seal = np.frombuffer(encoded[:-_TRAILER], "<u8").tolist()
    return entries if seal == _seal(identity, row, entries) else None


def trailer(encoded: bytes | NDArray[np.uint8]) -> int:
    """Return the checksum at the end of a chunk."""
    return int.from_bytes(bytes(encoded[-_TRAILER:]), "little")


def intact(encoded: bytes) -> bool:
    """Whether a chunk matches the checksum at its end."""
    content = np.frombuffer(encoded, np.uint8, count=len(encoded) - _TRAILER)
    return int(google_crc32c.value(content)) == trailer(encoded)


def _sealed(encoded: NDArray[np.uint8]) -> NDArray[np.uint8]:
    checksum = google_crc32c.value(encoded[:-_TRAILER])
    encoded[-_TRAILER:] = np.frombuffer(checksum.to_bytes(_TRAILER, "little"), np.uint8)
    return encoded


def _seal(identity: str, row: int, entries: Sequence[int]) -> int:
    content = np.array([row, *entries], dtype="<u8").tobytes()
    return int(google_crc32c.value(identity.encode() + content)) + 1
