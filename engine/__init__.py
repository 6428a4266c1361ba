"""Similarities of every pair of films: parallel, resumable, exact to the byte."""

from engine.batch import Summary, run
from engine.decade import Decade
from engine.errors import EngineError, NotComputedError, NotFoundError
from engine.job import DecadeSummary
from engine.progress import Progress
from engine.query import Similarities, open  # noqa: A004
from engine.status import DecadeStatus, Status, status
from engine.verify import verify

__version__ = "1.0.0"

__all__ = [
    "Decade",
    "DecadeStatus",
    "DecadeSummary",
    "EngineError",
    "NotComputedError",
    "NotFoundError",
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
