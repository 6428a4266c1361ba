"""What a run would do with a decade: how much it reads, computes, writes and deletes.

Exact where the input has been read, and an estimate from the beginning of the file where not.
"""

from dataclasses import dataclass

from engine.arguments import Arguments
from engine.batch.cost import cpu_seconds
from engine.batch.plan import DecadeState
from engine.embeddings.reading import estimate
from engine.store.store import Store
from engine.triangle.blocks import CHUNK_CELLS, Grid

BYTES_PER_PAIR = 40
"""Of JSON, with ids of up to eight digits."""


@dataclass(frozen=True)
class Forecast:
    """What a run would do with a decade; nothing of one that is finished, or will fail."""

    read_bytes: int = 0
    """Of the input, which is read (again)."""
    pairs_to_compute: int = 0
    pairs_to_export: int = 0
    """At most: how many are at or above a similarity is not known."""
    store_bytes: int = 0
    """That the store grows by."""
    output_bytes: int = 0
    """Of the JSON, with all those pairs."""
    deleted_bytes: int = 0
    """Of the store, which do not count any more; 0 where they cannot be counted, behind a URL."""
    seconds: float = 0.0
    """CPU time, roughly."""


def forecast(state: DecadeState, store: Store, asked: Arguments) -> Forecast:
    """Say what a run of these arguments would do with a decade."""
    deleted = _stored_bytes(state, store) if asked.restart or state.obsolete else 0
    record = None if asked.restart else state.record
    read_bytes = 0
    if record:
        grid, n_dimensions = record.grid, record.n_dimensions
        stored, n_chunks = state.pairs_stored, grid.n_chunks - len(state.chunks)
        vector_bytes = 0
    else:
        try:
            read_bytes = state.input.stat().st_size
        except OSError:
            return Forecast(deleted_bytes=deleted)  # The reader says what is the matter.
        n_films, n_dimensions = estimate(state.input)
        grid = Grid(n_films)
        # Where the record alone is damaged, more of it may count: that is known when it is read.
        stored, n_chunks = 0, grid.n_chunks
        vector_bytes = 8 * n_films * n_dimensions
    to_compute = grid.n_pairs - stored if asked.compute else 0
    exports = asked.export and not (record and state.exported)
    to_export = asked.rule.most(grid.n_films) if exports else 0
    seconds = cpu_seconds(
        n_bytes=read_bytes,
        n_computed=to_compute,
        n_dimensions=n_dimensions,
        n_selected=grid.n_pairs if exports and asked.rule.relative else 0,
        n_exported=to_export,
    )
    return Forecast(
        read_bytes=read_bytes,
        pairs_to_compute=to_compute,
        pairs_to_export=to_export,
        store_bytes=8 * n_chunks * CHUNK_CELLS + vector_bytes if asked.compute else 0,
        output_bytes=to_export * BYTES_PER_PAIR,
        deleted_bytes=deleted,
        seconds=seconds,
    )


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
