"""Pictures of the similarities, drawn from the store without the JSON: ``python -m engine.plot``.

For each approach a figure with the distribution of the similarities in every decade, and for one
decade a heat map whose films are ordered so that clusters show; each as PNG and SVG in
``DATA/plots/``, and beside the heat map its films in their order, as JSON. Pairs are read chunk by
chunk, so that memory does not grow with their number. Where a run has not finished, what is
computed so far is drawn and the picture says so.
"""

import argparse
import itertools
import json
import sys
from collections.abc import Callable, Collection, Iterable, Sequence
from pathlib import Path

from engine.data_folder import DataFolder, DecadeName, select
from engine.disk import write_whole
from engine.errors import EngineError, reason
from engine.errors import shown as printable
from engine.listing import list_inputs
from engine.options import store_parser
from engine.progress import Progress
from engine.query.overview import mean_by_pixel, measure, order_films
from engine.query.similarities import open as open_store
from engine.terminal import TerminalProgress


def main(arguments: Sequence[str] | None = None) -> int:
    """Parse the command line, draw, and return the exit status."""
    parser = store_parser(
        "engine.plot",
        "Draw the similarities in a store: DATA/plots/*.png and *.svg.",
        "pictures go into DIR/plots",
        "decades to draw a heat map of (default: the one with most pairs)",
    )
    return guarded(_draw_all, parser.parse_args(arguments), "the pictures named above are whole")


def guarded(
    work: Callable[[argparse.Namespace, Progress], int], options: argparse.Namespace, outcome: str
) -> int:
    """Do work that returns an exit status; make one line of what goes wrong.

    What comes of it is said when it is interrupted.
    """
    progress = TerminalProgress()
    try:
        return work(options, progress)
    except EngineError as error:
        progress.error(str(error))
    except OSError as error:
        progress.error(reason(error, options.data))
    except KeyboardInterrupt:
        progress.close()
        print(f"interrupted; {outcome}", file=sys.stderr)
        return 130
    return 1


def left_out(
    folder: DataFolder,
    there: Collection[DecadeName],
    approaches: Sequence[str] | None,
    decades: Sequence[str] | None = None,
) -> list[str]:
    """Say which decades have an input and nothing in the store, of those that are asked for."""
    return [
        f"{name}: nothing is computed yet; left out"
        for name in sorted(set(list_inputs(folder).names) - set(there))
        if not approaches or name.approach in approaches
        if not decades or name.decade in decades
    ]


def _draw_all(options: argparse.Namespace, progress: Progress) -> int:
    similarities = open_store(options.data, store=options.store)
    try:
        from engine.pictures import PIXELS, draw_distributions, draw_heat_map, save
    except ModuleNotFoundError as error:
        raise EngineError(
            f"pictures need {error.name}, which is not installed: pip install matplotlib"
        ) from None
    folder = DataFolder(Path(options.data))
    there = similarities.names()
    chosen = select(there, options.approach, None)
    mapped = select(chosen, None, options.decade)
    for text in left_out(folder, there, options.approach):
        progress.message(text)
    status = 0
    for approach, names in itertools.groupby(chosen, key=lambda name: name.approach):
        distributions = []
        for name in names:
            try:
                distributions.append(measure(similarities.decade(approach, name.decade)))
            except EngineError as error:
                progress.error(str(error))
                status = 1
                continue
            if distributions[-1].per_cent < 100:
                part = f"{distributions[-1].per_cent} % of the pairs"
                progress.message(f"{name}: {part} are computed; those are drawn")
        if not distributions:
            continue
        figure = draw_distributions(approach, distributions)
        _written(save(figure, folder.root / "plots" / f"distribution_{approach}"))
        drawable = [shown for shown in distributions if shown.n_counted]
        if options.decade:
            drawable = [shown for shown in drawable if shown.name in mapped]
        else:
            drawable = sorted(drawable, key=lambda shown: -shown.n_counted)[:1]
        for shown in drawable:
            films = similarities.decade(approach, shown.name.decade)
            together = -(-len(films) // PIXELS)
            order = order_films(films.vectors, together)
            figure = draw_heat_map(mean_by_pixel(films, order, together), together, shown)
            path = folder.root / "plots" / f"heatmap_{approach}_{shown.name.decade}s"
            _written(save(figure, path))
            ids = films.ids
            ordered = json.dumps([ids[film] for film in order], indent=0)
            _written([write_whole(path.with_name(f"{path.name}.json"), ordered.encode())])
    return status


def _written(paths: Iterable[Path]) -> None:
    for path in paths:
        print(printable(str(path), 300))


if __name__ == "__main__":
    sys.exit(main())
