"""A task: small, told apart from what came later, and the same however often it is done."""

import dataclasses
import errno
import itertools
import json
import os
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import Listener
from reference import films, notebook, output_path, outputs, put, stamps

import engine
from engine.data_folder import DecadeName
from engine.legacy_json.output import PartialOutput
from engine.store.arrays import StoredDecade
from engine.store.store import Store
from engine.triangle.blas import machine
from engine.triangle.rule import EVERY_PAIR
from engine.triangle.selection import Every
from engine.work.tasks import BlockTask, ReadTask, perform

NAME = DecadeName("genres", "1990")


def read_task(root: Path, normalize: bool = False) -> ReadTask:
    Store(str(root / "x.zarr")).create()
    path = root / "embeddings" / "genres" / "plots_1990s.json"
    return ReadTask(str(root / "x.zarr"), NAME, path, "dot", normalize)


def block_tasks(
    root: Path, n: int, d: int = 3, *, seed: int = 0, output: bool = True, **changes: Any
) -> list[BlockTask]:
    """The tasks of a decade that has been read."""
    put(root, NAME.approach, NAME.decade, films(n, d, seed))
    task = read_task(root)
    record = perform(task).record
    assert record is not None
    Store(task.store).write_record(NAME, record)
    final = root / "x.json"
    partial = PartialOutput(final, record.output_identity(EVERY_PAIR), record.grid.n_row_blocks)
    partial.prepare()
    return [
        BlockTask(
            **{
                "store": task.store,
                "name": NAME,
                "identity": record.identity,
                "row_block": block.index,
                "row_block_pairs": block.n_pairs,
                "fresh": True,
                "compute": True,
                "output": partial if output else None,
                "written": False,
                "selection": Every(),
                **changes,
            }
        )
        for block in record.grid.row_blocks()
    ]


def test_a_task_is_a_few_hundred_bytes_whatever_the_size_of_the_decade(
    tmp_path: Path, performed: list[tuple[Any, Any]]
) -> None:
    put(tmp_path, "genres", "1990", films(500, 64))
    put(tmp_path, "genres", "2000", films(5, 2))
    engine.run(tmp_path, workers=1)
    assert len(performed) == 2 + 2 + 1
    for task, result in performed:
        assert len(pickle.dumps(task)) < 1500 + len(str(tmp_path))
        assert len(pickle.dumps(result)) < 4000 + 2 * len(str(tmp_path))
        assert pickle.loads(pickle.dumps(task)) == task


def test_reading_twice_gives_the_same_vectors_and_keeps_what_was_made_of_them(
    tmp_path: Path,
) -> None:
    tasks = block_tasks(tmp_path, 20, output=False)
    for task in tasks:
        perform(task)
    store = Store(tasks[0].store)
    before = store.open(NAME)
    assert before.chunks() == {(0, 0)}
    again = perform(read_task(tmp_path))
    assert again.record is not None
    assert dataclasses.replace(again.record, begun=before.record.begun) == before.record
    assert again.record.identity == tasks[0].identity
    assert store.open(NAME, again.record).chunks() == {(0, 0)}
    assert store.open(NAME).vectors.tolist() == list(films(20, 3).values())


def test_reading_other_films_proves_nothing_of_what_was_computed_before(tmp_path: Path) -> None:
    for task in block_tasks(tmp_path, 20, output=False):
        perform(task)
    block_tasks(tmp_path, 20, seed=1, output=False)
    assert Store(str(tmp_path / "x.zarr")).open(NAME).chunks() == set()


def test_what_a_worker_reads_counts_only_when_the_run_has_written_its_record(
    tmp_path: Path,
) -> None:
    put(tmp_path, NAME.approach, NAME.decade, films(20, 3))
    task = read_task(tmp_path)
    record = perform(task).record
    assert record is not None
    store = Store(task.store)
    assert store.record(NAME) is None
    store.write_record(NAME, record)
    assert store.open(NAME).ids == list(films(20, 3))


def test_a_row_block_may_be_done_any_number_of_times(tmp_path: Path) -> None:
    first, second = block_tasks(tmp_path, 300)
    for task in [first] * 3 + [second] * 3 + [first]:
        assert perform(task).error is None
    output = first.output
    assert output is not None
    assert output.finish() is not None
    output.appear()
    vectors = np.array(list(films(300, 3).values()))
    wanted = {
        f"{a}-{b}": float(vectors[i] @ vectors[j])
        for (i, a), (j, b) in itertools.combinations(enumerate(films(300, 3)), 2)
    }
    assert (tmp_path / "x.json").read_bytes() == json.dumps(wanted).encode()


