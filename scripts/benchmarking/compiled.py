"""A contender: numbers and text in one loop compiled by numba, exact products, as many threads.

    python scripts/benchmarking/compiled.py numba FOLDER

OpenBLAS's ddot keeps 16 sums (32 with AVX-512), each of every sixteenth number, and adds them up as
a tree; as many matrix products give the same sums. What a trial shows to be the tree of this BLAS
is taken, or else `numpy.vecdot`. The shortest digits of a number come from Giulietti's Schubfach.
Only what the benchmark needs is fast: ids of at most 12 bytes, values from 1e-4 to 1. The first
run compiles for seconds.
"""

import json
import math
import os
import sys
import threading
from concurrent.futures import Future, ProcessPoolExecutor, ThreadPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from contenders import decades, read
from llvmlite import ir
from numba import njit, types
from numba.extending import intrinsic
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

Floats: TypeAlias = NDArray[np.float64]
Words: TypeAlias = NDArray[np.uint64]
ROWS = COLUMNS = 64
MOST_BYTES = 64
"""Of a pair: two keys' parts of 16 bytes and a number, each followed by what is overwritten."""
U = np.uint64
# numba makes a float of an unsigned and a signed integer: all constants are unsigned.
_0, _1, _2, _4, _10, _16, _32, _40 = map(U, (0, 1, 2, 4, 10, 16, 32, 40))
_MANTISSA, _HIDDEN, _52 = U(2**52 - 1), U(2**52), U(52)
_1E4, _1E8, _1E16 = U(10**4), U(10**8), U(10**16)
_ZERO_POINT = U(int.from_bytes(b"0.", "little"))
_LEAST, _ONE = np.array([1e-4, 1.0]).view(U)


Tree: TypeAlias = list[tuple[Any, Any]]
"""Which of (4, lanes / 4) sums are added to which, one step after another."""
_A = np.s_  # Short for the table below.
TREES: list[tuple[int, Tree]] = [
    # Haswell, Zen
    (16, [(_A[:, :2], _A[:, 2:]), (_A[::2, :2], _A[1::2, :2]), (_A[0, :2], _A[2, :2])]),
    # SkylakeX, by 32 numbers
    (32, [(_A[:, :4], _A[:, 4:]), *((_A[0, :4], _A[k, :4]) for k in (1, 2, 3)),
          (_A[0, :2], _A[0, 2:4])]),
    # SkylakeX, by 16 numbers
    (16, [*((_A[0], _A[k]) for k in (1, 2, 3)), (_A[0, :2], _A[0, 2:4])]),
]  # fmt: skip


@intrinsic
def high(context: Any, a: Any, b: Any) -> Any:
    """The upper half of a product of two 64-bit words."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        wide = ir.IntType(128)
        product = builder.mul(*(builder.zext(argument, wide) for argument in arguments))
        return builder.trunc(builder.lshr(product, ir.Constant(wide, 64)), ir.IntType(64))

    return types.uint64(types.uint64, types.uint64), generate


@intrinsic
def store(context: Any, address: Any, word: Any) -> Any:
    """Store eight bytes anywhere."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        place = builder.inttoptr(arguments[0], ir.IntType(64).as_pointer())
        builder.store(arguments[1], place).align = 1
        return context.get_dummy_value()

    return types.void(types.uint64, types.uint64), generate


# 10^k for k of 0 to 30 as 128 bits, rounded up; k * 1741647 >> 19 is floor(log2(10^k)).
POWERS = np.array([divmod((10**k << 127 - (k * 1741647 >> 19)) + 1, 2**64) for k in range(31)], U)
FOUR_DIGITS = np.frombuffer(b"".join(b"%04d" % k for k in range(10**4)), "<u4").astype(U)


@njit(nogil=True, cache=True, inline="always")
def scaled(upper: Any, lower: Any, c: Any) -> Any:  # noqa: D103
    y = upper * c
    z = y + high(lower, c)
    return (high(upper, c) + U(z < y)) | U(z > _1)  # rounded to odd


