"""The work in counted steps: nothing is done, read or written more often than it must be."""

import errno
import gc
import json
import os
from collections import Counter
from collections.abc import Callable, Generator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import Disk, Listener, uncompute
from errands import cut_small
from reference import chunks, expected, films, output_path, outputs, put, stamps

import engine
from engine.batch.summary import DecadeSummary
from engine.data_folder import DecadeName
from engine.legacy_json.output import PartialOutput
from engine.store.arrays import StoredDecade
from engine.triangle.kernel import KernelName, similarities
from engine.work.pool import WorkerDiedError, Workers
from engine.work.row_block import Films
from engine.work.tasks import BlockTask, ReadTask, Result, perform

SIZES = {"1990": 10, "2000": 75, "2010": 146, "2020": 3, "2030": 1}


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    cut_small(monkeypatch.setattr)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for decade, n in SIZES.items():
        put(tmp_path, "genres", decade, films(n))
    return tmp_path


def chunk_counts(counts: Counter[str]) -> Counter[str]:
    # A partial file is how a chunk comes under its name at once.
    return Counter(
        {
            path: n
            for path, n in counts.items()
            if "/similarities/c/" in path and not path.endswith(".partial")
        }
    )


def stored_chunks(root: Path) -> set[str]:
    store = root / "similarities.zarr"
    return {str(store / name) for name in chunks(store)}


def test_each_chunk_is_written_once_and_never_read_in_an_undisturbed_run(
    root: Path, disk: Disk
) -> None:
    engine.run(root, workers=1)
    assert outputs(root) == expected(root)
    # One chunk up to 64 films, three up to 128, six up to 192.
    assert len(stored_chunks(root)) == 1 + 3 + 6 + 1 + 0
    assert chunk_counts(disk.writes) == Counter(dict.fromkeys(stored_chunks(root), 1))
    assert chunk_counts(disk.reads) == Counter()


def test_each_input_is_parsed_once(
    root: Path, disk: Disk, performed: list[tuple[Any, Any]]
) -> None:
    engine.run(root, workers=1)
    inputs = [str(path) for path in (root / "embeddings").rglob("*.json")]
    assert len(inputs) == len(SIZES)
    # And a look at its beginning, to know how much room is needed.
    assert [disk.reads[path] for path in inputs] == [2] * len(SIZES)
    read = Counter(task.name.decade for task, _ in performed if isinstance(task, ReadTask))
    assert read == Counter(list(SIZES))


def test_each_output_is_given_its_name_once(root: Path, disk: Disk) -> None:
    engine.run(root, workers=1)
    for decade in SIZES:
        assert disk.writes[str(output_path(root, "genres", decade))] == 1


def test_an_export_by_itself_reads_each_chunk_once_and_writes_none(root: Path, disk: Disk) -> None:
    engine.run(root, workers=1, export=False)
    assert outputs(root) == {}
    disk.reads.clear()
    disk.writes.clear()
    engine.run(root, workers=1, compute=False)
    assert outputs(root) == expected(root)
    assert chunk_counts(disk.reads) == Counter(dict.fromkeys(stored_chunks(root), 1))
    assert chunk_counts(disk.writes) == Counter()


def test_on_finished_work_no_task_is_performed_and_no_input_parsed(
    root: Path, disk: Disk, performed: list[tuple[Any, Any]]
) -> None:
    engine.run(root, workers=1)
    performed.clear()
    disk.reads.clear()
    disk.writes.clear()
    engine.run(root, workers=1)
    assert performed == []
    assert chunk_counts(disk.reads) == chunk_counts(disk.writes) == Counter()
    # Hashed, to see whether they have changed.
    assert max(disk.reads[str(path)] for path in (root / "embeddings").rglob("*.json")) == 1


