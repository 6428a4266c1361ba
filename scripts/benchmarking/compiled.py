"""A contender: numbers and text in one loop compiled by numba, of exact products, in threads.

    python scripts/benchmarking/compiled.py numba FOLDER

OpenBLAS's ddot keeps 16 sums (32 with AVX-512), each of every sixteenth number, and adds them up as
a tree; as many matrix products give the same sums. What a trial shows to be the tree of this BLAS
is taken, or else `numpy.vecdot`. The shortest digits of a number come from Giulietti's Schubfach.
Only what the benchmark needs is there: ids of at most 12 bytes; and only values from 1e-4 to 1 are
fast. The first run compiles for seconds.
"""

import json
import math
import threading
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from blocks import ROWS, write
from contenders import read
from llvmlite import ir
from numba import njit, types
from numba.extending import intrinsic
from numpy.typing import NDArray

Floats: TypeAlias = NDArray[np.float64]
COLUMNS = 64
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
        pointer = builder.inttoptr(arguments[0], ir.IntType(64).as_pointer())
        builder.store(arguments[1], pointer).align = 1
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


def room(purpose: str, *shape: int) -> Floats:
    """Memory of this thread that is used again for every block."""
    size = math.prod(shape)
    if len(getattr(memory, purpose, ())) < size:
        setattr(memory, purpose, np.empty(size))
    there: Floats = getattr(memory, purpose)[:size].reshape(shape)
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
        vecdots: Floats = np.vecdot(numbers[first : first + ROWS, None], numbers[None, first:])
        return vecdots
    lanes, n, d = numbers.shape
    values = room("values", ROWS, n - first)
    sums = room("sums", lanes, ROWS, COLUMNS)
    groups = sums.reshape(4, -1, ROWS, COLUMNS)
    multiply = np.matmul if d > 1 else np.multiply
    for left in range(first, n, COLUMNS):
        columns = numbers[:, left : left + COLUMNS].transpose(0, 2, 1)
        multiply(numbers[:, first : first + ROWS], columns, out=sums)
        for a, b in (*tree, (_A[0, 0], _A[0, 1])):
            np.add(groups[a], groups[b], out=groups[a])
        values[:, left - first : left - first + COLUMNS] = sums[0]
    return values


class Decade:
    """A decade that was read, its vectors in lanes if there is a tree for them."""

    def __init__(self, source: Path) -> None:
        """Read an input."""
        self.ids, self.numbers = read(source)
        self.tree: Tree = []
        # Of a block with itself numpy computes half, of one with its copy all: both are tried.
        some = np.resize(self.numbers[:ROWS], (2 * ROWS, self.numbers.shape[-1]))
        for lanes, tree in TREES:
            if some.shape[1] % lanes == 0 and not self.tree:
                found = similarities(in_lanes(some, lanes), tree, 0)
                if np.array_equal(found, np.vecdot(some[:ROWS, None], some[None])):
                    self.numbers, self.tree = in_lanes(self.numbers, lanes), tree
        texts = [film.encode() for film in self.ids]
        self.lengths = np.array([*map(len, texts)], U)
        assert max(self.lengths, default=0) <= 12, "a pair would not fit into its memory"
        self.prefixes, self.suffixes = (
            np.array([form % text for text in texts], "S16").view(U).reshape(-1, 2)
            for form in (b', "%s', b'-%s": ')
        )

    def text(self, first: int) -> Any:
        """Bytes of the pairs of some rows."""
        n = len(self.ids)
        last = min(first + ROWS, n)
        values = similarities(self.numbers, self.tree, first)
        text = room("text", values.size * MOST_BYTES // 8 + 1).view(np.uint8)
        length = write_rows(
            text.ctypes.data, values.view(U), first, last, self.prefixes, self.suffixes,
            self.lengths, POWERS, FOUR_DIGITS,
        )  # fmt: skip
        if length >= 0:
            text[length] = ord(",")  # The first comma belongs to the block before.
            return text[1 : length + 1].data
        return b"".join(
            f' "{self.ids[i]}-{self.ids[j]}": {json.dumps(values[i - first, j - first])},'.encode()
            for i in range(first, last)
            for j in range(i + 1, n)
        )


if __name__ == "__main__":
    write(Decade, threads=True)
