"""Tables for a person, as lines of text and as HTML, and the numbers in them."""

import html
import shutil
import sys
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import TypeAlias


@dataclass(frozen=True)
class Table:
    """Rows of cells below a head; what has tables prints as some of them, and lines between."""

    head: Sequence[str]
    rows: Sequence[Sequence[str]]
    left: int = 2
    """So many columns, from the first, stand to the left, the others to the right."""
    caption: str = ""
    headed: bool = True
    """False: the head is not shown again, as of a row of sums below other tables of this head."""
    dispensable: Sequence[int] = ()
    """Columns that are left out of a text where there is no room, the first first."""


Part: TypeAlias = Table | str


def as_text(parts: Sequence[Part], width: int = 80) -> str:
    """Set tables and lines as text, an empty line between; an empty part is left out.

    Columns are as wide as their widest cell, in all tables of one head alike. A row may hold an
    empty cell where the text of the cell before it runs on.

    Parameters
    ----------
    parts
        What is to be set.
    width
        Characters of a line: where tables are wider, their dispensable columns are left out.
    """
    tables = [part for part in parts if isinstance(part, Table)]
    texts = []
    for part in parts:
        if isinstance(part, Table):
            alike = [row for table in tables if table.head == part.head for row in table.rows]
            widths = [max(map(len, column)) for column in zip(part.head, *alike, strict=True)]
            columns = _columns_that_fit(widths, part.dispensable, width)
            rows = [part.head, *part.rows] if part.headed else part.rows
            lines = [_line(row, widths, columns, part.left) for row in rows]
            texts.append("\n".join([part.caption, *lines] if part.caption else lines))
        else:
            texts.append(part)
    return "\n\n".join(filter(None, texts))


def _columns_that_fit(widths: Sequence[int], dispensable: Iterable[int], width: int) -> list[int]:
    columns = list(range(len(widths)))
    for k in dispensable:
        if sum(widths[k] + 2 for k in columns) - 2 <= width:
            break
        columns.remove(k)
    return columns


def _line(cells: Sequence[str], widths: Sequence[int], columns: Sequence[int], left: int) -> str:
    set_cells = (
        f"{cells[k]:<{widths[k]}}" if k < left else f"{cells[k]:>{widths[k]}}" for k in columns
    )
    return "  ".join(set_cells).rstrip()


def terminal_width() -> int:
    """Characters of a line of the terminal; 80 where there is none."""
    return shutil.get_terminal_size().columns if sys.stdout.isatty() else 80


def as_html(parts: Sequence[Part]) -> str:
    """Set the same for a notebook, with all columns; tables of one head below another are one."""
    texts = []
    tables = groupby(filter(None, parts), lambda part: isinstance(part, Table) and part.head)
    for head, group in tables:
        if not head:
            texts += [f"<p>{html.escape(str(line))}</p>".replace("\n", "<br>\n") for line in group]
        else:
            rows = [row for table in group if isinstance(table, Table) for row in _html_rows(table)]
            texts.append("\n".join(["<table>", *rows, "</table>"]))
    return "\n".join(texts)


def _html_rows(table: Table) -> Iterator[str]:
    if table.caption:
        yield (
            f'<tr><th colspan="{len(table.head)}" style="text-align:left">'
            f"{html.escape(table.caption)}</th></tr>"
        )
    if table.headed:
        yield _html_row("th", table.head, table.left)
    for row in table.rows:
        yield _html_row("td", row, table.left)


def _html_row(tag: str, cells: Sequence[str], left: int) -> str:
    sides = ["left" if k < left else "right" for k in range(len(cells))]
    inside = (
        f'<{tag} style="text-align:{side};padding:0 0.6em">{html.escape(cell)}</{tag}>'
        for side, cell in zip(sides, cells, strict=True)
    )
    return f"<tr>{''.join(inside)}</tr>"


def per_cent(part: int, whole: int, done: bool = True) -> str:
    """Write a part in per cent; of nothing it is 100 % when that is `done`."""
    # Rounded down: 100 % is said of what is whole, and only of that.
    return f"{100 * part // whole} %" if whole else "100 %" if done else "0 %"


def count(n: int, noun: str) -> str:
    """Write a number of things."""
    return f"{n:,} {noun}" + ("" if n == 1 else "s")


def duration(seconds: float) -> str:
    """Write a time for a person who plans with it, in one unit.

    Examples
    --------
    >>> duration(260)
    '4 min'
    """
    if seconds < 90:
        return f"{max(1, round(seconds))} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
