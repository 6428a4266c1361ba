"""One decade of a run at work: what is there of it, what was reported of it, what became of it."""

import math
from dataclasses import dataclass

import numpy as np

from engine.batch.plan import DecadeState
from engine.batch.summary import DecadeSummary
from engine.data_folder import DecadeName
from engine.store.record import Export
from engine.store.store import Store
from engine.triangle.selection import Selection
from engine.work.tasks import Result

_MOST_REREADS = 2


@dataclass
class DecadeJob:
    """One decade of a run at work."""

    state: DecadeState
    """What was there when the round began, with what has been read since."""
    summary: DecadeSummary
    waiting: bool = False
    """Its input is to be read again, in the next round."""
    rereads: int = 0
    """How often it was."""
    introduced: bool = False
    """What is worth knowing of it was said."""
    outstanding: int = 0
    """Row-blocks that this round has still to hear of."""
    selection: Selection | None = None
    """The pairs to be exported, where that is known after a look at them all."""
    written_before: int | None = None
    """Pairs that earlier runs had written to the unfinished output."""
    highest: float = math.nan
    """Highest similarity in the row-blocks of which no pair is exported."""

    @property
    def name(self) -> DecadeName:
        """Of approach and decade."""
        return self.state.name

    @property
    def active(self) -> bool:
        """Whether this round goes on with it: it has not failed, and waits for no other."""
        return self.summary.error is None and not self.waiting

    def begin_round(self, state: DecadeState) -> None:
        """Begin a round with what is there now."""
        self.state, self.waiting = state, False

    def look_again(self, store: Store) -> bool:
        """See what is stored by now; False when the similarities are others than before.

        Raises
        ------
        OSError
            When it cannot be known.
        """
        before = self.state
        assert before.record is not None
        self.state = before.with_record(before.record, store)
        return self.state.content == before.content

    def count(self, result: Result) -> None:
        """Add what a worker has computed and exported."""
        summary = self.summary
        summary.seconds += result.seconds
        summary.pairs_computed += result.pairs_computed
        summary.pairs_exported += result.pairs_exported
        # What was stored but damaged is not resumed.
        left = max(0, summary.n_pairs - summary.pairs_computed)
        summary.pairs_resumed = min(summary.pairs_resumed, left)
        self.highest = float(np.fmax(self.highest, result.highest))

    def count_unreported(self) -> None:
        """Add what workers that were ended had computed, and could not tell."""
        known = self.summary.pairs_resumed + self.summary.pairs_computed
        self.summary.pairs_computed += max(0, self.state.pairs_stored - known)

    def count_written(self, n_pairs: int) -> None:
        """Add what workers that were ended had written, of all that is written now.

        The first time, before any has begun, that is what earlier runs have written.
        """
        if self.written_before is None:
            self.written_before = n_pairs
        exported = n_pairs - self.written_before
        self.summary.pairs_exported = max(self.summary.pairs_exported, exported)

    def finish(self, export: Export) -> None:
        """Take over what the finished output has; what was written twice counts once."""
        self.summary.output_bytes = export.size
        self.summary.pairs_exported = min(self.summary.pairs_exported, export.n_pairs)

    def wait(self) -> bool:
        """Have the input read again in the next round; False when that was done too often."""
        if self.rereads >= _MOST_REREADS:
            return False
        self.rereads += 1
        self.waiting = True
        return True
