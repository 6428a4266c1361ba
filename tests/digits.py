"""Hold the digits of numbers against ``json.dumps``: every kind of number, and random bits.

    python tests/digits.py 100000000

The argument is how many random bit patterns to try, half of them of similarities' size; all CPUs
are used. CI tries a hundred thousand of them, in test_digits.py.
"""

import json
import multiprocessing
import os
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from engine import native
from engine.legacy_json.pairs import FilmTexts

_AT_ONCE = 50_000


def difference(values: NDArray[np.float64]) -> str:
    """Where the text of pairs of these values differs from ``json.dumps``; "" where it does not."""
    text = FilmTexts([""] * (len(values) + 1)).block(0, values[None, :], None)
    found = b"".join(map(bytes, text.pieces())).decode()
    expected = f", {json.dumps(values.tolist())[1:-1]}".replace(", ", ', "-": ')
    if found == expected and text.length == len(expected):
        return ""
    parts = zip(values.tolist(), found.split(', "-": ')[1:], strict=True)
    wrong = [f"{x!r} as {part}" for x, part in parts if part != json.dumps(x)]
    return f"{wrong[:5]}, {text.length} bytes said, {len(found)} written"


def special() -> NDArray[np.float64]:
    """Powers of two and ten with both neighbours, every length of digits, the bounds."""
    powers = np.array([2.0**k for k in range(-1074, 1024)])
    tens = np.array([float(f"1e{k}") for k in range(-324, 309)])
    sevens = "12345678901234567"
    lengths = np.array(
        [float(f"{sevens[:n]}e{k}") for n in range(1, 18) for k in range(-340, 309 - n)]
    )
    bounds = np.array([0.0, 5e-324, 2.225073858507201e-308, sys.float_info.max, np.inf, np.nan])
    whole = np.concatenate([np.arange(0, 2000), 2.0**53 + np.arange(-50, 50), 1e16 + np.arange(50)])
    found = np.concatenate([powers, tens, lengths, bounds, whole, whole / 1000, whole / 1e7])
    with np.errstate(over="ignore", under="ignore"):
        found = np.concatenate([found, np.nextafter(found, 0.0), np.nextafter(found, np.inf)])
    return np.concatenate([found, -found])


def patterns(n: int, seed: int) -> Iterator[NDArray[np.float64]]:
    """Random bits: of all floats, of subnormal ones, and of such as similarities are."""
    random = np.random.default_rng(seed)
    for start in range(0, n, _AT_ONCE):
        m = min(_AT_ONCE, n - start)
        every = random.integers(0, 2**64, m, dtype=np.uint64).view(np.float64)
        every[::50] = random.integers(0, 2**52, len(every[::50]), dtype=np.uint64).view(np.float64)
        every[1::2] = random.uniform(-1, 1, len(every[1::2]))
        yield every


def first_difference(n: int, seed: int) -> str:
    """The first difference among `n` random patterns; "" where there is none."""
    return next(filter(None, map(difference, patterns(n, seed))), "")


def main(n: int) -> None:
    """Try all and say how it went."""
    begin = time.monotonic()
    cpus = len(os.sched_getaffinity(0))
    found = [difference(special())]
    with multiprocessing.get_context("spawn").Pool(cpus) as pool:
        found += pool.starmap(first_difference, [(n // cpus, seed) for seed in range(cpus)])
    if wrong := [each for each in found if each]:
        raise SystemExit("\n".join(wrong))
    n = n // cpus * cpus + len(special())
    print(f"{n:,} numbers as json.dumps writes them, {native.in_use()}, ", end="")
    print(f"{time.monotonic() - begin:.0f} s")


if __name__ == "__main__":
    main(int(sys.argv[1]))
