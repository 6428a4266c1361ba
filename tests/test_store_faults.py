"""A store that cannot be wrong: what is not proven to belong where it lies never counts.

Every fault here is done to the files of a small store, and then a run decides: it gives the
notebook's bytes, or says in one sentence why it cannot.
"""

import contextlib
import hashlib
import itertools
import json
import os
import random
import resource
import shutil
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pytest
from conftest import Listener, cut_smallest, more
from forks import ENGINE, forker
from reference import expected, films, outputs, put
from waiting import PATIENCE

import engine
from engine.data_folder import DecadeName
from engine.store import metadata
from engine.store.store import Store

ROOT = Path(__file__).resolve().parents[1]
NAME = DecadeName("a", "2000")
OTHER = DecadeName("a", "2010")

pytestmark = pytest.mark.usefixtures("small_blocks")


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """What `data` and `stores` are copied from."""
    found = []
    with pytest.MonkeyPatch.context() as patch:
        cut_smallest(patch.setattr)
        settings: tuple[dict[str, Any], ...] = ({}, {"kernel": "gemm"}, {"normalize": True})
        for options in settings:
            data = tmp_path_factory.mktemp("made")
            put(data, NAME.approach, NAME.decade, films(9, 3, seed=1))
            put(data, OTHER.approach, OTHER.decade, films(9, 3, seed=2))
            assert engine.run(data, workers=1, **options).ok
            found.append(data)
    assert outputs(found[0]) == expected(found[0])
    return found


@pytest.fixture
def data(tmp_path: Path, made: list[Path]) -> Path:
    """Two decades of nine films (three row-blocks, six chunks each), computed and exported."""
    return shutil.copytree(made[0], tmp_path / "data")


def store_folder(data: Path, name: DecadeName | None = None) -> Path:
    store = data / "similarities.zarr"
    return store / name.approach / name.decade if name else store


def export_again(data: Path, **options: Any) -> tuple[engine.Summary, Listener]:
    """Have every chunk read once more."""
    shutil.rmtree(data / "similarities", ignore_errors=True)
    listener = Listener()
    return engine.run(data, workers=1, progress=listener, **options), listener


def computed(summary: engine.Summary) -> int:
    return sum(decade.pairs_computed for decade in summary.decades)


def files(folder: Path) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


# --- Metadata


