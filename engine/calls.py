"""The calls that may show bars: here a run, which knows no terminal, is given what draws them."""

from engine import progress, terminal
from engine.batch.run import run
from engine.batch.verify import verify

__all__ = ["run", "verify"]

# When they are wanted: the bars take time to import.
progress.bars = lambda: terminal.TerminalProgress()
