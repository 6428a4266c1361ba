"""What a run says of itself while it works, to whoever listens."""


class Progress:
    """A listener that hears everything and says nothing; derive from it to show progress.

    A run calls these methods from the thread that called `engine.run`.
    """

    def stage(self, name: str, total: int, done: int, unit: str) -> None:
        """Announce a stage, or where it stands after something was lost.

        Parameters
        ----------
        name
            ``"reading"``, ``"computing"`` or ``"exporting"``.
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
        """Say something that is worth knowing and stops nothing."""

    def error(self, text: str, details: str = "") -> None:
        """Say what keeps a decade from being finished; `details` is the traceback, if any."""

    def close(self) -> None:
        """Say that nothing more will come."""
