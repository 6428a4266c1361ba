"""What is found in the folder of embeddings, and what is named though it is not read."""

import os
import re
from collections.abc import Callable
from pathlib import Path

import pytest
from reference import films, put

import engine
from engine.data_folder import DataFolder, DecadeName
from engine.errors import EngineError
from engine.listing import Listing, Unread, check_root, list_inputs, meant_root, not_read


def test_inputs_are_listed_by_approach_and_year(tmp_path: Path) -> None:
    for approach, decade in (("b", "2010"), ("a", "2000"), ("b", "990"), ("b", "1990")):
        put(tmp_path, approach, decade, films(2))
    assert list_inputs(DataFolder(tmp_path)).names == [
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
    assert list_inputs(DataFolder(tmp_path)).names == []


def test_a_folder_that_is_not_there_has_no_inputs(tmp_path: Path) -> None:
    assert list_inputs(DataFolder(tmp_path / "nowhere")).names == []


def test_a_file_where_the_folder_of_embeddings_belongs_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "embeddings").write_text("")
    with pytest.raises(EngineError, match=r"embeddings.*a folder of embeddings was expected"):
        list_inputs(DataFolder(tmp_path))


def test_a_folder_with_a_hostile_name_and_an_input_is_named_in_a_line_for_a_terminal(
    tmp_path: Path,
) -> None:
    folder = os.fsencode(tmp_path) + b"/embeddings/a\xff\x1b[31mb"
    os.makedirs(folder)
    assert list_inputs(DataFolder(tmp_path)).unusable == {}
    open(folder + b"/plots_1990s.json", "w").close()
    listing = list_inputs(DataFolder(tmp_path))
    (reason,) = listing.unusable.values()
    assert listing.names == []
    assert "rename the folder" in reason
    assert reason.isprintable()


def test_a_link_that_leads_nowhere_and_a_pipe_are_no_approaches(tmp_path: Path) -> None:
    (tmp_path / "embeddings").mkdir()
    (tmp_path / "embeddings" / "link").symlink_to("nowhere")
    os.mkfifo(tmp_path / "embeddings" / "pipe")
    assert list_inputs(DataFolder(tmp_path)) == Listing(tmp_path / "embeddings", [], {}, [])


# --- what is not read ---------------------------------------------------------------------------


def put_file(root: Path, name: str) -> None:
    path = root / "embeddings" / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("{}")


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("embedding/plots_2000.json", "did you mean plots_2000s.json?"),
        ("embedding/plots_2000s.JSON", "did you mean plots_2000s.json?"),
        ("embedding/Plots_2000s.json", "did you mean plots_2000s.json?"),
        ("embedding/plots_2000s", "did you mean plots_2000s.json?"),
        ("embedding/plots-2000s.json", "did you mean plots_2000s.json?"),
        ("embedding/embeddings_2000s.json", "did you mean plots_2000s.json?"),
        ("embedding/2000.json", "did you mean plots_2000s.json?"),
        ("embedding/plots.json", "did you mean plots_YEARs.json?"),
        ("embedding/plots_2000s.jsonl", "did you mean plots_2000s.json?"),
        ("embedding/plots_2000s.json.gz", "unpack it to plots_2000s.json"),
        ("embedding/plots_1990s.json.bak", "plots_1990s.json is"),
        ("plots_2000s.json", "did you mean APPROACH/plots_2000s.json?"),
        ("plots_1990s.json", "did you mean APPROACH/plots_1990s.json?"),
    ],
)
def test_what_looks_like_an_input_is_named_with_what_would_be_read(
    tmp_path: Path, name: str, hint: str
) -> None:
    put(tmp_path, "embedding", "1990", films(3))
    put_file(tmp_path, name)
    listing = list_inputs(DataFolder(tmp_path))
    assert listing.names == [DecadeName("embedding", "1990")]
    assert listing.unread == [Unread(tmp_path / "embeddings" / name, hint)]


@pytest.mark.parametrize("name", ["README.md", ".plots_2000s.json", "._plots_1990s.json", "a.csv"])
def test_what_looks_like_no_input_is_left_alone(tmp_path: Path, name: str) -> None:
    put(tmp_path, "embedding", "1990", films(3))
    put_file(tmp_path, name)
    put_file(tmp_path, f"embedding/{name}")
    assert list_inputs(DataFolder(tmp_path)).unread == []


def test_a_folder_without_an_input_is_named_unless_it_can_be_no_approach(tmp_path: Path) -> None:
    put(tmp_path, "embedding", "1990", films(3))
    for name in ("custom_genres", "__MACOSX", "__pycache__", "zarr.json", "lost+found", ".git"):
        (tmp_path / "embeddings" / name).mkdir()
    (unread,) = list_inputs(DataFolder(tmp_path)).unread
    assert unread.path == tmp_path / "embeddings" / "custom_genres"
    assert "no plots_YEARs.json" in unread.hint


