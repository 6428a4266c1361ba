"""Tables for a person, as lines of text and as HTML, and the numbers in them."""

import html
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias


@dataclass(frozen=True)
class Table:
    """Rows of cells below a head; what has tables prints as some of them, and lines between."""

    head: Sequence[str]
    rows: Sequence[Sequence[str]]
    left: int = 2
    """So many columns, from the first, stand to the left, the others to the right."""
    caption: str = ""


Part: TypeAlias = Table | str


def as_text(parts: Sequence[Part]) -> str:
    """Set tables and lines as text, an empty line between; an empty part is left out.

    Columns are as wide as their widest cell, in all tables of one head alike. A row may hold an
    empty cell where the text of the cell before it runs on.
    """
    tables = [part for part in parts if isinstance(part, Table)]
    texts = []
    for part in parts:
        if isinstance(part, Table):
            alike = [row for table in tables if table.head == part.head for row in table.rows]
            widths = [max(map(len, column)) for column in zip(part.head, *alike, strict=True)]
            lines = [_line(row, widths, part.left) for row in (part.head, *part.rows)]
            texts.append("\n".join([part.caption, *lines] if part.caption else lines))
        else:
            texts.append(part)
    return "\n\n".join(filter(None, texts))


def _line(cells: Sequence[str], widths: Sequence[int], left: int) -> str:
    set_cells = (
        f"{cell:<{width}}" if k < left else f"{cell:>{width}}"
        for k, (cell, width) in enumerate(zip(cells, widths, strict=True))
    )
    return "  ".join(set_cells).rstrip()


def as_html(parts: Sequence[Part]) -> str:
    """Set the same for a notebook."""
    return "\n".join(_html(part) for part in parts if part)


def _html(part: Part) -> str:
    if isinstance(part, str):
        return f"<p>{html.escape(part)}</p>".replace("\n", "<br>\n")
    caption = html.escape(part.caption)
    above = [f'<caption style="text-align:left">{caption}</caption>'] if caption else []
    rows = [_html_row("th", part.head, part.left)]
    rows += [_html_row("td", row, part.left) for row in part.rows]
    return "\n".join(["<table>", *above, *rows, "</table>"])


def _html_row(tag: str, cells: Sequence[str], left: int) -> str:
    sides = ["left" if k < left else "right" for k in range(len(cells))]
    inside = (
        f'<{tag} style="text-align:{side};padding:0 0.6em">{html.escape(cell)}</{tag}>'
        for side, cell in zip(sides, cells, strict=True)
    )
    return f"<tr>{''.join(inside)}</tr>"


def size(n_bytes: float) -> str:
    """Write a number of bytes for a person, in at most seven characters.

    Examples
    --------
    >>> size(272988)
    '273 kB'
    """
    for unit in ("B", "kB", "MB", "GB"):
        if n_bytes < 999.5:
            digits = 0 if n_bytes >= 99.95 or unit == "B" else 1
            return f"{n_bytes:.{digits}f} {unit}"
        n_bytes /= 1000
    return f"{n_bytes:.1f} TB"


def per_cent(part: int, whole: int, done: bool = True) -> str:
    """Write a part in per cent; of nothing it is 100 % when that is `done`."""
    # Rounded down: 100 % is said of what is whole, and only of that.
    return f"{100 * part // whole} %" if whole else "100 %" if done else "0 %"


def count(n: int, noun: str) -> str:
    """Write a number of things."""
    return f"{n} {noun}" + ("" if n == 1 else "s")
