"""A contender: forked processes, matrix products, and the text put together by pyarrow.

    python scripts/benchmarking/arrow.py pyarrow FOLDER

orjson's text of a row's numbers becomes an array of pyarrow without a copy, and pyarrow joins it
with the keys. Processes write to one file, each to its place, in the order of the rows.
"""

import os
import sys
import time
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pyarrow as pa
import pyarrow.compute as pc
from contenders import decades, read
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

ROWS = 64
_UNKNOWN, _FAILED = -1, -2


@dataclass
class Decade:
    """What the processes inherit by being forked."""

    ids: list[str]
    vectors: NDArray[np.float64]
    suffixes: Any
    file: int
    starts: Any
    """Shared: where in the file each block of rows begins."""


decades_there: list[Decade] = []


def row_text(film: str, suffixes: Any, values: NDArray[np.float64]) -> memoryview:
    """Put the text of a row together: for each pair its key, its value and a comma."""
    numbers = orjson.dumps(values, option=orjson.OPT_SERIALIZE_NUMPY)[1:-1] + b","
    ends = np.zeros(len(values) + 1, np.int32)
    ends[1:] = np.flatnonzero(np.frombuffer(numbers, np.uint8) == ord(",")) + 1
    array = pa.Array.from_buffers(
        pa.binary(), len(values), [None, pa.py_buffer(ends), pa.py_buffer(numbers)]
    )
    prefix, nothing = (pa.scalar(text, pa.binary()) for text in (f' "{film}'.encode(), b""))
    joined = pc.binary_join_element_wise(prefix, suffixes, array, nothing)
    _, offsets, text = joined.buffers()
    return memoryview(text)[: np.frombuffer(offsets, np.int32)[len(values)]]


def write_block(job: tuple[int, int]) -> None:
    """Compute and write the pairs of some rows, when it is known where they belong."""
    number, block = job
    decade = decades_there[number]
    first, n = block * ROWS, len(decade.ids)
    last = min(first + ROWS, n)
    end = _FAILED
    try:
        values = decade.vectors[first:last] @ decade.vectors[first:].T
        text = b"".join(
            row_text(decade.ids[i], decade.suffixes[i + 1 :], values[i - first, i + 1 - first :])
            for i in range(first, min(last, n - 1))
        )
        while (start := decade.starts[block]) == _UNKNOWN:
            time.sleep(0.0005)
        if start == _FAILED:
            raise SystemExit(1)  # The block before says why.
        # A block begins with the space after the comma of the one before.
        os.pwrite(decade.file, text if start else b"{" + text[1:], start)
        end = start + len(text)
        if last == n:
            os.pwrite(decade.file, b"}", end - 1 if end else 1)
    finally:
        decade.starts[block + 1] = end


def main(folder: Path) -> None:
    """Read in several processes, then compute and write in several."""
    paths = sorted(decades(folder), key=lambda pair: -pair[0].stat().st_size)
    fork, cpus = get_context("fork"), len(os.sched_getaffinity(0))
    with ProcessPoolExecutor(cpus, fork) as pool:
        found = list(pool.map(read, [source for source, _ in paths]))
    jobs = []
    for number, ((ids, vectors), (_, target)) in enumerate(zip(found, paths, strict=True)):
        blocks = max(1, -(-len(ids) // ROWS))
        starts = fork.RawArray("q", [0] + [_UNKNOWN] * blocks)
        suffixes = pa.array([f'-{film}": '.encode() for film in ids], pa.binary())
        file = os.open(target, os.O_CREAT | os.O_RDWR | os.O_TRUNC)
        os.pwrite(file, b"{", 0)
        decades_there.append(Decade(ids, vectors, suffixes, file, starts))
        jobs += [(number, block) for block in range(blocks)]
    with threadpool_limits(1, user_api="blas"), ProcessPoolExecutor(cpus, fork) as pool:
        list(pool.map(write_block, jobs))


if __name__ == "__main__":
    main(Path(sys.argv[2]))
