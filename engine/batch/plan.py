"""What is done and what is left: each decade's state, judged by what lies in the folders.

Nothing is remembered between runs but the store and the outputs themselves, so this is all there
is to resuming: find out what is there, and do what is missing.
"""

import hashlib
import os
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path

from engine.arguments import Arguments
from engine.data_folder import DecadeName
from engine.embeddings.reading import fingerprint, is_there
from engine.errors import DamagedError, InputError, OldFormatError, StoreError, reason
from engine.legacy_json import finalize
from engine.legacy_json.output import PartialOutput
from engine.store.record import Record
from engine.store.source import Source
from engine.store.store import Store
from engine.triangle.blocks import RowBlock
from engine.triangle.kernel import KernelName
from engine.triangle.rule import Rule


@dataclass(frozen=True)
class DecadeState:
    """What is there of one decade."""

    name: DecadeName
    input: Path
    output: Path
    kernel: KernelName = "dot"
    """With which its similarities are, or will be, computed."""
    normalize: bool = False
    record: Record | None = None
    """None: its embeddings are to be read (again)."""
    chunks: frozenset[tuple[int, int]] = frozenset()
    """The chunks of similarities that are proven to be stored."""
    content: str = ""
    """Fingerprint of the similarities that are stored, from their checksums."""
    exported: bool = False
    """The output is there, unchanged, and made from this record by the rule that is asked for."""
    obsolete: bool = False
    """What the store holds of it is to be deleted, as none of it counts any more."""
    damaged_metadata: tuple[str, ...] = ()
    """Parts whose metadata are damaged, and are to be written again."""
    damaged_checksums: int = 0
    """Row-blocks whose checksums are damaged, so that none of their chunks counts."""
    stale: str = ""
    """Why what was stored does not count any more, for a person."""
    old_format: bool = False
    """That is why: it was stored in an older format."""
    conflict: str = ""
    """The option that contradicts what the store has computed, and what that is."""
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
        return sum(grid.chunk(row, column).n_pairs for row, column in self.chunks)

    def fresh(self, row_block: int) -> bool:
        """Whether nothing of a row-block is stored."""
        assert self.record is not None
        return not any(
            (row_block, chunk.column) in self.chunks for chunk in self.record.grid.chunks(row_block)
        )

    def row_blocks(self) -> Iterable[RowBlock]:
        """All row-blocks, the longest first."""
        return self.record.grid.row_blocks() if self.record else ()

    def partial(self, rule: Rule) -> PartialOutput:
        """The unfinished output of the decade as a rule makes it."""
        assert self.record is not None
        return PartialOutput(
            self.output,
            self.record.output_identity(rule, self.content if rule.relative else ""),
            self.record.grid.n_row_blocks,
        )

    def with_record(self, record: Record, store: Store) -> "DecadeState":
        """Take a record for that of the decade, and see which chunks belong to it.

        Raises
        ------
        OSError
            When it cannot be known.
        """
        stored = store.open(self.name, record)
        checksums = stored.all_checksums()
        chunks = stored.chunks(checksums)
        # In order, and each row-block once.
        missing = dict.fromkeys(c.row for c in stored.expected() if (c.row, c.column) not in chunks)
        damaged = len(stored.damaged_checksums()) if missing else 0
        return replace(
            self,
            record=record,
            chunks=chunks,
            content=hashlib.sha256(repr(checksums).encode()).hexdigest(),
            missing=tuple(missing),
            damaged_checksums=damaged,
        )