def test_a_row_block_that_is_stored_and_written_is_not_touched(tmp_path: Path) -> None:
    tasks = block_tasks(tmp_path, 300)
    results = [perform(task) for task in tasks]
    assert [result.pairs_computed for result in results] == [256 * 171.5, 44 * 43 / 2]
    before = stamps(tmp_path)
    for task in tasks:
        again = perform(dataclasses.replace(task, fresh=False, written=True))
        assert (again.error, again.pairs_computed, again.pairs_exported) == (None, 0, 0)
    assert stamps(tmp_path) == before


def test_a_text_that_is_said_to_be_written_and_is_not_is_written_again(tmp_path: Path) -> None:
    tasks = block_tasks(tmp_path, 300)
    for task in tasks:
        perform(task)
    output = tasks[0].output
    assert output is not None
    whole = output.text.read_bytes()
    output.text.write_bytes(whole[:1000] + b"?" + whole[1001:])
    for task in tasks:
        assert perform(dataclasses.replace(task, fresh=False, written=True)).error is None
    assert output.text.read_bytes() == whole


def test_a_task_that_comes_too_late_does_nothing(tmp_path: Path) -> None:
    (old,) = block_tasks(tmp_path, 20)
    (new,) = block_tasks(tmp_path, 20, seed=1)
    store = tmp_path / "x.zarr"
    before = stamps(store)
    result = perform(old)
    assert "restarted by another run" in str(result.error)
    assert result.pairs_computed == 0
    assert stamps(store) == before
    assert perform(new).error is None


def test_numbers_are_stored_before_their_length_is_told_and_their_text_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    done: list[tuple[str, bool]] = []

    def noted(owner: type, name: str) -> None:
        original = getattr(owner, name)

        def wrapper(self: Any, *arguments: Any, **options: Any) -> Any:
            done.append((name, chunk.exists()))
            return original(self, *arguments, **options)

        monkeypatch.setattr(owner, name, wrapper)

    (task,) = block_tasks(tmp_path, 20)
    chunk = tmp_path / "x.zarr" / "genres" / "1990" / "similarities" / "c" / "0" / "0"
    for name in ("publish", "offset", "write"):
        noted(PartialOutput, name)
    assert perform(task).error is None
    assert done == [("publish", True), ("offset", True), ("write", True)]


def test_a_row_block_that_could_not_be_stored_has_no_text_and_no_length(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(self: StoredDecade, *arguments: Any) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "c/0/0")

    first, _ = block_tasks(tmp_path, 300)
    assert first.output
    empty = first.output.lengths.read_bytes()
    monkeypatch.setattr(StoredDecade, "write", full)
    assert "No space left" in str(perform(first).error)
    assert first.output.lengths.read_bytes() == empty
    assert first.output.text.read_bytes() == b""


@pytest.mark.parametrize("off", [-7, 7])
def test_numbers_computed_again_may_be_longer_than_when_others_found_their_offset(
    tmp_path: Path, off: int
) -> None:
    # As when they were damaged after their length was told, and another kind of machine computes
    # them again.
    first, second = block_tasks(tmp_path, 300)
    assert first.output
    perform(first)
    first.output.publish(0, first.output.offset(1) + off)
    assert perform(second).error is None
    assert first.output.written() == [0, second.row_block_pairs]
    assert perform(first).error is None
    assert first.output.written() == [first.row_block_pairs, 0]  # where it does not belong
    assert first.output.finish() is None
    # The next round.
    for task, written in zip((first, second), first.output.prepare(), strict=True):
        again = perform(dataclasses.replace(task, fresh=False, written=bool(written)))
        assert (again.error, again.pairs_computed) == (None, 0)
    assert first.output.finish()
    first.output.appear()
    assert (tmp_path / "x.json").read_bytes() == notebook(
        tmp_path / "embeddings" / "genres" / "plots_1990s.json"
    )


