"""The whole page, put together from the sections, the template and the script beside this file."""

import base64
import hashlib
from collections.abc import Mapping, Sequence
from html import escape
from itertools import groupby
from pathlib import Path
from string import Template
from urllib.parse import quote

from engine.data_folder import DecadeName
from engine.page.figures import Axes, bars, common_axes, heat_map, histogram, number, numbers
from engine.page.payload import payload
from engine.page.section import Section
from engine.tables import count
from engine.version import __version__

_FOLDER = Path(__file__).parent


def assemble(
    sections: Sequence[Section], titles: Mapping[str, str], messages: Sequence[str], folder: str
) -> str:
    """Make the page.

    Parameters
    ----------
    sections
        The decades, by approach; at least one.
    titles
        Titles of films by their ids; a film without one stands under its id.
    messages
        What a reader must know: what is missing.
    folder
        What the data is called.

    Returns
    -------
    str
        HTML that needs no other file and asks no network.
    """
    chosen = max(sections, key=lambda section: section.distribution.n_counted)
    script = (_FOLDER / "page.js").read_text("utf-8")
    overview, details = [], []
    for approach, group in groupby(sections, key=lambda section: section.name.approach):
        decades = list(group)
        axes = common_axes(decades)
        overview.append(_overview(approach, decades, axes))
        details += [
            _detail(section, axes, _beside(section, sections), section is chosen)
            for section in decades
        ]
    n_pairs = sum(section.distribution.n_pairs for section in sections)
    films = {film for section in sections for film in section.ids}
    totals = [
        "1 approach" if len(overview) == 1 else f"{len(overview)} approaches",
        count(len(sections), "decade"),
        count(len(films), "film"),
        count(n_pairs, "pair"),
    ]
    return Template((_FOLDER / "page.html").read_text("utf-8")).substitute(
        script_hash=base64.b64encode(hashlib.sha256(script.encode()).digest()).decode("ascii"),
        folder=escape(folder),
        style=(_FOLDER / "page.css").read_text("utf-8"),
        totals=", ".join(totals),
        messages="".join(f"<p>{escape(message)}</p>" for message in messages),
        overview="\n".join(overview),
        details="\n".join(details),
        version=__version__,
        data=payload(sections, titles),
        script=script,
    )


def _overview(approach: str, decades: Sequence[Section], axes: Axes) -> str:
    """Make the table of an approach, whose rows lead to its decades."""
    rows = (
        f'<tr><th scope="row"><a href="{_link(each.name)}">{each.name.decade}s</a></th>'
        f'<td class="small">{bars(each, axes)}</td><td>{each.distribution.n_films:,}</td>'
        f"<td>{number(each.described['50%'])}</td><td>{number(each.described['75%'])}</td></tr>"
        for each in decades
    )
    return (
        f'<table><caption><bdi>{escape(approach)}</bdi></caption><thead><tr><th scope="col">decade'
        '</th><th scope="col">similarities</th><th scope="col">films</th><th scope="col">median'
        '</th><th scope="col"><abbr title="75th percentile">75th pct.</abbr></th></tr></thead>'
        f"<tbody>{''.join(rows)}</tbody></table>"
    )


def _detail(section: Section, axes: Axes, beside: str, chosen: bool) -> str:
    """Make all that is said of a decade; the script adds the table of its films."""
    name, shown = section.name, section.distribution
    part = ""
    if shown.per_cent < 100:
        part = f'<p class="part">{shown.per_cent} % of the pairs are computed; those are shown.</p>'
    if shown.n_beyond:
        beyond = f"{count(shown.n_beyond, 'pair')} of a similarity that is no number, or too large"
        part += f'<p class="part">{beyond} to be drawn, left out of the figures.</p>'
    return (
        f'<section class="decade{" chosen" if chosen else ""}" id="{escape(_anchor(name))}">'
        f'<header><h2 tabindex="-1"><bdi>{escape(name.approach)}</bdi> {name.decade}s</h2>'
        f"<nav>{beside}</nav></header>{part}{numbers(section)}"
        f'<div class="figures">{histogram(section, axes)}{heat_map(section)}</div></section>'
    )


def _beside(section: Section, sections: Sequence[Section]) -> str:
    """Link the decades before and after, and the same under other approaches."""
    name = section.name
    same = [each.name for each in sections if each.name.approach == name.approach]
    at = same.index(name)
    links = [(f"← {each.decade}s", each) for each in same[max(0, at - 1) : at]]
    links += [(f"{each.decade}s →", each) for each in same[at + 1 : at + 2]]
    links += [
        (each.name.approach, each.name)
        for each in sections
        if each.name.decade == name.decade and each.name.approach != name.approach
    ]
    return " ".join(f'<a href="{_link(to)}"><bdi>{escape(text)}</bdi></a>' for text, to in links)


def _anchor(name: DecadeName) -> str:
    return f"{name.approach}/{name.decade}s"


def _link(name: DecadeName) -> str:
    return f"#{quote(_anchor(name))}"
