"""What is left of a decade, as tasks: its input, the pairs to be selected, its row-blocks."""

from collections.abc import Iterable, Mapping, Sequence

from engine.batch.cost import cpu_seconds
from engine.batch.plan import DecadeState
from engine.data_folder import DecadeName
from engine.legacy_json.output import PartialOutput
from engine.store.record import Record
from engine.store.store import Store
from engine.triangle.rule import Rule
from engine.triangle.selection import Every, Selection
from engine.work.tasks import BlockTask, ReadTask, SelectTask


def input_sizes(states: Iterable[DecadeState]) -> dict[DecadeName, int]:
    """Find the decades that are to be read, the largest first, and the bytes of their inputs."""
    sizes = {}
    for state in states:
        if state.record is None:
            try:
                sizes[state.name] = state.input.stat().st_size
            except OSError:
                sizes[state.name] = 0  # The reader says what is the matter.
    return dict(sorted(sizes.items(), key=lambda item: -item[1]))


def read_task(state: DecadeState, store: Store) -> ReadTask:
    """Make the task that reads the input of a decade."""
    return ReadTask(store.location, state.name, state.input, state.kernel, state.normalize)


def block_tasks(
    state: DecadeState,
    store: Store,
    *,
    compute: bool,
    output: PartialOutput | None = None,
    written: Sequence[int] = (),
    selection: Selection | None = None,
) -> list[BlockTask]:
    """List the row-blocks of a decade that are to be computed, or written to its output.

    Parameters
    ----------
    state
        Of a decade that has been read.
    store
        Where it is stored.
    compute
        Whether what is missing may be computed.
    output
        The unfinished output, prepared; None: nothing is written.
    written
        Of each row-block how many pairs are said to be in the output.
    selection
        Which pairs are written; every one by default.
    """
    assert state.record is not None
    missing = set(state.missing)
    return [
        BlockTask(
            store.location,
            state.name,
            state.record.identity,
            block.index,
            row_block_pairs=block.n_pairs,
            fresh=block.index in missing and state.fresh(block.index),
            compute=compute,
            output=output,
            written=bool(output and written[block.index]) and block.index not in missing,
            selection=selection or Every(),
        )
        for block in state.row_blocks()
        if output or block.index in missing
    ]


def select_task(state: DecadeState, store: Store, rule: Rule, *, compute: bool) -> SelectTask:
    """Make the task that finds out which pairs of a decade a rule selects."""
    assert state.record is not None
    identity = state.record.identity
    return SelectTask(store.location, state.name, identity, state.n_pairs, compute, rule)


def total_seconds(
    tasks: Iterable[BlockTask | SelectTask], records: Mapping[DecadeName, Record | None]
) -> float:
    """Estimate the CPU time of those tasks that are of some decades."""
    return sum(_seconds(task, records[task.name]) for task in tasks if task.name in records)


def _seconds(task: BlockTask | SelectTask, record: Record | None) -> float:
    if isinstance(task, SelectTask):
        return cpu_seconds(n_selected=task.n_pairs)
    return cpu_seconds(
        n_computed=task.row_block_pairs if task.fresh else 0,
        n_dimensions=record.n_dimensions if record else 0,
        n_exported=task.row_block_pairs if task.output else 0,
    )
