"""What a person at a terminal has: bars and messages while a run works, and a way to stop it."""

from engine.terminal.progress import TerminalProgress

__all__ = ["TerminalProgress"]
