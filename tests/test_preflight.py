"""What is seen before the work starts: an output that cannot be, and a disk that will not do."""

import shutil
from pathlib import Path
from types import SimpleNamespace

import pytest
from reference import films, outputs, put

import engine
from engine.batch.plan import DecadeState, Settings, look
from engine.batch.preflight import check_output, short_of_space
from engine.data_folder import DataFolder, DecadeName
from engine.errors import EngineError
from engine.store.store import Store

NAME = DecadeName("genres", "1990")


def test_the_folder_of_an_output_is_made(tmp_path: Path) -> None:
    check_output(tmp_path / "a" / "b" / "x.json")
    assert list(tmp_path.rglob("*")) == [tmp_path / "a", tmp_path / "a" / "b"]


def test_a_file_where_the_folder_of_an_output_belongs_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("mine")
    with pytest.raises(EngineError, match=r"a.*cannot be made"):
        check_output(tmp_path / "a" / "x.json")
    assert (tmp_path / "a").read_text() == "mine"


def test_a_folder_where_an_output_belongs_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "x.json").mkdir()
    with pytest.raises(EngineError, match=r"x\.json.*is a folder"):
        check_output(tmp_path / "x.json")


def test_an_output_that_cannot_be_put_in_place_fails_its_decade_before_it_is_computed(
    tmp_path: Path,
) -> None:
    put(tmp_path, "genres", "1990", films(20))
    put(tmp_path, "genres", "2000", films(20))
    (tmp_path / "similarities" / "genres" / "similarities_1990s.json").mkdir(parents=True)
    bad, good = engine.run(tmp_path, workers=1).decades
    assert "is a folder" in str(bad.error)
    assert (bad.pairs_computed, good.pairs_computed, good.error) == (0, 190, None)
    assert list(outputs(tmp_path)) == ["genres/similarities_2000s.json"]


def states(root: Path, n: int) -> tuple[Store, list[DecadeState]]:
    """A decade that was computed and is to be exported."""
    put(root, "genres", "1990", films(n))
    engine.run(root, workers=1, export=False)
    store = Store(str(root / "similarities.zarr"))
    return store, look(DataFolder(root), store, [NAME], Settings())


@pytest.mark.parametrize(("room", "enough"), [(0.5, False), (2.0, True)])
def test_a_disk_without_room_for_the_output_is_said_with_how_much_is_needed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, room: float, enough: bool
) -> None:
    store, found = states(tmp_path, 200)
    engine.run(tmp_path, workers=1)
    n_bytes = sum(map(len, outputs(tmp_path).values()))
    usage = SimpleNamespace(free=int(room * n_bytes))
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage)
    sentence = short_of_space(store, found, compute=True, export=True)
    assert (sentence is None) == enough
    if sentence:
        assert "GB are needed" in sentence
        assert "resumes" in sentence


def test_what_is_finished_needs_no_room(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    put(tmp_path, "genres", "1990", films(20))
    engine.run(tmp_path, workers=1)
    store = Store(str(tmp_path / "similarities.zarr"))
    found = look(DataFolder(tmp_path), store, [NAME], Settings())
    monkeypatch.setattr(shutil, "disk_usage", lambda path: SimpleNamespace(free=0))
    assert short_of_space(store, found, compute=True, export=True) is None
