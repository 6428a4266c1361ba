"""One page to look at, made from the store without the JSON: ``python -m engine.report``.

A single HTML file, whole without a network: for each approach and decade the distribution of the
similarities, a heat map, and the films with their ten nearest. Pairs are read chunk by chunk, so
that memory does not grow with their number. Where a run has not finished, what is computed so far
is shown and the page says so.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from engine.data_folder import DataFolder, DecadeName, select
from engine.disk import size, write_whole
from engine.errors import EngineError, reason
from engine.listing import check_root, list_inputs
from engine.options import Parser
from engine.page.titles import read_titles
from engine.query.similarities import open as open_store
from engine.store.location import masked
from engine.terminal import TerminalProgress


def main(arguments: Sequence[str] | None = None) -> int:
    """Parse the command line, write the page, and return the exit status."""
    options = _parser().parse_args(arguments)
    progress = TerminalProgress()
    try:
        return _write(options, progress)
    except EngineError as error:
        progress.error(str(error))
    except OSError as error:
        progress.error(reason(error, "the page"))
    except KeyboardInterrupt:
        progress.close()
        print("interrupted; no page was written", file=sys.stderr)
        return 130
    return 1


def _write(options: argparse.Namespace, progress: TerminalProgress) -> int:
    folder = DataFolder(Path(options.data))
    check_root(folder)
    titles = read_titles(options.titles) if options.titles else {}
    similarities = open_store(options.data, store=options.store)
    try:
        from engine.page.assemble import assemble
        from engine.page.section import Section, look
    except ModuleNotFoundError as error:
        raise EngineError(
            f"the report needs {error.name}, which is not installed: pip install matplotlib"
        ) from None
    there = [DecadeName(approach, str(decade)) for approach, decade in similarities]
    chosen = select(there, options.approach, options.decade)
    notes = [
        f"{name}: nothing is computed yet; left out"
        for name in sorted(set(list_inputs(folder).names) - set(there))
        if not options.approach or name.approach in options.approach
        if not options.decade or name.decade in options.decade
    ]
    for note in notes:
        progress.message(note)
    sections: list[Section] = []
    n_damaged = 0
    progress.stage("looking", len(chosen), 0, "decades")
    for name in chosen:
        progress.decade(str(name), len(sections) + n_damaged, len(chosen))
        try:
            section = look(similarities.decade(name.approach, name.decade))
        except EngineError as error:
            progress.error(str(error))
            notes.append(masked(str(error)))
            n_damaged += 1
        else:
            sections.append(section)
            if section.distribution.per_cent < 100:
                part = f"{section.distribution.per_cent} % of the pairs"
                progress.message(f"{name}: {part} are computed; those are shown")
        progress.advance("looking", 1)
    progress.close()
    if not sections:
        return 1
    if options.titles:
        _tell_of_titles(options.titles, titles, {film for each in sections for film in each.ids})
    page = assemble(sections, titles, notes, folder.root.resolve().name)
    path = write_whole(options.output or folder.root / "report.html", page.encode())
    print(f"{path}: {size(path.stat().st_size)}")
    return 1 if n_damaged else 0


def _tell_of_titles(path: Path, titles: dict[str, str], films: set[str]) -> None:
    named = len(films & set(titles))
    if named < len(films):
        print(
            f"{path}: has a title for {named:,} of {len(films):,} films; the others stand under "
            "their ids",
            file=sys.stderr,
        )


def _parser() -> argparse.ArgumentParser:
    parser = Parser(
        prog="python -m engine.report",
        allow_abbrev=False,
        description="Show the similarities in a store on one page: DATA/report.html.",
    )
    add = parser.add_argument
    add(
        "--data",
        metavar="DIR",
        default="data",
        help="root of the data; the page goes into it (default: %(default)s)",
    )
    add("--store", metavar="PATH_OR_URL", help="the zarr store (default: DIR/similarities.zarr)")
    add("--approach", metavar="NAME", nargs="+", help="only these (default: all)")
    add(
        "--decade",
        metavar="YEAR",
        nargs="+",
        type=lambda year: year.removesuffix("s"),
        help="only these (default: all)",
    )
    add(
        "--titles",
        metavar="FILE",
        type=Path,
        help="a JSON object, id → title, to show and search films by",
    )
    add(
        "--output",
        metavar="FILE",
        type=Path,
        help="where to write the page (default: DIR/report.html)",
    )
    return parser


if __name__ == "__main__":
    sys.exit(main())
