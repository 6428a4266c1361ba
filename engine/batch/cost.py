"""What a job costs, roughly: its CPU time, and how many workers are worth their start."""

import math

START_SECONDS = 0.3
"""What it costs to start a worker process, which imports numpy."""
_SECONDS_PER_BYTE = 4e-9
"""To read an input."""
_STORE_SECONDS = 20e-9
"""To store a pair; what it takes to compute it grows with the numbers of a film."""
_SECONDS_PER_NUMBER = 0.05e-9
_EXPORT_SECONDS = 70e-9
"""To export a pair, or to verify it."""
_SELECT_SECONDS = 30e-9
"""To find out of a pair whether it is to be exported, where all pairs are compared."""


def cpu_seconds(
    *,
    n_bytes: int = 0,
    n_computed: int = 0,
    n_dimensions: int = 0,
    n_selected: int = 0,
    n_exported: int = 0,
) -> float:
    """Estimate the CPU time of a job.

    Parameters
    ----------
    n_bytes
        Of inputs, to be read.
    n_computed, n_selected, n_exported
        Pairs to be computed and stored, to be compared with each other, and to be exported.
    n_dimensions
        Numbers of a film.
    """
    seconds = n_bytes * _SECONDS_PER_BYTE + n_exported * _EXPORT_SECONDS
    seconds += n_selected * _SELECT_SECONDS
    return seconds + n_computed * (_STORE_SECONDS + _SECONDS_PER_NUMBER * n_dimensions)


def worth(workers: int, seconds: float) -> int:
    """Number of workers, at most so many, that repay their start on so much CPU time."""
    if seconds < 2 * START_SECONDS:
        return 1
    return max(1, min(workers, math.ceil(seconds / START_SECONDS)))


def wall_seconds(seconds: float, workers: int) -> float:
    """Estimate the wall time of so much CPU time, divided among workers."""
    return seconds / workers + (START_SECONDS if workers > 1 else 0)
