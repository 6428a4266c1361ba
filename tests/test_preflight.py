"""What is seen before the work starts: an output that cannot be, and a disk that will not do."""

import os
import re
import shutil
from pathlib import Path
from types import SimpleNamespace

import pytest
from conftest import Listener
from reference import films, outputs, put

import engine
from engine.batch.preflight import check_output
from engine.errors import EngineError


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


def room(monkeypatch: pytest.MonkeyPatch, n_bytes: float) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda path: SimpleNamespace(free=int(n_bytes)))


def written(root: Path) -> int:
    """Bytes in the store and the outputs, but for records, which take no room to speak of."""
    files = [path for path in root.glob("similarities*/**/*") if path.is_file()]
    return sum(path.stat().st_size for path in files if path.name != "zarr.json")


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data folder to copy from, all done."""
    root = tmp_path_factory.mktemp("done")
    for decade in ("1990", "2000"):
        put(root, "genres", decade, films(600, 40))
    assert engine.run(root, workers=1).ok
    return root


@pytest.mark.parametrize(("part", "enough"), [(0.7, False), (1.4, True)])
@pytest.mark.parametrize("read", [False, True])
def test_a_disk_without_room_is_said_before_the_work_starts_with_how_much_is_needed(
    tmp_path: Path,
    done: Path,
    monkeypatch: pytest.MonkeyPatch,
    part: float,
    enough: bool,
    read: bool,
) -> None:
    shutil.copytree(done / "embeddings", tmp_path / "embeddings")
    needed = written(done)
    if read:  # All is there but for the outputs.
        engine.run(tmp_path, workers=1, export=False)
        needed -= written(tmp_path)
    room(monkeypatch, part * needed)
    heard: list[str] = []

    class Ears(engine.Progress):
        def message(self, text: str) -> None:
            heard.append(text)

        def stage(self, name: str, total: int, done: int, unit: str) -> None:
            heard.append(name)

    assert engine.run(tmp_path, workers=1, progress=Ears()).ok
    assert heard[0] in ("reading", "computing", "exporting") or not enough
    if not enough:
        said = re.fullmatch(
            rf"{tmp_path}.*: about (.*) MB are needed and (.*) MB are free; .*resumes.*", heard[0]
        )
        assert said
        assert float(said[1]) == pytest.approx(needed / 1e6, rel=0.2)
        assert float(said[2]) == pytest.approx(part * needed / 1e6, rel=0.01)
        assert len([text for text in heard if "needed" in text]) == 1


def test_what_is_finished_needs_no_room(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, listener: Listener
) -> None:
    put(tmp_path, "genres", "1990", films(20))
    engine.run(tmp_path, workers=1)
    room(monkeypatch, 0)
    assert engine.run(tmp_path, workers=1, progress=listener).ok
    assert listener.messages == []


@pytest.mark.parametrize("made", [False, True])
def test_a_folder_that_may_not_be_written_is_answered_with_the_option_for_another_store(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, made: bool
) -> None:
    data = tmp_path / "data"
    put(data, "genres", "1990", films(5))
    if made:
        engine.run(data, workers=1)
    may = os.access
    monkeypatch.setattr(
        os, "access", lambda path, mode: mode & os.W_OK == 0 or data not in Path(path, "x").parents
    )
    assert may(data, os.W_OK)
    with pytest.raises(EngineError, match=r"no permission to write the store here.*--store"):
        engine.run(data, workers=1)
    elsewhere = tmp_path / "x.zarr"
    assert engine.run(data, store=elsewhere, workers=1, export=False).ok
    (decade,) = engine.run(data, store=elsewhere, workers=1).decades
    assert "no permission to write the output here" in str(decade.error)
    assert "--compute-only" in str(decade.error)
