"""Similarities of every pair of films: parallel, resumable, exact to the byte."""

from engine.batch import Summary, run
from engine.errors import EngineError
from engine.job import DecadeSummary
from engine.progress import Progress
from engine.status import DecadeStatus, Status, status
from engine.verify import verify

__version__ = "1.0.0"

__all__ = [
    "DecadeStatus",
    "DecadeSummary",
    "EngineError",
    "Progress",
    "Status",
    "Summary",
    "__version__",
    "run",
    "status",
    "verify",
]
