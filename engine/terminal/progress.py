"""Bars and messages while a run works."""

import os
import sys
import time
from typing import Any, TextIO

from tqdm.auto import tqdm

from engine.progress import Progress
from engine.store.location import masked

_LINE_SECONDS = 10.0
"""Between two lines of progress where there are no bars."""
_WIDGETS = any(base.__module__ == "tqdm.notebook" for base in tqdm.__mro__)
"""This is a notebook, which shows bars though it is no terminal."""


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
        self.done: dict[str, int] = {}
        self.total: dict[str, int] = {}
        self._bars: dict[str, Any] = {}
        self._units: dict[str, str] = {}
        self._begun: dict[str, tuple[float, int]] = {}
        self._said = time.monotonic()
        # Where the cursor cannot go up, several bars would become a heap of lines.
        movable = self.stream.isatty() and os.environ.get("TERM") != "dumb"
        self._shows_bars = movable or (_WIDGETS and stream is None)

    def stage(self, name: str, total: int, done: int, unit: str) -> None:
        """Open the bar of a stage, or set it back to where the stage stands."""
        self.total[name], self.done[name], self._units[name] = total, done, unit
        self._begun[name] = time.monotonic(), done
        if self.quiet:
            return
        if name == "computing" and "reading" in self._bars:
            self._bars.pop("reading").close()
        if name in self._bars:
            self._bars.pop(name).close()
        if self._shows_bars:
            self._bars[name] = tqdm(
                total=total,
                initial=done,
                desc=f"{name:<9}",
                unit=unit if unit == "B" else f" {unit}",
                unit_scale=True,
                file=self.stream,
                dynamic_ncols=True,
                smoothing=0.1,
                bar_format="{desc} {percentage:3.0f}% |{bar}| {n_fmt}/{total_fmt} "
                "[{remaining} left, {rate_fmt}]",
            )

    def advance(self, name: str, amount: int) -> None:
        """Move a bar on, or now and then write a line."""
        if name not in self.total:
            return
        self.done[name] = min(self.total[name], self.done[name] + amount)
        if name in self._bars:
            self._bars[name].update(self.done[name] - self._bars[name].n)
        elif not self.quiet and time.monotonic() - self._said > _LINE_SECONDS:
            self._said = time.monotonic()
            if line := self.standing():
                print(line, file=self.stream, flush=True)

    def standing(self) -> str:
        """How far each stage that is not done has come, and the time left, in one line."""
        parts, unit, left = [], "", 0.0
        for name, total in self.total.items():
            if (done := self.done[name]) < total:
                repeated, unit = unit == self._units[name], self._units[name]
                amount = f"{total:,}" if repeated else f"{total:,} {unit}"
                parts.append(f"{name} {100 * done // total} % of {amount}")
                begin, before = self._begun[name]
                if done > before:  # Else there is no rate yet.
                    seconds = time.monotonic() - begin
                    left = max(left, seconds * (total - done) / (done - before))
        return ", ".join(parts) + (f"; {tqdm.format_interval(left)} left" if left else "")

    def message(self, text: str) -> None:
        """Write a message above the bars."""
        if not self.quiet:
            self._write(text)

    def error(self, text: str, details: str = "") -> None:
        """Write an error above the bars."""
        if self.verbose and details:
            self._write(details.rstrip())
        self._write(f"error: {text}")

    def _write(self, text: str) -> None:
        tqdm.write(masked(text), file=self.stream)
        self.stream.flush()

    def close(self) -> None:
        """Leave the bars as they stand."""
        for bar in self._bars.values():
            bar.close()
        self._bars.clear()
