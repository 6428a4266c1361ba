"""A contender: forked processes, matrix products, and the text put together by pyarrow.

    python scripts/benchmarking/arrow.py pyarrow FOLDER

orjson's text of a row's numbers becomes an array of pyarrow without a copy, and pyarrow joins it
with the keys.
"""

from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pyarrow as pa
import pyarrow.compute as pc
from blocks import ROWS, write
from contenders import read
from numpy.typing import NDArray


class Decade:
    """A decade that was read."""

    def __init__(self, source: Path) -> None:
        """Read an input."""
        self.ids, self.vectors = read(source)

    @cached_property
    def suffixes(self) -> Any:
        """What a key has of its later film; made by each process, as pyarrow is slow on a copy."""
        return pa.array([f'-{film}": ' for film in self.ids], pa.binary())

    def text(self, first: int) -> bytes:
        """Bytes of the pairs of some rows."""
        values = self.vectors[first : first + ROWS] @ self.vectors[first:].T
        rows = range(min(len(values), len(self.ids) - 1 - first))
        return b"".join(self._row(first + k, values[k, k + 1 :]) for k in rows)

    def _row(self, film: int, values: NDArray[np.float64]) -> Any:
        numbers = orjson.dumps(values, option=orjson.OPT_SERIALIZE_NUMPY)[1:-1] + b","
        ends = np.zeros(len(values) + 1, np.int32)
        ends[1:] = np.flatnonzero(np.frombuffer(numbers, np.uint8) == ord(",")) + 1
        buffers = [None, pa.py_buffer(ends), pa.py_buffer(numbers)]
        array = pa.Array.from_buffers(pa.binary(), len(values), buffers)
        prefix, nothing = pa.scalar(f' "{self.ids[film]}'.encode()), pa.scalar(b"")
        row = pc.binary_join_element_wise(prefix, self.suffixes[film + 1 :], array, nothing)
        _, offsets, text = row.buffers()
        return memoryview(text)[: np.frombuffer(offsets, np.int32)[len(values)]]


if __name__ == "__main__":
    write(Decade)
