"""The run that ties the steps together: look, read, compute, export, until nothing is left.

Resuming, retrying and repairing are the same thing here. A round looks at what is there and does
what is missing; when something was lost on the way (a worker was killed, a stored vector is
damaged), the next round looks again.
"""

import os
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from engine.errors import EngineError, WorkersDiedError
from engine.folder import DataFolder, DecadeName, select
from engine.kernel import KERNELS, KernelName
from engine.lock import locked
from engine.plan import DecadeState, Settings, look
from engine.pool import TerminatedWorkerError, cpus, perform_all, stop_workers, worth
from engine.progress import Progress
from engine.store import Export, Record, Store
from engine.tasks import NORM_TOLERANCE, BlockTask, ReadTask, Result, machine

_MOST_DEATHS = 3
_MOST_REREADS = 2


@dataclass
class DecadeSummary:
    """What a run did for one decade."""

    name: DecadeName
    n_films: int = 0
    n_pairs: int = 0
    pairs_computed: int = 0
    """Computed by this run."""
    pairs_resumed: int = 0
    """Found in the store when the run began."""
    pairs_exported: int = 0
    """Written to the output by this run."""
    up_to_date: bool = False
    """There was nothing to do."""
    output_bytes: int | None = None
    """Size of the JSON; None when there is none."""
    seconds: float = 0.0
    """Wall time of the workers, summed."""
    error: str | None = None
    """Why it is not finished, in one sentence."""


@dataclass(frozen=True)
class Summary:
    """What a run did."""

    decades: list[DecadeSummary]
    seconds: float
    """Wall time of the whole run."""

    @property
    def ok(self) -> bool:
        """Whether every decade is finished."""
        return all(decade.error is None for decade in self.decades)


def run(
    data: str | os.PathLike[str] = "data",
    *,
    store: str | os.PathLike[str] | None = None,
    workers: int | None = None,
    approaches: Sequence[str] | None = None,
    decades: Sequence[str] | None = None,
    kernel: KernelName = "dot",
    normalize: bool = False,
    min_similarity: float | None = None,
    compute: bool = True,
    export: bool = True,
    restart: bool = False,
    progress: Progress | None = None,
) -> Summary:
    """Compute the similarities of all pairs of films of each decade and write them as JSON.

    What is finished, unchanged and undamaged is not done again, so that the same call goes on
    after an interruption.

    Parameters
    ----------
    data
        Root of input and output: ``embeddings/{approach}/plots_{decade}s.json`` and
        ``similarities/{approach}/similarities_{decade}s.json``.
    store
        Path or URL of the zarr store; ``similarities.zarr`` in `data` by default.
    workers
        Number of worker processes; by default, and at most, the number of CPUs available.
    approaches, decades
        Only these; all by default. Decades are years, for instance ``["1990", "2000"]``.
    kernel
        ``"dot"``: bit for bit the value of ``a @ b``; ``"gemm"``: faster, within 2e-15 of it
        (for vectors of unit length).
    normalize
        Scale every vector to unit length first.
    min_similarity
        Export only pairs at or above; all by default.
    compute
        False: export from a finished store and compute nothing.
    export
        False: fill the store and write no JSON.
    restart
        Forget what the store holds for the selected decades.
    progress
        Is told what happens; silence by default.

    Returns
    -------
    Summary
        What was done for each decade. A decade that could not be finished has an `error`, and
        does not stop the others.

    Raises
    ------
    EngineError
        When nothing can be done at all: no input, a store that is not one, a store that another
        run holds, workers that are killed again and again.
    ValueError
        When an argument is not what it should be.

    Examples
    --------
    >>> import engine
    >>> summary = engine.run("data/sample", workers=2)  # doctest: +SKIP
    >>> summary.ok  # doctest: +SKIP
    True
    """
    if kernel not in KERNELS:
        raise ValueError(f"kernel must be one of {', '.join(KERNELS)}, not {kernel!r}")
    if not (compute or export):
        raise ValueError("there is nothing to do without compute and without export")
    if workers is not None and workers < 1:
        raise ValueError(f"workers must be at least 1, not {workers}")
    begin = time.perf_counter()
    folder = DataFolder(Path(data))
    place = Store(str(folder.default_store if store is None else store))
    progress = progress or Progress()
    there = place.exists()
    names = choose(folder, place, approaches, decades, there)
    if not there and not compute:
        raise EngineError(
            f"{place.location}: there is no store to export from; run without --export-only"
        )
    if (usable := cpus()) < (workers or 1):
        progress.message(f"{workers} workers were asked for; {usable} are used, one for each CPU")
    with locked(place):
        place.create()
        place.sweep()
        if restart:
            names = _forget(folder, place, names, progress)
        job = _Job(
            folder,
            place,
            Settings(kernel, normalize, min_similarity),
            compute,
            export,
            min(workers or usable, usable),
            progress,
            {name: DecadeSummary(name) for name in names},
        )
        try:
            while job.round():
                pass
        finally:
            stop_workers()
            progress.close()
    return Summary(list(job.summaries.values()), time.perf_counter() - begin)


