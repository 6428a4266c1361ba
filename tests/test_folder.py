"""The layout of the data folder: what is found in it, and what is refused as a name."""

from pathlib import Path

import pytest

from engine.data_folder import DataFolder, DecadeName, can_be_approach, select
from engine.errors import EngineError

NAMES = [DecadeName(a, d) for a in ("embedding", "genres") for d in ("1990", "2000")]


def test_inputs_and_outputs_lie_where_the_contract_says() -> None:
    folder, name = DataFolder(Path("x")), DecadeName("genres", "1990")
    assert folder.input(name) == Path("x/embeddings/genres/plots_1990s.json")
    assert folder.output(name) == Path("x/similarities/genres/similarities_1990s.json")
    assert folder.default_store == Path("x/similarities.zarr")


@pytest.mark.parametrize("approach", ["embedding", "e5 large", "жанры", "a.b", "x" * 100])
def test_a_plain_name_may_be_an_approach(approach: str) -> None:
    assert can_be_approach(approach)


@pytest.mark.parametrize(
    "approach",
    [
        "",
        ".",
        "..",
        ".git",
        "__init__",
        "zarr.json",
        "a/b",
        "a\\b",
        "x" * 101,
        "é" * 51,
        "a\nb",
        "a\x1b[31m",
        "a\u202eb",
        "a\udcff",
    ],
)
def test_a_hostile_name_may_not(approach: str) -> None:
    assert not can_be_approach(approach)


def test_without_a_choice_all_decades_are_selected() -> None:
    assert select(NAMES, None, None) == NAMES


def test_a_choice_keeps_the_decades_that_fit_both_lists() -> None:
    assert select(NAMES, ["genres"], None) == NAMES[2:]
    assert select(NAMES, None, ["2000"]) == [NAMES[1], NAMES[3]]
    assert select(NAMES, ["embedding"], ["2000", "1990"]) == NAMES[:2]


@pytest.mark.parametrize(
    ("approaches", "decades", "words"),
    [(["genre"], None, "no approach 'genre'.*embedding, genres"), (None, ["1995"], "no decade")],
)
def test_a_choice_that_nothing_fits_is_an_error_that_lists_what_there_is(
    approaches: list[str] | None, decades: list[str] | None, words: str
) -> None:
    with pytest.raises(EngineError, match=words):
        select(NAMES, approaches, decades)


def test_a_decade_calls_itself_what_a_person_would() -> None:
    assert str(DecadeName("genres", "1990")) == "genres 1990s"
    assert DecadeName("genres", "1990").group == "genres/1990"
