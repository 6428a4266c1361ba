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
    """A part of the store is proven not to be what was written there; the text says which.

    For the engine alone: whoever catches it makes that part again, or makes a sentence of it.
    """


class OldFormatError(DamagedError):
    """A part of the store was written in an older format, which proves less."""


class InputError(ValueError):
    """An embeddings file is not what it should be; its text is one sentence for a person."""


def shown(text: str, limit: int = 60) -> str:
    """Text from outside made fit for a terminal: printable, and at most `limit` characters.

    What is not printable (control characters, surrogates, marks that turn the direction of
    writing) is escaped; of a long text the beginning and the end are shown.
    """
    ends = text if len(text) <= 2 * limit else text[:limit] + text[-limit:]
    escaped = "".join(c if c.isprintable() else ascii(c)[1:-1] for c in ends)
    if len(escaped) <= limit:
        return escaped
    half = (limit - 1) // 2
    return f"{escaped[:half]}…{escaped[-half:]}"


def reason(error: OSError, path: object) -> str:
    """Make a sentence of what the system says: of the file that it names, or else of `path`."""
    return f"{error.filename or path}: {error.strerror or error}"
