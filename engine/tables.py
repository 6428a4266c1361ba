"""Tables for a person, as lines of text and as HTML, and the numbers in them."""

import html
from collections.abc import Sequence


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


def text_table(head: Sequence[str], rows: Sequence[Sequence[str]], left: int = 2) -> str:
    """Set rows in columns as wide as their widest cell, the first `left` to the left.

    A row may hold an empty cell where the text of the cell before it runs on.
    """
    widths = [max(len(row[k]) for row in [head, *rows]) for k in range(len(head))]
    lines = []
    for row in [head, *rows]:
        cells = [
            f"{cell:<{width}}" if k < left else f"{cell:>{width}}"
            for k, (cell, width) in enumerate(zip(row, widths, strict=True))
        ]
        lines.append("  ".join(cells).rstrip())
    return "\n".join(lines)


def html_table(
    head: Sequence[str], rows: Sequence[Sequence[str]], left: int = 2, caption: str = ""
) -> str:
    """Set the same table for a notebook."""
    lines = [_html_row("th", row, left) for row in [head]]
    lines += [_html_row("td", row, left) for row in rows]
    above = f'<caption style="text-align:left">{html.escape(caption)}</caption>' if caption else ""
    return f"<table>{above}\n" + "\n".join(lines) + "\n</table>"


def html_lines(text: str) -> str:
    """Set lines of text for a notebook, as a paragraph; nothing of no text."""
    return f"<p>{html.escape(text)}</p>".replace("\n", "<br>\n") if text else ""


def _html_row(tag: str, cells: Sequence[str], left: int) -> str:
    sides = ["left" if k < left else "right" for k in range(len(cells))]
    inside = (
        f'<{tag} style="text-align:{side};padding:0 0.6em">{html.escape(cell)}</{tag}>'
        for side, cell in zip(sides, cells, strict=True)
    )
    return f"<tr>{''.join(inside)}</tr>"
