"""Hold numbers that are read natively against ``float``: the hard ones, and random ones.

    python tests/floats.py 10000000

The argument is how many random texts to try, all kinds in turn; all CPUs are used. CI tries a
hundred thousand of them, in test_numbers.py.
"""

import multiprocessing
import os
import random
import struct
import sys
import time
from collections.abc import Iterable, Iterator
from decimal import Decimal, localcontext
from itertools import islice
from math import inf, nextafter
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import engine.embeddings.parsing  # noqa: F401 - loads the powers of ten
from engine import native

_MIDDLES = range(15, 24)
"""Digits to which the exact middle of two floats is shortened."""


def difference(texts: Iterable[str]) -> tuple[str, int]:
    """The first text not read as ``float`` reads it, "" if none; and how many are not read."""
    assert native.numbers
    unread = 0
    for text in texts:
        found = native.numbers.packed(f"[{text}]".encode(), 1)
        unread += found is None
        if found is not None and found != struct.pack("d", float(text)):
            return f"{text} as {struct.unpack('d', found)[0]!r}", unread
    return "", unread


def powers() -> Iterator[str]:
    """Powers of two and ten with both neighbours, and the ends of the range."""
    values = [2.0**k for k in range(-1074, 1024)] + [float(f"1e{k}") for k in range(-324, 309)]
    for value in [*values, 0.0, sys.float_info.max, 2.225073858507201e-308]:
        for near in (value, nextafter(value, 0.0), nextafter(value, inf)):
            if near < inf:
                yield from (repr(near), repr(-near))


def lengths() -> Iterator[str]:
    """Digits of every length with every exponent, and with the point at different places."""
    for n in range(1, 26):
        digits = "9876543210123456789012345"[:n]
        for k in range(-400, 401):
            yield f"{digits}e{k}"
            yield f"{digits[0]}.{digits[1:]}0E{k:+}"
        for zeros in range(30):
            yield f"0.{'0' * zeros}{digits}"
            yield f"-{digits}{'0' * zeros}.{digits}"


def zeros() -> Iterator[str]:
    """Nothing, in all its ways."""
    for sign in ("", "-"):
        for text in ("0.0", "0e0", "0E-0", "0e999", "0e-9999", "0.000e+7", f"0.{'0' * 5000}"):
            yield sign + text
    yield "0"


def middles(n: int, seed: int) -> Iterator[str]:
    """The exact middle of a float and the next, and that shortened, one below and one above."""
    rng = random.Random(seed)
    with localcontext() as context:
        context.prec, context.Emin = 1200, -99999
        for _ in range(n):
            power = rng.choice([rng.randint(-60, 64), rng.randint(-900, 1000)])
            value = rng.uniform(1, 2) * 2.0**power
            middle = (Decimal(value) + Decimal(nextafter(value, inf))) / 2
            yield f"{middle:f}"
            for size in _MIDDLES:
                last = middle.adjusted() - size + 1
                digits = int(middle.scaleb(-last))
                yield from (f"{digits + i}e{last}" for i in (-1, 0, 1, 2))


def nearest_to_middles() -> Iterator[str]:
    """Integers times powers of ten as near to the middle of two floats as there are.

    Each w × 10^k that is nearly p × 2^e, p odd of 54 bits, is a convergent p/w of 10^k / 2^e.
    """
    for k in range(-320, 309):
        for e in range(k * 3322 // 1000 - 3, k * 3322 // 1000 + 11):
            above = 10 ** max(k, 0) * 2 ** max(-e, 0)
            below = 10 ** max(-k, 0) * 2 ** max(e, 0)
            p, w, p_before, w_before = 1, 0, 0, 1
            while p < 2**54 and w < 10**19 and below:
                if p >= 2**53 and p % 2:
                    yield from (f"{w + i}e{k}" for i in (-1, 0, 1))
                whole = above // below
                above, below = below, above % below
                p, w, p_before, w_before = whole * p + p_before, whole * w + w_before, p, w


def random_texts(seed: int) -> Iterator[str]:
    """Without end: floats as repr writes them, of vectors and with random bits; random decimals."""
    rng = random.Random(seed)
    while True:
        yield repr(rng.gauss(0, 0.03))
        yield repr(rng.uniform(-1, 1))
        value = struct.unpack("d", rng.randbytes(8))[0]
        if abs(value) < inf:
            yield repr(value)
        digits = str(rng.randrange(10 ** rng.randint(1, 22)))
        yield f"{digits}e{rng.randint(-345, 310)}"
        yield f"{rng.randrange(10 ** rng.randint(1, 6))}.{digits}"
        yield f"-0.{digits}"


def special() -> Iterator[str]:
    """All of the hard ones."""
    yield from powers()
    yield from lengths()
    yield from zeros()
    yield from middles(3000, 1)
    yield from nearest_to_middles()


def random_difference(n: int, seed: int) -> tuple[str, int]:
    """The same of so many random ones."""
    return difference(islice(random_texts(seed), n))


def main(n: int) -> None:
    """Try all and say how it went."""
    begin = time.monotonic()
    cpus = len(os.sched_getaffinity(0))
    found = [difference(special())]
    with multiprocessing.get_context("spawn").Pool(cpus) as pool:
        found += pool.starmap(random_difference, [(n // cpus, seed) for seed in range(cpus)])
    if wrong := [text for text, _ in found if text]:
        raise SystemExit("\n".join(wrong))
    print(f"{n:,} random numbers and the hard ones read as float reads them, ", end="")
    unread = sum(unread for _, unread in found)
    print(f"{unread:,} left to Python, {time.monotonic() - begin:.0f} s")


if __name__ == "__main__":
    main(int(sys.argv[1]))