def test_a_resumed_run_performs_the_missing_row_block_alone(
    root: Path, performed: list[tuple[Any, Any]]
) -> None:
    engine.run(root, workers=1, export=False)
    folder = root / "similarities.zarr" / "genres" / "2010" / "similarities" / "c"
    before = stamps(root / "similarities.zarr")
    (folder / "1" / "2").unlink()
    performed.clear()
    summary = engine.run(root, workers=1, export=False)
    assert [(task.name.decade, task.row_block) for task, _ in performed] == [("2010", 1)]
    assert sum(decade.pairs_computed for decade in summary.decades) == 64 * 18
    after = stamps(root / "similarities.zarr")
    # The chunk, and the row of checksums by which it counts.
    assert {name for name in before if before[name] != after[name]} == {
        "genres/2010/similarities/c/1/2",
        "genres/2010/checksums/c/1/0",
    }


def test_decades_are_dispatched_largest_first_and_their_row_blocks_in_order(
    root: Path, performed: list[tuple[Any, Any]]
) -> None:
    engine.run(root, workers=1)
    tasks = [(task.name.decade, task.row_block) for task, _ in performed if _is_block(task)]
    assert tasks == [
        ("2010", 0),
        ("2010", 1),
        ("2010", 2),
        ("2000", 0),
        ("2000", 1),
        ("1990", 0),
        ("2020", 0),
    ]


def test_what_a_run_has_opened_is_dropped_with_it(root: Path) -> None:
    def n_open() -> int:
        gc.collect()
        return sum(isinstance(each, Films) for each in gc.get_objects())

    before = n_open()
    assert engine.run(root, workers=1).ok
    assert engine.verify(root, workers=1) == []
    assert n_open() == before


def _is_block(task: Any) -> bool:
    return isinstance(task, BlockTask)


def test_inputs_are_read_largest_first(root: Path, performed: list[tuple[Any, Any]]) -> None:
    engine.run(root, workers=1)
    read = [task.name.decade for task, _ in performed if isinstance(task, ReadTask)]
    assert read == ["2010", "2000", "1990", "2020", "2030"]


