"""A run at work: look, read, compute, export, round after round, until nothing is left.

Resuming, retrying and repairing are the same thing here. A round looks at what is there and does
what is missing; when something was lost on the way (a worker was killed, a stored vector is
damaged), the next round looks again.
"""

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import chain

import numpy as np

from engine.arguments import Arguments
from engine.batch import notices
from engine.batch.cost import cpu_seconds, worth
from engine.batch.plan import DecadeState, contradiction, look, not_computed, take
from engine.batch.preflight import check_output, foreseen
from engine.batch.remaining import block_tasks, input_sizes, read_task, select_task, total_seconds
from engine.batch.summary import DecadeSummary
from engine.data_folder import DecadeName
from engine.errors import EngineError, WorkersDiedError, reason
from engine.legacy_json.finalize import finalize
from engine.progress import Progress
from engine.store.record import Export, Record
from engine.store.source import Source
from engine.triangle.selection import Selection
from engine.work.pool import WorkerDiedError, Workers
from engine.work.tasks import BlockTask, Result, SelectTask, performer

_MOST_DEATHS = 3
_MOST_REREADS = 2


@dataclass
class Job:
    """A run at work."""

    source: Source
    asked: Arguments
    workers: Workers
    n_workers: int
    """As many as the run may use; fewer after each that died."""
    progress: Progress
    summaries: dict[DecadeName, DecadeSummary]
    before: dict[DecadeName, tuple[Record, Export]]
    """The outputs that were there before, with the records that knew them."""
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
    computed: bool = False
    """All that was missing was computed in a round of its own."""
    selections: dict[DecadeName, Selection] = field(default_factory=dict)
    """Of each decade the pairs to be exported, where that is known after a look at them all."""
    changed: set[DecadeName] = field(default_factory=set)
    """Decades whose output, as far as it was written, was selected among other similarities."""
    highest: dict[DecadeName, float] = field(default_factory=dict)
    """Highest similarity in the row-blocks of which no pair is exported."""

    def __post_init__(self) -> None:
        self.store = self.source.store

    def round(self) -> bool:
        """Do what is missing; True when something was lost and another round is needed."""
        self.again = False
        self._look()
        self.rounds += 1
        try:
            self._read()
            missing = any(state.missing for state in self.states.values())
            if missing and (self.away or self._selects) and not self.computed:
                self._compute()
            else:
                self._select()
                self._work()
        except WorkerDiedError as death:
            self._go_on_after(death)
        return self.again

    @property
    def _selects(self) -> bool:
        return self.asked.export and self.asked.rule.relative

    def _look(self) -> None:
        names = [name for name, summary in self.summaries.items() if not summary.error]
        states = look(self.source, names, self.asked, input_needed=self.asked.compute)
        if self.rounds == 0:
            if error := contradiction(states, self.asked):
                raise EngineError(error)
            self._tell(notices.settings_taken(states, self.asked))
            if self.asked.compute:
                self._tell(notices.lost(states, self.store.location))
        self.states = {state.name: state for state in states}
        for state in states:
            self._judge(state)
        if self.rounds == 0:
            self._tell(foreseen(list(self.states.values()), self.source, self.asked, self.before))

    def _judge(self, state: DecadeState) -> None:
        name, summary = state.name, self.summaries[state.name]
        if state.error:
            self._fail(name, state.error)
        elif not self.asked.compute and not state.computed:
            self._fail(name, not_computed(state))
        elif self.asked.export and not state.exported:
            try:
                check_output(state.output)
            except EngineError as error:
                self._fail(name, str(error))
        if self.rounds == 0:
            summary.pairs_resumed = state.pairs_stored
            summary.up_to_date = state.computed and (state.exported or not self.asked.export)
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
            self._introduce(state)
            # What a killed worker had finished, and could not tell.
            lost = state.pairs_stored - summary.pairs_resumed - summary.pairs_computed
            summary.pairs_computed += max(0, lost)

    def _introduce(self, state: DecadeState) -> None:
        summary, record = self.summaries[state.name], state.record
        assert record is not None
        summary.n_films, summary.n_pairs = record.n_films, record.grid.n_pairs
        if summary.up_to_date or state.name in self.introduced:
            return
        self.introduced.add(state.name)
        self._tell(notices.of_vectors(state.name, record))
        self._tell(notices.another_machine(state, record))

    def _tell(self, sentences: Iterable[str]) -> None:
        for sentence in sentences:
            self.progress.message(sentence)

    def _fail(self, name: DecadeName, error: str, details: str = "") -> None:
        if not self.summaries[name].error:
            self.summaries[name].error = error
            self.progress.error(error, details)
        self.states.pop(name, None)

    def _read(self) -> None:
        sizes = input_sizes(self.states.values())
        if not sizes:
            return
        total = sum(sizes.values())
        self.progress.stage("reading", total, 0, "B")
        tasks = [read_task(self.states[name], self.store) for name in sizes]
        n = min(len(tasks), worth(self.n_workers, cpu_seconds(n_bytes=total)))
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
            self.states[name] = state
            summary = self.summaries[name]
            summary.pairs_resumed = max(0, state.pairs_stored - summary.pairs_computed)
            self._introduce(state)

    def _compute(self) -> None:
        """Compute what is missing, here or on other machines; exporting is for the next round."""
        decades = [
            block_tasks(state, self.store, compute=self.asked.compute)
            for state in self._largest_first()
        ]
        self._announce_computing()
        if self.away:
            tasks = chain.from_iterable(decades)
            for result in self.away(task for task in tasks if task.name in self.states):
                self._account(result)
        else:
            self._perform(decades)
        self.computed = not self.again
        self.again = True

    def _select(self) -> None:
        """Find out which pairs are to be exported, where all of a decade are compared for it."""
        tasks = [
            select_task(state, self.store, self.asked.rule, compute=self.asked.compute)
            for state in self._largest_first()
            if self._selects and not state.exported
        ]
        if tasks:
            self.progress.stage("selecting", sum(task.n_pairs for task in tasks), 0, "pairs")
            self._perform([[task] for task in tasks])

    def _perform(self, decades: Sequence[Sequence[SelectTask | BlockTask]]) -> None:
        """Perform the tasks of some decades here, but for those that have failed by then."""
        n = worth(self.n_workers, total_seconds(chain.from_iterable(decades), self.states))
        for result in self.workers.perform_all(
            performer, decades, n, lambda task: task.name in self.states
        ):
            self._account(result)

    def _largest_first(self) -> list[DecadeState]:
        # The small ones fill the gaps at the end.
        return sorted(self.states.values(), key=lambda state: -state.n_pairs)

    def _announce_computing(self) -> None:
        stored = sum(state.pairs_stored for state in self.states.values())
        total = sum(state.n_pairs for state in self.states.values())
        self.progress.stage("computing", total, stored, "pairs")

    def _work(self) -> None:
        decades: list[list[BlockTask]] = []
        for state in self._largest_first():
            try:
                found = self._tasks(state)
            except OSError as error:
                self._fail(state.name, reason(error, state.output))
                continue
            decades.append(found)
            self.outstanding[state.name] = len(found)
        tasks = [task for decade in decades for task in decade]
        if tasks and self.asked.compute:
            self._announce_computing()
        if any(task.output for task in tasks):
            exporting = [state for state in self.states.values() if not state.exported]
            placed = sum(task.row_block_pairs for task in tasks if task.placed)
            total = sum(state.n_pairs for state in exporting)
            self.progress.stage("exporting", total, placed, "pairs")
        for name, left in list(self.outstanding.items()):
            if not left and name in self.states:
                self._finish(name)
        self._perform(decades)

    def _tasks(self, state: DecadeState) -> list[BlockTask]:
        """List what is to be done for a decade, and make its output ready for it."""
        partial = state.partial(self.asked.rule)
        if self.asked.export and not state.exported:
            if self._selects and state.name in self.changed:
                self.changed.remove(state.name)
                partial.discard()
            return block_tasks(
                state,
                self.store,
                compute=self.asked.compute,
                output=partial,
                placed=partial.prepare(),
                selection=self.asked.rule.absolute or self.selections[state.name],
            )
        if self.asked.export:
            partial.discard()
            self.summaries[state.name].output_bytes = state.output.stat().st_size
        return block_tasks(state, self.store, compute=self.asked.compute)

    def _account(self, result: Result) -> None:
        task, name = result.task, result.task.name
        summary = self.summaries[name]
        summary.seconds += result.seconds
        summary.pairs_computed += result.pairs_computed
        summary.pairs_exported += result.pairs_exported
        # What was stored but damaged is not resumed.
        left = summary.n_pairs - summary.pairs_computed
        summary.pairs_resumed = min(summary.pairs_resumed, left)
        self.progress.advance("computing", result.pairs_computed)
        if result.pairs_computed:
            self.changed.add(name)
        if result.damaged:
            self.progress.message(notices.computed_again(name, result.damaged, self.store.location))
        if result.reread and self.asked.compute and self.rereads.get(name, 0) < _MOST_REREADS:
            if name in self.states:
                self.rereads[name] = self.rereads.get(name, 0) + 1
                self.states.pop(name)
                self.progress.message(f"{result.error}: its input is read again")
            self.again = True
            self.computed = False
        elif result.error:
            self._fail(name, result.error, result.details)
        elif name not in self.states:
            pass  # It has failed, or is to be read again.
        elif result.again:
            self.again = True
        elif isinstance(task, SelectTask):
            self.progress.advance("selecting", task.n_pairs)
            if result.selection:
                self.selections[name] = result.selection
        elif isinstance(task, BlockTask) and task.output:
            if not task.placed:
                self.progress.advance("exporting", task.row_block_pairs)
            self.highest[name] = float(np.fmax(self.highest.get(name, math.nan), result.highest))
            self.outstanding[name] -= 1
            if not self.outstanding[name]:
                self._finish(name)
        self._say_decade(name)

    def _say_decade(self, name: DecadeName) -> None:
        """Tell the listener at which decade the work is."""
        finished = sum(
            summary.is_finished(self.asked.export) for summary in self.summaries.values()
        )
        self.progress.decade(str(name), finished, len(self.summaries))

    def _finish(self, name: DecadeName) -> None:
        """Give the finished output its name, after the record says what it will be."""
        state = self.states[name]
        if not self.asked.export or state.exported or state.record is None:
            return
        partial = state.partial(self.asked.rule)
        try:
            record = finalize(partial, self.store, name, state.record, self.asked.rule)
        except OSError as error:
            self._fail(name, reason(error, state.output))
            return
        if record is None or record.export is None:
            self.again = True
            return
        self.summaries[name].output_bytes = record.export.size
        if state.n_pairs and not record.export.n_pairs:
            highest = self.highest.get(name, math.nan)
            self.progress.message(notices.nothing_kept(state, self.asked.rule, highest))

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
