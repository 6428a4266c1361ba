"""Who hears of a run: bars, a listener of the caller's, or the log alone."""

import sys
from collections.abc import Callable

from engine.errors import shown
from engine.progress import Progress

bars: Callable[[], Progress] = Progress
"""Makes what shows bars. A batch knows no terminal: `engine.calls` puts here what draws them."""


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
