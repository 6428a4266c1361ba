"""Similarities of every pair of films: parallel, resumable, exact to the byte.

What stands here is imported when it is asked for: a worker process needs a third of it, and starts
the sooner.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from engine.version import __version__

if TYPE_CHECKING:
    from engine.batch.standing import DecadeStatus, Status
    from engine.batch.status import status
    from engine.batch.summary import DecadeSummary, Summary
    from engine.calls import run, verify
    from engine.errors import EngineError, NotComputedError, NotFoundError
    from engine.progress import Progress
    from engine.query.decade import Decade
    from engine.query.similarities import Similarities, open  # noqa: A004
    from engine.triangle.selection import Pairs

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

_HOMES = {
    "Decade": "engine.query.decade",
    "DecadeStatus": "engine.batch.standing",
    "DecadeSummary": "engine.batch.summary",
    "EngineError": "engine.errors",
    "NotComputedError": "engine.errors",
    "NotFoundError": "engine.errors",
    "Pairs": "engine.triangle.selection",
    "Progress": "engine.progress",
    "Similarities": "engine.query.similarities",
    "Status": "engine.batch.standing",
    "Summary": "engine.batch.summary",
    "open": "engine.query.similarities",
    "run": "engine.calls",
    "status": "engine.batch.status",
    "verify": "engine.calls",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = globals()[name] = getattr(import_module(_HOMES[name]), name)
    return value


def __dir__() -> list[str]:
    return __all__
