"""The run as one call: what it returns, what it refuses, and what makes it do work again."""

import errno
import json
import os
import re
import shutil
from pathlib import Path
from typing import Any

import pytest
from conftest import Listener
from reference import assert_near, expected, films, notebook, output_path, outputs, put, stamps

import engine
from engine import EngineError
from engine.cli import main
from engine.data_folder import DecadeName
from engine.store.store import Store
from engine.triangle.blas import one_blas_thread

SIZES = {("embedding", "1990"): 20, ("genres", "1990"): 20, ("genres", "2000"): 7}


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for (approach, decade), n in SIZES.items():
        put(tmp_path, approach, decade, films(n))
    return tmp_path


def by_name(summary: engine.Summary) -> dict[str, engine.DecadeSummary]:
    return {decade.name.group: decade for decade in summary.decades}


def all_but_lock(root: Path) -> dict[str, tuple[int, int, int]]:
    return {name: found for name, found in stamps(root).items() if not name.endswith(".lock")}


def computed(summary: engine.Summary) -> dict[str, int]:
    return {name: decade.pairs_computed for name, decade in by_name(summary).items()}


def test_the_summary_says_what_was_done_for_each_decade(root: Path) -> None:
    summary = engine.run(root, workers=1)
    assert summary.ok
    assert [decade.name.group for decade in summary.decades] == [
        "embedding/1990",
        "genres/1990",
        "genres/2000",
    ]
    for (approach, year), n in SIZES.items():
        decade = by_name(summary)[f"{approach}/{year}"]
        pairs = n * (n - 1) // 2
        assert decade.name == DecadeName(approach, year)
        assert (decade.n_films, decade.n_pairs) == (n, pairs)
        assert (decade.pairs_computed, decade.pairs_resumed, decade.pairs_exported) == (
            pairs,
            0,
            pairs,
        )
        assert decade.output_bytes == output_path(root, approach, year).stat().st_size
        assert (decade.error, decade.up_to_date) == (None, False)
        assert 0 < decade.seconds < summary.seconds


def test_the_summary_of_finished_work_says_so(root: Path) -> None:
    first = engine.run(root, workers=1)
    second = engine.run(root, workers=1)
    assert second.ok
    for name, decade in by_name(second).items():
        assert decade.up_to_date
        assert (decade.pairs_computed, decade.pairs_exported) == (0, 0)
        assert decade.pairs_resumed == decade.n_pairs
        assert decade.output_bytes == by_name(first)[name].output_bytes


@pytest.mark.parametrize("as_text", [True, False])
def test_paths_may_be_text_or_path(root: Path, as_text: bool) -> None:
    kind: Any = str if as_text else Path
    assert engine.run(kind(root), store=kind(root / "elsewhere.zarr"), workers=1).ok
    assert outputs(root) == expected(root)
    assert not (root / "similarities.zarr").exists()


