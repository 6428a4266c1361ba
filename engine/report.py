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
from typing import TYPE_CHECKING

from engine.data_folder import DataFolder, DecadeName, select
from engine.disk import size, write_whole
from engine.errors import EngineError, shown
from engine.listing import check_root
from engine.options import store_parser
from engine.page.titles import read_titles
from engine.plot import guarded, left_out
from engine.progress import Progress
from engine.query.decade import Decade
from engine.query.similarities import Similarities
from engine.query.similarities import open as open_store
from engine.store.location import masked

if TYPE_CHECKING:
    from engine.page.section import Section


def main(arguments: Sequence[str] | None = None) -> int:
    """Parse the command line, write the page, and return the exit status."""
    parser = store_parser(
        "engine.report",
        "Show the similarities in a store on one page: DATA/report.html.",
        "the page goes into it",
        "only these (default: all)",
    )
    text = "a JSON object, id → title, to show and search films by"
    parser.add_argument("--titles", metavar="FILE", type=Path, help=text)
    text = "where to write the page (default: DIR/report.html)"
    parser.add_argument("--output", metavar="FILE", type=Path, help=text)
    return guarded(_write, parser.parse_args(arguments), "no page was written")


def _write(options: argparse.Namespace, progress: Progress) -> int:
    folder = DataFolder(Path(options.data))
    check_root(folder)
    output = options.output or folder.root / "report.html"
    if output.is_dir():
        raise EngineError(f"{output}: is a folder where the file of the page was expected")
    titles = read_titles(options.titles) if options.titles else {}
    similarities = open_store(options.data, store=options.store)
    try:
        from engine.page.assemble import assemble
    except ModuleNotFoundError as error:
        raise EngineError(
            f"the report needs {error.name}, which is not installed: pip install matplotlib"
        ) from None
    there = similarities.names()
    chosen = select(there, options.approach, options.decade)
    messages = left_out(folder, there, options.approach, options.decade)
    for text in messages:
        progress.message(text)
    sections, failures = _sections(chosen, similarities, progress)
    if not sections:
        return 1
    if options.titles:
        _tell_of_titles(options.titles, titles, {film for each in sections for film in each.ids})
    page = assemble(sections, titles, messages + failures, folder.root.resolve().name)
    # A path may be of bytes that are no text.
    write_whole(output, page.encode(errors="backslashreplace"))
    print(f"{shown(str(output), 300)}: {size(output.stat().st_size)}")
    return 1 if failures else 0


def _sections(
    names: Sequence[DecadeName], similarities: Similarities, progress: Progress
) -> "tuple[list[Section], list[str]]":
    """Read the decades; one that is damaged does not stop the others, and is told of."""
    from engine.page.section import section_of

    opened: dict[DecadeName, Decade] = {}
    sections, failures = [], []

    def fail(error: EngineError) -> None:
        progress.error(str(error))
        failures.append(masked(str(error)))

    for name in names:
        try:
            opened[name] = similarities.decade(name.approach, name.decade)
        except EngineError as error:
            fail(error)
    progress.stage("drawing", sum(films.n_pairs for films in opened.values()), 0, "pairs")
    for at, name in enumerate(there := list(opened)):
        progress.decade(str(name), at, len(there))
        films = opened.pop(name)  # Of one decade at a time the vectors are held.
        try:
            section = section_of(films)
        except EngineError as error:
            fail(error)
        else:
            sections.append(section)
            if section.distribution.per_cent < 100:
                part = f"{section.distribution.per_cent} % of the pairs"
                progress.message(f"{name}: {part} are computed; those are shown")
        progress.advance("drawing", films.n_pairs)
    progress.close()
    return sections, failures


def _tell_of_titles(path: Path, titles: dict[str, str], films: set[str]) -> None:
    named = len(films & set(titles))
    if named < len(films):
        print(
            f"{path}: has a title for {named:,} of {len(films):,} films; the others stand under "
            "their ids",
            file=sys.stderr,
        )


if __name__ == "__main__":
    sys.exit(main())
