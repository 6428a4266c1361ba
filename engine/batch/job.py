"""A run at work: what is there, read, compute, export, in rounds until nothing is left.

Resuming, retrying and repairing are the same thing here. A round finds out what is there and does
what is missing; when something was lost on the way (a worker was killed, a stored vector is
damaged), the next round finds out again.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import closing, suppress
from dataclasses import dataclass, field
from itertools import chain

from engine.arguments import Arguments
from engine.batch import notices
from engine.batch.cost import cpu_seconds, worth
from engine.batch.decade_job import DecadeJob
from engine.batch.plan import contradiction, decade_states, not_computed, take
from engine.batch.preflight import check_output, foreseen
from engine.batch.remaining import block_tasks, input_sizes, read_task, select_task, total_seconds
from engine.batch.summary import DecadeSummary
from engine.data_folder import DecadeName
from engine.errors import EngineError, WorkersDiedError, reason
from engine.legacy_json.finalize import finalize
from engine.progress import Progress
from engine.store.record import Export, Record
from engine.store.source import Source
from engine.work.pool import WorkerDiedError, Workers
from engine.work.tasks import BlockTask, Result, SelectTask, performer

_MOST_DEATHS = 3


@dataclass
class Job:
    """A run at work."""

    source: Source
    asked: Arguments
    workers: Workers
    n_workers: int
    """As many as the run may use; fewer after each that died."""
    progress: Progress
    summaries: Mapping[DecadeName, DecadeSummary]
    before: Mapping[DecadeName, tuple[Record, Export]]
    """The outputs that were there before, with the records that knew them."""
    on_cluster: Callable[[Iterable[BlockTask]], Iterator[Result]] | None = None
    """Performs tasks on other machines, which see the store alone."""
    _decades: dict[DecadeName, DecadeJob] = field(default_factory=dict, init=False)
    _deaths: int = field(default=0, init=False)
    _again: bool = field(default=False, init=False)
    """Something was lost, and another round is needed."""
    _computed: bool = field(default=False, init=False)
    """All that was missing was computed in a round of its own."""

    def __post_init__(self) -> None:
        self.store = self.source.store

    def round(self) -> bool:
        """Do what is missing; True when something was lost and another round is needed."""
        self._again = False
        self._refresh()
        try:
            self._read()
            missing = any(decade.state.missing for decade in self._active())
            if missing and (self.on_cluster or self._selects) and not self._computed:
                self._compute()
            else:
                self._select()
                self._work()
        except WorkerDiedError as death:
            self._go_on_after(death)
        if not self._again:
            self._count_failed()
        return self._again

    @property
    def _selects(self) -> bool:
        return self.asked.export and self.asked.rule.relative

    def _active(self) -> list[DecadeJob]:
        """The decades that this round goes on with, the largest first."""
        # The small ones fill the gaps at the end.
        active = [decade for decade in self._decades.values() if decade.active]
        return sorted(active, key=lambda decade: -decade.state.n_pairs)

    def _refresh(self) -> None:
        first = not self._decades
        names = [name for name, summary in self.summaries.items() if not summary.error]
        states = decade_states(self.source, names, self.asked, input_needed=self.asked.compute)
        if first:
            if error := contradiction(states, self.asked):
                raise EngineError(error)
            self._tell(notices.settings_taken(states, self.asked))
            if self.asked.compute:
                self._tell(notices.lost(states, self.store.location))
        for state in states:
            if first:
                self._decades[state.name] = DecadeJob(state, self.summaries[state.name])
            self._decades[state.name].begin_round(state)
            self._judge(self._decades[state.name], first)
        if first:
            active = [decade.state for decade in self._decades.values() if decade.active]
            self._tell(foreseen(active, self.source, self.asked, self.before))

    def _judge(self, decade: DecadeJob, first: bool) -> None:
        state, summary = decade.state, decade.summary
        if state.error:
            self._fail(decade, state.error)
        elif not self.asked.compute and not state.computed:
            self._fail(decade, not_computed(state))
        elif self.asked.export and not state.exported:
            try:
                check_output(state.output)
            except EngineError as error:
                self._fail(decade, str(error))
        if first:
            summary.pairs_resumed = state.pairs_stored
            summary.up_to_date = state.computed and (state.exported or not self.asked.export)
        if not decade.active:
            return
        try:
            if not summary.up_to_date:
                self.store.sweep(state.name)
            if state.record and state.damaged_metadata:
                self.store.mend_metadata(state.record)
                self.progress.message(notices.mended(state, self.store.location))
        except OSError as error:
            self._fail(decade, reason(error, self.store.location))
            return
        if state.record:
            self._introduce(decade, state.record)
            decade.count_unreported()

    def _introduce(self, decade: DecadeJob, record: Record) -> None:
        summary = decade.summary
        summary.n_films, summary.n_pairs = record.n_films, record.grid.n_pairs
        if summary.up_to_date or decade.introduced:
            return
        decade.introduced = True
        self._tell(notices.of_vectors(decade.name, record))
        self._tell(notices.another_machine(decade.state, record))

    def _tell(self, sentences: Iterable[str]) -> None:
        for sentence in sentences:
            self.progress.message(sentence)

    def _fail(self, decade: DecadeJob, error: str, details: str = "") -> None:
        decade.summary.error = error
        self.progress.error(error, details)

    def _read(self) -> None:
        sizes = input_sizes(decade.state for decade in self._active())
        if not sizes:
            return
        total = sum(sizes.values())
        self.progress.stage("reading", total, 0, "B")
        tasks = [read_task(self._decades[name].state, self.store) for name in sizes]
        n = min(len(tasks), worth(self.n_workers, cpu_seconds(n_bytes=total)))
        for result in self.workers.perform_all(performer, ([task] for task in tasks), n):
            decade = self._decades[result.task.name]
            self.progress.advance("reading", sizes[decade.name])
            self._say_decade(decade)
            decade.summary.seconds += result.seconds
            if result.error or result.record is None:
                self._fail(decade, result.error or "", result.details)
                continue
            if result.message:
                self.progress.message(result.message)
            try:
                state = take(decade.state, result.record, self.store)
            except OSError as error:
                self._fail(decade, reason(error, self.store.location))
                continue
            decade.state, summary = state, decade.summary
            summary.pairs_resumed = max(0, state.pairs_stored - summary.pairs_computed)
            self._introduce(decade, result.record)

    def _compute(self) -> None:
        """Compute what is missing, here or on other machines; exporting is for the next round."""
        decades = [
            block_tasks(decade.state, self.store, compute=self.asked.compute)
            for decade in self._active()
        ]
        self._announce_computing()
        if self.on_cluster:
            tasks = chain.from_iterable(decades)
            for result in self.on_cluster(task for task in tasks if self._wanted(task)):
                self._account(result)
        else:
            self._perform(decades)
        self._computed = not self._again
        self._again = True

    def _select(self) -> None:
        """Find out which pairs are to be exported, where all of a decade are compared for it."""
        tasks = [
            select_task(decade.state, self.store, self.asked.rule, compute=self.asked.compute)
            for decade in self._active()
            if self._selects and not decade.state.exported
        ]
        if tasks:
            self.progress.stage("selecting", sum(task.n_pairs for task in tasks), 0, "pairs")
            self._perform([[task] for task in tasks])

    def _perform(self, decades: Sequence[Sequence[SelectTask | BlockTask]]) -> None:
        """Perform the tasks of some decades here, but for those that have failed by then."""
        records = {decade.name: decade.state.record for decade in self._active()}
        n = worth(self.n_workers, total_seconds(chain.from_iterable(decades), records))
        with closing(self.workers.perform_all(performer, decades, n, self._wanted)) as results:
            for result in results:
                self._account(result)
                if result.error and isinstance(result.task, BlockTask) and result.task.output:
                    # Others may wait for the length of its text: leaving ends them.
                    self._again = True
                    break

    def _count_failed(self) -> None:
        """Count what workers that were ended have done of decades that have failed since."""
        for decade in self._decades.values():
            state = decade.state
            if decade.summary.error and decade.introduced and state.record:
                # What failed the decade may come again: then what was told is counted.
                with suppress(OSError):
                    self.store.sweep(state.name)
                with suppress(OSError, MemoryError):
                    decade.look_again(self.store)
                    decade.count_unreported()
                    decade.count_written(sum(decade.state.partial(self.asked.rule).written()))

    def _wanted(self, task: SelectTask | BlockTask) -> bool:
        return self._decades[task.name].active

    def _announce_computing(self) -> None:
        active = self._active()
        stored = sum(decade.state.pairs_stored for decade in active)
        self.progress.stage(
            "computing", sum(decade.state.n_pairs for decade in active), stored, "pairs"
        )

    def _work(self) -> None:
        decades: list[list[BlockTask]] = []
        for decade in self._active():
            try:
                tasks = self._tasks(decade)
            except OSError as error:
                self._fail(decade, reason(error, decade.state.output))
                continue
            decades.append(tasks)
            decade.outstanding = len(tasks)
        all_tasks = list(chain.from_iterable(decades))
        if all_tasks and self.asked.compute:
            self._announce_computing()
        if any(task.output for task in all_tasks):
            written = sum(task.row_block_pairs for task in all_tasks if task.written)
            total = sum(d.state.n_pairs for d in self._active() if not d.state.exported)
            self.progress.stage("exporting", total, written, "pairs")
        for decade in self._active():
            if not decade.outstanding:
                self._finish(decade)
        self._perform(decades)

    def _tasks(self, decade: DecadeJob) -> list[BlockTask]:
        """List what is to be done for a decade, and make its output ready for it."""
        if self._selects:
            decade.look_again(self.store)  # What was damaged was computed, then selected among.
        state, rule = decade.state, self.asked.rule
        partial = state.partial(rule)
        if self.asked.export and not state.exported:
            selection = rule.absolute or decade.selection
            assert selection is not None  # Else selecting has failed, and the decade with it.
            written = partial.prepare()
            decade.count_written(sum(written))
            return block_tasks(
                state,
                self.store,
                compute=self.asked.compute,
                output=partial,
                written=written,
                selection=selection,
            )
        if self.asked.export:
            partial.discard()
            decade.summary.output_bytes = state.output.stat().st_size
        return block_tasks(state, self.store, compute=self.asked.compute)

    def _account(self, result: Result) -> None:
        task, decade = result.task, self._decades[result.task.name]
        decade.count(result)
        self.progress.advance("computing", result.pairs_computed)
        if result.damaged:
            self.progress.message(
                notices.computed_again(decade.name, result.damaged, self.store.location)
            )
        if not decade.active:
            pass  # It has failed, or is to be read again.
        elif result.reread and self.asked.compute and decade.wait():
            self.progress.message(f"{result.error}: its input is read again")
            self._again = True
            self._computed = False
        elif result.error:
            self._fail(decade, result.error, result.details)
        elif isinstance(task, SelectTask):
            self.progress.advance("selecting", task.n_pairs)
            decade.selection = result.selection
        elif isinstance(task, BlockTask) and task.output:
            if not task.written:
                self.progress.advance("exporting", task.row_block_pairs)
            decade.outstanding -= 1
            if not decade.outstanding:
                self._finish(decade)
        self._say_decade(decade)

    def _say_decade(self, decade: DecadeJob) -> None:
        """Tell the listener at which decade the work is."""
        finished = sum(
            summary.is_finished(self.asked.export) for summary in self.summaries.values()
        )
        self.progress.decade(str(decade.name), finished, len(self.summaries))

    def _finish(self, decade: DecadeJob) -> None:
        """Give the finished output its name, after the record says what it will be."""
        state, rule = decade.state, self.asked.rule
        if not self.asked.export or state.exported or state.record is None:
            return
        try:
            if self._selects and not decade.look_again(self.store):
                self._again = True  # What is written was selected among other similarities.
                return
            record = finalize(state.partial(rule), self.store, state.name, state.record, rule)
        except OSError as error:
            self._fail(decade, reason(error, state.output))
            return
        if record is None or record.export is None:
            self._again = True
            return
        decade.finish(record.export)
        if state.n_pairs and not record.export.n_pairs:
            self.progress.message(notices.nothing_kept(state, rule, decade.highest))

    def _go_on_after(self, death: WorkerDiedError) -> None:
        self._deaths += 1
        if self._deaths >= _MOST_DEATHS:
            raise WorkersDiedError(
                f"worker processes died {self._deaths} times, and the last one {death}; what was "
                "finished is in the store: run the command again with fewer --workers, or with "
                "more memory"
            ) from None
        self.n_workers = max(1, self.n_workers - 1)
        self.progress.message(f"a worker process {death}; going on with {self.n_workers}")
        self._again = True
