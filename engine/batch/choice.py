"""Which decades are meant: those that have an input or are in the store, as far as selected."""

from collections.abc import Sequence
from dataclasses import dataclass

from engine.data_folder import DataFolder, DecadeName, select
from engine.errors import EngineError
from engine.listing import Unread, check_root, list_inputs, meant_root, not_read
from engine.store.store import Store


@dataclass(frozen=True)
class Choice:
    """The decades to work on, and what could not be among them."""

    names: list[DecadeName]
    errors: list[str]
    """Why the folder of an approach cannot be used, a sentence for each that is selected."""
    unread: list[Unread]
    """What may have been meant to be among them."""


def choose(
    folder: DataFolder,
    store: Store,
    approaches: Sequence[str] | None,
    decades: Sequence[str] | None,
    there: bool,
) -> Choice:
    """List the selected decades, of those that have an input or are in the store.

    Raises
    ------
    EngineError
        When there are none, or one was asked for that is not there.
    """
    check_root(folder)
    listing = list_inputs(folder)
    unusable = listing.unusable
    stored = store.names() if there else ()
    known = sorted({*listing.names, *(name for name in stored if name.approach not in unusable)})
    errors = [why for name, why in unusable.items() if not approaches or name in approaches]
    usable = approaches and [name for name in approaches if name not in unusable]
    unread = listing.unread_of(approaches)
    skipped = not_read(unread)
    if errors and not (known if approaches is None else usable):
        raise EngineError(errors[0])
    if not known:
        todo = meant_root(folder) or (
            f"they belong in {folder.embeddings}/APPROACH/plots_YEARs.json, or make some up: "
            f"python -m engine.synthesize --data {folder.root} --scale 0.1"
        )
        nothing = f"{folder.embeddings}: no embeddings were found"
        raise EngineError("; ".join(filter(None, [nothing, skipped, todo])))
    try:
        names = select(known, usable, decades)
    except EngineError as error:
        raise EngineError(f"{error}; {skipped}" if skipped else str(error)) from None
    return Choice(names, errors, unread)
