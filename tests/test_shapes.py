"""Other shapes of embeddings: known for what they are, with a command that converts them."""

import json
import os
import re
import shlex
import subprocess
import sys
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


ALSO = {
    "a list of objects with other fields": json.dumps(
        [
            {"decade": "1990s", "seen": True, "genres": ["Drama"], "cast": [7], "id": k, "of": v}
            for k, v in FILMS.items()
        ]
    ),
    "JSON Lines with empty lines": "\n" + SHAPES["JSON Lines"].replace("\n", "\r\n\n"),
}
SHAPES |= ALSO


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


@pytest.mark.parametrize("in_list", [True, False])
def test_the_command_never_writes_fewer_films_than_it_reads(in_list: bool, tmp_path: Path) -> None:
    path = tmp_path / "plots_1990s.json"
    rows = [{"year": 1990, "title": k, "vector": [0.6, 0.8]} for k in ("a", "b")]
    path.write_text(before := json.dumps(rows) if in_list else lines(rows))
    command = (other_shape(str(path), before.encode()) or "").partition("convert it: ")[2]
    # Also where Python leaves assertions out.
    code = shlex.split(command)[2]
    done = subprocess.run([sys.executable, "-O", "-c", code], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (1, "an id stands twice\n")
    assert path.read_text() == before


def test_the_command_reads_utf_8_whatever_the_locale(tmp_path: Path) -> None:
    path = tmp_path / "plots_1990s.json"
    path.write_bytes('{"id": "ü", "vector": [1]}\n{"id": "ö", "vector": [2]}\n'.encode())
    command = (other_shape(str(path), path.read_bytes()) or "").partition("convert it: ")[2]
    code = shlex.split(command)[2]
    locale = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    subprocess.run([sys.executable, "-c", code], env={**os.environ, **locale}, check=True)
    assert json.loads(path.read_text()) == {"ü": [1], "ö": [2]}


@pytest.mark.parametrize("text", ["[[1.0, 2.0], [3.0, 4.0]]", "[0.5]", json.dumps(list(FILMS))])
def test_a_list_without_ids_says_what_is_missing(text: str) -> None:
    sentence = other_shape("x.json", text.encode()) or ""
    assert bool(re.search("a list without ids.*with the id of each film", sentence)) == (
        not text.startswith('["')
    )


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[",
        "{",
        '{"7": [1.0',
        '{"7": [1.0]}',
        '{"7": [1.0]} x',
        "[]",
        "[{}]",
        "\x00",
        "true",
        '[{"id": 1.5, "vector": [1.0]}]',
        '[{"7": [1.0], "8": null}]',
        '[{"id": 7, "genres": ["a"]}]',
    ],
)
def test_what_is_damaged_or_right_has_no_other_shape(text: str) -> None:
    assert other_shape("x.json", text.encode()) is None
