"""Decades by blocks of rows in processes or threads: what two contenders have in common.

Some processes read; others, or threads, compute the text of one block after another and write each
at its offset in the file, which is known when the length of those before it is.
"""

import os
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from multiprocessing import get_context
from multiprocessing.sharedctypes import RawArray
from pathlib import Path
from typing import Any, Protocol

from contenders import decades
from threadpoolctl import threadpool_limits

ROWS = 64
_UNKNOWN, _FAILED = -1, -2


class Decade(Protocol):
    """What is read of a decade."""

    ids: list[str]

    def text(self, first: int) -> Any:
        """Bytes of the pairs of `ROWS` rows, each between a space and a comma."""


_decades: list[tuple[Decade, int, Any]] = []
"""Each with its file, and where in it each block begins, which processes share."""


def _write(job: tuple[int, int]) -> None:
    decade, file, starts = _decades[job[0]]
    block = job[1]
    end = _FAILED
    try:
        text = decade.text(block * ROWS)
        while (start := starts[block]) == _UNKNOWN:
            time.sleep(0.0005)
        if start == _FAILED:
            raise SystemExit(1)  # The one that failed says why.
        os.pwrite(file, text, start)
        end = start + len(text)
    finally:
        starts[block + 1] = end


def write(load: Callable[[Path], Decade], threads: bool = False) -> None:
    """Read and write all decades of the folder that the command line names.

    With threads the first blocks are written while other decades are read; without, processes are
    forked when all is read, and inherit it.
    """
    # The largest first, so that no CPU is left with one of them in the end.
    paths = sorted(decades(Path(sys.argv[2])), key=lambda pair: -pair[0].stat().st_size)
    fork, cpus = get_context("fork"), len(os.sched_getaffinity(0))
    readers = ProcessPoolExecutor(cpus, fork)
    writers = ThreadPoolExecutor(cpus) if threads else ProcessPoolExecutor(cpus, fork)
    with threadpool_limits(1, user_api="blas"), readers, writers:
        read = readers.map(load, [source for source, _ in paths])
        jobs = _jobs(zip(read, [target for _, target in paths], strict=True))
        # Each is submitted as soon as it is there.
        list(writers.map(_write, jobs if threads else list(jobs)))
    for _, file, starts in _decades:
        os.pwrite(file, b"{", 0)  # In place of the first space,
        os.pwrite(file, b"}", max(1, starts[-1] - 1))  # and of the last comma.


def _jobs(found: Iterable[tuple[Decade, Path]]) -> Iterator[tuple[int, int]]:
    for number, (decade, target) in enumerate(found):
        blocks = -(-len(decade.ids) // ROWS)
        file = os.open(target, os.O_CREAT | os.O_WRONLY | os.O_TRUNC)
        _decades.append((decade, file, RawArray("q", [0] + [_UNKNOWN] * blocks)))
        yield from ((number, block) for block in range(blocks))
