"""A bar for each stage as a notebook has it; imported there alone, for the time that tqdm takes."""

import threading
from collections.abc import Iterable
from typing import Any, TextIO

from tqdm.auto import tqdm

from engine.terminal.bars import Stage

AVAILABLE = any(base.__module__ == "tqdm.notebook" for base in tqdm.__mro__)
"""Whether there is what tqdm needs to draw in a notebook."""


class _Bar(tqdm):  # type: ignore[misc]
    """tqdm's bar, without a lock for other processes.

    That lock is a semaphore, for which Python starts a process that imports from the current
    folder, where a file may be called like a library.
    """


_Bar.set_lock(threading.RLock())


class Widgets:
    """The bars of one run."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._bars: dict[str, Any] = {}

    def show(self, stages: Iterable[Stage]) -> None:
        """Move each bar to where its stage stands; make those that are new."""
        for stage in stages:
            # Under the name it begins with: whether two are one is known when the second begins.
            key = stage.name.partition(" ")[0]
            shown = self._bars.get(key)
            if shown is None or shown.total != stage.total or shown.n > stage.done:
                if shown is not None:
                    shown.close()
                unit = stage.unit if stage.unit == "B" else f" {stage.unit}"
                shown = self._bars[key] = _Bar(
                    total=stage.total,
                    initial=stage.done,
                    desc=f"{stage.name:<9}",
                    unit=unit,
                    unit_scale=True,
                    file=self._stream,
                    bar_format="{desc} {percentage:3.0f}% |{bar}| {n_fmt}/{total_fmt}"
                    "{unit} [{elapsed} elapsed, {remaining} left]",
                )
            shown.set_description(f"{stage.name:<9}", refresh=False)
            shown.update(stage.done - shown.n)

    def close(self) -> None:
        """Leave the bars as they stand."""
        for shown in self._bars.values():
            shown.close()
        self._bars.clear()