@njit(nogil=True, cache=True)
def write_number(p: Any, bits: Any, powers: Any, four: Any) -> Any:
    """Write the shortest digits of a float from 1e-4 to 1 at an address; return where they end."""
    c, q = bits & _MANTISSA | _HIDDEN, np.int64(bits >> _52) - 1075
    edge, odd = U(c == _HIDDEN), c & _1  # Of a power of two the lower neighbour is nearer.
    k = q * 1262611 - (524031 if edge else 0) >> 22
    upper, lower = powers[-k, 0], powers[-k, 1]
    h = U(q + (-k * 1741647 >> 19) + 1)
    value = scaled(upper, lower, c << _2 + h)
    least = scaled(upper, lower, (c << _2) - _2 + edge << h) + odd
    most = scaled(upper, lower, (c << _2) + _2 << h) - odd
    digits = value >> _2
    tens = digits // _10
    down, up = least <= _40 * tens, _40 * tens + _40 <= most
    if down != up:
        digits, k = tens + U(up), k + 1
    else:
        down, up = least <= digits << _2, (digits << _2) + _4 <= most
        middle = (digits << _2) + _2
        nearer = value > middle or (value == middle and digits & _1 == _1)
        digits += U(up) if down != up else U(nearer)
    while digits % _10 == _0:
        digits, k = digits // _10, k + 1
    places = U(-k)
    for _ in range(16 + k):  # Rare: a short number.
        digits *= _10
    store(p, _ZERO_POINT)
    p += _2
    ahead = places - _16 if places > _16 else _0
    store(p, four[digits // _1E16] >> U(8) * (_4 - ahead))
    for half in (digits % _1E16 // _1E8, digits % _1E8):
        store(p + ahead, four[half // _1E4] | four[half % _1E4] << _32)
        ahead += U(8)
    return p + places


@njit(nogil=True, cache=True)
def write_rows(
    out: Any, values: Any, first: Any, last: Any, prefixes: Any, suffixes: Any, lengths: Any,
    powers: Any, four: Any,
) -> Any:  # fmt: skip
    """Write the text of some rows at an address; return its length, -1 if a value is unusual."""
    p = U(out)
    for i in range(first, last):
        for j in range(i + 1, len(lengths)):
            bits = values[i - first, j - first]
            if bits < _LEAST or bits >= _ONE:
                return -1
            store(p, prefixes[i, 0])
            store(p + U(8), prefixes[i, 1])
            p += lengths[i] + U(3)
            store(p, suffixes[j, 0])
            store(p + U(8), suffixes[j, 1])
            p = write_number(p + lengths[j] + _4, bits, powers, four)
    return np.int64(p - U(out))


memory = threading.local()


def room(name: str, *shape: int) -> Floats:
    """Memory of this thread for a purpose, used again for every block."""
    size = math.prod(shape)
    if len(getattr(memory, name, ())) < size:
        setattr(memory, name, np.empty(size))
    there: Floats = getattr(memory, name)[:size].reshape(shape)
    return there


def in_lanes(vectors: Floats, lanes: int) -> Floats:
    """Put every sixteenth number together; the products of whole blocks alone sum as ddot does."""
    n, d = vectors.shape
    found = np.zeros((lanes, -(-n // ROWS) * ROWS, d // lanes))
    found[:, :n] = vectors.reshape(n, -1, lanes).transpose(2, 0, 1)
    return found


def similarities(numbers: Floats, tree: Tree, first: int) -> Floats:
    """Compute a block of rows, from the diagonal on."""
    if not tree:
        values: Floats = np.vecdot(numbers[first : first + ROWS, None], numbers[None, first:])
        return values
    lanes, n, d = numbers.shape
    values, sums = room("values", ROWS, n - first), room("sums", lanes, ROWS, COLUMNS)
    multiply = np.matmul if d > 1 else np.multiply
    for left in range(first, n, COLUMNS):
        columns = numbers[:, left : left + COLUMNS].transpose(0, 2, 1)
        multiply(numbers[:, first : first + ROWS], columns, out=sums)
        groups = sums.reshape(4, -1, ROWS, COLUMNS)
        for a, b in (*tree, (_A[0, 0], _A[0, 1])):
            np.add(groups[a], groups[b], out=groups[a])
        values[:, left - first : left - first + COLUMNS] = sums[0]
    return values


def load(source: Path) -> tuple[list[str], Floats, Tree]:
    """Read a decade, its vectors in lanes if there is a tree for them."""
    ids, vectors = read(source)
    # Of a block with itself numpy computes half, of one with its copy all: both are tried.
    some = np.resize(vectors[:ROWS], (2 * ROWS, vectors.shape[-1])) if ids else vectors
    for lanes, tree in TREES if ids else ():
        if vectors.shape[1] % lanes == 0:
            found = similarities(in_lanes(some, lanes), tree, 0)
            if np.array_equal(found, np.vecdot(some[:ROWS, None], some[None])):
                return ids, in_lanes(vectors, lanes), tree
    return ids, vectors, []


class Decade:
    """What all threads share."""

    def __init__(self, ids: list[str], numbers: Floats, tree: Tree, target: Path) -> None:
        """Take (lanes, films, d / lanes) numbers with a tree, (films, d) without."""
        self.ids, self.numbers, self.tree = ids, numbers, tree
        texts = [film.encode() for film in ids]
        self.lengths = np.array([*map(len, texts)], U)
        if max(self.lengths, default=0) > 12:
            raise SystemExit("ids of more than 12 bytes are too long for this contender")
        self.prefixes, self.suffixes = (
            np.array([form % text for text in texts], "S16").view(U).reshape(-1, 2)
            for form in (b', "%s', b'-%s": ')
        )
        self.file = os.open(target, os.O_CREAT | os.O_RDWR | os.O_TRUNC)
        os.pwrite(self.file, b"{}", 0)
        # Where each block of rows begins in the file, and the last ends.
        self.ends: list[Future[int]] = [Future() for _ in range(-(-len(ids) // ROWS) + 1)]
        self.ends[0].set_result(1)


def write_block(decade: Decade, block: int) -> None:
    """Compute and write the pairs of some rows, when it is known where they belong."""
    first, n = block * ROWS, len(decade.lengths)
    last, end = min(first + ROWS, n), decade.ends[block + 1]
    try:
        values = similarities(decade.numbers, decade.tree, first)
        text = room("text", values.size * MOST_BYTES // 8).view(np.uint8)
        length = write_rows(
            text.ctypes.data, values.view(U), first, last, decade.prefixes, decade.suffixes,
            decade.lengths, POWERS, FOUR_DIGITS,
        )  # fmt: skip
        data = text[:length].data
        if length < 0:
            data = memoryview(b"".join(
                f', "{decade.ids[i]}-{decade.ids[j]}": {json.dumps(values[i - first, j - first])}'
                .encode() for i in range(first, last) for j in range(i + 1, n)
            ))  # fmt: skip
        data = data[2 if first == 0 else 0 :]  # The first without the comma.
        start = decade.ends[block].result()
        end.set_result(start + len(data))
    except BaseException as error:
        end.set_exception(error)  # Or the next block would wait for ever.
        raise
    os.pwrite(decade.file, data, start)
    if last == n:
        os.pwrite(decade.file, b"}", end.result())


def main(folder: Path) -> None:
    """Read in several processes, while threads compute and write what is read."""
    paths = sorted(decades(folder), key=lambda pair: -pair[0].stat().st_size)
    cpus, jobs = len(os.sched_getaffinity(0)), []
    with (
        threadpool_limits(1, user_api="blas"),
        ProcessPoolExecutor(cpus, get_context("fork")) as readers,
        ThreadPoolExecutor(cpus) as threads,
    ):
        found = readers.map(load, [source for source, _ in paths])
        for (_, target), parts in zip(paths, found, strict=True):
            decade = Decade(*parts, target)
            blocks = range(len(decade.ends) - 1)
            jobs += [threads.submit(write_block, decade, block) for block in blocks]
    for job in jobs:
        job.result()


if __name__ == "__main__":
    main(Path(sys.argv[2]))
