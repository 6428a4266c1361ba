"""Waiting for what must happen, however busy the machine is: for an event, never for some time."""

import time
from collections.abc import Callable

PATIENCE = 240.0
"""Seconds after which something that does not happen never will, with all CPUs busy elsewhere."""


def within(what: Callable[[], object], seconds: float = PATIENCE) -> None:
    """Wait until something is so."""
    end = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < end, "it does not happen"
        time.sleep(0.005)
