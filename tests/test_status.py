"""The status: what is there and what comes next, told without changing anything."""

import os
from pathlib import Path
from typing import Any

import pytest
from conftest import Listener
from reference import films, output_path, put, stamps

import engine
from engine import DecadeStatus, EngineError
from engine.store.lock import locked
from engine.store.store import Store

N_PAIRS = 300 * 299 // 2


@pytest.fixture
def root(tmp_path: Path) -> Path:
    put(tmp_path, "genres", "1990", films(300))
    return tmp_path


def status_of(root: Path, **settings: Any) -> DecadeStatus:
    before = stamps(root)
    (decade,) = engine.status(root, **settings).decades
    assert stamps(root) == before
    return decade


def chunk_file(root: Path, row: int, column: int) -> Path:
    folder = root / "similarities.zarr" / "genres" / "1990" / "similarities" / "c"
    return folder / str(row) / str(column)


def test_before_the_first_run_everything_is_to_be_read(root: Path) -> None:
    decade = status_of(root)
    assert (decade.next, decade.n_films, decade.pairs_computed) == ("read", None, 0)
    assert decade.input == root / "embeddings" / "genres" / "plots_1990s.json"


def test_finished_work_leaves_nothing_to_do(root: Path) -> None:
    engine.run(root, workers=1)
    decade = status_of(root)
    output = output_path(root, "genres", "1990")
    assert decade.next == "nothing"
    assert (decade.n_films, decade.n_pairs) == (300, N_PAIRS)
    assert (decade.pairs_computed, decade.pairs_exported, decade.output_pairs) == (N_PAIRS,) * 3
    assert (decade.output, decade.output_bytes) == (output, output.stat().st_size)
    assert (decade.kernel, decade.normalize, decade.min_similarity) == ("dot", False, None)
    assert decade.reason == ""


def test_computed_and_exported_are_told_apart(root: Path) -> None:
    engine.run(root, workers=1, export=False)
    decade = status_of(root)
    assert (decade.next, decade.pairs_computed, decade.pairs_exported) == ("export", N_PAIRS, 0)
    assert decade.output_bytes is None


def test_what_is_missing_is_to_be_computed(root: Path) -> None:
    engine.run(root, workers=1)
    chunk_file(root, 0, 1).unlink()
    decade = status_of(root)
    assert decade.pairs_computed == N_PAIRS - 256 * 44
    assert decade.next == "compute"


def test_an_unfinished_export_is_counted_in_pairs(root: Path) -> None:
    class Impatient(Listener):
        def advance(self, name: str, amount: int) -> None:
            if name == "exporting":
                raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        engine.run(root, workers=1, progress=Impatient())
    decade = status_of(root)
    assert decade.pairs_exported == decade.pairs_computed == N_PAIRS - 44 * 43 // 2
    assert decade.next == "compute"


def test_next_is_what_a_run_with_the_same_settings_would_do(root: Path) -> None:
    engine.run(root, workers=1)
    assert status_of(root, min_similarity=0.5).next == "export"
    engine.run(root, workers=1, min_similarity=0.5)
    assert status_of(root, min_similarity=0.5).next == "nothing"
    assert status_of(root).next == "export"


@pytest.mark.parametrize("settings", [{"kernel": "gemm"}, {"normalize": True}], ids=str)
def test_settings_that_contradict_the_store_fail_with_the_words_of_a_run(
    root: Path, settings: dict[str, Any]
) -> None:
    engine.run(root, workers=1)
    decade = status_of(root, **settings)
    assert decade.next == "fail"
    assert decade.pairs_computed == N_PAIRS
    with pytest.raises(EngineError) as caught:
        engine.run(root, workers=1, **settings)
    assert decade.reason == str(caught.value)
    engine.run(root, workers=1, restart=True, **settings)
    for those in (settings, {}):
        decade = status_of(root, **those)
        assert (decade.next, decade.reason) == ("nothing", "")
    assert (decade.kernel, decade.normalize) == (
        settings.get("kernel", "dot"),
        settings.get("normalize", False),
    )


def test_with_which_min_similarity_an_output_was_made_is_told(root: Path) -> None:
    summary = engine.run(root, workers=1, min_similarity=0.5)
    decade = status_of(root, min_similarity=0.5)
    assert decade.min_similarity == 0.5
    assert decade.output_pairs == summary.decades[0].pairs_exported < N_PAIRS


def test_what_will_fail_says_why(root: Path) -> None:
    engine.run(root, workers=1)
    (root / "embeddings" / "genres" / "plots_1990s.json").unlink()
    decade = status_of(root)
    assert decade.next == "fail"
    assert "plots_1990s.json" in decade.reason


def test_a_changed_input_says_so(root: Path) -> None:
    engine.run(root, workers=1)
    put(root, "genres", "1990", films(300, seed=1))
    decade = status_of(root)
    assert decade.next == "read"
    assert "has changed" in decade.reason


def test_who_holds_the_store_is_told_while_a_run_is_at_work(root: Path) -> None:
    engine.run(root, workers=1)
    assert engine.status(root).holder is None
    with locked(Store(str(root / "similarities.zarr"))):
        found = engine.status(root)
    assert f"process {os.getpid()}" in str(found.holder)
    assert found.decades[0].next == "nothing"


def test_only_the_selected_decades_are_told(root: Path) -> None:
    put(root, "genres", "2000", films(3))
    put(root, "embedding", "2000", films(3))
    found = engine.status(root, approaches=["genres"], decades=["2000"])
    assert [decade.name.group for decade in found.decades] == ["genres/2000"]


def test_without_input_and_store_there_is_nothing_to_tell(tmp_path: Path) -> None:
    with pytest.raises(EngineError, match="no embeddings were found"):
        engine.status(tmp_path)
    assert list(tmp_path.iterdir()) == []
