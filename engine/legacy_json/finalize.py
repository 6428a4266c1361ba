"""The finalizer: gives a finished output its name, and tells later whether it is still the one."""

from dataclasses import replace
from pathlib import Path

from engine.data_folder import DecadeName
from engine.legacy_json.output import PartialOutput
from engine.store.record import Export, Record
from engine.store.store import Store
from engine.triangle.rule import Rule


def finalize(
    partial: PartialOutput,
    store: Store,
    name: DecadeName,
    record: Record,
    rule: Rule,
) -> Record | None:
    """Give a finished text its final name, after the record says what will lie there.

    In this order whatever an interruption leaves is known for what it is: a record whose output is
    not there, or not yet this one, means to export again; an output that no record knows could not
    be told from an old one.

    Returns
    -------
    Record or None
        The record with the output; None when a row-block is not written.

    Raises
    ------
    OSError
        When text, record or name cannot be written.
    """
    finished = partial.finish()
    if finished is None:
        return None
    found, pairs = finished
    export = Export(found.st_size, found.st_mtime_ns, rule, pairs)
    record = replace(record, export=export)
    store.write_record(name, record)
    partial.appear()
    return record


def is_there(output: Path, export: Export | None) -> bool:
    """Whether an output lies there with the size and time stamp with which it was written."""
    if export is None:
        return False
    try:
        found = output.stat()
    except (FileNotFoundError, NotADirectoryError):
        return False
    return (found.st_size, found.st_mtime_ns) == (export.size, export.mtime_ns)
