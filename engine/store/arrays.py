"""The arrays of one decade in the store: made, opened, read and written chunk by chunk.

What was not written as `create_arrays` writes it, or does not match its checksum any more, is
never taken for a value.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, cast

import numpy as np
import zarr
from numpy.typing import NDArray
from zarr.codecs import BytesCodec, Crc32cCodec
from zarr.core.sync import sync

from engine.data_folder import DecadeName
from engine.errors import DamagedError
from engine.store.record import Record
from engine.triangle.blocks import Chunk, Grid
from engine.triangle.exact import Exact, proven

_VECTORS_CHUNK_BYTES = 2**21
_NAMES = ("vectors", "similarities", "ids")
_CONFIG = {"array.write_empty_chunks": True}
"""A chunk that happens to hold nothing but the fill value is written all the same."""


def create_arrays(
    group: zarr.Group, ids: list[str], vectors: NDArray[np.float64], grid: Grid
) -> None:
    """Make the arrays of a decade, and write its ids and vectors."""
    n, d = vectors.shape
    films = max(1, _VECTORS_CHUNK_BYTES // (8 * max(1, d)))
    for name, shape, chunks in (
        ("vectors", (n, d), (min(films, max(1, n)), max(1, d))),
        ("similarities", (n, n), (grid.height, grid.width)),
    ):
        group.create_array(
            name,
            shape=shape,
            chunks=chunks,
            dtype="float64",
            fill_value=float("nan"),
            serializer=BytesCodec(endian="little"),
            compressors=[Crc32cCodec()],
        )
    stored = group.create_array(
        "ids", shape=(n,), chunks=(max(1, n),), dtype="string", compressors=[Crc32cCodec()]
    )
    stored[:] = np.array(ids, dtype=object)
    cast("zarr.Array[Any]", group["vectors"])[:] = vectors


def open_arrays(group: zarr.Group, record: Record) -> dict[str, "zarr.Array[Any]"]:
    """Open the arrays of a decade by name.

    Raises
    ------
    DamagedError
        When one is missing, or its metadata are not what `create_arrays` wrote.
    """
    try:
        with zarr.config.set(_CONFIG):
            arrays = {name: cast("zarr.Array[Any]", group[name]) for name in _NAMES}
        if not all(isinstance(array, zarr.Array) for array in arrays.values()):
            raise TypeError
    except (FileNotFoundError, ValueError, KeyError, TypeError):
        raise DamagedError("the metadata of an array") from None
    n, d, grid = record.n_films, record.n_dimensions, record.grid
    shapes: dict[str, tuple[int, ...]] = {"vectors": (n, d), "similarities": (n, n), "ids": (n,)}
    for name, array in arrays.items():
        as_written = array.shape == shapes[name] and array.compressors == (Crc32cCodec(),)
        if name != "ids":
            as_written &= array.dtype == np.float64
            as_written &= array.serializer == BytesCodec(endian="little")
            # Another value would be taken for that of a chunk that is missing.
            as_written &= bool(np.isnan(array.fill_value))
        if name == "similarities":
            as_written &= array.chunks == (grid.height, grid.width)
        if not as_written:
            raise DamagedError(f"the metadata of {name}")
    return arrays


@dataclass
class StoredDecade:
    """The arrays of one decade, read and written chunk by chunk."""

    name: DecadeName
    record: Record
    arrays: dict[str, "zarr.Array[Any]"]

    @cached_property
    def ids(self) -> list[str]:
        """Ids of the films, in the order of the input; kept once read.

        Raises
        ------
        DamagedError
            When their chunk is missing or damaged.
        """
        ids = [str(film) for film in self._whole("ids")]
        if len(set(ids)) != len(ids):  # zarr gives "" for each of a chunk that is missing.
            raise DamagedError("a chunk of ids")
        return ids

    @cached_property
    def vectors(self) -> NDArray[np.float64]:
        """Vectors of the films, (n_films, n_dimensions); kept once read.

        Raises
        ------
        DamagedError
            When a chunk is missing or damaged.
        """
        vectors = cast("NDArray[np.float64]", self._whole("vectors"))
        if not np.isfinite(vectors).all():  # NaN is what zarr gives for a chunk that is missing.
            raise DamagedError("a chunk of vectors")
        return vectors

    @cached_property
    def exact_kernel(self) -> Exact:
        """The fastest way to compute dot products that is proven on these vectors."""
        return proven(self.vectors)

    def _whole(self, key: str) -> NDArray[Any]:
        try:
            return cast("NDArray[Any]", self.arrays[key][:])
        except OSError:
            raise
        except Exception:
            raise DamagedError(f"a chunk of {key}") from None

    def read(self, chunk: Chunk) -> NDArray[np.float64] | None:
        """Read a chunk of similarities; None when it is missing or damaged.

        Returns
        -------
        NDArray[np.float64] or None
            (chunk.stop - chunk.start, chunk.right - chunk.left); NaN where a cell is no pair.
        """
        try:
            values = self.arrays["similarities"][chunk.start : chunk.stop, chunk.left : chunk.right]
        except OSError:
            raise
        except Exception:
            # The codecs raise what numpy and the checksum raise: ValueError, for now.
            return None
        return cast("NDArray[np.float64]", values)

    def write(self, chunks: Sequence[Chunk], values: NDArray[np.float64]) -> None:
        """Write whole chunks of similarities, each in one step.

        Parameters
        ----------
        chunks
            Neighbours in one row-block, from the left; one call for all of them costs a quarter
            less than one for each.
        values
            Of all of them, (rows, columns); NaN where a cell is no pair.
        """
        first, last = chunks[0], chunks[-1]
        self.arrays["similarities"][first.start : first.stop, first.left : last.right] = values

    def has(self, chunk: Chunk) -> bool:
        """Whether a chunk of similarities is there, damaged or not."""
        array = self.arrays["similarities"]
        return sync(array.store.exists(f"{array.path}/c/{chunk.row}/{chunk.column}"))

    def expected(self) -> Iterator[Chunk]:
        """All chunks that hold a pair."""
        grid = self.record.grid
        for row in range(grid.n_row_blocks):
            yield from grid.chunks(row)
