"""Which decades are meant, and what a folder that cannot be used costs."""

import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from conftest import Listener
from reference import expected, films, outputs, put

import engine
from engine.batch.choice import choose
from engine.data_folder import DataFolder, DecadeName
from engine.errors import EngineError
from engine.store.store import Store

NAME = DecadeName("genres", "1990")


@pytest.fixture
def root(tmp_path: Path) -> Path:
    put(tmp_path, "genres", "1990", films(5))
    put(tmp_path, "genres", "2000", films(5))
    engine.run(tmp_path, workers=1)
    return tmp_path


@pytest.fixture
def unreadable(monkeypatch: pytest.MonkeyPatch) -> Iterator[set[str]]:
    """Names of folders that nobody may list, not even root."""
    names: set[str] = set()
    list_folder = os.scandir

    def guarded(path: Any) -> Any:
        if Path(path).name in names:
            raise PermissionError(13, "Permission denied", str(path))
        return list_folder(path)

    monkeypatch.setattr(os, "scandir", guarded)
    yield names
    monkeypatch.undo()


def store_of(root: Path) -> Store:
    return Store(str(root / "similarities.zarr"))


def test_chosen_are_the_decades_with_an_input_or_in_the_store(root: Path) -> None:
    put(root, "embedding", "1910", films(2))
    shutil.rmtree(root / "embeddings" / "genres")
    folder, store = DataFolder(root), store_of(root)
    everything = [DecadeName("embedding", "1910"), NAME, DecadeName("genres", "2000")]
    assert choose(folder, store, None, None, True).names == everything
    assert choose(folder, store, None, None, False).names == everything[:1]
    assert choose(folder, store, ["genres"], ["1990"], True).names == [NAME]


def test_without_any_input_the_error_says_where_embeddings_belong(tmp_path: Path) -> None:
    with pytest.raises(EngineError, match=r"embeddings.*python -m engine\.synthesize") as caught:
        choose(DataFolder(tmp_path), store_of(tmp_path), None, None, False)
    assert str(tmp_path / "embeddings") in str(caught.value)


def test_a_choice_of_an_approach_and_a_decade_that_do_not_meet_is_an_error(root: Path) -> None:
    put(root, "embedding", "1910", films(2))
    with pytest.raises(EngineError, match="1910"):
        choose(DataFolder(root), store_of(root), ["genres"], ["1910"], True)


# --- what is no approach --------------------------------------------------------------------------


@pytest.mark.parametrize(
    "litter",
    ["__MACOSX", "__pycache__", "zarr.json", "x" * 101, "a\nb", ".ipynb_checkpoints", "notes"],
    ids=ascii,
)
def test_a_folder_without_an_input_is_no_approach_and_costs_nothing(
    root: Path, litter: str
) -> None:
    folder = root / "embeddings" / litter
    (folder / "plots_1990s").mkdir(parents=True)
    for name in ("._plots_1990s.json", ".DS_Store", ".plots_1990s.json", "a.pyc"):
        (folder / name).write_bytes(b"\0")
    (root / "embeddings" / ".DS_Store").write_bytes(b"\0")
    (root / "embeddings" / "genres" / "._plots_1990s.json").write_bytes(b"\0")
    listener = Listener()
    assert engine.run(root, workers=1, progress=listener).ok
    assert listener.errors == []
    assert engine.status(root).errors == []
    assert engine.verify(root) == []


@pytest.mark.parametrize("name", ["__MACOSX", "zarr.json", "Zarr.JSON", "x" * 101, "a\x1b[31m"])
def test_a_folder_with_an_input_that_cannot_be_an_approach_is_an_error_for_itself(
    root: Path, name: str
) -> None:
    put(root, "genres", "2010", films(3))
    wanted = expected(root)
    put(root, name, "1990", films(3))
    for chosen in (None, "genres"):
        listener = Listener()
        summary = engine.run(root, workers=1, approaches=chosen, progress=listener)
        assert summary.ok == (chosen is not None)
        assert engine.status(root, approaches=chosen).errors == summary.errors
        assert engine.verify(root, approaches=chosen) == summary.errors
        assert [text for text, _ in listener.errors] == summary.errors
        assert all("cannot be called" in text and text.isprintable() for text in summary.errors)
        assert len(summary.errors) == (chosen is None)
    assert outputs(root) == wanted


def test_of_a_folder_that_cannot_be_used_nothing_is_asked_without_saying_so(root: Path) -> None:
    put(root, "__x", "1990", films(3))
    with pytest.raises(EngineError, match="an approach cannot be called '__x'"):
        engine.run(root, approaches="__x")
    summary = engine.run(root, workers=1, approaches=["__x", "genres"])
    assert len(summary.errors) == 1
    assert [decade.error for decade in summary.decades] == [None, None]
    shutil.rmtree(root / "similarities.zarr")
    shutil.rmtree(root / "embeddings" / "genres")
    with pytest.raises(EngineError, match="an approach cannot be called '__x'"):
        engine.run(root)


def test_a_folder_that_cannot_be_listed_is_an_error_for_itself(
    root: Path, unreadable: set[str]
) -> None:
    put(root, "closed", "1990", films(3))
    assert engine.run(root, workers=1).ok
    before = outputs(root)
    put(root, "genres", "2010", films(3))
    unreadable.add("closed")
    summary = engine.run(root, workers=1)
    (error,) = summary.errors
    assert str(root / "embeddings" / "closed") in error
    assert "Permission denied" in error
    assert not summary.ok
    assert {decade.name.approach for decade in summary.decades} == {"genres"}
    assert engine.run(root, workers=1, approaches="genres").ok
    unreadable.clear()
    assert outputs(root) == {**before, **expected(root)}
    again = engine.run(root, workers=1)
    assert again.ok
    assert all(decade.up_to_date for decade in again.decades)


def test_what_a_file_system_keeps_for_itself_costs_nothing(
    root: Path, unreadable: set[str]
) -> None:
    (root / "embeddings" / "lost+found").mkdir()
    unreadable.add("lost+found")
    assert engine.run(root, workers=1).ok
    assert engine.status(root).errors == []


def test_the_command_exits_1_for_a_folder_that_cannot_be_used(
    command: Callable[..., tuple[int, str, str]], root: Path
) -> None:
    put(root, "__x", "1990", films(3))
    status, out, err = command("--data", root)
    assert status == 1
    assert err.startswith("error: ")
    assert err.count("\n") == 1
    assert "1 failed" in out
    status, out, err = command("--data", root, "--status")
    assert (status, err) == (0, "")
    assert "an approach cannot be called" in out
    assert command("--data", root, "--verify")[0] == 1
    assert command("--data", root, "--approach", "genres")[0] == 0


@pytest.mark.parametrize("given", [".", "nowhere"])
def test_where_embeddings_lie_beside_or_below_that_folder_is_named(
    given: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(tmp_path / "films", "genres", "1990", films(2))
    monkeypatch.chdir(tmp_path)
    with pytest.raises(EngineError, match=r"no embeddings were found; did you mean --data films\?"):
        engine.status(given)
