"""The kernel: similarities of a few films with a few others, as one small matrix.

`dot` gives, bit for bit, what ``a @ b`` gives for two vectors, because `numpy.vecdot` calls the
same BLAS routine (ddot) for each pair. `gemm` is one matrix product: several times faster, and
different in the last bits.
"""

from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

KernelName = Literal["dot", "gemm"]
KERNELS: tuple[KernelName, ...] = get_args(KernelName)

THREADED_ABOVE = 10_000
"""Numbers in a vector above which OpenBLAS may divide even one dot product among its threads; the
last bits of ``a @ b`` then hang on how many there are."""

_TILE_BYTES = 512 * 1024
_TILE_FILMS = 64


def similarities(
    kernel: KernelName,
    rows: NDArray[np.float64],
    columns: NDArray[np.float64],
    diagonal: int,
    out: NDArray[np.float64] | None = None,
) -> NDArray[np.float64]:
    """Compute the dot products of each row film with each column film above the diagonal.

    Parameters
    ----------
    kernel
        ``"dot"`` or ``"gemm"``.
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

    Returns
    -------
    NDArray[np.float64]
        `out`, (r, c); NaN where a cell is no pair.
    """
    values = np.empty((len(rows), len(columns))) if out is None else out
    # What leaves the range of a float is infinite or NaN, there as in the notebook.
    with np.errstate(over="ignore", under="ignore", invalid="ignore"):
        if kernel == "dot":
            _dot(rows, columns, diagonal, values)
        else:
            np.matmul(rows, columns.T, out=values)
    if diagonal + len(rows) > 0:
        i, j = np.ogrid[: len(rows), : len(columns)]
        values[j <= diagonal + i] = np.nan
    return values


def _dot(
    rows: NDArray[np.float64],
    columns: NDArray[np.float64],
    diagonal: int,
    values: NDArray[np.float64],
) -> None:
    # The columns of a tile stay in the L2 cache while every row passes over them; 64 of 1024
    # numbers were the fastest of 8 to 256. Rows whose pairs all lie further right are left out.
    width = max(1, min(_TILE_FILMS, _TILE_BYTES // (8 * max(1, columns.shape[1]))))
    for left in range(0, len(columns), width):
        tile = columns[left : left + width]
        last = min(len(rows), left + len(tile) - 1 - diagonal)
        if last > 0:
            np.vecdot(
                rows[:last, None, :], tile[None, :, :], out=values[:last, left : left + len(tile)]
            )
