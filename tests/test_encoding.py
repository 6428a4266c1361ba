"""The bytes of a chunk: those that zarr's codecs write, and no others are taken for them."""

from pathlib import Path

import numpy as np
import pytest
import zarr
from characters import any_character
from hypothesis import example, given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray
from zarr.codecs import BytesCodec, Crc32cCodec

from engine.store.encoding import (
    decode,
    decode_checksums,
    decode_texts,
    encode,
    encode_checksums,
    encode_texts,
    encoded_size,
    trailer,
)

Values = NDArray[np.float64]
SHAPE = (3, 4)
IDENTITY = "ab" * 32
# With NaNs of any sign and payload, infinities, both zeros and numbers below the normal ones.
any_float = st.integers(0, 2**64 - 1).map(lambda bits: np.uint64(bits).view(np.float64))
chunks = st.tuples(st.integers(1, SHAPE[0]), st.integers(1, SHAPE[1])).flatmap(
    lambda shape: arrays(np.float64, shape, elements=any_float)
)
texts = st.lists(st.text(any_character), max_size=6)
entries = st.lists(st.integers(0, 2**32), max_size=6)


def crc32c(content: bytes) -> int:
    """CRC-32C bit by bit, as RFC 3720 defines it."""
    checksum = 0xFFFFFFFF
    for byte in content:
        checksum ^= byte
        for _ in range(8):
            checksum = checksum >> 1 ^ (0x82F63B78 if checksum & 1 else 0)
    return checksum ^ 0xFFFFFFFF


def written_by_zarr(folder: Path, values: NDArray[np.generic], chunk: tuple[int, ...]) -> bytes:
    """The one chunk of an array that zarr-python writes with the codecs of the store."""
    is_text = values.dtype.kind not in "fu"
    array = zarr.create_array(
        folder,
        shape=values.shape,
        dtype="str" if is_text else values.dtype,
        chunks=chunk,
        serializer="auto" if is_text else BytesCodec(endian="little"),
        compressors=Crc32cCodec(),
        fill_value="" if is_text else 0 if values.dtype.kind == "u" else np.nan,
        config={"order": "C", "write_empty_chunks": True},
        overwrite=True,
    )
    array[:] = values
    (path,) = (path for path in (folder / "c").rglob("*") if path.is_file())
    return path.read_bytes()


def broken(data: st.DataObject, encoded: bytes) -> bytes:
    """The bytes with one bit flipped, an end cut off, or more behind them."""
    at = data.draw(st.integers(0, len(encoded) - 1))
    flipped = bytearray(encoded)
    flipped[at] ^= 1 << data.draw(st.integers(0, 7))
    more = data.draw(st.binary(min_size=1, max_size=20))
    return data.draw(st.sampled_from([bytes(flipped), encoded[:at], encoded + more]))


def assert_same_bits(found: Values | None, wanted: Values) -> None:
    assert found is not None
    assert found.shape == wanted.shape
    assert found.tobytes() == wanted.tobytes()


# --- values -------------------------------------------------------------------------------------


@given(chunks)
def test_values_come_back_to_the_bit(values: Values) -> None:
    encoded = encode(values, SHAPE).tobytes()
    assert len(encoded) == encoded_size(SHAPE)
    found = decode(encoded, SHAPE, *values.shape)
    assert_same_bits(found, values)
    assert found is not None
    assert not found.flags.writeable


@given(chunks, st.sampled_from(["F", "strided", ">f8"]))
def test_bytes_do_not_depend_on_how_the_values_lie_in_memory(values: Values, way: str) -> None:
    wide = np.zeros((2 * len(values), 3 * values.shape[1]))
    wide[::2, ::3] = values
    same = {"F": np.asfortranarray(values), "strided": wide[::2, ::3], ">f8": values.astype(">f8")}
    assert encode(same[way], SHAPE).tobytes() == encode(values, SHAPE).tobytes()


@pytest.mark.parametrize("shape", [(3, 4), (2, 4), (3, 1), (1, 1)])
def test_a_chunk_of_values_is_what_zarr_writes(tmp_path: Path, shape: tuple[int, int]) -> None:
    values = np.random.default_rng(shape).standard_normal(shape)
    values.flat[0] = np.nan
    encoded = encode(values, SHAPE).tobytes()
    assert encoded == written_by_zarr(tmp_path, values, SHAPE)


@given(chunks, st.data())
def test_damaged_values_are_none(values: Values, data: st.DataObject) -> None:
    encoded = encode(values, SHAPE).tobytes()
    assert decode(broken(data, encoded), SHAPE, *values.shape) is None


@given(chunks)
def test_a_chunk_of_another_shape_is_none(values: Values) -> None:
    encoded = encode(values, SHAPE).tobytes()
    assert decode(encoded, (SHAPE[0] + 1, SHAPE[1]), *values.shape) is None


