"""One part of the job alone: with what people would use for it, and with what the engine uses.

    python scripts/benchmarking/parts.py NAME DATA OUT

A part times one step of every decade and prints, as JSON, what it took in all. What the step
begins with is taken from DATA/embeddings and from the finished files in DATA/similarities; its
result is left in OUT to be checked. Neither is timed.
"""

import json
import shutil
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import orjson
from agreement import read_pairs
from contenders import decades, read
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

# The engine is imported where it is used, so that the others do not carry it.
if TYPE_CHECKING:
    from engine.triangle.kernel import KernelName


class Stopwatch:
    """Adds up the wall and CPU seconds of the blocks that it surrounds."""

    def __init__(self) -> None:
        self.wall = self.cpu = 0.0

    def __enter__(self) -> None:
        self.wall -= time.perf_counter()
        self.cpu -= time.process_time()

    def __exit__(self, *_: object) -> None:
        self.wall += time.perf_counter()
        self.cpu += time.process_time()


Read = tuple[list[str], NDArray[np.float64]]
"""Ids and vectors of a decade."""


def read_json(source: Path) -> Read:
    """Read with the json module, and numpy."""
    with open(source) as file:
        embeddings = json.load(file)
    return list(embeddings), np.array(list(embeddings.values()))


def read_orjson(source: Path) -> Read:
    """Read with orjson, and numpy."""
    return read(source)


def read_engine(source: Path) -> Read:
    """Read with the engine, which checks every number and hashes the file on the way."""
    from engine.embeddings.reading import read_embeddings

    embeddings = read_embeddings(source)
    return embeddings.ids, embeddings.vectors


def _reading(reader: Callable[[Path], Read], data: Path, out: Path, watch: Stopwatch) -> None:
    reader(next(decades(data, out))[0])  # So that no import is timed.
    for source, target in decades(data, out):
        with watch:
            ids, vectors = reader(source)
        with open(target.with_suffix(".npy"), "wb") as file:
            np.save(file, vectors)
            file.write("\n".join(ids).encode())
        del ids, vectors


def compute_product(data: Path, out: Path, watch: Stopwatch) -> None:
    """One matrix product, with as many threads as BLAS likes."""
    for source, target in decades(data, out):
        vectors = read(source)[1]
        with watch:
            values = vectors @ vectors.T
        np.save(target.with_suffix(".npy"), values[np.triu_indices(len(values), k=1)])


def _kernel(kernel: "KernelName", data: Path, out: Path, watch: Stopwatch) -> None:
    from engine.triangle.blocks import Grid
    from engine.triangle.kernel import similarities

    for source, target in decades(data, out):
        vectors = read(source)[1]
        values = np.empty((len(vectors), len(vectors)))
        grid = Grid(len(vectors))
        # As a worker does it: chunk by chunk, with one BLAS thread.
        with threadpool_limits(1, user_api="blas"):
            for chunk in (chunk for row in range(grid.n_row_blocks) for chunk in grid.chunks(row)):
                rows, columns = slice(chunk.start, chunk.stop), slice(chunk.left, chunk.right)
                diagonal = chunk.start - chunk.left
                with watch:
                    found = similarities(kernel, vectors[rows], vectors[columns], diagonal)
                values[rows, columns] = found
        np.save(target.with_suffix(".npy"), values[np.triu_indices(len(values), k=1)])


def _finished(data: Path, target: Path) -> Path:
    return data / "similarities" / target.parent.name / target.name


def text_json(data: Path, out: Path, watch: Stopwatch) -> None:
    """Write a dict that is there with the json module."""
    for _, target in decades(data, out):
        pairs = orjson.loads(_finished(data, target).read_bytes())
        with watch, open(target, "w") as file:
            json.dump(pairs, file)
        del pairs


def text_orjson(data: Path, out: Path, watch: Stopwatch) -> None:
    """Write a dict that is there with orjson."""
    for _, target in decades(data, out):
        pairs = orjson.loads(_finished(data, target).read_bytes())
        with watch:
            target.write_bytes(orjson.dumps(pairs))
        del pairs


def text_engine(data: Path, out: Path, watch: Stopwatch) -> None:
    """Write ids and values that are there with the engine's text functions."""
    from engine.legacy_json.text import numbers_text, pair_prefix, pair_suffix, row_text

    for source, target in decades(data, out):
        ids, values = read(source)[0], read_pairs(_finished(data, target)).values
        with watch, open(target, "wb") as file:
            suffixes = [pair_suffix(film) for film in ids]
            end = 0
            for i in range(len(ids) - 1):
                start, end = end, end + len(ids) - 1 - i
                numbers = numbers_text(values[start:end])
                row = row_text(pair_prefix(ids[i]), suffixes[i + 1 :], numbers)
                file.write(row if start else b"{" + row[2:])
            file.write(b"}" if end else b"{}")


def write_copy(data: Path, out: Path, watch: Stopwatch) -> None:
    """Copy the finished files, as fast as the system can."""
    for _, target in decades(data, out):
        with watch:
            shutil.copyfile(_finished(data, target), target)


PARTS: dict[str, Callable[[Path, Path, Stopwatch], None]] = {
    "read-json": partial(_reading, read_json),
    "read-orjson": partial(_reading, read_orjson),
    "read-engine": partial(_reading, read_engine),
    "compute-product": compute_product,
    "compute-dot": partial(_kernel, "dot"),
    "compute-gemm": partial(_kernel, "gemm"),
    "text-json": text_json,
    "text-orjson": text_orjson,
    "text-engine": text_engine,
    "write-copy": write_copy,
}


def main(name: str, data: Path, out: Path) -> None:
    """Run a part and print the seconds it took."""
    watch = Stopwatch()
    PARTS[name](data, out, watch)
    print(json.dumps({"wall": watch.wall, "cpu": watch.cpu}))


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3]))
