"""A run at work: look, read, compute, export, round after round, until nothing is left.

Resuming, retrying and repairing are the same thing here. A round looks at what is there and does
what is missing; when something was lost on the way (a worker was killed, a stored vector is
damaged), the next round looks again.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from engine.batch.notices import notices
from engine.batch.plan import DecadeState, Settings, contradiction, look
from engine.batch.preflight import check_output, short_of_space
from engine.batch.summary import DecadeSummary
from engine.data_folder import DataFolder, DecadeName
from engine.errors import DamagedError, EngineError, WorkersDiedError
from engine.progress import Progress
from engine.store.record import Export, Record
from engine.store.store import Store
from engine.triangle.blas import machine
from engine.work.pool import TerminatedWorkerError, batches, perform_all, worth
from engine.work.tasks import BlockTask, ReadTask, Result, perform, perform_batch

_MOST_DEATHS = 3
_MOST_REREADS = 2


@dataclass
class Job:
    """A run at work."""

    folder: DataFolder
    store: Store
    settings: Settings
    compute: bool
    export: bool
    workers: int
    progress: Progress
    summaries: dict[DecadeName, DecadeSummary]
    away: Callable[[Iterable[BlockTask]], Iterator[Result]] | None = None
    """Performs tasks on other machines, which see the store alone."""
    states: dict[DecadeName, DecadeState] = field(default_factory=dict)
    outstanding: dict[DecadeName, int] = field(default_factory=dict)
    """Row-blocks of each decade that this round has still to hear of."""
    introduced: set[DecadeName] = field(default_factory=set)
    """Decades of which was said what is worth knowing."""
    rereads: dict[DecadeName, int] = field(default_factory=dict)
    deaths: int = 0
    rounds: int = 0
    again: bool = False
    sent: bool = False
    """Other machines have done all that was missing."""

    def round(self) -> bool:
        """Do what is missing; True when something was lost and another round is needed."""
        self.again = False
        self._look()
        self.rounds += 1
        try:
            self._read()
            if self.away and not self.sent and any(s.missing for s in self.states.values()):
                self._send(self.away)
            else:
                self._work()
        except TerminatedWorkerError:
            self._bury()
        return self.again

    def _look(self) -> None:
        names = [name for name, summary in self.summaries.items() if not summary.error]
        states = look(self.folder, self.store, names, self.settings, input_needed=self.compute)
        if self.rounds == 0:
            if error := contradiction(states):
                raise EngineError(error)
            self._say_settings(states)
            if self.compute:
                self._say_notes(states)
        self.states = {state.name: state for state in states}
        for state in states:
            self._judge(state)

    def _judge(self, state: DecadeState) -> None:
        name, summary = state.name, self.summaries[state.name]
        if state.error:
            self._fail(name, state.error)
        elif not self.compute and not state.computed:
            what = state.note or f"{name}: is not computed yet"
            self._fail(name, f"{what}; run without --export-only")
        elif self.export and not state.exported:
            try:
                check_output(state.output)
            except EngineError as error:
                self._fail(name, str(error))
        if self.rounds == 0:
            summary.pairs_resumed = state.pairs_stored
            summary.up_to_date = state.computed and (state.exported or not self.export)
        if name not in self.states:
            return
        try:
            if not summary.up_to_date:
                self.store.sweep(name)
            if state.record and state.damaged_metadata:
                self.store.mend_metadata(state.record)
                parts = ", ".join(state.damaged_metadata)
                self.progress.message(
                    f"{self.store.location}: {name}: the metadata of {parts} were damaged and are "
                    "written again"
                )
        except OSError as error:
            self._fail(name, _reason(error, Path(self.store.location)))
            return
        if state.record:
            self._introduce(state, state.record)
            # What a killed worker had finished, and could not tell.
            lost = state.pairs_stored - summary.pairs_resumed - summary.pairs_computed
            summary.pairs_computed += max(0, lost)

    def _say_settings(self, states: Iterable[DecadeState]) -> None:
        """Say which settings are taken from the store though nobody asked for them."""
        taken: dict[str, list[DecadeState]] = {}
        for state in states:
            options = []
            if self.settings.kernel is None and state.kernel != "dot":
                options.append(f"--kernel {state.kernel}")
            if self.settings.normalize is None and state.normalize:
                options.append("--normalize")
            if options:
                taken.setdefault(" ".join(options), []).append(state)
        for words, those in taken.items():
            self.progress.message(f"{_names(those)}: with {words}, as the store has it")

    def _say_notes(self, states: Iterable[DecadeState]) -> None:
        """Say what does not count any more; of a store of an older format in one sentence."""
        of_old_format = [state for state in states if state.old_format]
        for state in states:
            if state.note and state not in of_old_format[1:]:
                more = of_old_format[1:] if state.old_format else []
                others = f" (as were {len(more)} more decades)" if more else ""
                what = (
                    "it is read and computed again" if state.obsolete else "its input is read again"
                )
                self.progress.message(f"{state.note}{others}: {what}")
            if n := state.damaged_checksums:
                self.progress.message(
                    f"{self.store.location}: {state.name}: the checksums of {n} "
                    f"row-block{'s' if n > 1 else ''} are damaged: computed again"
                )

    def _introduce(self, state: DecadeState, record: Record) -> None:
        summary = self.summaries[state.name]
        summary.n_films, summary.n_pairs = record.n_films, record.grid.n_pairs
        if summary.up_to_date or state.name in self.introduced:
            return
        self.introduced.add(state.name)
        for notice in notices(state.name, record):
            self.progress.message(notice)
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
                state.kernel,
                state.normalize,
            )
            for state in unread
        ]
        workers = min(len(tasks), worth(self.workers, sum(sizes.values()) * 5e-9))
        for result in perform_all(perform, tasks, workers):
            name = result.task.name
            self.progress.advance("reading", sizes[name])
            self.summaries[name].seconds += result.seconds
            if result.error or result.record is None:
                self._fail(name, result.error or "", result.details)
                continue
            if result.message:
                self.progress.message(result.message)
            try:
                state = self._take(self.states[name], result.record)
            except OSError as error:
                self._fail(name, _reason(error, Path(self.store.location)))
                continue
            assert state.record is not None
            self.states[name] = state
            summary = self.summaries[name]
            summary.pairs_resumed = max(0, state.pairs_stored - summary.pairs_computed)
            self._introduce(state, state.record)

    def _take(self, state: DecadeState, record: Record) -> DecadeState:
        """Make what was read of a decade count, with what was computed from the same before."""
        try:
            before = self.store.record(state.name)
        except DamagedError:
            before = None
        if state.obsolete:
            self.store.forget_chunks(state.name)
        found = state.with_record(record, self.store)
        if before and before.identity == record.identity:
            record = replace(record, machine=before.machine, export=before.export)
        elif found.chunks:
            record = replace(record, machine="an unknown machine")
        self.store.write_record(state.name, record)
        return replace(found, record=record)

    def _send(self, away: Callable[[Iterable[BlockTask]], Iterator[Result]]) -> None:
        """Have other machines compute what is missing; exporting is for the next round."""
        tasks = [
            task for state in self.states.values() for task in self._tasks(state, export=False)
        ]
        tasks.sort(key=lambda task: -self.states[task.name].n_pairs)
        if warning := short_of_space(self.store, self.states.values(), compute=True, export=False):
            self.progress.message(warning)
        stored = sum(state.pairs_stored for state in self.states.values())
        total = sum(state.n_pairs for state in self.states.values())
        self.progress.stage("computing", total, stored, "pairs")
        for result in away(task for task in tasks if task.name in self.states):
            self._account(result)
        self.sent = not self.again
        self.again = True

    def _work(self) -> None:
        plans = []
        for state in list(self.states.values()):
            try:
                tasks = self._tasks(state, export=self.export)
            except OSError as error:
                self._fail(state.name, _reason(error, state.output))
                continue
            plans.append(tasks)
            self.outstanding[state.name] = len(tasks)
        if warning := short_of_space(
            self.store, self.states.values(), compute=self.compute, export=self.export
        ):
            self.progress.message(warning)
        stored = sum(state.pairs_stored for state in self.states.values())
        if any(plans) and self.compute:
            total = sum(state.n_pairs for state in self.states.values())
            self.progress.stage("computing", total, stored, "pairs")
        if any(task.output for tasks in plans for task in tasks):
            exporting = [state for state in self.states.values() if not state.exported]
            placed = [task.row_block_pairs for tasks in plans for task in tasks if task.placed]
            total = sum(state.n_pairs for state in exporting)
            self.progress.stage("exporting", total, sum(placed), "pairs")
        for name, left in list(self.outstanding.items()):
            if not left and name in self.states:
                self._finish(name)
        seconds = sum(self._cost(task) for tasks in plans for task in tasks)
        workers = worth(self.workers, seconds)
        wanted = (
            batch for batch in batches(plans, self._cost, workers) if batch[0].name in self.states
        )
        for results in perform_all(perform_batch, wanted, workers):
            for result in results:
                self._account(result)

    def _tasks(self, state: DecadeState, *, export: bool) -> list[BlockTask]:
        """List what is to be done for a decade, and make its output ready for it."""
        assert state.record is not None
        output, placed = None, [False] * state.record.grid.n_row_blocks
        if export:
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
        # What was stored but damaged is not resumed.
        left = summary.n_pairs - summary.pairs_computed
        summary.pairs_resumed = min(summary.pairs_resumed, left)
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
                self.progress.message(f"{result.error}: its input is read again")
            self.again = True
            self.sent = False
        elif result.error:
            self._fail(name, result.error, result.details)
        elif result.again:
            self.again = True
        elif result.task.output and name in self.states:
            if not result.task.placed:
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


def _names(states: Sequence[DecadeState]) -> str:
    """Name the first of some decades, and say how many more there are."""
    more = f" and {len(states) - 1} more" if len(states) > 1 else ""
    return f"{states[0].name}{more}"


def _reason(error: OSError, path: Path) -> str:
    return f"{error.filename or path}: {error.strerror or error}"
