"""Other shapes of embeddings: known for what they are, with a command that converts them."""

import json
import re
import shlex
from pathlib import Path
from typing import Any

import pytest
from reference import films

from engine.embeddings.reading import read_embeddings
from engine.embeddings.shapes import other_shape
from engine.errors import InputError

FILMS = films(30, 400)


def lines(rows: list[Any]) -> str:
    return "".join(json.dumps(row) + "\n" for row in rows)


ROWS = [{"title": 3, "embedding": vector, "year": 1990} for vector in FILMS.values()]
SHAPES = {
    "a list of objects": json.dumps([{"id": k, "vector": v} for k, v in FILMS.items()], indent=1),
    "a list of objects with one key": json.dumps([{k: v} for k, v in FILMS.items()]),
    "JSON Lines": lines([{"embedding": v, "id": int(k), "x": None} for k, v in FILMS.items()]),
    "JSON Lines with one key": lines([{k: v} for k, v in FILMS.items()]),
}


@pytest.mark.parametrize("shape", SHAPES)
def test_the_command_in_the_error_converts_the_file(shape: str, tmp_path: Path) -> None:
    path = tmp_path / 'a "b".json'
    path.write_text(SHAPES[shape])
    with pytest.raises(InputError, match=shape.partition(" with")[0]) as caught:
        read_embeddings(path)
    assert str(caught.value).isprintable()
    python, option, code = shlex.split(str(caught.value).partition("convert it: ")[2])
    assert (python, option) == ("python", "-c")
    exec(code, {})
    assert json.loads(path.read_text()) == FILMS


@pytest.mark.parametrize("text", ["[[1.0, 2.0], [3.0, 4.0]]", "[0.5]", json.dumps(list(FILMS))])
def test_a_list_without_ids_says_what_is_missing(text: str) -> None:
    sentence = other_shape("x.json", text.encode()) or ""
    assert bool(re.search("a list without ids.*with the id of each film", sentence)) == (
        not text.startswith('["')
    )


@pytest.mark.parametrize(
    "text",
    ["", "[", "{", '{"7": [1.0', '{"7": [1.0]}', '{"7": [1.0]} x', "[]", "[{}]", "\x00", "true"],
)
def test_what_is_damaged_or_right_has_no_other_shape(text: str) -> None:
    assert other_shape("x.json", text.encode()) is None
