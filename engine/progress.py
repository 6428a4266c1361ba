"""What a run says of itself while it works, to whoever listens."""

import logging

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
