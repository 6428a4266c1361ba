"""What a run would do with a decade: how much it reads, computes, writes and deletes.

Exact where the input has been read, and an estimate from the beginning of the file where not.
"""

from dataclasses import dataclass

from engine.batch.plan import DecadeState
from engine.embeddings.reading import estimate
from engine.store.store import Store
from engine.triangle.blocks import CHUNK_CELLS, Grid
from engine.triangle.kernel import KernelName

_BYTES_PER_PAIR = 40
"""Of JSON, with ids of up to eight digits."""
_SECONDS_PER_BYTE = 6e-9
"""To read an input."""


@dataclass(frozen=True)
class Forecast:
    """What a run would do with a decade; nothing of one that is finished, or will fail."""

    read_bytes: int = 0
    """Of the input, which is read (again)."""
    pairs_to_compute: int = 0
    pairs_to_export: int = 0
    store_bytes: int = 0
    """That the store grows by."""
    output_bytes: int = 0
    """Of the JSON, if every pair is in it."""
    deleted_bytes: int = 0
    """Of the store, which do not count any more; 0 where they cannot be counted, behind a URL."""
    seconds: float = 0.0
    """CPU time, roughly."""


def forecast(
    state: DecadeState, store: Store, *, compute: bool, export: bool, restart: bool
) -> Forecast:
    """Say what a run with these options would do with a decade."""
    deleted = _stored_bytes(state, store) if restart or state.obsolete else 0
    record = None if restart else state.record
    read_bytes = 0
    if record:
        grid, n_dimensions = record.grid, record.n_dimensions
        stored, n_chunks = state.pairs_stored, grid.n_chunks - len(state.chunks)
        vector_bytes = 0
    else:
        try:
            read_bytes = state.input.stat().st_size
        except OSError:
            return Forecast()  # The reader says what is the matter.
        n_films, n_dimensions = estimate(state.input)
        grid = Grid(n_films)
        # Where the record alone is damaged, more of it may count: that is known when it is read.
        stored, n_chunks = 0, grid.n_chunks
        vector_bytes = 8 * n_films * n_dimensions
    to_compute = grid.n_pairs - stored if compute else 0
    to_export = 0 if not export or (record and state.exported) else grid.n_pairs
    seconds = read_bytes * _SECONDS_PER_BYTE
    seconds += to_compute * pair_seconds(state.kernel, n_dimensions)
    seconds += to_export * EXPORT_SECONDS
    return Forecast(
        read_bytes=read_bytes,
        pairs_to_compute=to_compute,
        pairs_to_export=to_export,
        store_bytes=8 * n_chunks * CHUNK_CELLS + vector_bytes if compute else 0,
        output_bytes=to_export * _BYTES_PER_PAIR,
        deleted_bytes=deleted,
        seconds=seconds,
    )


EXPORT_SECONDS = 75e-9
"""CPU time to write a pair as JSON."""


def pair_seconds(kernel: KernelName, n_dimensions: int) -> float:
    """CPU time to compute and store a pair, roughly."""
    return 20e-9 + (0.11e-9 if kernel == "dot" else 0.03e-9) * n_dimensions


def _stored_bytes(state: DecadeState, store: Store) -> int:
    if store.path is None:
        return 0
    total = 0
    for path in (store.path / state.name.group).rglob("*"):
        try:
            total += path.stat().st_size if path.is_file() else 0
        except OSError:
            continue  # A run at work has deleted it.
    return total
