"""What a run says of itself while it works, and to whom: bars, a caller's listener, or the log."""

import logging
import sys
from collections.abc import Callable

from engine.errors import shown
from engine.store.location import masked

_logger = logging.getLogger("engine")


class Progress:
    """A listener that shows nothing; derive from it to show progress.

    A run calls these methods from the thread that called `engine.run`. What is worth knowing goes
    to the logger ``engine``, so that nothing of it is lost where nobody shows it.
    """

    def stage(self, name: str, total: int, done: int, unit: str) -> None:
        """Announce a stage, or where it stands after something was lost.

        Parameters
        ----------
        name
            ``"reading"``, ``"computing"``, ``"selecting"`` or ``"exporting"``.
        total, done
            Amount of work in `unit`, and how much of it was done before.
        unit
            ``"B"`` (bytes of input) or ``"pairs"``.
        """

    def advance(self, name: str, amount: int) -> None:
        """Say that so much more of a stage is done."""

    def decade(self, name: str, finished: int, total: int) -> None:
        """Say at which decade the work is, and how many of how many are finished."""

    def message(self, text: str) -> None:
        """Say something that is worth knowing and stops nothing; here, log a warning."""
        _logger.warning(masked(text))

    def error(self, text: str, details: str = "") -> None:
        """Say what keeps a decade from being finished; `details` is the traceback, if any."""
        _logger.error(masked(text))

    def close(self) -> None:
        """Say that nothing more will come."""


bars: Callable[[], Progress] = Progress
"""Makes what shows bars. A run knows no terminal: `engine.calls` puts here what draws them."""


def listener(progress: Progress | bool | None) -> Progress:
    """Find who is told what happens.

    Parameters
    ----------
    progress
        A listener; True: bars and messages on stderr, or in the notebook; False: the log alone;
        None: bars in a notebook, else the log alone.

    Raises
    ------
    ValueError
        When it is something else, such as a class: that would be a listener that hears nothing.
    """
    if isinstance(progress, Progress):
        return progress
    if not (progress is None or isinstance(progress, bool)):
        raise ValueError(
            f"progress: {shown(repr(progress))} is not True, False or an instance of a class that "
            "derives from engine.Progress"
        )
    wanted = in_notebook() if progress is None else progress
    return bars() if wanted else Progress()


def in_notebook() -> bool:
    """Whether this process is the kernel of a notebook, without importing anything."""
    ipython = sys.modules.get("IPython")
    shell = ipython.get_ipython() if ipython else None
    return shell is not None and "IPKernelApp" in shell.config
