"""Compute the similarities of all pairs of films and write them as JSON: the main job."""

import os
import signal
import sys
from types import FrameType
from typing import NoReturn


def stop(number: int, frame: FrameType | None) -> NoReturn:
    """Leave before the command line has taken over: the imports take half a second."""
    os.write(2, b"interrupted before anything was done; the same command starts again\n")
    os._exit(128 + number)


if __name__ == "__main__":
    for each in (signal.SIGINT, signal.SIGTERM):
        signal.signal(each, stop)
    sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))

    from engine.cli import command

    command()
