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
    films, n_films = _films(first)
    if not films or not (in_list or re.match(r"\s*\{", text[end:])):
        return None
    found = "a list of objects" if in_list else "several objects, as in JSON Lines"
    rows = "json.loads(text)"
    if not in_list:
        rows = "[json.loads(line) for line in text.splitlines() if line.strip()]"
    # It writes where it reads, so it must not lose a film.
    code = (
        f"import json, pathlib; file = pathlib.Path({json.dumps(name)}); text = file.read_bytes(); "
        f"rows = {rows}; films = {{{films}}}; "
        f'len(films) == {n_films} or exit("an id stands twice"); file.write_text(json.dumps(films))'
    )
    return sentence(name, "", found, _EXPECTED, f"convert it: python -c {shlex.quote(code)}")


def _films(row: Any) -> tuple[str, str]:
    """Ids and vectors of rows like this one, and how many, as Python writes them; "" without."""
    if not isinstance(row, dict):
        return "", ""
    vectors = [key for key, value in row.items() if _is_vector(value)]
    if not vectors:
        return "", ""
    if len(vectors) == len(row):
        return "film: vector for row in rows for film, vector in row.items()", "sum(map(len, rows))"
    ids = [key for key, value in row.items() if type(value) in (int, str)]
    if not ids:
        return "", ""
    film = min(ids, key=lambda key: (key.lower() != "id", not key.lower().endswith("id")))
    vector = max(vectors, key=lambda key: len(row[key]))
    # As Python writes them, too.
    return f"row[{json.dumps(film)}]: row[{json.dumps(vector)}] for row in rows", "len(rows)"


def _is_vector(value: Any) -> bool:
    return isinstance(value, list) and all(type(number) in (int, float) for number in value)
