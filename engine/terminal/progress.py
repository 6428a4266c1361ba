"""Bars and messages while a run works."""

import os
import shutil
import sys
import time
from typing import TYPE_CHECKING, TextIO

from engine.progress import Progress, in_notebook
from engine.store.location import masked
from engine.terminal.bars import Stage, bar, heading, joined, standing

if TYPE_CHECKING:
    from engine.terminal.widgets import Widgets

_LINE_SECONDS = 10.0
"""Between two lines of progress where there are no bars."""
_AT_SECONDS = 1.0
"""For which a decade is named as being at work after it was last reported."""
DRAW_SECONDS = 0.1
"""Between two drawings of the bars."""
_TO_END_OF_LINE, _BELOW = "\x1b[K", "\x1b[J"


class TerminalProgress(Progress):
    """Bars on a terminal or in a notebook, elsewhere a line now and then; and messages.

    Parameters
    ----------
    quiet
        Only errors.
    verbose
        Tracebacks after errors.
    stream
        Where to; stderr by default.

    Examples
    --------
    >>> summary = engine.run("data", progress=TerminalProgress(quiet=True))  # doctest: +SKIP
    """

    def __init__(
        self, *, quiet: bool = False, verbose: bool = False, stream: TextIO | None = None
    ) -> None:
        self.stream = stream or sys.stderr
        self.quiet = quiet
        self.verbose = verbose
        self._stages: dict[str, Stage] = {}
        self._at: tuple[str, int, int] | None = None
        self._begun = self._line_at = self._named_at = time.monotonic()
        self._drawn = 0.0
        self._closed = True
        self._n_lines = 0
        """On the terminal, below the cursor's line and with it."""
        # Where the cursor cannot go up, several bars would become a heap of lines.
        movable = self.stream.isatty() and os.environ.get("TERM") != "dumb"
        self._draws = movable and not quiet
        self._widgets: Widgets | None = None
        # A notebook shows bars though it is no terminal.
        if in_notebook() and stream is None and not quiet:
            from engine.terminal import widgets

            if widgets.AVAILABLE:
                self._widgets, self._draws = widgets.Widgets(self.stream), False

    @property
    def total(self) -> dict[str, int]:
        """Amount of work in each stage."""
        return {name: stage.total for name, stage in self._stages.items()}

    @property
    def done(self) -> dict[str, int]:
        """How much of it is done."""
        return {name: stage.done for name, stage in self._stages.items()}

    def stage(self, name: str, total: int, done: int, unit: str) -> None:
        """Open the bar of a stage, or set it back to where the stage stands."""
        now = time.monotonic()
        if self._closed:  # The first of a run.
            self._closed, self._begun = False, now
            self._stages.clear()
        self._stages[name] = Stage(name, total, done, unit, now, done)
        self._show(at_once=True)

    def advance(self, name: str, amount: int) -> None:
        """Move a bar on, or now and then write a line."""
        if name not in self._stages:
            return
        stage = self._stages[name]
        stage.done = min(stage.total, stage.done + amount)
        self._show(at_once=stage.done == stage.total)
        no_bars = not (self.quiet or self._draws or self._widgets)
        if no_bars and time.monotonic() - self._line_at > _LINE_SECONDS:
            self._line_at = time.monotonic()
            if line := self.standing():
                self._write(line)

    def decade(self, name: str, finished: int, total: int) -> None:
        """Remember at which decade the work is; of several, one as long as it is reported."""
        now = time.monotonic()
        if self._at and self._at[0] != name and now - self._named_at < _AT_SECONDS:
            name = self._at[0]
        else:
            self._named_at = now
        self._at = name, finished, total

    def standing(self) -> str:
        """How far each stage that is not done has come, and the time left, in one line."""
        return standing(self._at, list(self._stages.values()), time.monotonic())

    def message(self, text: str) -> None:
        """Write a message above the bars."""
        if not self.quiet:
            self._write(text)

    def error(self, text: str, details: str = "") -> None:
        """Write an error above the bars."""
        if self.verbose and details:
            self._write(details.rstrip())
        self._write(f"error: {text}")

    def close(self) -> None:
        """Leave the bars as they stand."""
        if self._n_lines:
            self._show(at_once=True)
            self._put("\n" * self._n_lines)
            self._n_lines = 0
        if self._widgets:
            self._widgets.close()
        self._closed = True

    def _write(self, text: str) -> None:
        self._put(f"\r{_BELOW}" * bool(self._n_lines) + f"{masked(text)}\n")
        if self._n_lines:
            self._show(at_once=True)

    def _show(self, *, at_once: bool) -> None:
        """Draw the bars, unless they were drawn a moment ago."""
        if self._widgets:
            self._widgets.show(joined(self._stages.values()))
        now = time.monotonic()
        if not self._draws or not (at_once or now - self._drawn > DRAW_SECONDS):
            return
        self._drawn = now
        width = self._width() - 1  # In the last column a terminal may go to the next line, or not.
        # That all is read is of no interest when computing has begun.
        alone = len(self._stages) == 1
        stages = [
            stage
            for stage in self._stages.values()
            if alone or stage.name != "reading" or stage.done < stage.total
        ]
        left = max((stage.left(now) for stage in stages), default=0.0)
        blocks = (self.stream.encoding or "").lower().replace("-", "") in ("utf8", "")
        lines = [
            heading(self._at, now - self._begun, left, width),
            *(bar(stage, width, blocks=blocks) for stage in joined(stages)),
        ]
        # The cursor rests at the beginning of the first line. There it stays if the window is made
        # narrow and the lines are broken, so that all that came of them is written over.
        text = f"{_TO_END_OF_LINE}\n".join(lines)
        self._put(f"\r{text}{_BELOW}\x1b[{len(lines) - 1}A\r")
        self._n_lines = len(lines)

    def _width(self) -> int:
        try:
            columns = os.get_terminal_size(self.stream.fileno()).columns
        except OSError:
            columns = 0
        return columns or shutil.get_terminal_size().columns

    def _put(self, text: str) -> None:
        try:
            self.stream.write(text)
            self.stream.flush()
        except BlockingIOError:
            pass  # A pipe that does not wait is full; what is left goes out with what comes next.
        except OSError:
            # Whoever read it has gone away, the terminal was closed, or the disk of a log is full:
            # no reason to stop.
            self.stream = open(os.devnull, "w")  # noqa: SIM115
