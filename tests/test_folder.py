"""The layout of the data folder: what is found in it, and what is refused as a name."""

import os
from pathlib import Path

import pytest
from reference import films, put

from engine.data_folder import DataFolder, DecadeName, Listing, check_approach, select
from engine.errors import EngineError

NAMES = [DecadeName(a, d) for a in ("embedding", "genres") for d in ("1990", "2000")]


def test_inputs_and_outputs_lie_where_the_contract_says() -> None:
    folder, name = DataFolder(Path("x")), DecadeName("genres", "1990")
    assert folder.input(name) == Path("x/embeddings/genres/plots_1990s.json")
    assert folder.output(name) == Path("x/similarities/genres/similarities_1990s.json")
    assert folder.default_store == Path("x/similarities.zarr")


def test_inputs_are_listed_by_approach_and_year(tmp_path: Path) -> None:
    for approach, decade in (("b", "2010"), ("a", "2000"), ("b", "990"), ("b", "1990")):
        put(tmp_path, approach, decade, films(2))
    assert DataFolder(tmp_path).inputs() == [
        DecadeName("a", "2000"),
        *(DecadeName("b", decade) for decade in ("990", "1990", "2010")),
    ]


@pytest.mark.parametrize(
    "other",
    ["plots_1990.json", "plots_s.json", "plots_1990s.json.bak", ".plots_1990s.json", "notes.txt"],
)
def test_other_files_are_no_inputs(tmp_path: Path, other: str) -> None:
    folder = tmp_path / "embeddings" / "genres"
    folder.mkdir(parents=True)
    (folder / other).write_text("{}")
    (tmp_path / "embeddings" / "plots_1990s.json").write_text("{}")
    (tmp_path / "embeddings" / ".hidden").mkdir()
    (tmp_path / "embeddings" / ".hidden" / "plots_1990s.json").write_text("{}")
    assert DataFolder(tmp_path).inputs() == []


def test_a_folder_that_is_not_there_has_no_inputs(tmp_path: Path) -> None:
    assert DataFolder(tmp_path / "nowhere").inputs() == []


def test_a_file_where_the_folder_of_embeddings_belongs_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "embeddings").write_text("")
    with pytest.raises(EngineError, match=r"embeddings.*a folder of embeddings was expected"):
        DataFolder(tmp_path).inputs()


@pytest.mark.parametrize("approach", ["embedding", "e5 large", "жанры", "a.b", "x" * 100])
def test_a_plain_name_may_be_an_approach(approach: str) -> None:
    check_approach(approach, Path("x"))


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
def test_a_hostile_name_is_refused_in_a_sentence_fit_for_a_terminal(approach: str) -> None:
    with pytest.raises(EngineError, match="rename the folder") as caught:
        check_approach(approach, Path("x"))
    assert str(caught.value).isprintable()
    assert len(str(caught.value)) < 400


def test_a_folder_with_a_hostile_name_and_an_input_is_named_in_a_line_for_a_terminal(
    tmp_path: Path,
) -> None:
    folder = os.fsencode(tmp_path) + b"/embeddings/a\xff\x1b[31mb"
    os.makedirs(folder)
    assert DataFolder(tmp_path).listing().unusable == {}
    open(folder + b"/plots_1990s.json", "w").close()
    listing = DataFolder(tmp_path).listing()
    (reason,) = listing.unusable.values()
    assert listing.names == []
    assert "rename the folder" in reason
    assert reason.isprintable()


def test_a_link_that_leads_nowhere_and_a_pipe_are_no_approaches(tmp_path: Path) -> None:
    (tmp_path / "embeddings").mkdir()
    (tmp_path / "embeddings" / "link").symlink_to("nowhere")
    os.mkfifo(tmp_path / "embeddings" / "pipe")
    assert DataFolder(tmp_path).listing() == Listing([], {})


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