def decade_states(
    source: Source,
    names: Iterable[DecadeName],
    asked: Arguments,
    *,
    input_needed: bool = True,
) -> list[DecadeState]:
    """Judge what is there of each decade.

    Parameters
    ----------
    source
        Where inputs and outputs lie, and an existing store.
    names
        The decades.
    asked
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
        return list(threads.map(lambda name: _state(source, name, asked, input_needed), names))


def _state(source: Source, name: DecadeName, asked: Arguments, input_needed: bool) -> DecadeState:
    folder, store = source.folder, source.store
    state = DecadeState(
        name,
        folder.input(name),
        folder.output(name),
        asked.kernel or "dot",
        bool(asked.normalize),
    )
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
        try:
            record = store.record(name)
            if record is not None:
                _ = store.open(name, record).ids  # They prove its number of films.
        except DamagedError as error:
            record = None
            state = replace(
                state,
                stale=f"{store.location}: {name}: {error}",
                old_format=isinstance(error, OldFormatError),
            )
        if record is None and not store.has_checksums(name):
            return replace(state, obsolete=True)  # Reading the input tells its fingerprint, too.
        found = fingerprint(state.input) if there else record.input_sha256 if record else ""
        if record is None:
            return _unread(state, store, asked, found)
        if found != record.input_sha256:
            return _anew(state, asked, record, f"{state.input}: has changed since it was read")
        return _read(state, store, asked, record, proof=input_needed)
    except (InputError, StoreError) as error:
        return replace(state, error=str(error))
    except OSError as error:
        return replace(state, error=f"{reason(error, store.location)} ({name})")
    except MemoryError:
        return replace(state, error=f"{name}: not enough memory to look at what is stored")


def take(state: DecadeState, record: Record, store: Store) -> DecadeState:
    """Make what was read of a decade count, with what was computed from the same before.

    Raises
    ------
    OSError
        When the store cannot be read or written.
    """
    try:
        before = store.record(state.name)
    except DamagedError:
        before = None
    if state.obsolete:
        store.forget_chunks(state.name)
    found = state.with_record(record, store)
    if before and before.identity == record.identity:
        record = replace(record, machine=before.machine, export=before.export)
    elif found.chunks:
        record = replace(record, machine="an unknown machine")
    store.write_record(state.name, record)
    return replace(found, record=record)


def _unread(state: DecadeState, store: Store, asked: Arguments, input_sha256: str) -> DecadeState:
    """Judge a decade without a record; what was computed may count when its input is read again."""
    known = store.recognize(state.name, input_sha256)
    if known is None:
        return replace(state, obsolete=True)
    kernel, normalize = known
    return replace(
        state, kernel=kernel, normalize=normalize, conflict=_conflict(asked, kernel, normalize)
    )


def _read(
    state: DecadeState, store: Store, asked: Arguments, record: Record, *, proof: bool
) -> DecadeState:
    """Judge a decade that was read, from the very input that is there now."""
    conflict = _conflict(asked, record.kernel, record.normalize)
    kept = replace(state, kernel=record.kernel, normalize=record.normalize, conflict=conflict)
    judged = kept.with_record(record, store)
    if conflict and not judged.chunks:  # Nothing is lost.
        return _anew(state, asked, record, f"{state.name}: was read for other settings")
    judged = replace(
        judged,
        exported=record.export is not None
        and record.export.rule == asked.rule
        and finalize.is_there(state.output, record.export),
        damaged_metadata=tuple(store.damaged_metadata(record)),
    )
    if proof and not (judged.exported and judged.computed):  # Else there is no use for vectors.
        try:
            store.open(state.name, record).check_vectors()
        except DamagedError as error:
            return replace(kept, stale=f"{store.location}: {state.name}: {error}")
    return judged


def _anew(state: DecadeState, asked: Arguments, record: Record, why: str) -> DecadeState:
    """Judge a decade of which nothing counts but the settings that nobody contradicts."""
    return replace(
        state,
        kernel=asked.kernel or record.kernel,
        normalize=record.normalize if asked.normalize is None else asked.normalize,
        obsolete=True,
        stale=why,
    )


def _conflict(asked: Arguments, kernel: KernelName, normalize: bool) -> str:
    if asked.kernel not in (None, kernel):
        return f"--kernel {asked.kernel} contradicts the store, which has --kernel {kernel}"
    if asked.normalize not in (None, normalize):
        return (
            "--normalize contradicts the store, which has no --normalize"
            if asked.normalize
            else "normalize=False contradicts the store, which has --normalize"
        )
    return ""


def contradiction(states: Iterable[DecadeState], asked: Arguments) -> str:
    """Say which option contradicts what is computed, and what it would cost; empty when none does.

    What was computed is never deleted because an option was given or forgotten.
    """
    against = [state for state in states if state.conflict]
    if not against:
        return ""
    pairs = sum(state.pairs_stored for state in against)
    # Without a record it is known that there are pairs, not how many.
    deleted = f"{pairs:,} computed pairs" if pairs else "what is computed"
    restart = "--restart" if asked.compute else "--restart instead of --export-only"
    return (
        f"{against[0].conflict} for {some(against)}: leave the option out to keep that, or add "
        f"{restart} to delete {deleted} and compute anew"
    )


def some(states: Sequence[DecadeState]) -> str:
    """Name the first of some decades, and say how many more there are."""
    more = f" and {len(states) - 1} more" if len(states) > 1 else ""
    return f"{states[0].name}{more}"


def not_computed(state: DecadeState) -> str:
    """Say why a decade cannot be exported without being computed."""
    what = state.stale or f"{state.name}: is not computed yet"
    return f"{what}; run without --export-only"
