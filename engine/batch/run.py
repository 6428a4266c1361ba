"""The run as one call: `run` computes what is missing of the selected decades and exports it."""

import math
import os
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from engine.batch.job import DecadeSummary, Job
from engine.batch.plan import Settings, choose
from engine.data_folder import DataFolder, DecadeName
from engine.errors import EngineError
from engine.progress import Progress
from engine.store.lock import lock_path, locked
from engine.store.store import Store
from engine.triangle.kernel import KERNELS, KernelName
from engine.work.pool import Workers, cpus
from engine.work.tasks import BlockTask, Result


@dataclass(frozen=True)
class Summary:
    """What a run did."""

    decades: list[DecadeSummary]
    seconds: float
    """Wall time of the whole run."""
    min_similarity: float | None = None
    """Pairs below were left out of the outputs; None: every pair is in them."""

    @property
    def ok(self) -> bool:
        """Whether every decade is finished."""
        return all(decade.error is None for decade in self.decades)


def run(
    data: str | os.PathLike[str] = "data",
    *,
    store: str | os.PathLike[str] | None = None,
    workers: int | None = None,
    dask: str | None = None,
    wait_for_workers: float | None = None,
    approaches: Sequence[str] | None = None,
    decades: Sequence[str] | None = None,
    kernel: KernelName = "dot",
    normalize: bool = False,
    min_similarity: float | None = None,
    compute: bool = True,
    export: bool = True,
    restart: bool = False,
    progress: Progress | None = None,
) -> Summary:
    """Compute the similarities of all pairs of films of each decade and write them as JSON.

    What is finished, unchanged and undamaged is not done again, so that the same call goes on
    after an interruption.

    Parameters
    ----------
    data
        Root of input and output: ``embeddings/{approach}/plots_{decade}s.json`` and
        ``similarities/{approach}/similarities_{decade}s.json``.
    store
        Path or URL of the zarr store; ``similarities.zarr`` in `data` by default.
    workers
        Number of worker processes; by default, and at most, the number of CPUs available.
    dask
        Address of the scheduler of a Dask cluster, for instance ``"tcp://scheduler:8786"``,
        which computes; reading and exporting stay here. Every machine of the cluster must see
        `store`.
    wait_for_workers
        Seconds to wait for the first worker of the cluster; 5 by default.
    approaches, decades
        Only these; all by default. Decades are years, for instance ``["1990", "2000"]``.
    kernel
        ``"dot"``: bit for bit the value of ``a @ b``; ``"gemm"``: faster, within 2e-15 of it
        (for vectors of unit length).
    normalize
        Scale every vector to unit length first.
    min_similarity
        Export only pairs at or above; all by default.
    compute
        False: export from a finished store and compute nothing.
    export
        False: fill the store and write no JSON.
    restart
        Forget what the store holds for the selected decades.
    progress
        Is told what happens; silence by default.

    Returns
    -------
    Summary
        What was done for each decade. A decade that could not be finished has an `error`, and
        does not stop the others.

    Raises
    ------
    EngineError
        When nothing can be done at all: no input, a store that is not one, a store that another
        run holds, workers that are killed again and again, a cluster that cannot be used.
    ValueError
        When an argument is not what it should be.

    Examples
    --------
    >>> import engine
    >>> summary = engine.run("data/sample", workers=2)  # doctest: +SKIP
    >>> summary.ok  # doctest: +SKIP
    True
    """
    if kernel not in KERNELS:
        raise ValueError(f"kernel must be one of {', '.join(KERNELS)}, not {kernel!r}")
    if not (compute or export):
        raise ValueError("there is nothing to do without compute and without export")
    if workers is not None and workers < 1:
        raise ValueError(f"workers must be at least 1, not {workers}")
    if restart and not compute:
        raise ValueError("restart forgets what an export without compute would need")
    if min_similarity is not None and math.isnan(min_similarity):
        raise ValueError("min_similarity must be a number, not NaN")
    begin = time.perf_counter()
    folder = DataFolder(Path(data))
    place = Store(str(folder.default_store if store is None else store))
    if dask and place.path:
        place = Store(str(place.path.absolute()))  # Its workers are elsewhere.
    progress = progress or Progress()
    there = place.exists()
    names = choose(folder, place, approaches, decades, there)
    if not there and not compute:
        raise EngineError(
            f"{place.location}: there is no store to export from; run without --export-only"
        )
    if (usable := cpus()) < (workers or 1):
        progress.message(f"{workers} workers were asked for; {usable} are used, one for each CPU")
    with ExitStack() as held:
        held.enter_context(locked(place))
        usual = Store(str(folder.default_store))
        if export and lock_path(place) != lock_path(usual):
            # Runs on two stores must not write the same outputs.
            held.enter_context(locked(usual, "these outputs"))
        place.create()
        place.sweep()
        if restart:
            names = _forget(folder, place, names, progress)
        with (
            Workers(progress.message) as processes,
            _cluster(dask if compute else None, wait_for_workers, place, progress) as away,
        ):
            job = Job(
                folder,
                place,
                Settings(kernel, normalize, min_similarity),
                compute,
                export,
                processes,
                min(workers or usable, usable),
                progress,
                {name: DecadeSummary(name) for name in names},
                away,
            )
            while job.round():
                pass
    progress.close()
    seconds = time.perf_counter() - begin
    return Summary(list(job.summaries.values()), seconds, min_similarity)


@contextmanager
def _cluster(
    address: str | None, seconds: float | None, store: Store, progress: Progress
) -> Iterator[Callable[[Iterable[BlockTask]], Iterator[Result]] | None]:
    if address is None:
        yield None
        return
    try:
        from engine.work.dask.cluster import connected  # Dask takes a second to import.
    except ImportError as error:
        raise EngineError(f'--dask needs more packages ({error}): pip install ".[dask]"') from None
    with connected(address, store, progress, seconds) as cluster:
        yield cluster.perform_all


def _forget(
    folder: DataFolder, store: Store, names: Iterable[DecadeName], progress: Progress
) -> list[DecadeName]:
    kept = []
    for name in names:
        store.forget(name)
        if folder.input(name).exists():
            kept.append(name)
        else:
            progress.message(f"{name}: forgotten; it has no input")
    return kept
