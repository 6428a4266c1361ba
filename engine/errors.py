"""The errors a person is meant to read: one sentence, without a traceback."""


class EngineError(Exception):
    """What went wrong, where, and what to do about it, in one sentence."""


class StoreError(EngineError):
    """The store cannot be used as it is: its path, its format or its content."""


class LockedError(EngineError):
    """Another run holds the store."""


class ClusterError(EngineError):
    """A Dask cluster cannot be used, or a part of it that is needed is gone."""


class WorkersDiedError(EngineError):
    """Worker processes were killed again and again, probably for want of memory."""


class NotComputedError(EngineError):
    """What was asked for is not in the store yet; the sentence names the command that adds it."""


class NotFoundError(EngineError, KeyError):
    """There is no such decade, film or pair."""

    __str__ = Exception.__str__  # KeyError's puts the sentence between quotes.


class DamagedError(Exception):
    """A part of the store is missing or does not match its checksum; the text says which.

    For the engine alone: whoever catches it computes that part again, or makes a sentence of it.
    """
