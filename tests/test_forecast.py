"""What a run would do is what the run then does."""

from pathlib import Path
from typing import Any

import pytest
from conftest import uncompute
from reference import films, notebook, put

import engine
from engine.batch.cost import wall_seconds, worth
from engine.batch.forecast import Forecast
from engine.data_folder import DataFolder

OPTIONS: list[dict[str, Any]] = [{}, {"export": False}, {"restart": True}, {"compute": False}]


def folder_bytes(root: Path) -> int:
    return sum(path.stat().st_size for path in root.rglob("*") if path.is_file())


def make(root: Path, state: str) -> None:
    """Two decades, of which the first is in some state; the second is finished."""
    for decade in ("1990", "2000"):
        put(root, "genres", decade, films(300, 12))
    if state == "new":
        return
    engine.run(root, workers=1, export=state != "not exported")
    if state == "changed":
        put(root, "genres", "1990", films(270, 12))
    if state == "unfinished":
        uncompute(root / "similarities.zarr" / "genres" / "1990", 1)
        (root / "similarities" / "genres" / "similarities_1990s.json").unlink()


@pytest.mark.parametrize("options", OPTIONS, ids=str)
@pytest.mark.parametrize("state", ["new", "finished", "not exported", "changed", "unfinished"])
def test_the_status_says_what_the_run_then_does(
    state: str, options: dict[str, Any], tmp_path: Path
) -> None:
    make(tmp_path, state)
    folder = DataFolder(tmp_path)
    if state == "new" and not options.get("compute", True):
        return  # There is no store to export from.
    told = engine.status(tmp_path, workers=1, **options).decades
    before = folder_bytes(tmp_path / "similarities.zarr")
    done = engine.run(tmp_path, workers=1, **options).decades
    after = folder_bytes(tmp_path / "similarities.zarr")
    for decade, did in zip(told, done, strict=True):
        coming = decade.forecast
        assert (decade.next == "fail") == (did.error is not None)
        if did.error:
            assert decade.reason == did.error
            assert coming == Forecast()
            continue
        assert coming.pairs_to_compute == pytest.approx(did.pairs_computed, rel=0.02)
        assert coming.pairs_to_export == pytest.approx(did.pairs_exported, rel=0.02)
        assert (coming.read_bytes > 0) == (decade.next == "read")
        written = len(notebook(folder.input(decade.name))) if did.pairs_exported else 0
        assert coming.output_bytes == pytest.approx(written, rel=0.2)
    grown = sum(decade.forecast.store_bytes - decade.forecast.deleted_bytes for decade in told)
    assert grown == pytest.approx(after - before, rel=0.02, abs=30_000)  # Records and checksums.


def test_of_the_strong_pairs_it_is_said_how_many_there_may_be(tmp_path: Path) -> None:
    put(tmp_path, "genres", "1990", films(200, 12))
    rules: list[tuple[dict[str, Any], float]] = [({"top_percent": 25}, 0.9), ({"top_k": 3}, 0.5)]
    for rule, least in rules:
        (told,) = engine.status(tmp_path, **rule).decades
        (done,) = engine.run(tmp_path, workers=1, **rule).decades
        assert done.output_bytes is not None
        for most, found in (
            (told.forecast.pairs_to_export, done.pairs_exported),
            (told.forecast.output_bytes, done.output_bytes),
        ):
            assert least * most <= found * 1.1
            assert found <= most * 1.1


@pytest.mark.parametrize(
    "head",
    [b"", b"{}", b'{"7": [', b"[]" * 2**18, b"\0"],
    ids=["nothing", "no film", "a beginning", "lists without end", "no text"],
)
def test_a_file_that_tells_nothing_is_no_reason_to_stop(tmp_path: Path, head: bytes) -> None:
    put(tmp_path, "genres", "1990", {}).write_bytes(head)
    (decade,) = engine.status(tmp_path).decades
    assert decade.next == "read"
    assert decade.forecast.read_bytes == len(head)


def test_a_small_job_takes_one_worker_and_a_large_one_its_part() -> None:
    assert worth(16, 0.2) == 1
    assert wall_seconds(0.2, 1) == 0.2
    assert worth(16, 1600.0) == 16
    assert 100 <= wall_seconds(1600.0, 16) <= 101
