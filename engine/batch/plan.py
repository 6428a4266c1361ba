"""What is done and what is left: each decade's state, judged by what lies in the folders.

Nothing is remembered between runs but the store and the outputs themselves, so this is all there
is to resuming: look, and do what is missing.
"""

import os
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path

from engine.data_folder import DataFolder, DecadeName
from engine.embeddings.reading import fingerprint, is_there
from engine.errors import DamagedError, InputError, StoreError
from engine.legacy_json.output import PartialOutput
from engine.store.record import Record
from engine.store.store import Store
from engine.triangle.blocks import RowBlock
from engine.triangle.kernel import KernelName


@dataclass(frozen=True)
class Settings:
    """What a run makes of its inputs, as far as it changes what comes out."""

    kernel: KernelName = "dot"
    normalize: bool = False
    min_similarity: float | None = None


@dataclass(frozen=True)
class DecadeState:
    """What is there of one decade."""

    name: DecadeName
    input: Path
    output: Path
    record: Record | None = None
    """None: its embeddings are to be read (again)."""
    chunks: frozenset[tuple[int, int]] = frozenset()
    """The chunks of similarities that are stored."""
    exported: bool = False
    """The output is there, unchanged, and made from this record with these settings."""
    note: str = ""
    """Why what was stored does not count, for a person."""
    error: str = ""
    """Why nothing can be done."""
    missing: tuple[int, ...] = field(default=(), repr=False)
    """Row-blocks of which a chunk is missing."""

    @property
    def computed(self) -> bool:
        """Whether every chunk is there."""
        return self.record is not None and not self.missing

    @property
    def n_pairs(self) -> int:
        """Pairs of the decade; 0 while it has not been read."""
        return self.record.grid.n_pairs if self.record else 0

    @property
    def pairs_stored(self) -> int:
        """Pairs in the chunks that are there."""
        if self.record is None:
            return 0
        if not self.missing:
            return self.n_pairs
        grid = self.record.grid
        return sum(
            chunk.n_pairs
            for row in range(grid.n_row_blocks)
            for chunk in grid.chunks(row)
            if (row, chunk.column) in self.chunks
        )

    def fresh(self, row_block: int) -> bool:
        """Whether nothing of a row-block is stored."""
        assert self.record is not None
        return not any(
            (row_block, chunk.column) in self.chunks for chunk in self.record.grid.chunks(row_block)
        )

    def row_blocks(self) -> Iterable[RowBlock]:
        """All row-blocks, the longest first."""
        return self.record.grid.row_blocks() if self.record else ()

    def partial(self, settings: Settings) -> PartialOutput:
        """The unfinished output of the decade as the settings make it."""
        assert self.record is not None
        return PartialOutput(
            self.output,
            self.record.output_identity(settings.min_similarity),
            self.record.grid.n_row_blocks,
        )


def look(
    folder: DataFolder,
    store: Store,
    names: Iterable[DecadeName],
    settings: Settings,
    *,
    input_needed: bool = True,
) -> list[DecadeState]:
    """Judge what is there of each decade.

    Parameters
    ----------
    folder
        Where inputs and outputs lie.
    store
        An existing store.
    names
        The decades to look at.
    settings
        What the decades should be made with.
    input_needed
        Whether a missing input is an error; without, the store is believed.

    Returns
    -------
    list[DecadeState]
        One for each name, in their order.
    """
    # Hashing leaves Python's lock alone, so threads do it side by side.
    with ThreadPoolExecutor(min(8, os.cpu_count() or 1)) as threads:
        return list(
            threads.map(lambda name: _look(folder, store, name, settings, input_needed), names)
        )


def _look(
    folder: DataFolder, store: Store, name: DecadeName, settings: Settings, input_needed: bool
) -> DecadeState:
    state = DecadeState(name, folder.input(name), folder.output(name))
    try:
        there = is_there(state.input)
    except InputError as error:
        return replace(state, error=str(error))
    if not there and input_needed:
        return replace(
            state,
            error=f"{state.input}: the input is gone, though the store knows it: put it back, or "
            f"forget it with --restart --approach {name.approach} --decade {name.decade}",
        )
    try:
        record = store.record(name)
        if record is None:
            return state
        found = fingerprint(state.input) if there else record.input_sha256
    except DamagedError as error:
        return replace(state, note=f"{store.location}: {name}: {error} is damaged")
    except (InputError, StoreError) as error:
        return replace(state, error=str(error))
    note = _outdated(state, record, found, settings)
    if note:
        return replace(state, note=note)
    chunks = store.chunks(name)
    missing = tuple(
        row
        for row in range(record.grid.n_row_blocks)
        if any((row, chunk.column) not in chunks for chunk in record.grid.chunks(row))
    )
    exported = _is_exported(state.output, record, settings)
    if missing or not exported:
        try:
            store.open(name)
        except DamagedError as error:
            return replace(state, note=f"{store.location}: {name}: {error} is damaged")
    return replace(
        state, record=record, chunks=frozenset(chunks), missing=missing, exported=exported
    )


def _outdated(state: DecadeState, record: Record, found: str, settings: Settings) -> str:
    if found != record.input_sha256:
        return f"{state.input}: has changed since it was read"
    if record.kernel != settings.kernel:
        return f"{state.name}: was computed with --kernel {record.kernel}"
    if record.normalize != settings.normalize:
        return f"{state.name}: was computed with{'' if record.normalize else 'out'} --normalize"
    return ""


def _is_exported(output: Path, record: Record, settings: Settings) -> bool:
    export = record.export
    if export is None or export.min_similarity != settings.min_similarity:
        return False
    try:
        found = output.stat()
    except OSError:
        return False
    return (found.st_size, found.st_mtime_ns) == (export.size, export.mtime_ns)
