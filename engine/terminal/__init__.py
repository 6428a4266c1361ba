"""What a person sees: bars and messages while a run works, a table when it is done."""

from engine.terminal.progress import TerminalProgress
from engine.terminal.tables import status_table, summary_table, table

__all__ = ["TerminalProgress", "status_table", "summary_table", "table"]