def choose(
    folder: DataFolder,
    store: Store,
    approaches: Sequence[str] | None,
    decades: Sequence[str] | None,
    there: bool,
) -> list[DecadeName]:
    """List the selected decades, of those that have an input or are in the store.

    Raises
    ------
    EngineError
        When there are none, or one was asked for that is not there.
    """
    known = sorted(set(folder.inputs()) | set(store.names() if there else ()))
    if not known:
        raise EngineError(
            f"{folder.embeddings}: no embeddings were found; they belong in "
            f"{folder.embeddings}/APPROACH/plots_YEARs.json, or make some up: "
            f"python scripts/synthesize.py --data {folder.root} --scale 0.1"
        )
    return select(known, approaches, decades)


def _forget(
    folder: DataFolder, store: Store, names: Iterable[DecadeName], progress: Progress
) -> list[DecadeName]:
    kept = []
    for name in names:
        store.forget(name)
        if folder.input(name).exists():
            kept.append(name)
        else:
            progress.message(f"{name}: forgotten; it has no input")
    return kept


@dataclass
class _Job:
    """A run at work."""

    folder: DataFolder
    store: Store
    settings: Settings
    compute: bool
    export: bool
    workers: int
    progress: Progress
    summaries: dict[DecadeName, DecadeSummary]
    states: dict[DecadeName, DecadeState] = field(default_factory=dict)
    outstanding: dict[DecadeName, int] = field(default_factory=dict)
    """Row-blocks of each decade that this round has still to hear of."""
    rereads: dict[DecadeName, int] = field(default_factory=dict)
    deaths: int = 0
    rounds: int = 0
    again: bool = False

    def round(self) -> bool:
        """Do what is missing; True when something was lost and another round is needed."""
        self.again = False
        self._look()
        self.rounds += 1
        try:
            self._read()
            self._work()
        except TerminatedWorkerError:
            self._bury()
        return self.again

    def _look(self) -> None:
        names = [name for name, summary in self.summaries.items() if not summary.error]
        states = look(self.folder, self.store, names, self.settings, input_needed=self.compute)
        self.states = {state.name: state for state in states}
        for state in states:
            summary = self.summaries[state.name]
            if state.error:
                self._fail(state.name, state.error)
            elif not self.compute and not state.computed:
                what = state.note or f"{state.name}: is not computed yet"
                self._fail(state.name, f"{what}; run without --export-only")
            elif state.note:
                self.progress.message(f"{state.note}: it is read and computed again")
            if self.rounds == 0:
                summary.pairs_resumed = state.pairs_stored
                summary.up_to_date = state.computed and (state.exported or not self.export)
            if state.record:
                self._introduce(state, state.record)
                # What a killed worker had finished, and could not tell.
                lost = state.pairs_stored - summary.pairs_resumed - summary.pairs_computed
                summary.pairs_computed += max(0, lost)

    def _introduce(self, state: DecadeState, record: Record) -> None:
        summary = self.summaries[state.name]
        summary.n_films, summary.n_pairs = record.n_films, record.grid.n_pairs
        if summary.up_to_date or self.rounds:
            return
        if record.n_off_norm:
            habit = "were scaled to unit length" if record.normalize else "are used as they are"
            self.progress.message(
                f"{state.name}: {record.n_off_norm} of {record.n_films} vectors are not of unit "
                f"length within {NORM_TOLERANCE} (norms {record.norm_min:.4g} to "
                f"{record.norm_max:.4g}); they {habit}"
            )
        if state.chunks and state.missing and record.machine != (here := machine()):
            self.progress.message(
                f"{state.name}: was begun with {record.machine} and goes on with {here}, which "
                "may round the last digit of a similarity differently; to have all from one, "
                f"add --restart --approach {state.name.approach} --decade {state.name.decade}"
            )

    def _fail(self, name: DecadeName, error: str, details: str = "") -> None:
        if not self.summaries[name].error:
            self.summaries[name].error = error
            self.progress.error(error, details)
        self.states.pop(name, None)

    def _read(self) -> None:
        unread = [state for state in self.states.values() if state.record is None]
        sizes = {}
        for state in unread:
            try:
                sizes[state.name] = state.input.stat().st_size
            except OSError:
                sizes[state.name] = 0  # The reader says what is the matter.
        if not unread:
            return
        unread.sort(key=lambda state: -sizes[state.name])
        self.progress.stage("reading", sum(sizes.values()), 0, "B")
        tasks = [
            ReadTask(
                self.store.location,
                state.name,
                state.input,
                self.settings.kernel,
                self.settings.normalize,
            )
            for state in unread
        ]
        workers = min(len(tasks), worth(self.workers, sum(sizes.values()) * 5e-9))
        for result in perform_all(tasks, workers):
            name = result.task.name
            self.progress.advance("reading", sizes[name])
            self.summaries[name].seconds += result.seconds
            if result.error or result.record is None:
                self._fail(name, result.error or "", result.details)
                continue
            grid = result.record.grid
            state = replace(
                self.states[name], record=result.record, missing=tuple(range(grid.n_row_blocks))
            )
            self.states[name] = state
            self._introduce(state, result.record)

    def _work(self) -> None:
        plans = []
        for state in list(self.states.values()):
            try:
                tasks = self._tasks(state)
            except OSError as error:
                self._fail(state.name, _reason(error, state.output))
                continue
            plans.append(tasks)
            self.outstanding[state.name] = len(tasks)
        stored = sum(state.pairs_stored for state in self.states.values())
        if any(plans) and self.compute:
            total = sum(state.n_pairs for state in self.states.values())
            self.progress.stage("computing", total, stored, "pairs")
        if any(task.output for tasks in plans for task in tasks):
            exporting = [state for state in self.states.values() if not state.exported]
            placed = [task.row_block_pairs for tasks in plans for task in tasks if task.placed]
            total = sum(state.n_pairs for state in exporting)
            self.progress.stage("exporting", total, sum(placed), "pairs")
        # Whole decades one after another, the largest first: a worker keeps the vectors of the
        # decade it is at, and the small ones fill the gaps at the end.
        plans.sort(key=lambda tasks: -sum(self._cost(task) for task in tasks))
        seconds = sum(self._cost(task) for tasks in plans for task in tasks)
        for name, left in list(self.outstanding.items()):
            if not left and name in self.states:
                self._finish(name)
        wanted = (task for tasks in plans for task in tasks if task.name in self.states)
        for result in perform_all(wanted, worth(self.workers, seconds)):
            self._account(result)

    def _tasks(self, state: DecadeState) -> list[BlockTask]:
        """List what is to be done for a decade, and make its output ready for it."""
        assert state.record is not None
        output, placed = None, [False] * state.record.grid.n_row_blocks
        if self.export:
            partial = state.partial(self.settings)
            if state.exported:
                partial.discard()
                self.summaries[state.name].output_bytes = state.output.stat().st_size
            else:
                placed, output = partial.prepare(), partial
        missing = set(state.missing)
        return [
            BlockTask(
                self.store.location,
                state.name,
                state.record.identity,
                block.index,
                row_block_pairs=block.n_pairs,
                fresh=block.index in missing and state.fresh(block.index),
                compute=self.compute,
                output=output,
                placed=placed[block.index] and block.index not in missing,
                min_similarity=self.settings.min_similarity,
            )
            for block in state.row_blocks()
            if output or block.index in missing
        ]

    def _cost(self, task: BlockTask) -> float:
        """Estimate the CPU seconds of a task, to see how many workers are worth their start."""
        record = self.states[task.name].record
        assert record is not None
        per_number = 0.11e-9 if record.kernel == "dot" else 0.03e-9
        kernel = 20e-9 + per_number * record.n_dimensions if task.fresh else 10e-9
        return task.row_block_pairs * (kernel + (75e-9 if task.output and not task.placed else 0))

    def _account(self, result: Result) -> None:
        assert isinstance(result.task, BlockTask)
        name = result.task.name
        summary = self.summaries[name]
        summary.seconds += result.seconds
        summary.pairs_computed += result.pairs_computed
        summary.pairs_exported += result.pairs_exported
        self.progress.advance("computing", result.pairs_computed)
        if result.damaged:
            self.progress.message(
                f"{self.store.location}: {name}: {result.damaged} damaged "
                f"chunk{'s' if result.damaged > 1 else ''} computed again"
            )
        if result.reread and self.compute and self.rereads.get(name, 0) < _MOST_REREADS:
            if name in self.states:
                self.rereads[name] = self.rereads.get(name, 0) + 1
                self.states.pop(name)
                self.store.forget(name)
                self.progress.message(f"{result.error}: the decade is read and computed again")
            self.again = True
        elif result.error:
            self._fail(name, result.error, result.details)
        elif result.again:
            self.again = True
        elif name in self.states:
            if result.task.output and not result.task.placed:
                self.progress.advance("exporting", result.task.row_block_pairs)
            self.outstanding[name] -= 1
            if not self.outstanding[name]:
                self._finish(name)

    def _finish(self, name: DecadeName) -> None:
        """Give the finished output its name, after the record says what it will be."""
        state = self.states[name]
        if not self.export or state.exported or state.record is None:
            return
        partial = state.partial(self.settings)
        try:
            finished = partial.finish()
            if finished is None:
                self.again = True
                return
            found, pairs = finished
            export = Export(found.st_size, found.st_mtime_ns, self.settings.min_similarity, pairs)
            self.store.write_record(name, replace(state.record, export=export))
            partial.appear()
        except OSError as error:
            self._fail(name, _reason(error, state.output))
            return
        self.summaries[name].output_bytes = found.st_size

    def _bury(self) -> None:
        self.deaths += 1
        if self.deaths >= _MOST_DEATHS:
            raise WorkersDiedError(
                f"worker processes were killed {self.deaths} times, probably because memory ran "
                "out; what was finished is in the store: run the command again with fewer "
                "--workers, or with more memory"
            ) from None
        self.workers = max(1, self.workers - 1)
        self.progress.message(
            "a worker process was killed, probably because memory ran out; going on with "
            f"{self.workers}"
        )
        self.again = True


def _reason(error: OSError, path: Path) -> str:
    return f"{error.filename or path}: {error.strerror or error}"
