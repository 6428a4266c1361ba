"""What is worth knowing of a decade and stops nothing, a sentence each."""

from collections.abc import Iterator

from engine.data_folder import DecadeName
from engine.store.record import Record
from engine.triangle.kernel import THREADED_ABOVE
from engine.work.tasks import NORM_TOLERANCE


def notices(name: DecadeName, record: Record) -> Iterator[str]:
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
