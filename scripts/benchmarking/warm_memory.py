"""Memory that stays in hand while a benchmark runs on a virtual machine.

Linux tells the host of a virtual machine which memory is free ("free page reporting"), the host
takes it back within seconds, and a page that it has to give again costs many times what writing to
it does: the command that writes the most is slowed down the most, by no work of its own.

What is told are free blocks of a certain size. So take all free memory, page by page, and give back
all but one page in every half of such a block: everything that runs afterwards finds plenty of free
memory, but no block of it is large enough to be told of.
"""

import mmap
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np

ORDER = Path("/sys/module/page_reporting/parameters/page_reporting_order")
"""There where a host is told of free memory: in pieces of so many pages, a power of two."""
_MARGIN = 2**30
"""Bytes of free memory that are not touched, for whatever else runs."""


@contextmanager
def warm_memory(most: float = float("inf")) -> Iterator[int]:
    """Touch the free memory, `most` bytes of it; yield how much: 0 where no host is told of it."""
    size = step = 0
    if ORDER.exists():
        step = (mmap.PAGESIZE << int(ORDER.read_text())) // 2
        size = int(min(most, max(0, _free() - _MARGIN))) // step * step
    if not size:
        yield 0
        return
    with mmap.mmap(-1, size, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS) as memory:
        # A huge page is whole or not there: one page could not be kept of it.
        memory.madvise(mmap.MADV_NOHUGEPAGE)
        pages = np.frombuffer(memory, np.uint8)
        pages[:: mmap.PAGESIZE] = 1
        del pages  # Else the memory could not be closed.
        for start in range(0, size, step):
            memory.madvise(mmap.MADV_DONTNEED, start + mmap.PAGESIZE, step - mmap.PAGESIZE)
        yield size


def _free() -> int:
    lines = Path("/proc/meminfo").read_text().splitlines()
    return 1024 * next(int(line.split()[1]) for line in lines if line.startswith("MemFree:"))
