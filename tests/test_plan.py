"""What is done and what is left, judged by nothing but what lies in the folders."""

import os
import shutil
from pathlib import Path

import pytest
from reference import films, output_path, put, stamps

import engine
from engine.arguments import Arguments
from engine.batch.plan import DecadeState, contradiction, decade_states
from engine.data_folder import DecadeName
from engine.store.source import Source
from engine.triangle.rule import Rule

NAME = DecadeName("genres", "1990")
N_PAIRS = 300 * 299 // 2


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished decade of three chunks, and another."""
    folder = tmp_path_factory.mktemp("finished")
    put(folder, "genres", "1990", films(300))
    put(folder, "genres", "2000", films(5))
    engine.run(folder, workers=1)
    return folder


@pytest.fixture
def root(finished: Path, tmp_path: Path) -> Path:
    """A copy of them."""
    return shutil.copytree(finished, tmp_path, dirs_exist_ok=True)


def state_of(
    root: Path, asked: Arguments | None = None, *, input_needed: bool = True
) -> DecadeState:
    (state,) = decade_states(
        Source.at(root, None), [NAME], asked or Arguments(), input_needed=input_needed
    )
    return state


def chunk_file(root: Path, row: int, column: int) -> Path:
    folder = root / "similarities.zarr" / "genres" / "1990" / "similarities" / "c"
    return folder / str(row) / str(column)


def test_finished_work_is_finished(root: Path) -> None:
    state = state_of(root)
    assert state.computed
    assert state.exported
    assert (state.n_pairs, state.pairs_stored, state.missing) == (N_PAIRS, N_PAIRS, ())
    assert (state.stale, state.error) == ("", "")


def test_to_find_the_state_changes_nothing(root: Path) -> None:
    before = stamps(root)
    state_of(root)
    state_of(root, Arguments(kernel="gemm", normalize=True, rule=Rule(0.5)))
    assert stamps(root) == before


def test_a_decade_that_was_never_read_is_to_be_read(tmp_path: Path) -> None:
    put(tmp_path, "genres", "1990", films(3))
    Source.at(tmp_path, None).store.create()
    state = state_of(tmp_path)
    assert (state.record, state.stale, state.error, state.n_pairs) == (None, "", "", 0)


@pytest.mark.parametrize(
    ("lost", "missing", "pairs"),
    [
        ([(0, 1)], (0,), 256 * 44),
        ([(1, 1)], (1,), 44 * 43 // 2),
        ([(0, 0), (0, 1)], (0,), 256 * 44 + 256 * 255 // 2),
        ([(0, 0), (0, 1), (1, 1)], (0, 1), N_PAIRS),
    ],
)
def test_what_is_missing_is_counted_in_pairs_and_row_blocks(
    root: Path, lost: list[tuple[int, int]], missing: tuple[int, ...], pairs: int
) -> None:
    for row, column in lost:
        chunk_file(root, row, column).unlink()
    state = state_of(root)
    assert not state.computed
    assert state.missing == missing
    assert state.pairs_stored == N_PAIRS - pairs
    whole = {(0, 0), (0, 1)} <= set(lost), (1, 1) in lost
    assert (state.fresh(0), state.fresh(1)) == whole


def test_an_output_that_is_gone_cut_or_newer_does_not_count(root: Path) -> None:
    output = output_path(root, "genres", "1990")
    found = output.stat()
    os.utime(output, ns=(found.st_atime_ns, found.st_mtime_ns + 1))
    assert not state_of(root).exported
    os.utime(output, ns=(found.st_atime_ns, found.st_mtime_ns))
    assert state_of(root).exported
    os.truncate(output, found.st_size - 1)
    os.utime(output, ns=(found.st_atime_ns, found.st_mtime_ns))
    assert not state_of(root).exported
    output.unlink()
    assert not state_of(root).exported
    assert state_of(root).computed


def test_an_output_of_other_pairs_does_not_count(root: Path) -> None:
    state = state_of(root, Arguments(rule=Rule(0.5)))
    assert state.computed
    assert not state.exported


@pytest.mark.parametrize(
    ("asked", "what"),
    [
        (Arguments(kernel="gemm"), "--kernel gemm contradicts the store, which has --kernel dot"),
        (
            Arguments(kernel="dot", normalize=True),
            "--normalize contradicts the store, which has no --normalize",
        ),
    ],
)
def test_settings_that_contradict_what_is_computed_are_said_with_what_they_would_delete(
    root: Path, asked: Arguments, what: str
) -> None:
    state = state_of(root, asked)
    assert state.computed
    assert (state.kernel, state.normalize) == ("dot", False)
    error = contradiction([state], asked)
    assert what in error
    assert f"add --restart to delete {N_PAIRS:,} computed pairs" in error
    same = Arguments(kernel="dot", normalize=False)
    assert contradiction([state_of(root), state_of(root, same)], same) == ""


def test_settings_that_nobody_asks_for_are_those_of_the_store(tmp_path: Path) -> None:
    put(tmp_path, "genres", "1990", films(5))
    engine.run(tmp_path, workers=1, kernel="gemm", normalize=True)
    for asked in (Arguments(), Arguments(kernel="gemm"), Arguments(normalize=True)):
        state = state_of(tmp_path, asked)
        assert (state.kernel, state.normalize, state.conflict) == ("gemm", True, "")
        assert state.exported
    for asked, what in [
        (Arguments(kernel="dot"), "--kernel dot contradicts the store, which has --kernel gemm"),
        (
            Arguments(normalize=False),
            "normalize=False contradicts the store, which has --normalize",
        ),
    ]:
        assert what in contradiction([state_of(tmp_path, asked)], asked)
    put(tmp_path, "genres", "1990", films(5, seed=1))
    state = state_of(tmp_path)
    assert (state.kernel, state.normalize, state.obsolete) == ("gemm", True, True)
    state = state_of(tmp_path, Arguments(kernel="dot", normalize=False))
    assert (state.kernel, state.normalize, state.conflict) == ("dot", False, "")


def test_settings_that_contradict_a_decade_without_a_record_are_said(root: Path) -> None:
    (root / "similarities.zarr" / "genres" / "1990" / "zarr.json").write_text("{")
    asked = Arguments(kernel="gemm")
    error = contradiction([state_of(root, asked)], asked)
    assert "--restart to delete what is computed" in error
    assert contradiction([state_of(root)], Arguments()) == ""


def test_an_input_counts_by_its_content_and_not_by_its_time_stamp(root: Path) -> None:
    path = root / "embeddings" / "genres" / "plots_1990s.json"
    found = path.stat()
    os.utime(path, ns=(1, 1))
    assert state_of(root).computed
    content = path.read_bytes()
    digit = content.index(b"0.") + 2
    other = b"1" if content[digit : digit + 1] != b"1" else b"2"
    path.write_bytes(content[:digit] + other + content[digit + 1 :])
    os.utime(path, ns=(found.st_atime_ns, found.st_mtime_ns))
    assert path.stat().st_size == found.st_size
    assert path.read_bytes() != content
    state = state_of(root)
    assert state.record is None
    assert "has changed" in state.stale
    assert str(path) in state.stale


def test_an_input_that_is_gone_is_an_error_unless_the_store_is_enough(root: Path) -> None:
    (root / "embeddings" / "genres" / "plots_1990s.json").unlink()
    assert "plots_1990s.json" in state_of(root).error
    state = state_of(root, input_needed=False)
    assert state.error == ""
    assert state.computed


@pytest.mark.parametrize("array", ["similarities", "checksums", "vectors", "ids"])
def test_damaged_metadata_of_an_array_are_to_be_written_again_and_nothing_else(
    root: Path, array: str
) -> None:
    (root / "similarities.zarr" / "genres" / "1990" / array / "zarr.json").write_text("{")
    state = state_of(root)
    assert state.damaged_metadata == (array,)
    assert state.computed
    assert state.exported
    assert state.stale == ""


@pytest.mark.parametrize("file", ["zarr.json", "ids/c/0"])
@pytest.mark.parametrize("content", [b"", b"{", None])
def test_a_damaged_record_or_id_means_to_read_again_and_no_more(
    root: Path, file: str, content: bytes | None
) -> None:
    path = root / "similarities.zarr" / "genres" / "1990" / file
    path.unlink()
    if content is not None:
        path.write_bytes(content)
    state = state_of(root)
    assert state.record is None
    assert not state.obsolete
    # Without a record nothing is known to be damaged.
    assert "damaged" in state.stale or (file, content) == ("zarr.json", None)


def test_a_changed_input_makes_what_is_stored_obsolete(root: Path) -> None:
    put(root, "genres", "1990", films(300, seed=1))
    assert state_of(root).obsolete
    put(root, "genres", "1990", films(300))
    assert not state_of(root).obsolete


def test_chunks_without_checksums_are_to_be_computed_again(root: Path) -> None:
    (root / "similarities.zarr" / "genres" / "1990" / "checksums" / "c" / "0" / "0").unlink()
    state = state_of(root)
    assert state.missing == (0,)
    assert state.fresh(0)
    assert state.pairs_stored == 44 * 43 // 2


def test_the_states_come_in_the_order_of_the_names(root: Path) -> None:
    names = [DecadeName("genres", "2000"), NAME, DecadeName("genres", "2000")]
    states = decade_states(Source.at(root, None), names, Arguments())
    assert [state.name for state in states] == names
