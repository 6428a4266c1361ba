"""Ctrl-C and SIGTERM on the command line: one sentence, and the end.

The store survives SIGKILL at any moment, so it survives an end without any tidying up; workers end
with their parent, however that ends. Nothing of this is for a call from Python, which raises
KeyboardInterrupt as any function does.
"""

import os
import select
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from types import FrameType
from typing import NoReturn

_SIGNALS = (signal.SIGINT, signal.SIGTERM)
PATIENCE = 1.0
"""Seconds for the sentence to be taken."""


@contextmanager
def stoppable(farewell: Callable[[], str]) -> Iterator[None]:
    """Have SIGINT and SIGTERM end the process, with status 128 + their number.

    One that is ignored already, as by ``nohup`` or in the background of a script, stays ignored.

    Parameters
    ----------
    farewell
        Returns the sentence to say.
    """

    def stop(number: int, frame: FrameType | None) -> NoReturn:
        try:
            ignore_stops()
            with suppress(OSError):  # Whoever listened may be gone.
                # Or may have stopped reading: a pipe that is full would be waited for.
                if select.select([], [2], [], PATIENCE)[1]:
                    os.write(2, f"{farewell()}\n".encode())
        finally:
            os._exit(128 + number)

    before = {each: signal.getsignal(each) for each in _SIGNALS}
    try:
        for each in _SIGNALS:
            if before[each] != signal.SIG_IGN:
                signal.signal(each, stop)
        yield
    finally:
        for each, handler in before.items():
            signal.signal(each, handler)


def ignore_stops() -> None:
    """Let no signal change any more what comes of this process."""
    for each in _SIGNALS:
        signal.signal(each, signal.SIG_IGN)
