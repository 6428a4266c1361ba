"""The kernel: similarities of a few films with a few others, as one small matrix.

`dot` gives, bit for bit, what ``a @ b`` gives for two vectors. `gemm` is one matrix product, and
different in the last bits.
"""

from typing import Literal

import numpy as np
from numpy.typing import NDArray

from engine.triangle.exact import Exact, by_vecdot

KernelName = Literal["dot", "gemm"]
KERNELS: dict[KernelName, str] = {
    "dot": "bit for bit the notebook's value",
    "gemm": "faster, within 2e-15 of it",
}
"""What each is, in words."""

THREADED_ABOVE = 10_000
"""Numbers in a vector above which OpenBLAS may divide even one dot product among its threads; the
last bits of ``a @ b`` then depend on how many there are."""


def by_gemm(
    rows: NDArray[np.float64],
    columns: NDArray[np.float64],
    diagonal: int,
    out: NDArray[np.float64],
) -> None:
    """Compute all dot products, those below the diagonal too, as one matrix product."""
    np.matmul(rows, columns.T, out=out)


_OTHERS: dict[KernelName, Exact] = {"gemm": by_gemm}
"""What computes a kernel that is not `dot`, in the form of what computes `dot`."""


def similarities(
    kernel: KernelName,
    rows: NDArray[np.float64],
    columns: NDArray[np.float64],
    diagonal: int,
    out: NDArray[np.float64] | None = None,
    dot: Exact = by_vecdot,
) -> NDArray[np.float64]:
    """Compute the dot products of each row film with each column film above the diagonal.

    Parameters
    ----------
    kernel
        One of `KERNELS`.
    rows
        Vectors of the row films, (r, d).
    columns
        Vectors of the column films, (c, d).
    diagonal
        Column of the chunk at which its first row crosses the diagonal of the whole matrix
        (negative when the chunk lies wholly above): cell (i, j) is a pair when
        ``j > diagonal + i``.
    out
        Where to put them, (r, c), each row contiguous; a new array by default.
    dot
        How ``"dot"`` is to be computed: as `exact.proven` found on vectors of which these are some.

    Returns
    -------
    NDArray[np.float64]
        `out`, (r, c); NaN where a cell is no pair.
    """
    values = np.empty((len(rows), len(columns))) if out is None else out
    # What leaves the range of a float is infinite or NaN, there as in the notebook.
    with np.errstate(over="ignore", under="ignore", invalid="ignore"):
        compute = dot if kernel == "dot" else _OTHERS[kernel]
        compute(rows, columns, diagonal, values)
    if diagonal + len(rows) > 0:
        i, j = np.ogrid[: len(rows), : len(columns)]
        values[j <= diagonal + i] = np.nan
    return values