def flipped(content: bytes, bit: int) -> bytes:
    return content[: bit // 8] + bytes([content[bit // 8] ^ 1 << bit % 8]) + content[bit // 8 + 1 :]


@pytest.mark.parametrize("every", [499, *more(1)])
@pytest.mark.parametrize(
    "part",
    [
        "zarr.json",
        "a/zarr.json",
        "a/2000/zarr.json",
        "a/2000/vectors/zarr.json",
        "a/2000/similarities/zarr.json",
        "a/2000/checksums/zarr.json",
        "a/2000/ids/zarr.json",
    ],
)
def test_a_flipped_bit_of_the_metadata_costs_no_pair_and_is_mended(
    part: str, every: int, data: Path
) -> None:
    path = store_folder(data) / part
    content, wanted = path.read_bytes(), expected(data)
    for bit in range(random.Random(part).randrange(every), 8 * len(content), every):
        path.write_bytes(flipped(content, bit))
        summary, _ = export_again(data, decades=["2000"])
        assert summary.ok, (bit, summary)
        assert computed(summary) == 0, bit
        assert path.read_bytes() == content or part == "a/2000/zarr.json", bit
        found = outputs(data)
        assert found == {name: wanted[name] for name in found}, bit


@pytest.mark.parametrize("content", [b"", b"null", b"[" * 100_000, b'{"zarr_format": 3}', b"\xff"])
@pytest.mark.parametrize("part", ["zarr.json", "2000/zarr.json", "2000/similarities/zarr.json"])
def test_rubbish_instead_of_metadata_costs_no_pair(part: str, content: bytes, data: Path) -> None:
    path = store_folder(data) / "a" / part
    path.write_bytes(content)
    summary, _ = export_again(data)
    assert summary.ok
    assert computed(summary) == 0
    assert outputs(data) == expected(data)
    assert engine.verify(data) == []


def digest(content: dict[str, Any]) -> str:
    """What proves a record."""
    text = json.dumps(content, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(text.encode()).hexdigest()


def tampered(data: Path, change: Callable[[dict[str, Any]], object]) -> None:
    """Change a record, and give it the right digest."""
    path = store_folder(data, NAME) / "zarr.json"
    attributes = json.loads(path.read_bytes())["attributes"]
    change(attributes["record"])
    attributes["sha256"] = digest(attributes["record"])
    path.write_bytes(metadata.group(attributes))


@pytest.mark.parametrize(
    "change",
    [
        lambda content: content.pop("n_films"),
        lambda content: content.pop("export"),
        lambda content: content.update(more=1),
        lambda content: content.update(n_films=10**9),
        lambda content: content.update(n_films=8),
        lambda content: content.update(n_films=True),
        lambda content: content.update(n_films=-1),
        lambda content: content.update(n_dimensions=10**9),
        lambda content: content.update(n_dimensions="3"),
        lambda content: content.update(kernel="cross"),
        lambda content: content.update(normalize=1),
        lambda content: content.update(group="a/2010"),
        lambda content: content.update(input_sha256="f" * 63),
        lambda content: content.update(export={"size": 1}),
        lambda content: content.update(export=[]),
        lambda content: content.update(norm_min=None),
        lambda content: content.update(format="2"),
    ],
)
def test_a_record_of_another_form_costs_no_pair_whatever_its_digest(
    change: Callable[[dict[str, Any]], object], data: Path
) -> None:
    tampered(data, change)
    assert any("a 2000s" in problem for problem in engine.verify(data, workers=1))
    assert len(engine.open(data)) == 2  # The damaged one too, as opening it says.
    assert engine.open(data)["a", 2010].n_pairs == 36
    summary, _ = export_again(data)
    assert summary.ok
    assert computed(summary) == 0
    assert outputs(data) == expected(data)
    assert engine.verify(data, workers=1) == []


# --- Places


def places(data: Path, of: str) -> list[Path]:
    """The files of a kind that a mix-up may take for one another."""
    store = store_folder(data)
    return sorted(path for path in store.glob(f"a/*/{of}/c/**/*") if path.is_file())


@pytest.fixture
def stores(tmp_path: Path, data: Path, made: list[Path]) -> list[Path]:
    """The store, and two of the same films computed otherwise."""
    return [
        data,
        *(shutil.copytree(made[k], tmp_path / f"other-{k}") for k in (1, 2)),
    ]


@pytest.mark.parametrize("seed", [*range(12), *more(*range(12, 400))])
def test_what_lies_in_another_s_place_is_found_and_mended(
    seed: int, data: Path, stores: list[Path]
) -> None:
    rng = random.Random(seed)
    of = rng.choice(["similarities", "similarities", "vectors", "ids", "checksums", "group"])
    before = files(store_folder(data))
    if of == "group":
        source = store_folder(rng.choice(stores), rng.choice([NAME, OTHER]))
        place = store_folder(data, OTHER if source == store_folder(data, NAME) else NAME)
        shutil.rmtree(place)
        shutil.copytree(source, place)
    else:
        source, place = rng.choice(places(rng.choice(stores), of)), rng.choice(places(data, of))
        moved, replaced = source.read_bytes(), place.read_bytes()
        place.write_bytes(moved)
        if rng.random() < 0.5:
            source.write_bytes(replaced)
    harmless = {k: v for k, v in files(store_folder(data)).items() if k.count("/") > 1} == {
        k: v for k, v in before.items() if k.count("/") > 1
    }
    outcomes = engine.verify(data, workers=1)
    assert bool(outcomes) != harmless
    if of == "group":  # It has the settings of another store, which hold unless they are refused.
        try:
            export_again(data, kernel="dot", normalize=False)
        except engine.EngineError as error:
            assert "--restart" in str(error)  # noqa: PT017
            export_again(data, restart=True)
    else:
        summary, _ = export_again(data)
        assert summary.ok
        rows = {"similarities": 36, "checksums": 72}.get(of, 0)
        assert computed(summary) <= rows
        if harmless:
            assert computed(summary) == 0
    assert outputs(data) == expected(data)
    assert engine.verify(data, workers=1) == []


def test_a_swapped_pair_of_chunks_costs_those_two_alone(data: Path) -> None:
    similarities = store_folder(data, NAME) / "similarities" / "c"
    first, second = similarities / "0" / "1", similarities / "0" / "0"
    contents = first.read_bytes(), second.read_bytes()
    second.write_bytes(contents[0])
    first.write_bytes(contents[1])
    problems = engine.verify(data, workers=1)
    assert [problem for problem in problems if "row 0, column 0 is damaged" in problem]
    assert [problem for problem in problems if "row 0, column 1 is damaged" in problem]
    summary, _ = export_again(data, decades=["2000"])
    assert computed(summary) == 6 + 16
    assert (first.read_bytes(), second.read_bytes()) == contents


@pytest.mark.parametrize("options", [{"kernel": "gemm"}, {"normalize": True}])
def test_a_writer_of_an_earlier_run_is_not_believed(options: dict[str, Any], data: Path) -> None:
    # A worker that was stopped when its run was killed, and goes on when the next run has ended.
    store = Store(str(store_folder(data)))
    before = store.open(NAME)
    _ = before.vectors, before.ids
    wrong = [
        (chunk, np.full((chunk.stop - chunk.start, chunk.right - chunk.left), 0.5))
        for chunk in before.record.grid.chunks(0)
    ]
    assert engine.run(data, workers=1, restart=True, **options).ok
    wanted = outputs(data)
    before.write(wrong, 0)
    before.values.set_many({})
    assert engine.verify(data, workers=1)
    summary, _ = export_again(data)
    assert summary.ok
    assert outputs(data) == wanted
    assert engine.verify(data, workers=1) == []


def test_a_reader_of_an_earlier_run_brings_nothing_back(data: Path) -> None:
    store = Store(str(store_folder(data)))
    stale = store.open(NAME)
    ids, vectors = stale.ids, stale.vectors
    put(data, NAME.approach, NAME.decade, films(12, 5, seed=3))
    assert engine.run(data, workers=1).ok
    store.write_embeddings(NAME, ids, vectors)
    summary, _ = export_again(data)
    assert summary.ok
    assert computed(summary) == 0
    assert outputs(data) == expected(data)
    assert engine.verify(data, workers=1) == []


# --- Damage costs a read, never a pair


@pytest.mark.parametrize(
    "part", ["zarr.json", "ids/c/0", "vectors/c/0/0", "vectors", "ids", "checksums/zarr.json"]
)
@pytest.mark.parametrize("kernel", ["dot", "gemm"])
def test_what_was_read_and_is_lost_costs_a_read_and_no_pair(
    part: str, kernel: Any, tmp_path: Path
) -> None:
    data = tmp_path / "data"
    put(data, NAME.approach, NAME.decade, films(9, 3))
    assert engine.run(data, workers=1, kernel=kernel).ok
    wanted = outputs(data)
    path = store_folder(data, NAME) / part
    shutil.rmtree(path) if path.is_dir() else path.unlink()
    summary, listener = export_again(data)
    assert summary.ok
    assert (computed(summary), summary.decades[0].pairs_resumed) == (0, 36)
    assert outputs(data) == wanted
    assert all("computed again" not in message for message in listener.messages)


@pytest.mark.parametrize("error", [MemoryError(), PermissionError(13, "Permission denied")])
def test_what_cannot_be_read_is_an_error_and_nothing_is_deleted_for_it(
    error: Exception, data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = files(store_folder(data))

    def refuse(*_: Any) -> None:
        raise error

    (data / "similarities/a/similarities_2000s.json").unlink()
    with monkeypatch.context() as patched:
        patched.setattr("engine.store.encoding.decode", refuse)
        summary = engine.run(data, workers=1)
    assert [decade.error is None for decade in summary.decades] == [False, True]
    assert files(store_folder(data)) == before
    summary = engine.run(data, workers=1)
    assert (summary.ok, computed(summary)) == (True, 0)


@pytest.mark.parametrize("sizes", [3, *more(30)])
def test_without_enough_memory_nothing_finished_is_lost(sizes: int, tmp_path: Path) -> None:
    data = tmp_path / "data"
    put(data, NAME.approach, NAME.decade, films(60, 200))
    assert engine.run(data, workers=1, export=False).ok
    before = files(store_folder(data))
    statuses = []
    for size in np.linspace(150e6, 900e6, sizes).astype(int).tolist():
        run = subprocess.run(
            [sys.executable, ROOT / "scripts/run.py", "--data", data, "--workers", "1"],
            capture_output=True,
            text=True,
            env={**os.environ, "OPENBLAS_NUM_THREADS": "1"},
            preexec_fn=partial(resource.setrlimit, resource.RLIMIT_AS, (size, size)),
        )
        statuses.append(run.returncode)
        found = files(store_folder(data))
        assert {k: v for k, v in found.items() if "/c/" in k} == {
            k: v for k, v in before.items() if "/c/" in k
        }, (size, run.stderr)
    assert statuses[0] != 0
    summary, _ = export_again(data)
    assert (summary.ok, computed(summary)) == (True, 0)
    assert outputs(data) == expected(data)


# --- What is no file


def in_place_of(path: Path, kind: str) -> None:
    if path.is_file():
        path.unlink()
    elif path.exists():
        shutil.rmtree(path)
    if kind == "pipe":
        os.mkfifo(path)
    elif kind == "socket":
        here = os.getcwd()
        os.chdir(path.parent)  # A path of a socket must be short.
        try:
            with socket.socket(socket.AF_UNIX) as server:
                server.bind(path.name)
        finally:
            os.chdir(here)
    elif kind == "folder":
        path.mkdir()
    else:
        path.write_text("a file")


@pytest.mark.parametrize("kind", ["pipe", "socket", "folder"])
@pytest.mark.parametrize(
    "part",
    [
        "zarr.json",
        "ids/zarr.json",
        "ids/c/0",
        "vectors/c/0/0",
        "similarities/c/0/1",
        "checksums/c/1/0",
    ],
)
def test_what_is_no_file_is_damage_and_is_mended(kind: str, part: str, data: Path) -> None:
    in_place_of(store_folder(data, NAME) / part, kind)
    summary, _ = export_again(data)
    assert summary.ok
    assert computed(summary) <= (36 if "c/" in part and "s/c" in part and part[0] in "sc" else 0)
    assert outputs(data) == expected(data)
    assert engine.verify(data, workers=1) == []


@pytest.mark.parametrize("part", ["similarities", "similarities/c", "checksums", "vectors/c"])
def test_a_file_in_the_place_of_a_folder_of_ours_makes_way(part: str, data: Path) -> None:
    in_place_of(store_folder(data, NAME) / part, "file")
    summary, _ = export_again(data)
    assert summary.ok
    assert outputs(data) == expected(data)
    assert engine.verify(data, workers=1) == []


# --- What is not ours


@pytest.mark.parametrize(
    "found",
    [
        {"zarr.json": '{"zarr_format": 4, "node_type": "group"}'},
        {"zarr.json": '{"zarr_format": 3, "extension": {"must_understand": true}}'},
        {"zarr.json": "a text"},
        {"zarr.json": ""},
        {"zarr.json": '{"zarr_format":3,"node_type":"group","attributes":{}}', "x/zarr.json": "{}"},
        {".zgroup": '{"zarr_format": 2}'},
        {"film.mkv": "a film", "film.mkv.partial": "half a film"},
        {"zarr.json": '{"attributes": {"similarity_store_format": 9}}'},
        {"a/2000/zarr.json": '{"attributes": {"record": {}, "sha256": ""}}'},
    ],
)
@pytest.mark.parametrize("name", ["similarities.zarr", "films"])
def test_what_is_not_proven_to_be_ours_is_left_as_it_is(
    found: dict[str, str], name: str, data: Path, tmp_path: Path
) -> None:
    place = tmp_path / "elsewhere" / name
    for path, content in found.items():
        (place / path).parent.mkdir(parents=True, exist_ok=True)
        (place / path).write_text(content)
    before = files(place)
    for options in ({}, {"restart": True}):
        with pytest.raises(engine.EngineError, match="nothing was changed"):
            engine.run(data, store=place, workers=1, **options)  # type: ignore[arg-type]
    assert files(place) == before


def test_temporary_files_are_ours_by_their_exact_names(data: Path) -> None:
    store = store_folder(data)
    ours = [
        store / f"zarr.{'0' * 32}.partial",
        store / "a" / f"zarr.{'1' * 32}.partial",
        store / "a" / "2000" / "similarities" / "c" / "0" / f"1.{'a' * 32}.partial",
    ]
    others = [
        store / "film.mkv.partial",
        store / "a" / "2000" / "notes.partial",
        store / "a" / "2000" / "similarities" / "c" / f"film.{'a' * 32}.partial",
    ]
    for path in ours + others:
        path.write_text("half")
    export_again(data)
    assert [path for path in ours if path.exists()] == []
    assert [path for path in others if not path.exists()] == []


def test_hidden_litter_is_ignored(data: Path) -> None:
    store = store_folder(data)
    for name in (".DS_Store", "._a", "a/.DS_Store", "a/2000/._zarr.json"):
        (store / name).write_text("litter")
    fresh = data.with_name("fresh.zarr")
    fresh.mkdir()
    (fresh / ".DS_Store").write_text("litter")
    summary, _ = export_again(data)
    assert (summary.ok, computed(summary)) == (True, 0)
    assert engine.run(data, store=fresh, workers=1, export=False).ok


def test_a_store_that_is_a_link_to_a_folder_not_there_yet_is_made(data: Path) -> None:
    shutil.rmtree(store_folder(data))
    store_folder(data).symlink_to(data / "disk" / "store")
    summary, _ = export_again(data)
    assert summary.ok
    assert (data / "disk" / "store" / "zarr.json").is_file()
    assert outputs(data) == expected(data)


# --- Format 1


def test_a_store_of_format_1_is_computed_anew_with_one_sentence(data: Path) -> None:
    store = store_folder(data)
    (store / "zarr.json").write_bytes(metadata.group({"similarity_store_format": 1}))
    for name in (NAME, OTHER):
        path = store_folder(data, name) / "zarr.json"
        attributes = json.loads(path.read_bytes())["attributes"]
        for field in ("format", "group", "ids_sha256", "vectors_sha256"):
            del attributes["record"][field]
        attributes["sha256"] = digest(attributes["record"])
        path.write_bytes(orjson.dumps({"attributes": attributes, "node_type": "group"}))
        shutil.rmtree(store_folder(data, name) / "checksums")
    summary, listener = export_again(data)
    assert summary.ok
    assert computed(summary) == 72
    assert len([message for message in listener.messages if "format 1" in message]) == 1
    assert outputs(data) == expected(data)
    assert engine.verify(data, workers=1) == []


# --- Settings are the store's


def test_the_settings_of_the_store_hold_when_an_option_is_forgotten(
    data: Path, listener: Listener
) -> None:
    engine.run(data, workers=1, kernel="gemm", normalize=True, restart=True)
    before = files(store_folder(data))
    summary = engine.run(data, workers=1, progress=listener)
    assert all(decade.up_to_date for decade in summary.decades)
    assert any("--kernel gemm --normalize" in message for message in listener.messages)
    assert files(store_folder(data)) == before
    assert {decade.next for decade in engine.status(data).decades} == {"nothing"}


def test_a_new_decade_beside_others_gets_the_usual_settings(data: Path) -> None:
    engine.run(data, workers=1, kernel="gemm", restart=True)
    put(data, "a", "1990", films(9, 3, seed=4))
    assert engine.run(data, workers=1).ok
    kernels = {decade.name.decade: decade.kernel for decade in engine.status(data).decades}
    assert kernels == {"1990": "dot", "2000": "gemm", "2010": "gemm"}


@pytest.mark.parametrize(
    ("options", "word"),
    [({"kernel": "gemm"}, "--kernel gemm"), ({"normalize": True}, "--normalize")],
)
def test_an_option_that_contradicts_the_store_deletes_nothing(
    options: dict[str, Any], word: str, data: Path
) -> None:
    before = files(data)
    with pytest.raises(engine.EngineError) as error:
        engine.run(data, workers=1, **options)
    assert word in str(error.value)
    assert "72 computed pairs" in str(error.value)
    assert "--restart" in str(error.value)
    assert files(data) == before
    for decade in engine.status(data, **options).decades:
        assert decade.next == "fail"
        assert "36 computed pairs" in decade.reason
    assert engine.run(data, workers=1, restart=True, **options).ok


def test_a_decade_that_was_only_read_takes_other_settings(tmp_path: Path) -> None:
    put(tmp_path, "a", "2000", films(9, 3))
    assert engine.run(tmp_path, workers=1, export=False).ok
    for of in ("similarities", "checksums"):
        shutil.rmtree(tmp_path / "similarities.zarr/a/2000" / of / "c")
    assert engine.run(tmp_path, workers=1, kernel="gemm").ok


# --- Power cuts


def test_metadata_reach_the_disk_before_they_count_and_before_the_output_appears(
    data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(data, NAME.approach, NAME.decade, films(10, 3, seed=9))
    events: list[tuple[str, str]] = []
    fsync, replace = os.fsync, os.replace

    def synced(descriptor: int) -> None:
        events.append(("sync", os.readlink(f"/proc/self/fd/{descriptor}")))
        fsync(descriptor)

    def renamed(source: Any, target: Any) -> None:
        events.append((str(source), str(target)))
        replace(source, target)

    monkeypatch.setattr(os, "fsync", synced)
    monkeypatch.setattr(os, "replace", renamed)
    assert engine.run(data, workers=1).ok
    renames = [(k, event) for k, event in enumerate(events) if event[0] != "sync"]
    metadata_renames = [(k, e) for k, e in renames if e[1].endswith("zarr.json")]
    assert metadata_renames
    for k, (source, target) in metadata_renames:
        assert ("sync", source) in events[:k]
        assert ("sync", str(Path(target).parent)) in events[k:]
    (output,) = [k for k, event in renames if event[1].endswith("similarities_2000s.json")]
    assert max(k for k, _ in metadata_renames) < output
    assert not any("similarities/c/" in path for kind, path in events if kind == "sync")


def test_a_file_system_that_syncs_no_folder_is_no_failure(
    data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fsync = os.fsync

    def refuse(descriptor: int) -> None:
        if Path(f"/proc/self/fd/{descriptor}").is_dir():
            raise OSError(22, "Invalid argument")
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", refuse)
    summary, _ = export_again(data, restart=True)
    assert summary.ok


# --- What zarr takes from its surroundings


@pytest.mark.parametrize(
    "settings",
    [
        {"ZARR_ARRAY__ORDER": "F", "ZARR_ARRAY__WRITE_EMPTY_CHUNKS": "false"},
        {"ZARR_ASYNC__CONCURRENCY": "0", "ZARR_THREADING__MAX_WORKERS": "0"},
        {"ZARR_CONFIG": "broken.yaml", "ZARR_DEFAULT_ZARR_FORMAT": "2", "ZARR_JSON_INDENT": "0"},
    ],
)
def test_nothing_that_zarr_takes_from_the_environment_changes_anything(
    settings: dict[str, str], data: Path, tmp_path: Path
) -> None:
    (data / "broken.yaml").write_text("array: [\n")
    err = tmp_path / "err"
    run = forker("faults", *ENGINE).start(
        "errands:command_without",
        "zarr",  # Which would have taken the settings by then.
        ["--data", ".", "--restart"],
        out=tmp_path / "out",
        err=err,
        cwd=data,
        environment=settings,
    )
    assert (run.wait(PATIENCE), err.read_text()) == (0, "")
    assert outputs(data) == expected(data)


def test_zarr_s_settings_of_the_caller_stay_as_they_are_and_change_nothing(data: Path) -> None:
    import zarr

    with zarr.config.set({"array.order": "F", "array.write_empty_chunks": False}):
        before = json.dumps(zarr.config.config, default=str)
        summary, _ = export_again(data, restart=True)
        assert summary.ok
        assert json.dumps(zarr.config.config, default=str) == before
    assert outputs(data) == expected(data)


def test_zarr_and_numpy_read_the_store_as_the_notebook_computed_it(data: Path) -> None:
    import zarr

    group = zarr.open_group(store_folder(data), mode="r")["a/2000"]
    vectors = np.array(list(films(9, 3, seed=1).values()))
    assert isinstance(group, zarr.Group)
    similarities: Any = group["similarities"]
    for i, j in itertools.combinations(range(9), 2):
        assert similarities[i, j] == vectors[i] @ vectors[j]
    ids: Any = group["ids"]
    assert ids[:].tolist() == list(films(9, 3, seed=1))


# --- Behind a URL


@pytest.fixture
def silent() -> Iterator[str]:
    """A server that takes calls and never answers them."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield f"http://127.0.0.1:{server.getsockname()[1]}"


@contextlib.contextmanager
def answering(answer: bytes) -> Iterator[str]:
    """A server that gives everybody the same answer."""
    server = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        while True:
            try:
                call, _ = server.accept()
            except OSError:
                return
            with call:
                call.recv(65536)
                call.sendall(answer)

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.getsockname()[1]}"
    finally:
        with contextlib.suppress(OSError):
            server.shutdown(socket.SHUT_RDWR)  # Or it would wait for another call.
        server.close()
        thread.join()


_opened: list[object] = []


@pytest.fixture
def s3(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    s3fs = pytest.importorskip("s3fs", reason="the extra `remote` is not installed")
    # It keeps what it opened, at an endpoint that is gone, for the next test; let go, that warns.
    _opened.append(s3fs.S3FileSystem.current())
    s3fs.S3FileSystem.clear_instance_cache()

    def at(endpoint: str) -> None:
        for name, value in {
            "AWS_ENDPOINT_URL": endpoint,
            "AWS_ACCESS_KEY_ID": "key",
            "AWS_SECRET_ACCESS_KEY": "secret",
            "AWS_DEFAULT_REGION": "us-east-1",
            "AWS_MAX_ATTEMPTS": "1",  # It would wait between more.
        }.items():
            monkeypatch.setenv(name, value)
        monkeypatch.setattr("s3fs.S3FileSystem.retries", 1)

    return at


def test_an_object_store_that_never_answers_is_not_waited_for(
    silent: str, s3: Callable[[str], None], data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    s3(silent)
    monkeypatch.setattr("engine.store.remote.ANSWER_SECONDS", 0.5)
    monkeypatch.setattr("engine.store.remote.LISTING_SECONDS", 0.5)
    with pytest.raises(OSError, match="no answer within"):
        engine.run(data, store="s3://silent-bucket/store.zarr", workers=1)


def test_a_portal_that_answers_for_the_object_store_is_not_believed(
    s3: Callable[[str], None], data: Path
) -> None:
    body = b"<html>Please accept our terms.</html>"
    answer = (
        b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nConnection: close\r\n"
        + f"Content-Length: {len(body)}\r\n\r\n".encode()
        + body
    )
    with answering(answer) as endpoint:
        s3(endpoint)
        with pytest.raises((engine.EngineError, OSError)):
            engine.run(data, store="s3://portal-bucket/store.zarr", workers=1)
