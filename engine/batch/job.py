"""A run at work: look, read, compute, export, round after round, until nothing is left.

Resuming, retrying and repairing are the same thing here. A round looks at what is there and does
what is missing; when something was lost on the way (a worker was killed, a stored vector is
damaged), the next round looks again.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from itertools import chain

from engine.batch import notices
from engine.batch.cost import cpu_seconds, worth
from engine.batch.forecast import Steps, forecast
from engine.batch.plan import DecadeState, Settings, contradiction, look, not_computed, take
from engine.batch.preflight import check_output, short_of_space
from engine.batch.summary import DecadeSummary
from engine.data_folder import DataFolder, DecadeName
from engine.errors import EngineError, WorkersDiedError, reason
from engine.legacy_json.finalize import finalize
from engine.progress import Progress
from engine.store.record import Record
from engine.store.store import Store
from engine.work.pool import WorkerDiedError, Workers
from engine.work.tasks import BlockTask, ReadTask, Result, performer

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
    workers: Workers
    n_workers: int
    """As many as the run may use; fewer after each that died."""
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
        except WorkerDiedError as death:
            self._go_on_after(death)
        return self.again

    def _look(self) -> None:
        names = [name for name, summary in self.summaries.items() if not summary.error]
        states = look(self.folder, self.store, names, self.settings, input_needed=self.compute)
        if self.rounds == 0:
            if error := contradiction(states):
                raise EngineError(error)
            said = chain(
                notices.settings_taken(states, self.settings),
                notices.lost(states, self.store.location) if self.compute else (),
            )
            for sentence in said:
                self.progress.message(sentence)
        self.states = {state.name: state for state in states}
        for state in states:
            self._judge(state)
        if self.rounds == 0:
            steps = Steps(self.compute, self.export)
            coming = [(s.output, forecast(s, self.store, steps)) for s in self.states.values()]
            if short := short_of_space(self.store, coming):
                self.progress.message(short)

    def _judge(self, state: DecadeState) -> None:
        name, summary = state.name, self.summaries[state.name]
        if state.error:
            self._fail(name, state.error)
        elif not self.compute and not state.computed:
            self._fail(name, not_computed(state))
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
                self.progress.message(notices.mended(state, self.store.location))
        except OSError as error:
            self._fail(name, reason(error, self.store.location))
            return
        if state.record:
            self._introduce(state, state.record)
            # What a killed worker had finished, and could not tell.
            lost = state.pairs_stored - summary.pairs_resumed - summary.pairs_computed
            summary.pairs_computed += max(0, lost)

    def _introduce(self, state: DecadeState, record: Record) -> None:
        summary = self.summaries[state.name]
        summary.n_films, summary.n_pairs = record.n_films, record.grid.n_pairs
        if summary.up_to_date or state.name in self.introduced:
            return
        self.introduced.add(state.name)
        for sentence in chain(
            notices.of_vectors(state.name, record), notices.another_machine(state, record)
        ):
            self.progress.message(sentence)

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
        n = min(len(tasks), worth(self.n_workers, cpu_seconds(n_bytes=sum(sizes.values()))))
        for result in self.workers.perform_all(performer, ([task] for task in tasks), n):
            name = result.task.name
            self.progress.advance("reading", sizes[name])
            self._say_decade(name)
            self.summaries[name].seconds += result.seconds
            if result.error or result.record is None:
                self._fail(name, result.error or "", result.details)
                continue
            if result.message:
                self.progress.message(result.message)
            try:
                state = take(self.states[name], result.record, self.store)
            except OSError as error:
                self._fail(name, reason(error, self.store.location))
                continue
            assert state.record is not None
            self.states[name] = state
            summary = self.summaries[name]
            summary.pairs_resumed = max(0, state.pairs_stored - summary.pairs_computed)
            self._introduce(state, state.record)

    def _send(self, away: Callable[[Iterable[BlockTask]], Iterator[Result]]) -> None:
        """Have other machines compute what is missing; exporting is for the next round."""
        tasks = [
            task for state in self.states.values() for task in self._tasks(state, export=False)
        ]
        tasks.sort(key=lambda task: -self.states[task.name].n_pairs)
        stored = sum(state.pairs_stored for state in self.states.values())
        total = sum(state.n_pairs for state in self.states.values())
        self.progress.stage("computing", total, stored, "pairs")
        for result in away(task for task in tasks if task.name in self.states):
            self._account(result)
        self.sent = not self.again
        self.again = True

    def _work(self) -> None:
        decades: list[list[BlockTask]] = []
        seconds = 0.0
        # The largest first: the small ones fill the gaps at the end.
        for state in sorted(self.states.values(), key=lambda state: -state.n_pairs):
            try:
                found = self._tasks(state, export=self.export)
            except OSError as error:
                self._fail(state.name, reason(error, state.output))
                continue
            decades.append(found)
            seconds += sum(_cpu_seconds(task, state.record) for task in found)
            self.outstanding[state.name] = len(found)
        stored = sum(state.pairs_stored for state in self.states.values())
        tasks = [task for decade in decades for task in decade]
        if tasks and self.compute:
            total = sum(state.n_pairs for state in self.states.values())
            self.progress.stage("computing", total, stored, "pairs")
        if any(task.output for task in tasks):
            exporting = [state for state in self.states.values() if not state.exported]
            placed = sum(task.row_block_pairs for task in tasks if task.placed)
            total = sum(state.n_pairs for state in exporting)
            self.progress.stage("exporting", total, placed, "pairs")
        for name, left in list(self.outstanding.items()):
            if not left and name in self.states:
                self._finish(name)
        n = worth(self.n_workers, seconds)
        for result in self.workers.perform_all(
            performer, decades, n, lambda task: task.name in self.states
        ):
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
            self.progress.message(notices.computed_again(name, result.damaged, self.store.location))
        if result.reread and self.compute and self.rereads.get(name, 0) < _MOST_REREADS:
            if name in self.states:
                self.rereads[name] = self.rereads.get(name, 0) + 1
                self.states.pop(name)
                self.progress.message(f"{result.error}: its input is read again")
            self.again = True
            self.sent = False
        elif result.error:
            self._fail(name, result.error, result.details)
        elif name not in self.states:
            pass  # It has failed, or is to be read again.
        elif result.again:
            self.again = True
        elif result.task.output:
            if not result.task.placed:
                self.progress.advance("exporting", result.task.row_block_pairs)
            self.outstanding[name] -= 1
            if not self.outstanding[name]:
                self._finish(name)
        self._say_decade(name)

    def _say_decade(self, name: DecadeName) -> None:
        """Tell the listener at which decade the work is."""
        finished = sum(summary.is_finished(self.export) for summary in self.summaries.values())
        self.progress.decade(str(name), finished, len(self.summaries))

    def _finish(self, name: DecadeName) -> None:
        """Give the finished output its name, after the record says what it will be."""
        state = self.states[name]
        if not self.export or state.exported or state.record is None:
            return
        partial = state.partial(self.settings)
        try:
            record = finalize(partial, self.store, name, state.record, self.settings.min_similarity)
        except OSError as error:
            self._fail(name, reason(error, state.output))
            return
        if record is None or record.export is None:
            self.again = True
            return
        self.summaries[name].output_bytes = record.export.size

    def _go_on_after(self, death: WorkerDiedError) -> None:
        self.deaths += 1
        if self.deaths >= _MOST_DEATHS:
            raise WorkersDiedError(
                f"worker processes died {self.deaths} times, and the last one {death}; what was "
                "finished is in the store: run the command again with fewer --workers, or with "
                "more memory"
            ) from None
        self.n_workers = max(1, self.n_workers - 1)
        self.progress.message(f"a worker process {death}; going on with {self.n_workers}")
        self.again = True


def _cpu_seconds(task: BlockTask, record: Record | None) -> float:
    return cpu_seconds(
        n_computed=task.row_block_pairs if task.fresh else 0,
        n_dimensions=record.n_dimensions if record else 0,
        n_exported=task.row_block_pairs if task.output else 0,
    )
