"""A contender: numbers and text in one loop compiled by numba, exact products, as many threads.

    python scripts/benchmarking/compiled.py DATA OUT

OpenBLAS's ddot keeps 16 sums (32 with AVX-512), each of every sixteenth number, and adds them up as
a tree; as many matrix products give the same sums. What a trial shows to be the tree of this BLAS
is taken, or else `numpy.vecdot`. The shortest digits of a number come from Giulietti's Schubfach.
Only what the benchmark needs is fast: ids of at most 12 bytes, values from 1e-4 to 1. The first
run compiles for seconds.
"""

import json
import os
import sys
import threading
from concurrent.futures import Future, ProcessPoolExecutor, ThreadPoolExecutor
from dataclasses import dataclass, field
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


def powers_of_ten() -> Words:
    """10^k for k of 0 to 30 as 128 bits, rounded up."""
    words = []
    for k in range(31):
        shift = (k * 1741647 >> 19) - 127  # floor(log2(10^k)) - 127
        power = (10**k << -shift) + 1
        words.append((power >> 64, power & 2**64 - 1))
    return np.array(words, U)


POWERS = powers_of_ten()
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


def add_up(lanes: Floats, tree: Tree) -> Floats:
    """Add sums up in the order of a tree, in place."""
    sums: Floats = lanes.reshape(4, -1, *lanes.shape[1:])
    for a, b in (*tree, (_A[0, 0], _A[0, 1])):
        np.add(sums[a], sums[b], out=sums[a])
    total: Floats = lanes[0]
    return total


def products(rows: Floats, columns: Floats, out: Floats) -> None:
    """Multiply (lanes, r, d / lanes) by (lanes, c, d / lanes) into (lanes, r, c)."""
    multiply = np.matmul if rows.shape[2] > 1 else np.multiply
    multiply(rows, columns.transpose(0, 2, 1), out=out)


def in_lanes(vectors: Floats, lanes: int) -> Floats:
    """Put every sixteenth number together; the products of whole blocks alone sum as ddot does."""
    n, d = vectors.shape
    found = np.zeros((lanes, -(-n // ROWS) * ROWS, d // lanes))
    found[:, :n] = vectors.reshape(n, -1, lanes).transpose(2, 0, 1)
    return found


def proven(vectors: Floats, lanes: int, tree: Tree) -> bool:
    """Whether some pairs have the bits of ddot."""
    some, out = in_lanes(vectors, lanes), np.empty((lanes, ROWS, COLUMNS))
    products(some, some.copy(), out)  # Else numpy would see a square and compute half of it.
    found = add_up(out, tree)[: len(vectors), : len(vectors)]
    return np.array_equal(found, np.vecdot(vectors[:, None], vectors[None]))


def load(source: Path) -> tuple[list[str], Floats, Tree]:
    """Read a decade, its vectors in lanes if there is a tree for them."""
    ids, vectors = read(source)
    for lanes, tree in TREES if ids else ():
        if vectors.shape[1] % lanes == 0 and proven(vectors[:ROWS], lanes, tree):
            return ids, in_lanes(vectors, lanes), tree
    return ids, vectors, []


@dataclass
class Decade:
    """What all threads share."""

    ids: list[str]
    numbers: Floats
    """(lanes, films, d / lanes) with a tree, (films, d) without."""
    tree: Tree
    target: Path
    ends: list["Future[int]"] = field(init=False)
    """Where each block of rows begins in the file, and the last ends."""

    def __post_init__(self) -> None:
        texts = [film.encode() for film in self.ids]
        self.lengths = np.array([*map(len, texts)], U)
        if max(self.lengths, default=0) > 12:
            raise SystemExit("ids of more than 12 bytes are too long for this contender")
        self.prefixes, self.suffixes = (
            np.array([form % text for text in texts], "S16").view(U).reshape(-1, 2)
            for form in (b', "%s', b'-%s": ')
        )
        self.file = os.open(self.target, os.O_CREAT | os.O_RDWR | os.O_TRUNC)
        os.pwrite(self.file, b"{}", 0)
        self.ends = [Future() for _ in range(-(-len(texts) // ROWS) + 1)]
        self.ends[0].set_result(1)


class Scratch(threading.local):
    """Memory of one thread, used again for every block."""

    def __init__(self) -> None:
        self.sums = np.empty(32 * ROWS * COLUMNS)
        self.values = np.empty(0)
        self.text = np.empty(0, np.uint8)

    def fit(self, columns: int) -> None:
        """Make room for a block."""
        if len(self.values) < ROWS * columns:
            self.values = np.empty(ROWS * columns)
            self.text = np.empty(ROWS * columns * MOST_BYTES, np.uint8)


def similarities(decade: Decade, first: int, last: int, scratch: Scratch) -> Floats:
    """Compute some rows, from the diagonal on."""
    if not decade.tree:
        rows, columns = decade.numbers[first:last], decade.numbers[first:]
        values: Floats = np.vecdot(rows[:, None], columns[None])
        return values
    lanes, n, _ = decade.numbers.shape
    rows = decade.numbers[:, first : first + ROWS]
    sums = scratch.sums[: lanes * ROWS * COLUMNS].reshape(lanes, ROWS, COLUMNS)
    values = scratch.values[: ROWS * (n - first)].reshape(ROWS, -1)
    for left in range(first, n, COLUMNS):
        products(rows, decade.numbers[:, left : left + COLUMNS], sums)
        values[:, left - first : left - first + COLUMNS] = add_up(sums, decade.tree)
    return values


def write_block(decade: Decade, block: int, scratch: Scratch) -> None:
    """Compute and write the pairs of some rows, when it is known where they belong."""
    first, n = block * ROWS, len(decade.ids)
    last = min(first + ROWS, n)
    try:
        scratch.fit(-(-(n - first) // COLUMNS) * COLUMNS)
        values = similarities(decade, first, last, scratch)
        length = write_rows(
            scratch.text.ctypes.data, values.view(U), first, last, decade.prefixes,
            decade.suffixes, decade.lengths, POWERS, FOUR_DIGITS,
        )  # fmt: skip
        text = scratch.text[:length].data if length >= 0 else memoryview(b"".join(
            f', "{decade.ids[i]}-{decade.ids[j]}": {json.dumps(values[i - first, j - first])}'
            .encode() for i in range(first, last) for j in range(i + 1, n)
        ))  # fmt: skip
        if first == 0:
            text = text[2:]  # without the comma
        start = decade.ends[block].result()
        decade.ends[block + 1].set_result(start + len(text))
        os.pwrite(decade.file, text, start)
        if last == n:
            os.pwrite(decade.file, b"}", start + len(text))
    except BaseException as error:
        if not decade.ends[block + 1].done():
            decade.ends[block + 1].set_exception(error)  # Or the next block would wait for ever.
        raise


def main(data: Path, out: Path) -> None:
    """Read in several processes, while threads compute and write what is read."""
    paths = sorted(decades(data, out), key=lambda pair: -pair[0].stat().st_size)
    scratch, cpus, jobs = Scratch(), len(os.sched_getaffinity(0)), []
    with (
        threadpool_limits(1, user_api="blas"),
        ProcessPoolExecutor(cpus, get_context("fork")) as readers,
        ThreadPoolExecutor(cpus) as threads,
    ):
        found = readers.map(load, [source for source, _ in paths])
        for (_, target), parts in zip(paths, found, strict=True):
            decade = Decade(*parts, target)
            blocks = range(len(decade.ends) - 1)
            jobs += [threads.submit(write_block, decade, block, scratch) for block in blocks]
    for job in jobs:
        job.result()


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
