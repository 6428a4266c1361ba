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
from collections.abc import Iterable, Sequence
from pathlib import Path

from engine.data_folder import DataFolder, select
from engine.disk import write_whole
from engine.errors import EngineError
from engine.errors import shown as printable
from engine.listing import list_inputs
from engine.options import Parser
from engine.query.overview import mean_by_pixel, measure, order_films
from engine.query.similarities import open as open_store


def main(arguments: Sequence[str] | None = None) -> int:
    """Parse the command line, draw, and return the exit status."""
    options = _parser().parse_args(arguments)
    try:
        return _draw_all(options)
    except EngineError as error:
        return _error(str(error))
    except OSError as error:
        return _error(f"{error.filename}: {error.strerror}" if error.filename else str(error))
    except KeyboardInterrupt:
        print("interrupted; the pictures named above are whole", file=sys.stderr)
        return 130


def _draw_all(options: argparse.Namespace) -> int:
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
    for name in sorted(set(list_inputs(folder).names) - set(there)):
        if not options.approach or name.approach in options.approach:
            print(f"{name}: nothing is computed yet; left out", file=sys.stderr)
    status = 0
    for approach, names in itertools.groupby(chosen, key=lambda name: name.approach):
        distributions = []
        for name in names:
            try:
                distributions.append(measure(similarities.decade(approach, name.decade)))
            except EngineError as error:
                status = _error(str(error))
                continue
            if distributions[-1].per_cent < 100:
                part = f"{distributions[-1].per_cent} % of the pairs"
                print(f"{name}: {part} are computed; those are drawn", file=sys.stderr)
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


def _error(text: str) -> int:
    print(f"error: {text}", file=sys.stderr)
    return 1


def _parser() -> argparse.ArgumentParser:
    parser = Parser(
        prog="python -m engine.plot",
        allow_abbrev=False,
        description="Draw the similarities in a store: DATA/plots/*.png and *.svg.",
    )
    add = parser.add_argument
    add(
        "--data",
        metavar="DIR",
        default="data",
        help="root of the data; pictures go into DIR/plots (default: %(default)s)",
    )
    add("--store", metavar="PATH_OR_URL", help="the zarr store (default: DIR/similarities.zarr)")
    add("--approach", metavar="NAME", nargs="+", help="only these (default: all)")
    add(
        "--decade",
        metavar="YEAR",
        nargs="+",
        type=lambda year: year.removesuffix("s"),
        help="decades to draw a heat map of (default: the one with most pairs)",
    )
    return parser


if __name__ == "__main__":
    sys.exit(main())