def test_a_run_says_in_one_message_what_it_did_not_read(
    command: Callable[..., tuple[int, str, str]], tmp_path: Path
) -> None:
    put(tmp_path, "embedding", "1990", films(3))
    for name in ("plots_2000.json", "plots_2010s.json.gz", "plots_1980s.JSON"):
        put_file(tmp_path, f"embedding/{name}")
    put_file(tmp_path, "plots_1960s.json")
    (tmp_path / "embeddings" / "genres").mkdir()
    for options in ([], [], ["--status"]):
        status, out, err = command("--data", tmp_path, *options)
        said = (out if options else err).splitlines()
        (line,) = [line for line in said if "not read" in line]
        assert "embedding/plots_1980s.JSON (did you mean plots_1980s.json?) and 4 others" in line
        assert status == 0
    assert "not read" not in command("--data", tmp_path, "--quiet")[2]


def test_of_other_approaches_than_the_selected_nothing_is_said(tmp_path: Path) -> None:
    for approach in ("embedding", "genres"):
        put(tmp_path, approach, "1990", films(3))
        put_file(tmp_path, f"{approach}/plots_2000.json")
    put_file(tmp_path, "plots_1960s.json")
    (unread,) = engine.status(tmp_path, approaches="genres").unread
    assert unread.path.parent.name == "genres"


def test_where_nothing_fits_the_error_names_what_was_found(tmp_path: Path) -> None:
    put_file(tmp_path, "embedding/plots_2000.json")
    put_file(tmp_path, "embedding/plots_2010.json")
    what = r"plots_2000\.json \(did you mean plots_2000s\.json\?\) and 1 other"
    with pytest.raises(EngineError, match=f"no embeddings were found; not read: .*{what}; they"):
        engine.run(tmp_path)
    put(tmp_path, "embedding", "1990", films(3))
    with pytest.raises(EngineError, match=f"there is no decade '2000'; .*; not read: .*{what}"):
        engine.run(tmp_path, decades=2000)


def test_what_is_not_read_is_named_in_a_line_fit_for_a_terminal(tmp_path: Path) -> None:
    put_file(tmp_path, "embedding/\x1b[2Jplots_2000\u202e" + "x" * 150 + ".json")
    (unread,) = list_inputs(DataFolder(tmp_path)).unread
    assert unread.hint == "did you mean plots_2000s.json?"
    assert not_read([unread]).isprintable()
    assert not_read([]) == ""


# --- the root of the data -------------------------------------------------------------------------


@pytest.fixture
def there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder that holds the root ``films`` of some data."""
    put(tmp_path / "films", "genres", "1990", films(2))
    (tmp_path / "films" / "similarities.zarr").mkdir()
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize(
    "given",
    ["embeddings", "embeddings/genres", "embeddings/genres/plots_1990s.json", "similarities.zarr"],
)
def test_a_part_of_the_data_is_answered_with_its_root(there: Path, given: str) -> None:
    for root in (Path("films"), there / "films"):
        with pytest.raises(EngineError, match=re.escape(f"did you mean --data {root}?")):
            check_root(DataFolder(root / given))


def test_a_part_of_the_data_is_known_from_within(
    there: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(there / "films" / "embeddings")
    with pytest.raises(EngineError, match=r"did you mean --data \.\.\?"):
        check_root(DataFolder(Path()))


@pytest.mark.parametrize("given", ["films", ".", "nowhere", "films/other", "films/similarities.x"])
def test_other_folders_may_be_roots(there: Path, given: str) -> None:
    check_root(DataFolder(Path(given)))


def test_a_file_is_no_root(there: Path) -> None:
    (there / "x.json").write_text("{}")
    with pytest.raises(EngineError, match=r"x\.json: is a file where the root.*embeddings/$"):
        check_root(DataFolder(there / "x.json"))


@pytest.mark.parametrize(
    ("given", "meant"),
    [(".", "films"), ("nowhere", "films"), ("films/nowhere", "films"), ("films", "")],
)
def test_a_folder_without_inputs_is_answered_with_the_root_near_it(
    there: Path, given: str, meant: str
) -> None:
    assert meant_root(DataFolder(Path(given))) == (meant and f"did you mean --data {meant}?")


@pytest.mark.parametrize(
    "given",
    ["films/embeddings", "films/embeddings/genres/plots_1990s.json", "films/x", "nowhere", "."],
)
@pytest.mark.parametrize("ask", [engine.open, engine.status, engine.verify, engine.run])
def test_each_call_from_python_asks_for_the_root_that_was_meant(
    there: Path, ask: Callable[[str], object], given: str
) -> None:
    with pytest.raises(EngineError, match=r"did you mean --data films\?"):
        ask(given)