def test_the_working_directory_may_be_the_data(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(root)
    assert engine.run(".", workers=1).ok
    assert outputs(root) == expected(root)


# --- what is selected ---------------------------------------------------------------------------


def test_only_the_selected_decades_are_worked_on(root: Path) -> None:
    summary = engine.run(root, approaches=["genres"], decades=["2000"], workers=1)
    assert list(by_name(summary)) == ["genres/2000"]
    assert list(outputs(root)) == ["genres/similarities_2000s.json"]
    assert (root / "similarities.zarr" / "genres" / "2000").exists()
    assert not (root / "similarities.zarr" / "genres" / "1990").exists()


@pytest.mark.parametrize(
    "choice",
    [
        {"approaches": ["Genres"]},
        {"decades": ["199"]},
        {"approaches": ["embedding"], "decades": ["2000"]},
    ],
)
def test_a_selection_of_nothing_is_an_error_and_changes_nothing(
    root: Path, choice: dict[str, Any]
) -> None:
    before = stamps(root)
    with pytest.raises(EngineError):
        engine.run(root, **choice)
    assert stamps(root) == before


@pytest.mark.parametrize(
    "call", [engine.run, engine.status, engine.verify, engine.open], ids=lambda call: call.__name__
)
def test_an_empty_path_is_not_the_current_folder(
    call: Any, root: Path, monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory
) -> None:
    monkeypatch.chdir(empty := tmp_path_factory.mktemp("empty"))
    with pytest.raises(EngineError, match=r"^--store: is empty"):
        call(root, store="")
    with pytest.raises(EngineError, match=r"^--data: is empty"):
        call("")
    assert list(empty.iterdir()) == []


@pytest.mark.parametrize("places", [["data"], ["/", "--store", "store"]])
def test_a_current_folder_that_is_gone_is_named_unless_it_is_not_needed(
    places: list[str],
    root: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    gone = root / "gone"
    gone.mkdir()
    monkeypatch.chdir(gone)
    gone.rmdir()
    assert main(["--data", *places]) == 1
    relative = places[-1]
    assert f"error: {relative}: the current folder" in capfd.readouterr().err
    assert engine.run(root, workers=1).ok
    assert outputs(root) == expected(root)


def test_no_input_is_an_error_that_says_where_it_belongs(tmp_path: Path) -> None:
    with pytest.raises(EngineError, match=r"embeddings/APPROACH/plots_YEARs\.json"):
        engine.run(tmp_path / "nowhere")
    assert not (tmp_path / "nowhere").exists()


@pytest.mark.parametrize(
    "arguments",
    [
        {"kernel": "cosine"},
        {"workers": 0},
        {"workers": -1},
        {"compute": False, "export": False},
        {"min_similarity": float("nan")},
    ],
    ids=str,
)
def test_arguments_that_make_no_sense_are_refused_before_anything_is_done(
    root: Path, arguments: dict[str, Any]
) -> None:
    before = stamps(root)
    with pytest.raises(ValueError, match=r"\w"):
        engine.run(root, **arguments)
    assert stamps(root) == before


# --- what makes work ----------------------------------------------------------------------------


def test_a_changed_input_is_computed_again_and_only_it(root: Path) -> None:
    engine.run(root, workers=1)
    before = all_but_lock(root)
    put(root, "genres", "1990", films(20, seed=1))
    listener = Listener()
    summary = engine.run(root, workers=1, progress=listener)
    assert computed(summary) == {"embedding/1990": 0, "genres/1990": 190, "genres/2000": 0}
    assert outputs(root) == expected(root)
    after = all_but_lock(root)
    changed = {name for name in before if before[name] != after[name]}
    assert all("genres" in name and "1990" in name for name in changed)
    (message,) = listener.messages
    assert "plots_1990s.json: has changed since it was read" in message


def test_an_input_of_another_size_leaves_nothing_of_the_old_one(root: Path) -> None:
    engine.run(root, workers=1)
    for n in (3, 1, 0, 300, 2):
        put(root, "genres", "1990", films(n))
        assert engine.run(root, workers=1).ok
        assert outputs(root) == expected(root)
        chunks = root / "similarities.zarr" / "genres" / "1990" / "similarities" / "c"
        found = sum(path.is_file() for path in chunks.rglob("*"))
        assert found == {3: 1, 1: 0, 0: 0, 300: 3, 2: 1}[n]


def test_an_input_with_another_time_stamp_alone_is_left(root: Path) -> None:
    engine.run(root, workers=1)
    for path in (root / "embeddings").rglob("*.json"):
        os.utime(path, ns=(1, 1))
    before = all_but_lock(root)
    assert all(decade.up_to_date for decade in engine.run(root, workers=1).decades)
    assert all_but_lock(root) == before


def test_a_new_decade_is_added_and_the_others_left(root: Path) -> None:
    engine.run(root, workers=1)
    put(root, "third", "1890", films(4))
    summary = engine.run(root, workers=1)
    assert {name: n for name, n in computed(summary).items() if n} == {"third/1890": 6}
    assert outputs(root) == expected(root)


@pytest.mark.parametrize("lost", ["deleted", "cut", "edited"])
def test_an_output_that_was_lost_or_edited_is_written_again_from_the_store(
    root: Path, lost: str
) -> None:
    engine.run(root, workers=1)
    output = output_path(root, "genres", "1990")
    if lost == "deleted":
        output.unlink()
    elif lost == "cut":
        os.truncate(output, 100)
    else:
        output.write_bytes(output.read_bytes().replace(b"1", b"2"))
    summary = engine.run(root, workers=1)
    assert set(computed(summary).values()) == {0}
    exported = {name: decade.pairs_exported for name, decade in by_name(summary).items()}
    assert exported == {"embedding/1990": 0, "genres/1990": 190, "genres/2000": 0}
    assert outputs(root) == expected(root)


CONTRADICTIONS = pytest.mark.parametrize(
    ("settings", "usual", "word"),
    [
        ({"kernel": "gemm"}, {"kernel": "dot"}, "--kernel gemm"),
        ({"normalize": True}, {"normalize": False}, "--normalize"),
    ],
    ids=["kernel", "normalize"],
)


@CONTRADICTIONS
def test_settings_that_contradict_the_store_change_nothing_and_say_what_would(
    root: Path, settings: dict[str, Any], usual: dict[str, Any], word: str
) -> None:
    engine.run(root, workers=1)
    for there, other in (({}, settings), (settings, usual)):
        engine.run(root, workers=1, restart=bool(there), **there)
        before = all_but_lock(root)
        listener = Listener()
        with pytest.raises(EngineError, match="contradicts the store, which has") as caught:
            engine.run(root, workers=1, progress=listener, **other)
        assert all_but_lock(root) == before
        assert listener.stages == []
        assert word in str(caught.value)
        assert "add --restart to delete 401 computed pairs" in str(caught.value)
        # Which --export-only would refuse.
        with pytest.raises(EngineError, match="add --restart instead of --export-only to delete"):
            engine.run(root, compute=False, **other)


@CONTRADICTIONS
def test_settings_that_nobody_asks_for_are_those_of_the_store(
    root: Path, settings: dict[str, Any], usual: dict[str, Any], word: str
) -> None:
    engine.run(root, workers=1)
    summary = engine.run(root, workers=1, restart=True, **settings)
    assert all(decade.pairs_computed == decade.n_pairs for decade in summary.decades)
    for name, text in expected(root).items():
        assert_near(outputs(root)[name], text, 2e-15)
    before = all_but_lock(root)
    listener = Listener()
    again = engine.run(root, workers=1, progress=listener)
    assert all(decade.up_to_date for decade in again.decades)
    assert all_but_lock(root) == before
    (message,) = listener.messages
    assert f"with {word}, as the store has it" in message
    engine.run(root, workers=1, restart=True, **usual)
    assert outputs(root) == expected(root)


def test_settings_that_change_no_value_compute_nothing_again(root: Path) -> None:
    engine.run(root, workers=1)
    before = all_but_lock(root)
    summary = engine.run(root, workers=16)
    assert all(decade.up_to_date for decade in summary.decades)
    assert all_but_lock(root) == before


def test_another_min_similarity_writes_the_outputs_again_and_computes_nothing(root: Path) -> None:
    engine.run(root, workers=1)
    for x in (0.25, -0.5, None):
        summary = engine.run(root, workers=1, min_similarity=x)
        assert set(computed(summary).values()) == {0}
        assert not any(decade.up_to_date for decade in summary.decades)
        assert summary.min_similarity == x
        assert outputs(root) == expected(root, x)
        again = engine.run(root, workers=1, min_similarity=x)
        assert all(decade.up_to_date for decade in again.decades)


def test_exported_pairs_are_those_in_the_file(root: Path) -> None:
    summary = engine.run(root, workers=1, min_similarity=0.5)
    for decade in summary.decades:
        path = output_path(root, decade.name.approach, decade.name.decade)
        assert decade.pairs_exported == len(json.loads(path.read_bytes()))


def test_restart_forgets_the_selected_decades_and_only_them(root: Path) -> None:
    engine.run(root, workers=1)
    before = all_but_lock(root)
    summary = engine.run(root, workers=1, restart=True, approaches=["genres"], decades=["2000"])
    assert computed(summary) == {"genres/2000": 21}
    assert outputs(root) == expected(root)
    after = all_but_lock(root)
    changed = {name for name in before if before[name] != after[name]}
    assert changed
    assert all("genres" in name and "2000" in name for name in changed)


def test_a_decade_that_cannot_be_forgotten_does_not_stop_the_restart_of_the_others(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As where somebody else computed it."""
    engine.run(root, workers=1)
    forget = Store.forget

    def refused(store: Store, name: DecadeName) -> None:
        if name.group == "genres/1990":
            raise PermissionError(errno.EACCES, "Permission denied", "genres/1990/zarr.json")
        forget(store, name)

    monkeypatch.setattr(Store, "forget", refused)
    listener = Listener()
    summary = engine.run(root, workers=1, restart=True, progress=listener)
    assert computed(summary) == {"embedding/1990": 190, "genres/1990": 0, "genres/2000": 21}
    assert by_name(summary)["genres/1990"].error == "genres/1990/zarr.json: Permission denied"
    assert listener.errors == [("genres/1990/zarr.json: Permission denied", "")]
    assert outputs(root) == expected(root)


# --- in two steps -------------------------------------------------------------------------------


def test_compute_only_fills_the_store_and_writes_no_json(root: Path) -> None:
    summary = engine.run(root, workers=1, export=False)
    assert summary.ok
    assert outputs(root) == {}
    assert computed(summary) == {"embedding/1990": 190, "genres/1990": 190, "genres/2000": 21}
    again = engine.run(root, workers=1, export=False)
    assert all(decade.up_to_date for decade in again.decades)


def test_export_only_writes_json_from_the_store_even_without_the_inputs(root: Path) -> None:
    wanted = expected(root)
    engine.run(root, workers=1, export=False)
    for path in (root / "embeddings").rglob("*.json"):
        path.unlink()
    summary = engine.run(root, workers=1, compute=False)
    assert summary.ok
    assert set(computed(summary).values()) == {0}
    assert outputs(root) == wanted


def test_what_is_said_of_an_export_without_the_inputs_is_what_comes(root: Path) -> None:
    engine.run(root, workers=1, export=False)
    shutil.rmtree(root / "embeddings")
    said = engine.status(root, compute=False)
    assert {decade.next for decade in said.decades} == {"export"}
    summary = engine.run(root, workers=1, compute=False)
    assert summary.ok
    assert {decade.name for decade in summary.decades} == {decade.name for decade in said.decades}
    assert {decade.next for decade in engine.status(root, compute=False).decades} == {"nothing"}


def test_export_only_without_a_store_is_an_error_and_makes_none(root: Path) -> None:
    before = stamps(root)
    with pytest.raises(EngineError, match="no store to export from"):
        engine.run(root, compute=False)
    assert stamps(root) == before


@pytest.mark.parametrize("unfinished", ["unread", "changed", "a chunk missing", "a chunk damaged"])
def test_export_only_of_an_unfinished_decade_is_an_error_for_it_alone(
    root: Path, unfinished: str
) -> None:
    engine.run(root, workers=1, export=False)
    chunk = root / "similarities.zarr" / "genres" / "1990" / "similarities" / "c" / "0" / "0"
    if unfinished == "unread":
        put(root, "genres", "1980", films(3))
    elif unfinished == "changed":
        put(root, "genres", "1990", films(3, seed=1))
    elif unfinished == "a chunk missing":
        chunk.unlink()
    else:
        chunk.write_bytes(chunk.read_bytes()[:-1] + b"?")
    summary = engine.run(root, workers=1, compute=False)
    bad = "genres/1980" if unfinished == "unread" else "genres/1990"
    failed = {name: str(decade.error) for name, decade in by_name(summary).items() if decade.error}
    assert list(failed) == [bad]
    assert "run without --export-only" in failed[bad]
    assert not summary.ok
    others = {key: text for key, text in expected(root).items() if bad[-4:] not in key}
    assert others.items() <= outputs(root).items()
    assert f"{bad.replace('/', '/similarities_')}s.json" not in outputs(root)


# --- what goes wrong ----------------------------------------------------------------------------


def test_one_bad_decade_does_not_stop_the_others(root: Path) -> None:
    wanted = expected(root)
    bad = put(root, "genres", "2010", {"1": [0.5], "2": [0.5, 0.5]})
    listener = Listener()
    summary = engine.run(root, workers=1, progress=listener)
    assert not summary.ok
    assert [name for name, decade in by_name(summary).items() if decade.error] == ["genres/2010"]
    ((error, details),) = listener.errors
    assert error.startswith(str(bad))
    assert error == by_name(summary)["genres/2010"].error
    assert "Traceback" in details
    assert outputs(root) == wanted
    # Corrected, it alone is left to do.
    put(root, "genres", "2010", films(2))
    assert computed(engine.run(root, workers=1))["genres/2010"] == 1
    assert outputs(root) == expected(root)


def test_an_input_that_went_bad_keeps_the_output_of_the_good_one(root: Path) -> None:
    engine.run(root, workers=1)
    before = outputs(root)
    put(root, "genres", "1990", {}).write_text("{")
    assert not engine.run(root, workers=1).ok
    assert outputs(root) == before


def test_an_input_that_is_gone_is_an_error_that_says_how_to_forget_it(root: Path) -> None:
    engine.run(root, workers=1)
    (root / "embeddings" / "genres" / "plots_2000s.json").unlink()
    before = all_but_lock(root)
    summary = engine.run(root, workers=1)
    error = str(by_name(summary)["genres/2000"].error)
    assert "--restart --approach genres --decade 2000" in error
    assert all_but_lock(root) == before
    listener = Listener()
    forgotten = engine.run(
        root, restart=True, approaches=["genres"], decades=["2000"], progress=listener
    )
    assert forgotten.ok
    assert forgotten.decades == []
    assert len(listener.messages) == 1
    assert engine.run(root, workers=1).ok


def test_norms_off_one_are_said_once_with_how_many_and_their_range(root: Path) -> None:
    vectors = {"1": [0.6, 0.8], "2": [0.3, 0.4], "3": [1.2, 1.6], "4": [1.0005, 0.0]}
    path = put(root, "odd", "1990", vectors)
    listener = Listener()
    engine.run(root, workers=1, approaches=["odd"], progress=listener)
    (message,) = listener.messages
    for word in ("odd 1990s", "2 of 4", "0.5", "2"):
        assert word in message
    assert outputs(root) == {"odd/similarities_1990s.json": notebook(path)}


def test_a_film_given_again_with_the_same_vector_counts_once_and_is_said_once(root: Path) -> None:
    path = put(root, "odd", "1990", {})
    path.write_text('{"3": [1, 0], "2": [0.6, 0.8], "003": [1, 0.0], "1": [0, 1], "2": [0.6, 0.8]}')
    listener = Listener()
    for _ in range(2):
        summary = engine.run(root, workers=1, approaches="odd", progress=listener)
        assert summary.decades[0].n_films == 3
    (message,) = listener.messages
    for word in (str(path), "2 ids", 'the first is "3"'):
        assert word in message
    assert listener.errors == []
    assert outputs(root) == {"odd/similarities_1990s.json": notebook(path)}
    assert list(json.loads(notebook(path))) == ["3-2", "3-1", "2-1"]


def test_a_film_given_two_vectors_is_an_error_that_says_so(root: Path) -> None:
    path = put(root, "odd", "1990", {})
    path.write_text('{"3": [1, 0], "003": [0, 1]}')
    (decade,) = engine.run(root, workers=1, approaches="odd").decades
    for word in (str(path), '"3" and "003"', "the same vector"):
        assert word in str(decade.error)


@pytest.mark.parametrize(("d", "kernel", "n"), [(10_000, "dot", 0), (10_001, "dot", 1)])
def test_vectors_for_which_blas_may_use_threads_are_said_once(
    tmp_path: Path, d: int, kernel: Any, n: int
) -> None:
    put(tmp_path, "long", "1990", films(3, d))
    listener = Listener()
    for _ in range(2):
        assert engine.run(tmp_path, workers=1, kernel=kernel, progress=listener).ok
    assert len(listener.messages) == n
    assert all("long 1990s" in text and f"{d:,} numbers" in text for text in listener.messages)
    with one_blas_thread():
        assert outputs(tmp_path) == expected(tmp_path)


def test_more_workers_than_cpus_are_not_used_and_it_is_said(root: Path) -> None:
    listener = Listener()
    engine.run(root, workers=1000, progress=listener)
    (message,) = listener.messages
    assert re.fullmatch(r"using (\d+) workers \(1000 requested, \1 CPUs\)", message)


def test_a_run_says_nothing_of_itself(root: Path, capfd: pytest.CaptureFixture[str]) -> None:
    engine.run(root, workers=1)
    put(root, "genres", "1990", {}).write_text("[")
    engine.run(root, workers=1)
    assert capfd.readouterr() == ("", "")