def test_to_export_what_is_not_stored_is_an_error_that_says_which_chunk(tmp_path: Path) -> None:
    first, second = block_tasks(tmp_path, 300, compute=False, fresh=False)
    for task, place in ((first, "row 0, column 0"), (second, "row 1, column 1")):
        error = str(perform(task).error)
        assert "is not stored" in error
        assert place in error
    assert Store(first.store).open(NAME).chunks() == set()


@pytest.mark.parametrize("array", ["vectors", "ids"])
def test_damage_in_what_was_read_asks_for_reading_again(tmp_path: Path, array: str) -> None:
    (task,) = block_tasks(tmp_path, 20)
    folder = tmp_path / "x.zarr" / "genres" / "1990" / array / "c"
    (path,) = (path for path in folder.rglob("*") if path.is_file())
    path.write_bytes(b"\0" + path.read_bytes()[1:-1] + b"\0")
    result = perform(task)
    assert result.reread
    assert array in str(result.error)


def test_an_input_that_cannot_be_read_is_a_sentence_in_the_result(tmp_path: Path) -> None:
    result = perform(read_task(tmp_path))
    assert result.record is None
    assert "plots_1990s.json" in str(result.error)
    assert "Traceback" in result.details
    assert "Traceback" not in str(result.error)


def test_a_vector_of_zeros_cannot_be_scaled_to_unit_length(tmp_path: Path) -> None:
    put(tmp_path, "genres", "1990", {"1": [0.6, 0.8], "77": [0.0, -0.0]})
    result = perform(read_task(tmp_path, normalize=True))
    assert 'id "77"' in str(result.error)
    assert "plots_1990s.json" in str(result.error)
    assert perform(read_task(tmp_path)).error is None


def test_the_norms_are_told_as_they_were_read(tmp_path: Path) -> None:
    vectors = {"1": [0.6, 0.8], "2": [0.3, 0.4], "3": [1.0009, 0.0], "4": [1.002, 0.0]}
    put(tmp_path, "genres", "1990", vectors)
    for normalize in (False, True):
        record = perform(read_task(tmp_path, normalize)).record
        assert record is not None
        assert record.n_off_norm == 2
        assert (record.norm_min, record.norm_max) == (0.5, 1.002)
        assert record.machine == machine() != ""


@pytest.mark.parametrize("n", [8192, 8193, 16385])
def test_row_blocks_of_wide_decades_hold_the_notebook_s_values(tmp_path: Path, n: int) -> None:
    tasks = block_tasks(tmp_path, n, 2, output=False)
    some = [tasks[0], tasks[len(tasks) // 2], tasks[-1]]
    for task in some:
        assert perform(task).pairs_computed == task.row_block_pairs
    stored = Store(tasks[0].store).open(NAME)
    vectors = np.array(list(films(n, 2).values()))
    random = np.random.default_rng(n)
    for task in some:
        block = stored.record.grid.row_block(task.row_block)
        for chunk in stored.record.grid.chunks(task.row_block):
            values = stored.read(chunk, stored.checksums(chunk.row)[chunk.column])
            assert values is not None
            assert int((~np.isnan(values)).sum()) == chunk.n_pairs
            for i, j in zip(
                random.integers(block.start, block.stop, 50),
                random.integers(chunk.left, chunk.right, 50),
                strict=True,
            ):
                found = values[i - chunk.start, j - chunk.left]
                assert np.isnan(found) if j <= i else found == vectors[i] @ vectors[j]


def test_each_row_block_is_one_task_no_larger_than_its_bound(
    tmp_path: Path, performed: list[tuple[Any, Any]]
) -> None:
    for decade, n in (("1990", 700), ("2000", 257), ("2010", 2)):
        put(tmp_path, "genres", decade, films(n))
    listener = Listener()
    engine.run(tmp_path, workers=1, progress=listener)
    blocks = [task for task, _ in performed if isinstance(task, BlockTask)]
    assert [task.row_block_pairs for task in blocks] == [
        # rows of 699, 698, ... pairs, 256 of them at a time
        *(256 * 699 - 255 * 128, 256 * 443 - 255 * 128, 187 * 188 // 2),
        256 * 257 // 2,
        1,
    ]
    assert max(task.row_block_pairs for task in blocks) <= 2**21
    assert len(outputs(tmp_path)) == 3
    assert output_path(tmp_path, "genres", "2010").exists()
