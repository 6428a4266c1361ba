"""What a run did, as a value for whoever started it."""

from dataclasses import dataclass, field
from pathlib import Path

from engine.data_folder import DecadeName


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
    output: Path | None = None
    """Where the JSON lies, or will lie."""


@dataclass(frozen=True)
class Summary:
    """What a run did."""

    decades: list[DecadeSummary]
    seconds: float
    """Wall time of the whole run."""
    min_similarity: float | None = None
    """Pairs below were left out of the outputs; None: every pair is in them."""
    errors: list[str] = field(default_factory=list)
    """Why the folder of an approach could not be used, a sentence for each."""

    @property
    def ok(self) -> bool:
        """Whether every decade is finished, and no folder had to be left out."""
        return not self.errors and all(decade.error is None for decade in self.decades)
