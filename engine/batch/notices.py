"""What is worth knowing of the decades of a run and stops nothing, a sentence each."""

import math
from collections.abc import Iterable, Iterator

from engine.arguments import Arguments
from engine.batch.plan import DecadeState, some
from engine.data_folder import DecadeName
from engine.store.record import Record
from engine.tables import count
from engine.triangle.blas import machine
from engine.triangle.kernel import THREADED_ABOVE
from engine.triangle.rule import Rule
from engine.work.tasks import NORM_TOLERANCE


def settings_taken(states: Iterable[DecadeState], asked: Arguments) -> Iterator[str]:
    """Say which settings are taken from the store though nobody asked for them."""
    taken: dict[str, list[DecadeState]] = {}
    for state in states:
        options = []
        if asked.kernel is None and state.kernel != "dot":
            options.append(f"--kernel {state.kernel}")
        if asked.normalize is None and state.normalize:
            options.append("--normalize")
        if options:
            taken.setdefault(" ".join(options), []).append(state)
    for words, those in taken.items():
        yield f"{some(those)}: with {words}, as the store has it"


def lost(states: Iterable[DecadeState], store: str) -> Iterator[str]:
    """Say what does not count any more; of a store of an older format in one sentence."""
    old = [state for state in states if state.old_format]
    for state in states:
        if state.stale and state not in old[1:]:
            more = f" (as were {len(old) - 1} more decades)" if state in old and old[1:] else ""
            again = "it is read and computed again" if state.obsolete else "its input is read again"
            yield f"{state.stale}{more}: {again}"
        if n := state.damaged_checksums:
            yield (
                f"{store}: {state.name}: the checksums of {n} row-block{'s' if n > 1 else ''} are "
                "damaged: computed again"
            )


def mended(state: DecadeState, store: str) -> str:
    """Say which metadata are written again."""
    parts = ", ".join(state.damaged_metadata)
    return f"{store}: {state.name}: the metadata of {parts} were damaged and are written again"


def computed_again(name: DecadeName, n: int, store: str) -> str:
    """Say how many chunks were damaged when they were read."""
    return f"{store}: {name}: {n} damaged chunk{'s' if n > 1 else ''} computed again"


def another_machine(state: DecadeState, record: Record) -> Iterator[str]:
    """Say that the rest of a decade is computed by another kind of CPU or BLAS."""
    if state.chunks and state.missing and record.machine != (here := machine()):
        yield (
            f"{state.name}: was begun with {record.machine} and goes on with {here}, which may "
            "round the last digit of a similarity differently; to have all from one, add --restart "
            f"--approach {state.name.approach} --decade {state.name.decade}"
        )


def of_vectors(name: DecadeName, record: Record) -> Iterator[str]:
    """Say what a person may not expect of the vectors of a decade."""
    if record.n_off_norm:
        habit = "were scaled to unit length" if record.normalize else "are used as they are"
        yield (
            f"{name}: {record.n_off_norm} of {record.n_films} vectors are not of unit length "
            f"within {NORM_TOLERANCE} (norms {record.norm_min:.4g} to {record.norm_max:.4g}); "
            f"they {habit}"
        )
    if record.kernel == "dot" and record.n_dimensions > THREADED_ABOVE:
        yield (
            f"{name}: vectors of {record.n_dimensions:,} numbers; above {THREADED_ABOVE:,} BLAS "
            "may divide a product among its threads and then rounds differently: these are the "
            "values of one thread, and a notebook's may differ in the last digits"
        )


def nothing_kept(state: DecadeState, rule: Rule, highest: float) -> str:
    """Say that an output has no pair, and how similar the most similar films are."""
    most = "no similarity is a number" if math.isnan(highest) else f"the highest is {highest!r}"
    return f"{state.name}: {rule.option} keeps none of {count(state.n_pairs, 'pair')}; {most}"
