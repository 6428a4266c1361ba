"""What can be known before the work starts: where it could not end."""

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

from engine.arguments import Arguments
from engine.batch.forecast import Forecast, forecast
from engine.batch.plan import DecadeState
from engine.batch.replaced import replaced
from engine.data_folder import DecadeName
from engine.disk import nearest, short_of_room
from engine.errors import EngineError
from engine.store.record import Export, Record
from engine.store.source import Source
from engine.store.store import Store


def check_output(output: Path) -> None:
    """Make the folder of an output, and see that the output can be put there.

    Raises
    ------
    EngineError
        When it cannot.
    """
    folder = output.parent
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        path = error.filename or folder
        in_its_place = isinstance(error, FileExistsError | NotADirectoryError)
        remedy = "move what is in its place" if in_its_place else "change its permissions"
        raise EngineError(
            f"{path}: the folder of the output cannot be made ({error.strerror}); {remedy}, or "
            "leave the JSON out with --compute-only"
        ) from None
    if not os.access(folder, os.W_OK | os.X_OK):
        raise EngineError(
            f"{folder}: no permission to write the output here; change that, or leave the JSON out "
            "with --compute-only"
        )
    if output.is_dir():
        raise EngineError(f"{output}: is a folder where the output belongs; move it away")


def check_store(store: Store) -> None:
    """See that a store on a disk, and its lock beside it, can be written.

    Raises
    ------
    EngineError
        When they cannot, as in a data folder that is there to be read alone.
    """
    if store.path is None:
        return
    for folder in (nearest(store.path.absolute().parent), store.path):
        if folder.is_dir() and not os.access(folder, os.W_OK | os.X_OK):
            raise EngineError(
                f"{folder}: no permission to write the store here; put it elsewhere with --store, "
                "and leave the JSON out with --compute-only if it cannot be written either"
            )


def foreseen(
    states: Sequence[DecadeState],
    source: Source,
    asked: Arguments,
    before: Mapping[DecadeName, tuple[Record, Export]],
) -> Iterator[str]:
    """Say what is worth knowing of the outputs that a run of these arguments would write."""
    coming = [(state.output, forecast(state, source.store, asked)) for state in states]
    if short := short_of_space(source.store, coming):
        yield short
    if asked.export:
        names = [state.name for state in states if not state.exported]
        yield from replaced(before, names, source, asked)


def short_of_space(store: Store, coming: Iterable[tuple[Path, Forecast]]) -> str:
    """Estimate whether the disks have room for what is to come; a sentence when they have not.

    It is an estimate, so it stops nothing.

    Parameters
    ----------
    store
        What is computed is written here, if it is on a disk.
    coming
        The output of each decade, and what the run would write.
    """
    needs: list[tuple[Path, int]] = []
    for output, each in coming:
        if store.path is not None:
            needs.append((store.path, each.store_bytes))
        needs.append((output.parent, each.output_bytes))
    if short := short_of_room(needs):
        return (
            f"{short}; the run goes on until the disk is full, and the same command resumes when "
            "there is room"
        )
    return ""
