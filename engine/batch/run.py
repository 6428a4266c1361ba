"""The run as one call: `run` computes what is missing of the selected decades and exports it."""

import os
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, replace
from pathlib import Path

from engine.arguments import Count, Names, Number, Years, read_arguments
from engine.batch.choice import choose
from engine.batch.job import Job
from engine.batch.preflight import check_output, check_store
from engine.batch.replaced import exported_before
from engine.batch.summary import DecadeSummary, Summary
from engine.data_folder import DataFolder, DecadeName
from engine.embeddings.reading import is_there
from engine.errors import EngineError, InputError, reason
from engine.listing import not_read
from engine.progress import Progress, listener
from engine.store.lock import locked
from engine.store.source import Source
from engine.store.store import Store
from engine.triangle.kernel import KernelName
from engine.work.pool import Workers, cpus
from engine.work.tasks import BlockTask, Result


def run(
    data: str | os.PathLike[str] = "data",
    *,
    store: str | os.PathLike[str] | None = None,
    workers: Count | None = None,
    dask: str | None = None,
    wait_for_workers: Number | None = None,
    approaches: Names | None = None,
    decades: Years | None = None,
    kernel: KernelName | None = None,
    normalize: bool | None = None,
    min_similarity: Number | None = None,
    top_percent: Number | None = None,
    top_k: Count | None = None,
    compute: bool = True,
    export: bool = True,
    restart: bool = False,
    progress: Progress | bool | None = None,
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
        Only these, one or several; all by default. Decades are years: ``1990``, ``"1990"`` or
        ``["1990s", 2000]``.
    kernel
        ``"dot"``: bit for bit the value of ``a @ b``; ``"gemm"``: faster, within 2e-15 of it
        (for vectors of unit length). By default what the store has; ``"dot"`` for what is new.
    normalize
        Scale every vector to unit length first. By default as the store has it; not for what is
        new.
    min_similarity, top_percent, top_k
        Export only the pairs at or above a similarity, the strongest so many per cent of each
        decade, or those among the so many best of either film, as `Decade.pairs` finds them; one
        of the three. All pairs by default.
    compute
        False: export from a finished store and compute nothing.
    export
        False: fill the store and write no JSON.
    restart
        Forget what the store holds for the selected decades.
    progress
        True: bars and messages on stderr, or in the notebook; False: neither; or a listener of
        your own. By default bars in a notebook and none elsewhere. What is worth knowing and is
        not shown goes to the logger ``engine``.

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
    asked = read_arguments(
        approaches=approaches,
        decades=decades,
        workers=workers,
        kernel=kernel,
        normalize=normalize,
        min_similarity=min_similarity,
        top_percent=top_percent,
        top_k=top_k,
        compute=compute,
        export=export,
        restart=restart,
        wait_for_workers=wait_for_workers,
    )
    begin = time.perf_counter()
    source = Source.at(data, store)
    if dask and source.store.path:  # Its workers are elsewhere.
        source = Source.at(data, source.store.path.absolute())
    folder = source.folder
    progress = listener(progress)
    there = source.store.exists()
    choice = choose(folder, source.store, asked.approaches, asked.decades, there)
    if not there and not compute:
        raise EngineError(
            f"{source.store.location}: there is no store to export from; run without --export-only"
        )
    if (usable := cpus()) < (asked.workers or 1):
        progress.message(f"using {usable} workers ({asked.workers} requested, {usable} CPUs)")
    check_store(source.store)
    with ExitStack() as held:
        warnings = [held.enter_context(locked(source.store))]
        if export:
            warnings += [
                held.enter_context(locked(output)) for output in _outputs(folder, choice.names)
            ]
        if warning := next(filter(None, warnings), None):
            progress.message(warning)
        if source.store.create():
            progress.message(
                f"{source.store.location}: its metadata were damaged and are written again"
            )
        if choice.unread:
            progress.message(not_read(choice.unread))
        for error in choice.errors:
            progress.error(error)
        before = exported_before(source, choice.names)
        summaries = {name: DecadeSummary(name, output=folder.output(name)) for name in choice.names}
        if restart:
            _forget(source, summaries, progress)
        with (
            Workers(progress.message) as processes,
            cluster_at(
                dask if compute else None, asked.wait_for_workers, source.store, progress
            ) as on_cluster,
        ):
            job = Job(
                source,
                replace(asked, restart=False),  # What was to be forgotten is gone by now.
                processes,
                min(asked.workers or usable, usable),
                progress,
                summaries,
                before,
                on_cluster,
            )
            while job.round():
                pass
    progress.close()
    seconds = time.perf_counter() - begin
    done = list(job.summaries.values())
    return Summary(done, seconds, errors=choice.errors, **asdict(asked.rule))


def _outputs(folder: DataFolder, names: Iterable[DecadeName]) -> Iterator[Path]:
    """List the outputs that this run may write, to keep others from them."""
    for name in names:
        try:
            check_output(folder.output(name))
        except EngineError:
            continue  # Nobody can write it; the job says so if it is needed.
        yield folder.output(name)


@contextmanager
def cluster_at(
    address: str | None, seconds: float | None, store: Store, progress: Progress
) -> Iterator[Callable[[Iterable[BlockTask]], Iterator[Result]] | None]:
    """Connect to a Dask cluster for a while, and yield what computes there; None: no address."""
    if address is None:
        yield None
        return
    try:
        from engine.work.dask.cluster import connected  # Dask takes a second to import.
    except ImportError as error:
        raise EngineError(f'--dask needs more packages ({error}): pip install ".[dask]"') from None
    with connected(address, store, progress, seconds) as cluster:
        yield cluster.perform_all


def _forget(source: Source, summaries: dict[DecadeName, DecadeSummary], progress: Progress) -> None:
    """Forget what the store holds; what cannot be deleted fails, and what has no input is left."""
    for name, summary in list(summaries.items()):
        try:
            source.store.forget(name)
        except OSError as error:
            summary.error = reason(error, source.store.location)
            progress.error(summary.error)
            continue
        try:
            there = is_there(source.folder.input(name))
        except InputError:
            there = True  # Reading it will say what is the matter.
        if not there:
            del summaries[name]
            progress.message(f"{name}: removed from the store: its input is gone")