def test_a_chunk_that_is_not_there_is_none() -> None:
    assert decode(None, SHAPE, *SHAPE) is None
    assert decode_texts(None) is None
    assert decode_checksums(None, IDENTITY, 0) is None


@given(st.binary(max_size=200))
def test_what_is_no_chunk_at_all_is_none(content: bytes) -> None:
    assert decode(content, SHAPE, *SHAPE) is None
    assert decode_checksums(content, IDENTITY, 0) is None
    if crc32c(content[:-4]).to_bytes(4, "little") != content[-4:]:
        assert decode_texts(content) is None


@given(chunks)
def test_the_checksum_at_the_end_is_the_crc_32c_of_the_values(values: Values) -> None:
    encoded = encode(values, SHAPE)
    assert trailer(encoded) == trailer(encoded.tobytes()) == crc32c(encoded.tobytes()[:-4])


# --- texts --------------------------------------------------------------------------------------


@given(texts)
def test_texts_come_back_as_they_were(texts: list[str]) -> None:
    assert decode_texts(encode_texts(texts).tobytes()) == texts


@pytest.mark.parametrize("texts", [[""], ["1", "22", ""], ["Amélie 🎬", "\0", "x" * 70_000]])
def test_a_chunk_of_texts_is_what_zarr_writes(tmp_path: Path, texts: list[str]) -> None:
    values = np.array(texts, dtype=np.dtypes.StringDType())
    encoded = encode_texts(texts).tobytes()
    assert encoded == written_by_zarr(tmp_path, values, (len(texts),))


@given(texts, st.data())
def test_damaged_texts_are_none(texts: list[str], data: st.DataObject) -> None:
    assert decode_texts(broken(data, encode_texts(texts).tobytes())) is None


@given(st.binary(max_size=60))
@example(b"\1\0\0\0\2\0\0\0x")  # longer than what there is
@example(b"\1\0\0\0\1\0\0\0\xff")  # no UTF-8
@example(b"\2\0\0\0\1\0\0\0x")  # fewer than it says
@example(b"\0\0\0\0\1\0\0\0x")  # more than it says
@example(b"\xff\xff\xff\xff")
@example(b"\1\0\0\0\xff\xff\xff\xff")
def test_whatever_has_the_right_checksum_is_what_it_says_or_none(content: bytes) -> None:
    encoded = content + crc32c(content).to_bytes(4, "little")
    found = decode_texts(encoded)
    assert found is None or encode_texts(found).tobytes() == encoded


# --- rows of checksums --------------------------------------------------------------------------


@given(entries, st.integers(0, 2**31))
def test_a_row_of_checksums_comes_back_for_its_record_and_row(row: list[int], n: int) -> None:
    assert decode_checksums(encode_checksums(IDENTITY, n, row).tobytes(), IDENTITY, n) == row


def test_a_row_of_checksums_is_what_zarr_writes(tmp_path: Path) -> None:
    row = [0, 1, 2**32]
    encoded = encode_checksums(IDENTITY, 7, row).tobytes()
    # The seal, beside the checksums: of the record, the row and all that the row says.
    sealed = IDENTITY.encode() + b"".join(n.to_bytes(8, "little") for n in (7, *row))
    values = np.array([[*row, crc32c(sealed) + 1]], dtype=np.uint64)
    assert encoded == written_by_zarr(tmp_path, values, values.shape)


@given(entries, st.integers(0, 100), st.integers(0, 100))
def test_a_row_of_checksums_of_another_row_is_none(row: list[int], n: int, other: int) -> None:
    encoded = encode_checksums(IDENTITY, n, row).tobytes()
    assert (decode_checksums(encoded, IDENTITY, other) is None) == (n != other)


@given(entries, st.integers(0, 63), st.sampled_from("0123456789abcdef"))
def test_a_row_of_checksums_of_another_record_is_none(row: list[int], at: int, digit: str) -> None:
    other = IDENTITY[:at] + digit + IDENTITY[at + 1 :]
    encoded = encode_checksums(IDENTITY, 3, row).tobytes()
    assert (decode_checksums(encoded, other, 3) is None) == (other != IDENTITY)


@given(entries, st.data())
def test_a_damaged_row_of_checksums_is_none(row: list[int], data: st.DataObject) -> None:
    encoded = encode_checksums(IDENTITY, 3, row).tobytes()
    assert decode_checksums(broken(data, encoded), IDENTITY, 3) is None


@given(st.lists(st.integers(0, 2**64 - 1), max_size=5))
@example([])
@example([0])
def test_a_row_whose_seal_is_a_guess_is_none(cells: list[int]) -> None:
    content = b"".join(cell.to_bytes(8, "little") for cell in cells)
    encoded = content + crc32c(content).to_bytes(4, "little")
    sealed = IDENTITY.encode() + (3).to_bytes(8, "little") + content[:-8]
    if not cells or cells[-1] != crc32c(sealed) + 1:
        assert decode_checksums(encoded, IDENTITY, 3) is None
