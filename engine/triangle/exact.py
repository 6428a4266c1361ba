"""The dot products of many pairs, each bit for bit ``a @ b``, in the fastest way that is proven.

``a @ b`` and `numpy.vecdot` call BLAS's ddot for one pair after another, which leaves most of the
time to loads. OpenBLAS's ddot keeps lanes: lane r is the chain of fused multiply-adds over the
numbers r, r + n, r + 2n and so on, for n lanes, which are added in a fixed order in the end, the
tree. So the same bits can be had for many pairs side by side: in C (`dot.c`), or as n matrix
products, one a lane. How many lanes there are and which tree differs between kinds of CPU.

Which way is right here is not concluded from a name but tried out on the very vectors that it is
for: one bit that differs from `numpy.vecdot`, and it is not taken.
"""

from collections.abc import Callable, Iterator
from functools import partial

import numpy as np
from numpy.typing import NDArray

from engine import native

Matrix = NDArray[np.float64]
Exact = Callable[[Matrix, Matrix, int, Matrix], object]
"""Called with rows (r, d), columns (c, d), the diagonal as in `similarities`, and out (r, c)."""

TILE_BYTES = 512 * 1024
_TILE_FILMS = 64
_LEAST_FOR_PRODUCTS = 768
"""Numbers of a vector from which on the products of lanes win over `vecdot`."""
PRODUCT_FILMS = 64
"""Rows and columns of a product. With 32 or fewer, OpenBLAS for SkylakeX sums in another order."""
_PROOF_FILMS = 33
"""Vectors of a proof: some thousand pairs, and no multiple of what is computed side by side."""
_OWN_FILMS = 24
"""How many of them are of the decade; the others are made up."""


def proven(vectors: Matrix) -> Exact:
    """Find the fastest way that gives, bit for bit, what `numpy.vecdot` gives on these vectors.

    Parameters
    ----------
    vectors
        (n, d), all that it is to be used for.

    Returns
    -------
    Exact
        `by_vecdot` where no other is proven.
    """
    proofs: dict[int, tuple[Matrix, Matrix]] = {}
    for way, n in candidates(vectors.shape[1]):
        if n not in proofs:
            proof = proof_vectors(vectors, n)
            proofs[n] = proof, _all_pairs(by_vecdot, proof)
        proof, expected = proofs[n]
        if _same_bits(_all_pairs(way, proof), expected):
            return way
    return by_vecdot


def candidates(d: int) -> Iterator[tuple[Exact, int]]:
    """Ways that may be exact for vectors of `d` numbers, the fastest first, and vectors to try."""
    if d == 0:
        return
    for lanes in (32, 16):
        if native.dot and lanes <= native.dot.LANES:
            # Past the last whole 16, numbers are fused to the sum or not: the compiler's choice.
            for fused in (False, True) if d % 16 else (False,):
                yield partial(native.dot.dots, lanes, fused), _PROOF_FILMS
    for lanes in (32, 16):
        if d >= _LEAST_FOR_PRODUCTS and d % lanes == 0:
            # At the edges of a product it may be summed otherwise than within: it has to be full.
            yield partial(by_products, lanes), PRODUCT_FILMS + 1


def proof_films(n: int) -> list[int]:
    """Choose the films whose vectors are tried: the first, the last, and some between."""
    return sorted({round(k * (n - 1) / (_OWN_FILMS - 1)) for k in range(_OWN_FILMS)}) if n else []


def proof_vectors(vectors: Matrix, n: int) -> Matrix:
    """Choose the `n` vectors of a proof: some of these, and some made-up ones.

    Those of a decade may be so plain (a single number each, say) that every way is right.
    """
    own = vectors[proof_films(len(vectors))]
    made_up = np.random.default_rng(0).standard_normal((n - len(own), vectors.shape[1]))
    made_up[:2] = [[1e-200], [-1e-200]]  # Lanes that are all -0.0, where numpy gives 0.0.
    return np.concatenate([own, made_up])


def _all_pairs(way: Exact, vectors: Matrix) -> Matrix:
    found = np.empty((len(vectors), len(vectors)))
    with np.errstate(over="ignore", under="ignore", invalid="ignore"):
        way(vectors, vectors, -len(vectors), found)
    return found


def _same_bits(one: Matrix, other: Matrix) -> bool:
    same = one.view(np.int64) == other.view(np.int64)
    return bool((same | (np.isnan(one) & np.isnan(other))).all())  # All NaN are written alike.


def by_vecdot(rows: Matrix, columns: Matrix, diagonal: int, out: Matrix) -> None:
    """One pair after another; cells left of the diagonal may be left as they are."""
    # The columns of a tile stay in the L2 cache while every row passes over them; 64 of 1024
    # numbers were the fastest of 8 to 256. Rows whose pairs all lie further right are left out.
    width = max(1, min(_TILE_FILMS, TILE_BYTES // (8 * max(1, columns.shape[1]))))
    for left in range(0, len(columns), width):
        tile = columns[left : left + width]
        last = min(len(rows), left + len(tile) - 1 - diagonal)
        if last > 0:
            np.vecdot(
                rows[:last, None, :], tile[None, :, :], out=out[:last, left : left + len(tile)]
            )


def by_products(lanes: int, rows: Matrix, columns: Matrix, diagonal: int, out: Matrix) -> None:
    """One matrix product a lane, for vectors of whole lanes.

    All products have the same shape, filled up with zeros: at the edges of others BLAS may sum in
    another order.
    """
    tops = range(0, len(rows), PRODUCT_FILMS)
    row_lanes = [_lanes(lanes, rows[top : top + PRODUCT_FILMS]) for top in tops]
    products = np.empty((lanes, PRODUCT_FILMS, PRODUCT_FILMS))
    for left in range(0, len(columns), PRODUCT_FILMS):
        tile = columns[left : left + PRODUCT_FILMS]
        column_lanes = _lanes(lanes, tile).transpose(0, 2, 1)
        for top, some_rows in zip(tops, row_lanes, strict=True):
            if left + len(tile) - 1 <= diagonal + top:
                break
            np.matmul(some_rows, column_lanes, out=products)
            target = out[top : top + PRODUCT_FILMS, left : left + len(tile)]
            # As numpy, which adds what BLAS gives to 0.0: of -0.0 that makes 0.0.
            np.add(_tree(products)[: len(target), : len(tile)], 0.0, out=target)


def _lanes(lanes: int, vectors: Matrix) -> Matrix:
    """Numbers by lane, (lanes, PRODUCT_FILMS, d / lanes), filled up with zeros."""
    n, d = vectors.shape
    found = np.zeros((lanes, PRODUCT_FILMS, d // lanes))
    found[:, :n] = vectors.reshape(n, d // lanes, lanes).transpose(2, 0, 1)
    return found


def _tree(lanes: Matrix) -> Matrix:
    """Add the lanes, (16 or 32, r, c), as ddot for Haswell and Zen or for SkylakeX adds them."""
    four = lanes.reshape(4, len(lanes) // 4, *lanes.shape[1:])  # the accumulators
    half = four.shape[1] // 2
    folded = four[:, :half] + four[:, half:]
    if len(lanes) == 16:
        pair = (folded[0] + folded[1]) + (folded[2] + folded[3])
    else:
        all_four = folded[0] + folded[1] + folded[2] + folded[3]
        pair = all_four[:2] + all_four[2:]
    found: Matrix = pair[0] + pair[1]
    return found
