"""Other shapes that embeddings come in, told from the beginning of a file, and the way out of each.

What has another shape is not damaged: to have it written again would not help.
"""

import json
import re
import shlex
from typing import Any

from engine.embeddings.parsing import sentence

HEAD = 2**18
"""Bytes at the beginning of a file that tell its shape."""
_EXPECTED = 'one JSON object, {"id": [numbers], ...}'


def other_shape(name: str, head: bytes) -> str | None:
    """Say what a file holds and how to convert it; None of what has no shape that is known.

    Parameters
    ----------
    name
        Path of the file.
    head
        Its first `HEAD` bytes, or all.
    """
    text = head.decode("utf-8-sig", errors="replace").lstrip()
    in_list = text.startswith("[")
    try:
        first, end = json.JSONDecoder().raw_decode(text[1:].lstrip() if in_list else text)
        if not in_list and len(head) < HEAD:
            json.JSONDecoder().raw_decode(
                text[end:].lstrip()
            )  # There is a second, and it is whole.
    except (ValueError, RecursionError):  # No JSON, or nested too deep for films.
        return None
    if in_list and isinstance(first, list | int | float):
        remedy = "write it again with the id of each film"
        return sentence(name, "", "a list without ids", _EXPECTED, remedy)
    films = _films(first)
    if not films or not (in_list or re.match(r"\s*\{", text[end:])):
        return None
    found = "a list of objects" if in_list else "several objects, as in JSON Lines"
    rows = "json.loads(text)" if in_list else 'map(json.loads, text.strip().split("\\n"))'
    code = (
        f"import json, pathlib; file = pathlib.Path({json.dumps(name)}); text = file.read_text(); "
        f"file.write_text(json.dumps({{{films.format(rows=rows)}}}))"
    )
    return sentence(name, "", found, _EXPECTED, f"convert it: python -c {shlex.quote(code)}")


def _films(row: Any) -> str:
    """The ids and vectors of rows like this one, as Python writes them; "" if it has none."""
    if not isinstance(row, dict):
        return ""
    vector = next((key for key, value in row.items() if isinstance(value, list)), None)
    film = next((key for key, value in row.items() if isinstance(value, int | str)), None)
    if vector is None:
        return ""
    if film is None:
        return "film: vector for row in {rows} for film, vector in row.items()"
    film, vector = json.dumps(film), json.dumps(vector)  # As Python writes them, too.
    return f"row[{film}]: row[{vector}] for row in {{rows}}"
