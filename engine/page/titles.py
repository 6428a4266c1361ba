"""The titles of films, read from a file of ids and titles."""

import json
from pathlib import Path

from engine.errors import EngineError, shown


def read_titles(path: Path) -> dict[str, str]:
    """Read a JSON object, id → title.

    Raises
    ------
    EngineError
        When the file holds something else; the sentence says what and where.
    OSError
        When it cannot be read.
    """
    name = shown(str(path), 300)
    expected = 'expected a JSON object in UTF-8, {"id": "title", ...}'
    try:
        titles = json.loads(path.read_bytes())
    except (ValueError, RecursionError) as error:  # Not JSON, not UTF-8, or nested too deep.
        raise EngineError(f"{name}: found no JSON ({error}), {expected}") from None
    if not isinstance(titles, dict):
        raise EngineError(f"{name}: found {_kind(titles)}, {expected}")
    for film, title in titles.items():
        if not isinstance(title, str):
            raise EngineError(
                f'{name}, id "{shown(film)}": found {_kind(title)}, expected a title between '
                "quotes; correct this film or leave it out"
            )
    return {_id(film): title for film, title in titles.items() if _visible(title)}


def _visible(title: str) -> bool:
    """Whether there is anything to see and to click: else a film is better shown by its id."""
    return any(c.isprintable() and not c.isspace() for c in title)


def _id(key: str) -> str:
    """The id of a film as the store has it: ``"007"`` is ``"7"`` in both files, or in neither."""
    try:
        return str(int(key))
    except ValueError:
        return key


def _kind(value: object) -> str:
    kinds = {dict: "an object", list: "a list", str: "a text", bool: "true or false"}
    return "null" if value is None else kinds.get(type(value), "a number")
