"""What a person at a terminal has: bars and messages while a run works, and a way to stop it."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from engine.batch.standing import Status
    from engine.batch.summary import Summary
    from engine.terminal.progress import TerminalProgress

__all__ = ["TerminalProgress", "status_table", "summary_table"]


def summary_table(summary: "Summary") -> str:
    """Set what a run did in tables, as ``print(summary)`` does."""
    return str(summary)


def status_table(status: "Status") -> str:
    """Set what is there in tables, as ``print(status)`` does."""
    return str(status)


def __getattr__(name: str) -> Any:
    # When it is asked for: Ctrl-C has its answer (`engine.terminal.stopping`) before that.
    if name != "TerminalProgress":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return import_module(f"{__name__}.progress").TerminalProgress
