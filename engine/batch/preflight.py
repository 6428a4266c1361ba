"""What can be known before the work starts: where it could not end."""

import os
import shutil
from collections.abc import Iterable
from pathlib import Path

from engine.batch.plan import DecadeState
from engine.errors import EngineError
from engine.store.store import Store
from engine.triangle.blocks import CHUNK_CELLS

_BYTES_PER_PAIR = 40
"""Of JSON, with ids of up to eight digits."""


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
        place = error.filename or folder
        raise EngineError(
            f"{place}: the folder of the output cannot be made ({error.strerror}); move what is "
            "in its place, or give another --data"
        ) from None
    if not os.access(folder, os.W_OK | os.X_OK):
        raise EngineError(
            f"{folder}: no permission to write the output here; change that, or give another --data"
        )
    if output.is_dir():
        raise EngineError(f"{output}: is a folder where the output belongs; move it away")


def short_of_space(
    store: Store, states: Iterable[DecadeState], *, compute: bool, export: bool
) -> str | None:
    """Estimate whether the disks have room for what is to come.

    Returns
    -------
    str or None
        A sentence when they have not. It is an estimate, so it stops nothing.
    """
    needed: dict[int, int] = {}
    places: dict[int, Path] = {}

    def need(folder: Path, n_bytes: int) -> None:
        while not folder.exists():
            folder = folder.parent
        device = folder.stat().st_dev
        needed[device] = needed.get(device, 0) + n_bytes
        places.setdefault(device, folder)

    for state in states:
        if compute and store.path is not None and state.record is not None:
            missing = state.record.grid.n_chunks - len(state.chunks)
            need(store.path, 8 * missing * CHUNK_CELLS)
        if export and not state.exported:
            need(state.output.parent, state.n_pairs * _BYTES_PER_PAIR)
    for device, n_bytes in needed.items():
        free = shutil.disk_usage(places[device]).free
        if free < n_bytes:
            return (
                f"{places[device]}: about {n_bytes / 1e9:.1f} GB are needed and "
                f"{free / 1e9:.1f} GB are free; the run goes on until the disk is full, and the "
                "same command resumes when there is room"
            )
    return None
