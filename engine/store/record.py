"""What the store knows of a decade beside its arrays: what they were made from, and the output."""

import dataclasses
import hashlib
from dataclasses import dataclass
from typing import Any

import orjson

from engine.triangle.blocks import Grid
from engine.triangle.kernel import KernelName


@dataclass(frozen=True)
class Export:
    """What the record says of the decade's JSON file, to tell whether it is still there."""

    size: int
    """Bytes."""
    mtime_ns: int
    """Time stamp of the file, nanoseconds."""
    min_similarity: float | None
    """Pairs below were left out; None: every pair is in the file."""
    n_pairs: int
    """Pairs in the file."""


@dataclass(frozen=True)
class Record:
    """What a decade's group was made from."""

    n_films: int
    n_dimensions: int
    input_sha256: str
    """Of the bytes of the embeddings file."""
    kernel: KernelName
    normalize: bool
    machine: str
    """BLAS and CPU kind that began the similarities; another may round differently."""
    begun: str
    """When the vectors were stored, ISO 8601, UTC."""
    n_off_norm: int
    """Vectors whose norm is off 1 by more than 1e-3, as read."""
    norm_min: float
    norm_max: float
    export: Export | None = None

    @property
    def grid(self) -> Grid:
        """Geometry of the decade's triangle."""
        return Grid(self.n_films)

    @property
    def identity(self) -> str:
        """Fingerprint of the values: the same as long as no value of the group can differ."""
        return digest(dataclasses.asdict(dataclasses.replace(self, export=None)))

    def output_identity(self, min_similarity: float | None) -> str:
        """Fingerprint of the output that is made of these values."""
        # JSON has no infinity.
        return digest({"values": self.identity, "min_similarity": repr(min_similarity)})


def digest(content: dict[str, Any]) -> str:
    """SHA-256 of a value as JSON, as a hex digest."""
    return hashlib.sha256(orjson.dumps(content, option=orjson.OPT_SORT_KEYS)).hexdigest()