def test_progress_adds_up_to_the_work_announced(root: Path) -> None:
    listener = Listener()
    summary = engine.run(root, workers=1, progress=listener)
    n_pairs = sum(n * (n - 1) // 2 for n in SIZES.values())
    n_bytes = sum(path.stat().st_size for path in (root / "embeddings").rglob("*.json"))
    assert listener.stages == [
        ("reading", n_bytes, 0, "B"),
        ("computing", n_pairs, 0, "pairs"),
        ("exporting", n_pairs, 0, "pairs"),
    ]
    done: Counter[str] = Counter()
    for name, amount in listener.advances:
        done[name] += amount
    assert done == {"reading": n_bytes, "computing": n_pairs, "exporting": n_pairs}
    assert summary.ok
    assert listener.closed == 1


def test_progress_begins_where_an_earlier_run_ended(root: Path) -> None:
    engine.run(root, workers=1, export=False)
    folder = root / "similarities.zarr" / "genres" / "2010" / "similarities" / "c"
    (folder / "0" / "2").unlink()
    listener = Listener()
    engine.run(root, workers=1, progress=listener)
    n_pairs = sum(n * (n - 1) // 2 for n in SIZES.values())
    missing = 64 * 18
    assert listener.stages == [
        ("computing", n_pairs, n_pairs - missing, "pairs"),
        ("exporting", n_pairs, 0, "pairs"),
    ]
    assert sum(n for name, n in listener.advances if name == "computing") == missing


def test_on_finished_work_there_is_no_progress_to_show(root: Path) -> None:
    engine.run(root, workers=1)
    listener = Listener()
    engine.run(root, workers=1, progress=listener)
    assert (listener.stages, listener.advances, listener.messages) == ([], [], [])


@pytest.mark.parametrize("array", ["vectors", "ids"])
def test_damage_in_what_was_read_is_mended_by_reading_again(root: Path, array: str) -> None:
    engine.run(root, workers=1, export=False)
    folder = root / "similarities.zarr" / "genres" / "2000"
    (path,) = (path for path in (folder / array / "c").rglob("*") if path.is_file())
    path.write_bytes(b"\0" + path.read_bytes()[1:-1] + b"\1")
    (folder / "similarities" / "c" / "0" / "1").unlink()
    listener = Listener()
    summary = engine.run(root, workers=1, progress=listener)
    assert summary.ok
    assert outputs(root) == expected(root)
    assert any(array in text and "again" in text for text in listener.messages)
    by_name = {decade.name: decade for decade in summary.decades}
    assert by_name[DecadeName("genres", "2010")].pairs_computed == 0


def test_tasks_that_miss_the_same_vectors_at_once_have_them_read_again_once(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Twice in a run at most; what a task of the same round adds to it counts no more."""
    read = Counter[DecadeName]()

    def at_once(
        self: Workers, make: Any, groups: Any, n: int, wanted: Any = lambda _: True
    ) -> Generator[Result, None, None]:
        found = []
        for task in (task for group in groups for task in group if wanted(task)):
            read[task.name] += isinstance(task, ReadTask)
            if isinstance(task, ReadTask) or read[task.name] > 2:
                found.append(perform(task))
                continue
            for path in (root / "similarities.zarr" / task.name.group / "vectors").rglob("c/*/*"):
                path.write_bytes(b"")
            found.append(perform(task))
            assert found[-1].reread
        yield from found

    with monkeypatch.context() as patch:
        patch.setattr(Workers, "perform_all", at_once)
        listener = Listener()
        assert engine.run(root, decades="2010", export=False, progress=listener).ok
    assert read.total() == 3
    again = "genres 2010s: the vectors are damaged: its input is read again"
    assert listener.messages == [f"{root / 'similarities.zarr'}: {again}"] * 2
    summary = engine.run(root, decades="2010")
    assert (summary.ok, summary.decades[0].pairs_computed) == (True, 0)
    assert (
        output_path(root, "genres", "2010").read_bytes()
        == expected(root)["genres/similarities_2010s.json"]
    )


def test_nobody_waits_for_the_length_of_a_row_block_that_failed(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A worker may wait for it and never answer: the run ends it, and begins another round."""
    engine.run(root, workers=1, export=False)
    chunk = root / "similarities.zarr" / "genres" / "2010" / "similarities" / "c" / "0" / "0"
    chunk.write_bytes(chunk.read_bytes()[:-1] + b"?")
    original = Workers.perform_all

    def wait(self: Workers, *arguments: Any) -> Generator[Result, None, None]:
        for result in original(self, *arguments):
            yield result
            assert not result.error

    monkeypatch.setattr(Workers, "perform_all", wait)
    summary = engine.run(root, workers=1, compute=False)
    by_name = {decade.name.decade: decade for decade in summary.decades}
    assert "row 0, column 0" in str(by_name.pop("2010").error)
    assert {name: decade.error for name, decade in by_name.items()} == dict.fromkeys(by_name)
    texts = expected(root)
    del texts["genres/similarities_2010s.json"]
    assert {name: text for name, text in outputs(root).items() if "2010" not in name} == texts


def a_worker_dies(
    monkeypatch: pytest.MonkeyPatch,
    when: Callable[[Result], object],
    meanwhile: Callable[[Result], object] = lambda result: None,
    *,
    told: bool = False,
) -> list[Result]:
    """Have a worker die with the first result of a kind, told or not; that result, once it came."""
    original = Workers.perform_all
    last: list[Result] = []

    def dies(self: Workers, *arguments: Any) -> Generator[Result, None, None]:
        for result in original(self, *arguments):
            dead = not last and when(result)
            if told or not dead:
                yield result
            if dead:
                last.append(result)
                meanwhile(result)
                raise WorkerDiedError(-9)

    monkeypatch.setattr(Workers, "perform_all", dies)
    return last


def test_what_workers_wrote_and_could_not_tell_is_counted(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lost = a_worker_dies(monkeypatch, lambda result: result.pairs_exported)
    summary = engine.run(root, workers=1)
    assert lost
    for decade in summary.decades:
        assert (decade.pairs_computed, decade.pairs_exported) == (decade.n_pairs, decade.n_pairs)


def agree(summary: engine.Summary, root: Path) -> dict[str, DecadeSummary]:
    """Hold what was counted against what the store and the outputs have; return it by decade."""
    by_name = {decade.name.decade: decade for decade in summary.decades}
    status = {decade.name.decade: decade for decade in engine.status(root).decades}
    for name, decade in by_name.items():
        assert decade.pairs_computed == status[name].pairs_computed
        assert decade.pairs_exported == status[name].pairs_exported
    return by_name


def test_what_was_written_twice_counts_once(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def damage(result: Result) -> None:
        assert isinstance(result.task, BlockTask)
        assert result.task.output
        text = result.task.output.text
        text.write_bytes(text.read_bytes().replace(b"0", b"1", 1))

    last = a_worker_dies(monkeypatch, lambda result: result.pairs_exported, damage, told=True)
    agree(engine.run(root, workers=1), root)
    assert last
    assert outputs(root) == expected(root)


def full_at_row_1(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have no room for the second row-block of the 2010s."""
    write = StoredDecade.write

    def full(self: StoredDecade, chunks: Any, row: int) -> None:
        if (self.name.decade, row) == ("2010", 1):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "c/1/1")
        write(self, chunks, row)

    monkeypatch.setattr(StoredDecade, "write", full)


def test_what_workers_did_of_a_decade_that_failed_is_counted_and_nothing_left_behind(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    original = Workers.perform_all

    def ended(self: Workers, *arguments: Any) -> Generator[Result, None, None]:
        """Of what was done before a row-block failed, and of what is half done, nobody has told."""
        done: list[Result] = []
        for result in original(self, *arguments):
            done.append(result)
            if result.error:
                group = root / "similarities.zarr" / "genres" / "2010"
                (group / "similarities" / f"0.{'0' * 32}.partial").touch()
                done = [result]
                break
        yield from done

    full_at_row_1(monkeypatch)
    monkeypatch.setattr(Workers, "perform_all", ended)
    by_name = agree(engine.run(root, workers=1), root)
    assert "No space left" in str(by_name["2010"].error)
    assert 0 < by_name["2010"].pairs_computed < by_name["2010"].n_pairs
    assert by_name["2010"].pairs_exported > 0
    assert not list((root / "similarities.zarr").rglob("*.partial"))


def test_what_is_stored_of_a_decade_that_failed_is_counted_when_a_worker_dies_then(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    original = Workers.perform_all
    deaths: list[Result] = []

    def dies(self: Workers, *arguments: Any) -> Generator[Result, None, None]:
        """Of the row-blocks beside the one that failed nobody has told."""
        results = list(original(self, *arguments))
        failed = [result for result in results if result.error]
        if failed and not deaths:
            deaths.extend(failed)
            yield from failed
            raise WorkerDiedError(-9)
        yield from results

    full_at_row_1(monkeypatch)
    monkeypatch.setattr(Workers, "perform_all", dies)
    by_name = agree(engine.run(root, workers=1, export=False), root)
    assert deaths
    assert 0 < by_name["2010"].pairs_computed < by_name["2010"].n_pairs


@pytest.mark.parametrize("error", [OSError(errno.EIO, "Input/output error"), MemoryError()])
def test_what_cannot_be_counted_of_a_decade_that_failed_ends_nothing_else(
    root: Path, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    written = PartialOutput.written
    failed: list[str] = []

    def fail(progress: Any, text: str, details: str = "") -> None:
        failed.append(text)

    def count(self: PartialOutput) -> list[int]:
        if failed:
            raise error
        return written(self)

    full_at_row_1(monkeypatch)
    monkeypatch.setattr(Listener, "error", fail)
    monkeypatch.setattr(PartialOutput, "written", count)
    summary = engine.run(root, decades="2010", workers=1, progress=Listener())
    assert len(failed) == 1
    assert [decade.error for decade in summary.decades] == failed


def test_what_an_earlier_run_wrote_does_not_count_as_written_by_this_one(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: Any) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch:
        patch.setattr("engine.batch.job.finalize", fail)
        (first,) = engine.run(root, decades="2010", workers=1).decades
    (second,) = engine.run(root, decades="2010", workers=1).decades
    assert (first.pairs_exported, second.pairs_exported) == (first.n_pairs, 0)
    assert (first.error is None, second.error) == (False, None)


class WhenSelected(Listener):
    """Does something once all pairs are selected."""

    def __init__(self, what: Callable[[], object]) -> None:
        super().__init__()
        self.what = what

    def stage(self, name: str, total: int, done: int, unit: str) -> None:
        super().stage(name, total, done, unit)
        if name == "exporting" and self.n_stages(name) == 1:
            self.what()

    def n_stages(self, name: str) -> int:
        return [stage[0] for stage in self.stages].count(name)


def decade_files(root: Path, part: str) -> list[Path]:
    """The files of an array of the 2010s, the first row-block first."""
    folder = root / "similarities.zarr" / "genres" / "2010" / part
    return sorted(path for path in folder.rglob("c/*/*") if path.is_file())


def test_pairs_are_selected_again_among_others_when_the_input_is_read_again(root: Path) -> None:
    engine.run(root, workers=1, export=False)
    (ids,) = (root / "similarities.zarr/genres/2010/ids/c").iterdir()

    def change() -> None:
        ids.write_bytes(b"")
        put(root, "genres", "2010", films(1))

    listener = WhenSelected(change)
    assert engine.run(root, decades="2010", workers=1, top_k=3, progress=listener).ok
    assert any("its input is read again" in text for text in listener.messages)
    assert listener.n_stages("selecting") == 2
    assert output_path(root, "genres", "2010").read_bytes() == b"{}"


@pytest.mark.parametrize("n", [20, 75, 140])
def test_pairs_are_selected_again_of_an_input_that_changes_while_another_decade_fails(
    root: Path, monkeypatch: pytest.MonkeyPatch, n: int
) -> None:
    write = PartialOutput.write
    changed: list[Path] = []

    def fail(self: PartialOutput, *arguments: Any) -> None:
        if "2010" in self.final.name:
            if not changed:
                changed.append(put(root, "genres", "2000", films(n, seed=7)))
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        write(self, *arguments)

    monkeypatch.setattr(PartialOutput, "write", fail)
    summary = engine.run(root, workers=1, top_k=3)
    assert [decade.name.decade for decade in summary.decades if decade.error] == ["2010"]
    found, wanted = outputs(root), expected(root, top_k=3)
    del wanted["genres/similarities_2010s.json"]
    assert {name: found.get(name) for name in wanted} == wanted


def of_another_kind(
    kernel: KernelName, rows: Any, columns: Any, diagonal: Any, *, out: Any, dot: Any
) -> None:
    """As another kind of CPU computes, with other last digits; here with others, to be seen."""
    similarities(kernel, rows, columns, diagonal, out=out, dot=dot)
    out *= 1 + 1e-3 * np.random.default_rng(out.shape[1]).standard_normal(out.shape)


@pytest.mark.parametrize("dies", [False, True])
def test_what_is_exported_was_selected_among_what_is_stored_though_it_was_computed_elsewhere(
    root: Path, monkeypatch: pytest.MonkeyPatch, dies: bool
) -> None:
    with monkeypatch.context() as elsewhere:
        elsewhere.setattr("engine.work.row_block.similarities", of_another_kind)
        engine.run(root, workers=1, export=False)
    listener = WhenSelected(lambda: decade_files(root, "similarities")[0].write_bytes(b""))
    with monkeypatch.context() as patch:
        lost = a_worker_dies(patch, lambda result: dies and result.damaged)
        assert engine.run(root, workers=1, top_percent=10, progress=listener).ok
    assert len(lost) == dies
    assert listener.n_stages("selecting") == 2
    films_2010 = engine.open(root).decade("genres", "2010")
    pairs = films_2010.pairs(top_percent=10)
    ids = films_2010.ids
    assert list(json.loads(output_path(root, "genres", "2010").read_bytes())) == [
        f"{ids[i]}-{ids[j]}" for i, j in zip(pairs.i, pairs.j, strict=True)
    ]
    assert engine.verify(root, workers=1) == []


def test_what_is_mended_while_pairs_are_selected_is_exported_once(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as elsewhere:
        elsewhere.setattr("engine.work.row_block.similarities", of_another_kind)
        engine.run(root, workers=1, export=False)
    chunk = decade_files(root, "similarities")[0]
    chunk.write_bytes(chunk.read_bytes()[:-1] + b"?")
    listener = Listener()
    assert engine.run(root, workers=1, top_percent=10, progress=listener).ok
    stages = [name for name, *_ in listener.stages]
    assert stages == ["selecting", "computing", "exporting"]
    assert engine.verify(root, workers=1) == []


def test_checksums_that_are_lost_while_pairs_are_exported_have_no_text_written_again(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write = PartialOutput.write
    written: Counter[str] = Counter()

    def count(self: PartialOutput, index: int, *arguments: Any) -> None:
        written[f"{self.final.name} {index}"] += 1
        write(self, index, *arguments)

    class Loses(Listener):
        def advance(self, name: str, amount: int) -> None:
            super().advance(name, amount)
            if name == "exporting" and not written["lost"]:
                written["lost"] += 1
                decade_files(root, "checksums")[0].unlink()

    monkeypatch.setattr(PartialOutput, "write", count)
    assert engine.run(root, workers=1, top_k=3, progress=Loses()).ok
    assert outputs(root) == expected(root, top_k=3)
    assert set(written.values()) == {1}


def test_a_chunk_that_is_computed_again_as_it_was_takes_no_other_round(root: Path) -> None:
    engine.run(root, workers=1, export=False)
    listener = WhenSelected(lambda: decade_files(root, "similarities")[0].write_bytes(b""))
    assert engine.run(root, workers=1, top_k=3, progress=listener).ok
    assert any("computed again" in text for text in listener.messages)
    assert listener.n_stages("selecting") == 1
    assert outputs(root) == expected(root, top_k=3)


def test_no_number_of_a_table_is_negative_however_often_pairs_are_computed(root: Path) -> None:
    class Damages(Listener):
        def stage(self, name: str, total: int, done: int, unit: str) -> None:
            if name == "selecting":
                decade_files(root, "similarities")[0].write_bytes(b"")

    summary = engine.run(root, workers=1, top_k=3, progress=Damages())
    by_name = {decade.name.decade: decade for decade in summary.decades}
    assert by_name["2010"].pairs_computed > by_name["2010"].n_pairs
    assert [decade.pairs_resumed for decade in summary.decades] == [0] * len(SIZES)


def test_what_was_stored_of_a_decade_that_fails_in_the_next_round_is_counted(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lost = a_worker_dies(
        monkeypatch,
        lambda result: _is_block(result.task),
        lambda _: output_path(root, "genres", "2010").mkdir(parents=True),
    )
    by_name = agree(engine.run(root, workers=1), root)
    assert "is a folder" in str(by_name["2010"].error)
    assert by_name["2010"].pairs_computed == lost[0].pairs_computed > 0


def test_a_missing_chunk_and_damaged_vectors_of_a_finished_decade_are_mended_by_one_run(
    root: Path,
) -> None:
    engine.run(root, workers=1)
    decade_files(root, "similarities")[0].unlink()
    decade_files(root, "vectors")[0].write_bytes(b"")
    summary = engine.run(root, workers=1)
    assert summary.ok
    assert engine.verify(root, workers=1) == []
    assert outputs(root) == expected(root)


def test_a_damaged_chunk_is_computed_again_and_said_in_one_line(root: Path) -> None:
    engine.run(root, workers=1, export=False)
    folder = root / "similarities.zarr" / "genres" / "2000" / "similarities" / "c"
    (folder / "0" / "0").write_bytes(b"")
    listener = Listener()
    summary = engine.run(root, workers=1, progress=listener)
    assert summary.ok
    assert outputs(root) == expected(root)
    (message,) = listener.messages
    assert "1 damaged chunk computed again" in message
    assert "genres 2000s" in message
    computed = {decade.name.decade: decade.pairs_computed for decade in summary.decades}
    assert computed == {**dict.fromkeys(SIZES, 0), "2000": 64 * 63 // 2}


def test_a_store_begun_on_another_kind_of_machine_is_gone_on_with_and_said(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as elsewhere:
        elsewhere.setattr("engine.work.tasks.machine", lambda: "openblas 0.2 Elsewhere")
        engine.run(root, workers=1, export=False)
    uncompute(root / "similarities.zarr" / "genres" / "2000", 0)
    listener = Listener()
    engine.run(root, workers=1, progress=listener)
    (message,) = listener.messages
    assert "Elsewhere" in message
    assert "--restart --approach genres --decade 2000" in message
