"""Similarities of every pair of films: parallel, resumable, exact to the byte."""

from engine.batch.run import run
from engine.batch.standing import DecadeStatus, Status
from engine.batch.status import status
from engine.batch.summary import DecadeSummary, Summary
from engine.batch.verify import verify
from engine.errors import EngineError, NotComputedError, NotFoundError
from engine.progress import Progress
from engine.query.decade import Decade
from engine.query.similarities import Similarities, open  # noqa: A004
from engine.triangle.selection import Pairs
from engine.version import __version__

__all__ = [
    "Decade",
    "DecadeStatus",
    "DecadeSummary",
    "EngineError",
    "NotComputedError",
    "NotFoundError",
    "Pairs",
    "Progress",
    "Similarities",
    "Status",
    "Summary",
    "__version__",
    "open",
    "run",
    "status",
    "verify",
]
