"""What a person sees: bars and messages while a run works, a table when it is done."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from engine.terminal.progress import TerminalProgress
    from engine.terminal.tables import status_table, summary_table, table

__all__ = ["TerminalProgress", "status_table", "summary_table", "table"]


def __getattr__(name: str) -> Any:
    # When it is asked for: Ctrl-C has its answer (`engine.terminal.stopping`) before that.
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    home = "progress" if name == "TerminalProgress" else "tables"
    return getattr(import_module(f"{__name__}.{home}"), name)
