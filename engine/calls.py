"""The calls that may show bars: here a batch, which knows no terminal, is given what draws them."""

from engine import terminal
from engine.batch import listener
from engine.batch.run import run
from engine.batch.verify import verify

__all__ = ["run", "verify"]

# When they are wanted: the bars take time to import.
listener.bars = lambda: terminal.TerminalProgress()
