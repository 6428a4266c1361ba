"""What a job costs, roughly: how many workers are worth their start."""

import math

_START_SECONDS = 0.5
"""What it costs to start a worker process that imports numpy and zarr."""
_SECONDS_PER_BYTE = 5e-9
"""To read an input."""
_SECONDS_PER_PAIR = 150e-9
"""To compute, store and export it, or to verify it."""


def worth(workers: int, *, n_bytes: int = 0, n_pairs: int = 0) -> int:
    """Number of workers, at most so many, that repay their start on a job of this size."""
    seconds = n_bytes * _SECONDS_PER_BYTE + n_pairs * _SECONDS_PER_PAIR
    if seconds < 2 * _START_SECONDS:
        return 1
    return max(1, min(workers, math.ceil(seconds / _START_SECONDS)))
