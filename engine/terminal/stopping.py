"""Ctrl-C and SIGTERM: one sentence and the end within seconds, whatever the run is at.

A stop is an exception that a signal raises in the middle of whatever Python does at the moment.
Some moments do not let it through (raised in the callback of a weak reference it is printed and
forgotten), and what has to be ended may take its time. But the store survives even SIGKILL at any
moment, so a stop that got lost is raised once more, and one that takes too long ends the process.
"""

import logging
import os
import signal
import sys
import threading
import warnings
from collections.abc import Callable
from contextlib import suppress
from types import FrameType
from typing import NoReturn

_SIGNALS = (signal.SIGINT, signal.SIGTERM)
_PATIENCE = 3.0
"""Seconds that stopping in good order may take."""
_AGAIN = 0.01


class Stopped(KeyboardInterrupt):
    """A signal asked the run to stop."""

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.number = number


def stoppably(work: Callable[[], int], farewell: Callable[[], str]) -> int:
    """Do some work that SIGINT and SIGTERM stop.

    Parameters
    ----------
    work
        Returns the exit status.
    farewell
        Returns the sentence that is printed when a signal has stopped the work.

    Returns
    -------
    int
        What `work` returned; 128 + the number of the signal that stopped it.
    """
    number = 0
    lost = False

    def stop(received: int, frame: FrameType | None) -> NoReturn:
        nonlocal number
        number = received
        _ignore()  # A second signal would only interrupt the stopping.
        # From here to the end of the process: zarr's event loop complains of what is cut off, and
        # loky's thread of the tasks that are gone.
        logging.disable(logging.CRITICAL)
        warnings.simplefilter("ignore")
        threading.excepthook = _in_silence
        signal.setitimer(signal.ITIMER_REAL, _PATIENCE)
        raise Stopped(number)

    def swallowed(unraisable: "sys.UnraisableHookArgs") -> None:
        nonlocal lost
        if isinstance(unraisable.exc_value, Stopped):
            lost = True
            signal.setitimer(signal.ITIMER_REAL, _AGAIN)
        else:
            hook(unraisable)

    def alarm(_: int, frame: FrameType | None) -> None:
        nonlocal lost
        if lost:
            lost = False
            signal.setitimer(signal.ITIMER_REAL, _PATIENCE)
            raise Stopped(number)
        with suppress(OSError):
            os.write(2, f"{farewell()}\n".encode())
        os._exit(128 + number)

    before = {each: signal.getsignal(each) for each in (*_SIGNALS, signal.SIGALRM)}
    hook, sys.unraisablehook = sys.unraisablehook, swallowed
    try:
        try:
            signal.signal(signal.SIGALRM, alarm)
            for each in _SIGNALS:
                signal.signal(each, stop)
            return work()
        finally:
            _ignore()
    except Stopped:
        signal.setitimer(signal.ITIMER_REAL, 0)
        print(farewell(), file=sys.stderr, flush=True)
        return 128 + number
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        sys.unraisablehook = hook
        for each, handler in before.items():
            signal.signal(each, handler)


def exit_deaf(status: int) -> NoReturn:
    """End the process: all is done and said, and no signal changes that.

    Python's own end waits for threads and processes; it is not waited for longer than a stop.
    """
    _ignore()
    signal.signal(signal.SIGALRM, lambda *_: os._exit(status))
    signal.setitimer(signal.ITIMER_REAL, _PATIENCE)
    sys.exit(status)


def _in_silence(_: threading.ExceptHookArgs) -> None:
    pass


def _ignore() -> None:
    for each in _SIGNALS:
        signal.signal(each, signal.SIG_IGN)
