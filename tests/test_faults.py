"""Faults, for real: real kills, real full disks, real flipped bits, and what is left of them.

`storm.py` repeats the kills a thousand times.
"""

import contextlib
import hashlib
import itertools
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

import numpy as np
import pytest
from conftest import more, uncompute
from faults import (
    FEW,
    LONG,
    NOBODY,
    TALL,
    WIDE,
    Films,
    Inside,
    Launcher,
    Outcome,
    Running,
    at_work,
    everything,
    group,
    held_at,
    made_up,
    row_blocks,
    script,
    strays,
    workers,
    write_films,
)
from forks import ROOT
from kills import completes, goes_on, kill_worker, scene, series, with_workers
from reference import chunks, notebook
from waiting import PATIENCE, within

pytestmark = pytest.mark.skipif(
    not Path("/proc/self/stat").exists(), reason="looks for left-over processes in /proc"
)

LANES = 2
"""Scenarios at a time."""
STORM = {
    "reading": 25,
    "computing": 25,
    "exporting": 25,
    "everything": 25,
    "another input": 15,
    "with workers": 10,
}
"""Kills of each stage in a storm."""


def times(few: int, many: int) -> pytest.MarkDecorator:
    """So many random examples, or in a storm so many."""
    return pytest.mark.parametrize("times", [few, *more(many)])


T = TypeVar("T")


@pytest.fixture(scope="module")
def launcher() -> Iterator[Launcher]:
    with Launcher() as launcher:
        yield launcher


@pytest.fixture(scope="module")
def lanes() -> Iterator[list[Launcher]]:
    """What plays scenarios side by side."""
    with contextlib.ExitStack() as stack:
        yield [stack.enter_context(Launcher()) for _ in range(LANES)]


@pytest.fixture(scope="module")
def few(tmp_path_factory: pytest.TempPathFactory) -> Films:
    return made_up(tmp_path_factory.mktemp("few"), FEW, 16)


@pytest.fixture(scope="module")
def tall(tmp_path_factory: pytest.TempPathFactory) -> Films:
    return made_up(tmp_path_factory.mktemp("tall"), TALL, 16)


@pytest.fixture(scope="module")
def wide(tmp_path_factory: pytest.TempPathFactory) -> Films:
    return made_up(tmp_path_factory.mktemp("wide"), WIDE, LONG)


@pytest.fixture(scope="module")
def computed(few: Films, tmp_path_factory: pytest.TempPathFactory, launcher: Launcher) -> Path:
    """A data folder to copy, computed and not exported."""
    data = few.copy(tmp_path_factory.mktemp("computed") / "data")
    assert launcher.run("--data", data, "--compute-only").status == 0
    return data


@pytest.fixture(scope="module")
def finished(few: Films, tmp_path_factory: pytest.TempPathFactory, launcher: Launcher) -> Path:
    """A data folder to copy, all done."""
    data = few.copy(tmp_path_factory.mktemp("finished") / "data")
    completes(launcher, few, data)
    return data


@pytest.fixture
def inside(command: Callable[..., tuple[int, str, str]], monkeypatch: pytest.MonkeyPatch) -> Inside:
    return Inside(command, monkeypatch)


@pytest.fixture
def data(few: Films, tmp_path: Path) -> Path:
    return few.copy(tmp_path / "data")


@pytest.fixture
def is_computed(data: Path, computed: Path) -> None:
    """Have `data` be computed, and not exported."""
    shutil.copytree(computed / "similarities.zarr", data / "similarities.zarr")


@pytest.fixture
def is_finished(data: Path, finished: Path) -> None:
    """Have `data` be all done."""
    for name in ("similarities.zarr", "similarities"):
        shutil.copytree(finished / name, data / name)


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Callable[[str], Path]]:
    """Mount a disk of a given size, or change the size of it."""
    place = tmp_path / "disk"
    place.mkdir()
    mounted = False

    def mount(size: str) -> Path:
        nonlocal mounted
        options = f"{'remount,' if mounted else ''}size={size}"
        command = ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(place)]
        try:
            subprocess.run(command, check=True, capture_output=True)
        except (OSError, subprocess.CalledProcessError) as error:
            pytest.skip(f"needs a small disk, and this user may not mount one: {error}")
        mounted = True
        return place

    yield mount
    if mounted:
        subprocess.run(["umount", "--lazy", str(place)], check=True)


def in_lanes(scenario: Callable[[Launcher, int], T], n: int, lanes: list[Launcher]) -> list[T]:
    """Play a scenario n times, some at a time."""
    free = list(lanes)

    def play(number: int) -> T:
        launcher = free.pop()
        try:
            return scenario(launcher, number)
        finally:
            free.append(launcher)

    with ThreadPoolExecutor(len(lanes)) as threads:
        return list(threads.map(play, range(n)))


def fails(outcome: Outcome, *words: str, errors: int = 1) -> None:
    """One line for each error, no traceback; the words are in the first."""
    assert outcome.status == 1, outcome
    assert len(outcome.errors) == errors, outcome.stderr
    assert "Traceback" not in outcome.stderr
    assert "unexpected" not in outcome.stderr
    for word in words:
        assert word in outcome.errors[0]


# --- SIGKILL of the whole run


def storm(
    what: str, at_least: int, films: tuple[Films, Films], folder: Path, lanes: list[Launcher]
) -> None:
    """Kill runs of one scene at random moments, so often and until it is what they were at."""
    found = scene(what, lanes[0], *films, folder)
    kills: list[str] = []

    def wanted() -> bool:
        met = what in kills or what not in ("reading", "computing", "exporting")
        return len(kills) < at_least or not met

    def play(launcher: Launcher, number: int) -> None:
        if wanted():
            rng = random.Random(f"{what} {number}")
            most = max(1, min(5, at_least - len(kills)))
            kills.extend(series(found, launcher, folder / f"data-{number}", rng, most))

    in_lanes(play, 200, lanes)
    assert not wanted(), kills


@pytest.mark.parametrize("what", STORM)
def test_a_run_killed_at_any_moment_of_any_stage_is_resumed(
    what: str, tall: Films, wide: Films, tmp_path: Path, lanes: list[Launcher]
) -> None:
    storm(what, 5, (tall, wide), tmp_path, lanes[:1])


@pytest.mark.storm
@pytest.mark.parametrize("what", STORM)
def test_a_storm_of_kills_at_any_moment_is_survived(
    what: str, tall: Films, wide: Films, tmp_path: Path, lanes: list[Launcher]
) -> None:
    storm(what, STORM[what], (tall, wide), tmp_path, lanes)


@pytest.mark.parametrize("moment", ["starting", "computing"])
def test_workers_do_not_outlive_a_main_process_that_was_killed(
    moment: str, tall: Films, tmp_path: Path, launcher: Launcher
) -> None:
    data, hold = tall.copy(tmp_path / "data"), held_at("computing", tmp_path)
    run = with_workers(launcher, data, hold=str(hold))
    if moment == "computing":
        within(lambda: row_blocks(data))
    run.kill(group=False)
    within(lambda: not group(run.pid))
    run.wait()
    completes(launcher, tall, data)


# --- SIGKILL of a worker


@pytest.mark.parametrize("moment", ["reading", "computing", *more("starting")])
def test_a_killed_worker_costs_no_more_than_its_block(
    moment: str, tall: Films, wide: Films, tmp_path: Path, launcher: Launcher
) -> None:
    data = tmp_path / "data"
    there = {
        "starting": lambda: True,
        "reading": lambda: list(data.glob("similarities.zarr/*/*/vectors")),
        "computing": lambda: row_blocks(data),
    }
    hold = held_at("reading" if moment == "reading" else "computing", tmp_path)
    films = wide if moment == "reading" else tall
    assert goes_on(launcher, films, data, lambda: within(there[moment]), hold=str(hold))


def test_after_three_killed_workers_the_run_stops_with_a_sentence(
    tall: Films, tmp_path: Path, launcher: Launcher
) -> None:
    data, hold = tall.copy(tmp_path / "data"), held_at("computing", tmp_path)
    run = with_workers(launcher, data, 4, hold=str(hold))
    seen: set[int] = set()
    killed = 0
    while not run.over:
        there = set(workers(run.pid))
        if there - seen:  # Not the highest number: after the last one they begin again.
            killed += kill_worker(run) is not None
        seen |= there
        time.sleep(0.01)
    outcome = run.wait()
    fails(outcome, "died 3 times", "was killed by SIGKILL", "memory", "fewer --workers")
    assert killed >= 3
    within(lambda: not group(run.pid))
    assert tall.wrong(data) == []
    completes(launcher, tall, data)


# --- Ctrl-C and SIGTERM


def listens(run: Running) -> bool:
    """Whether the run has taken over from Python's own start, or has come to its end."""
    try:
        status = Path(f"/proc/{run.pid}/status").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return True
    for line in status.splitlines():
        if line.startswith("SigCgt:"):
            return bool(int(line.split()[1], 16) >> (signal.SIGTERM - 1) & 1)
    return False


def stops(run: Running, number: signal.Signals, *, everyone: bool, twice: bool) -> Outcome:
    """Stop a run and hold it to what was promised."""
    run.kill(number, group=everyone)
    if twice:
        time.sleep(0.05)
        run.kill(number, group=everyone)
    outcome = run.wait()
    within(lambda: not group(run.pid))
    assert outcome.status in (0, 128 + number), outcome.stderr
    if outcome.status:
        assert len(outcome.messages) == 1, outcome.stderr
        assert outcome.messages[0].startswith("interrupted"), outcome.stderr
        assert "the same command" in outcome.messages[0]
    else:
        assert outcome.messages == []
    return outcome


WAYS = [
    *itertools.product((signal.SIGINT, signal.SIGTERM), (True, False), (True, False)),
]
"""Which signal, to the whole process group or to the main process, once or twice."""


def stopped_at_any_moment(
    times: int, tall: Films, folder: Path, lanes: list[Launcher], *, cold: bool
) -> None:
    """Stop runs that listen at random moments until their end."""

    def begin(launcher: Launcher, data: Path) -> Running:
        run = (launcher.cold if cold else launcher.warm)("--data", tall.copy(data))
        within(lambda: listens(run))
        return run

    run = begin(lanes[0], folder / "whole")
    since = time.monotonic()
    assert run.wait().status == 0
    undisturbed = time.monotonic() - since
    stopped: list[int] = []

    def scenario(launcher: Launcher, number: int) -> None:
        rng = random.Random(number)
        signal_number, everyone, twice = WAYS[number % len(WAYS)]
        data = folder / f"data-{number}"
        run = begin(launcher, data)
        time.sleep(rng.uniform(0.0, undisturbed))
        outcome = stops(run, signal_number, everyone=everyone, twice=twice)
        stopped.append(outcome.status)
        assert tall.wrong(data) == []
        completes(launcher, tall, data)
        shutil.rmtree(data)

    in_lanes(scenario, times, lanes)
    assert any(stopped)


def test_ctrl_c_and_sigterm_stop_a_run_at_any_moment(
    tall: Films, tmp_path: Path, lanes: list[Launcher]
) -> None:
    stopped_at_any_moment(len(WAYS), tall, tmp_path, lanes, cold=False)


@pytest.mark.storm
@pytest.mark.parametrize("cold", [False, True])
def test_a_storm_of_ctrl_c_and_sigterm_is_survived(
    cold: bool, tall: Films, tmp_path: Path, lanes: list[Launcher]
) -> None:
    stopped_at_any_moment(3 * len(WAYS), tall, tmp_path, lanes, cold=cold)


@pytest.mark.parametrize("way", [3, 4, *more(0, 1, 2, 5, 6, 7)])
def test_ctrl_c_and_sigterm_leave_no_worker(
    way: int, tall: Films, tmp_path: Path, launcher: Launcher
) -> None:
    data, hold = tall.copy(tmp_path / "data"), held_at("computing", tmp_path)
    run = with_workers(launcher, data, hold=str(hold))
    if way % 2:
        within(lambda: row_blocks(data))
    number, everyone, twice = WAYS[way]
    assert stops(run, number, everyone=everyone, twice=twice).status == 128 + number
    assert tall.wrong(data) == []
    completes(launcher, tall, data)


def test_ctrl_c_at_a_terminal_leaves_one_sentence_under_the_bars(
    tall: Films, tmp_path: Path
) -> None:
    """With a terminal that turns Ctrl-C into a signal, and shows the bars."""
    data, hold = tall.copy(tmp_path / "data"), held_at("computing", tmp_path)
    command = script("--data", data, hold=str(hold))
    in_terminal = f"import os, pty; os._exit(os.waitstatus_to_exitcode(pty.spawn({command!r})))"
    with subprocess.Popen(
        [sys.executable, "-c", in_terminal],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        cwd=ROOT,
    ) as terminal:
        assert terminal.stdin
        assert terminal.stdout
        try:
            within(lambda: row_blocks(data))
            terminal.stdin.write(b"\x03")
            terminal.stdin.flush()
            said = terminal.stdout.read().decode()
            assert terminal.wait(PATIENCE) == 130, said
        finally:
            terminal.kill()
    assert "Traceback" not in said
    last = said.replace("\r\n", "\n").rstrip().split("\n")[-1]
    assert last.startswith("interrupted: ")
    assert said.count("interrupted") == 1


# --- Damage in the store


def flip(path: Path, rng: random.Random) -> None:
    content = bytearray(path.read_bytes())
    content[rng.randrange(len(content))] ^= 1 << rng.randrange(8)
    path.write_bytes(content)


def truncate(path: Path, rng: random.Random) -> None:
    os.truncate(path, rng.randrange(1, path.stat().st_size))


def empty(path: Path, _: random.Random) -> None:
    os.truncate(path, 0)


def delete(path: Path, _: random.Random) -> None:
    path.unlink()


DAMAGES = {"flipped": flip, "truncated": truncate, "emptied": empty, "deleted": delete}
PARTS = {
    "similarities": "genres/1920/similarities/c/0/1",
    "vectors": "genres/1920/vectors/c/0/0",
    "ids": "genres/1920/ids/c/0",
    "checksums": "genres/1920/checksums/c/0/0",
    "group": "genres/1920/zarr.json",
    "metadata of similarities": "genres/1920/similarities/zarr.json",
    "metadata of checksums": "genres/1920/checksums/zarr.json",
    "metadata of vectors": "genres/1920/vectors/zarr.json",
    "metadata of ids": "genres/1920/ids/zarr.json",
    "approach": "genres/zarr.json",
    "root": "zarr.json",
}
DAMAGED = [
    (part, damage)
    for part, damage in itertools.product(PARTS, DAMAGES)
    # Whatever is wrong with metadata, they are not those that the record asks for.
    if not part.startswith("metadata") or damage in ("flipped", "deleted")
]


def test_damage_is_noticed_when_read_said_and_computed_again(
    few: Films, computed: Path, tmp_path: Path, inside: Inside
) -> None:
    for number, (part, damage) in enumerate(DAMAGED):
        data = shutil.copytree(computed, tmp_path / f"data-{number}")
        if part == "vectors":  # Only computing reads them.
            uncompute(data / "similarities.zarr" / "genres" / "1920", 0)
        others = {
            name: which
            for name, which in chunks(data / "similarities.zarr").items()
            if not name.startswith("genres/1920/")
        }
        DAMAGES[damage](data / "similarities.zarr" / PARTS[part], random.Random(number))
        outcome = inside.run("--data", data)
        assert outcome.status == 0, (part, damage, outcome.stderr)
        assert few.missing(data) == few.wrong(data) == strays(data) == [], (part, damage)
        after = chunks(data / "similarities.zarr")
        assert {name: after[name] for name in others} == others
        # What no checksums prove is like what was never computed; so is a group without a record.
        quiet = {("group", "deleted"), *(("checksums", way) for way in DAMAGES)}
        if part == "root":
            assert "similarities.zarr: its metadata were damaged" in outcome.stderr
        elif part == "approach":
            assert "the metadata of genres were damaged" in outcome.stderr
        elif (part, damage) not in quiet:
            said = [line for line in outcome.stderr.splitlines() if "damaged" in line]
            assert len(said) == 1, (part, damage, outcome.stderr)
            assert "genres 1920s" in said[0]
            assert "again" in said[0]


@pytest.mark.usefixtures("is_computed")
def test_a_damaged_chunk_is_never_exported(data: Path, few: Films, launcher: Launcher) -> None:
    flip(data / "similarities.zarr" / PARTS["similarities"], random.Random(1))
    fails(launcher.run("--data", data, "--export-only"), "genres 1920s", "row 0, column 1")
    assert few.wrong(data) == []
    assert few.missing(data) == ["similarities/genres/similarities_1920s.json"]
    assert launcher.run("--data", data).status == 0
    assert few.missing(data) == few.wrong(data) == strays(data) == []


@pytest.mark.usefixtures("is_finished")
def test_a_chunk_lost_after_the_export_is_computed_again_and_the_output_left_alone(
    data: Path, few: Films, launcher: Launcher
) -> None:
    output = data / "similarities" / "genres" / "similarities_1920s.json"
    before = stamp(output)
    (data / "similarities.zarr" / PARTS["similarities"]).unlink()
    assert launcher.run("--data", data).status == 0
    assert stamp(output) == before
    assert launcher.run("--data", data, "--verify").status == 0


@times(20, 60)
def test_no_flipped_bit_anywhere_comes_through(
    times: int, few: Films, computed: Path, tmp_path: Path, inside: Inside
) -> None:
    """Any bit of any file: the vectors, the similarities, the ids, their metadata."""
    for number in range(times):
        rng = random.Random(number)
        data = shutil.copytree(computed, tmp_path / f"data-{number}")
        store = data / "similarities.zarr"
        files = sorted(path for path in store.rglob("*") if path.is_file())
        metadata = [path for path in files if path.name == "zarr.json"]
        path = rng.choice(metadata if number % 3 else files)
        flip(path, rng)
        outcome = inside.run("--data", data)
        where = path.relative_to(store)
        assert outcome.status == 0, (where, outcome.stderr)
        assert few.wrong(data) == few.missing(data) == strays(data) == [], where
        shutil.rmtree(data)


@times(6, 30)
def test_no_flipped_bit_in_an_unfinished_output_comes_through(
    times: int, tmp_path: Path, launcher: Launcher, inside: Inside
) -> None:
    # Three row-blocks, and mostly room for the first or two.
    films = made_up(tmp_path / "films", {"1920": 140}, 16)
    inside.run("--data", films.copy(tmp_path / "computed"), "--compute-only")
    for number in range(times):
        rng = random.Random(number)
        data = shutil.copytree(tmp_path / "computed", tmp_path / f"data-{number}")
        run = launcher.run("--data", data, file_size=rng.randrange(150_000, 290_000))
        assert run.status == 1
        unfinished = sorted((data / "similarities").rglob(".*"))
        assert unfinished
        for _ in range(rng.randrange(1, 4)):
            path = rng.choice(unfinished)
            if path.stat().st_size:
                (flip if rng.random() < 0.7 else truncate)(path, rng)
        completes(inside, films, data)
        shutil.rmtree(data)


# --- A disk that is full, a file that may not grow


@times(5, 12)
def test_a_disk_full_while_computing(
    times: int, few: Films, disk: Callable[[str], Path], inside: Inside
) -> None:
    rng = random.Random(0)
    place = disk("4m")
    few.copy(place / "data")
    data = place / "data"
    inputs = sum(path.stat().st_size for path in data.rglob("*.json"))
    for _ in range(times):
        # Between not a byte more than the inputs and all but the last chunk.
        disk(str(inputs + rng.randrange(0, 180_000)))
        outcome = inside.run("--data", data, "--compute-only")
        assert outcome.status == 1
        fails(outcome, str(data), "No space left on device", errors=len(outcome.errors))
        for error in outcome.errors:
            assert str(data) in error
            assert "No space left on device" in error
        disk("4m")
        completes(inside, few, data)
        shutil.rmtree(data / "similarities.zarr")
        shutil.rmtree(data / "similarities")


@times(5, 12)
def test_a_disk_full_while_exporting(
    times: int, few: Films, disk: Callable[[str], Path], inside: Inside
) -> None:
    rng = random.Random(0)
    place = disk("4m")
    few.copy(place / "data")
    data = place / "data"
    inside.run("--data", data, "--compute-only")
    used = shutil.disk_usage(place).used
    for _ in range(times):
        disk(str(used + rng.randrange(0, 120_000)))
        outcome = inside.run("--data", data)
        assert outcome.status == 1
        for error in outcome.errors:
            assert "similarities_19" in error
            assert "No space left on device" in error
        assert few.wrong(data) == []
        disk("4m")
        completes(inside, few, data)
        shutil.rmtree(data / "similarities")


def test_a_disk_full_under_workers(
    tall: Films, disk: Callable[[str], Path], launcher: Launcher
) -> None:
    data = tall.copy(disk("8m") / "data")
    disk("512k")
    outcome = launcher.warm("--data", data, "--workers", 2, cpus=2, eager=True).wait()
    assert outcome.status == 1
    assert outcome.errors
    for error in outcome.errors:
        assert "No space left on device" in error
        assert str(data) in error
    assert "Traceback" not in outcome.stderr
    assert tall.wrong(data) == []
    disk("8m")
    completes(launcher, tall, data)


def test_finished_work_is_up_to_date_on_a_full_disk(
    few: Films, disk: Callable[[str], Path], launcher: Launcher
) -> None:
    data = few.copy(disk("4m") / "data")
    launcher.run("--data", data)
    with contextlib.suppress(OSError), open(data.parent / "filler", "wb", buffering=0) as filler:
        while True:
            filler.write(bytes(2**20))
    with contextlib.suppress(OSError), open(data.parent / "filler", "ab", buffering=0) as filler:
        while True:
            filler.write(b"0")
    outcome = completes(launcher, few, data)
    assert "3 decades up to date" in outcome.stdout


@pytest.mark.parametrize(("limit", "what"), [(25_000, "computing"), (56_000, "exporting")])
def test_a_limit_for_the_size_of_a_file(
    limit: int, what: str, data: Path, few: Films, launcher: Launcher
) -> None:
    outcome = launcher.run("--data", data, file_size=limit)
    assert outcome.status == 1
    for error in outcome.errors:
        assert "File too large" in error
        assert ("similarities.zarr" if what == "computing" else "similarities_19") in error
    assert few.wrong(data) == []
    completes(launcher, few, data)


# --- Outputs that somebody touched


def stamp(path: Path) -> tuple[int, int, int]:
    """Whether it is the same file, not written since."""
    status = path.stat()
    return status.st_ino, status.st_size, status.st_mtime_ns


def edit(path: Path) -> None:
    path.write_bytes(path.read_bytes().replace(b"0.1", b"0.2", 1))


def cut(path: Path) -> None:
    os.truncate(path, path.stat().st_size // 2)


@pytest.mark.parametrize("touch", [edit, cut, Path.unlink])
@pytest.mark.usefixtures("is_finished")
def test_an_output_edited_cut_or_deleted_is_written_again(
    touch: Callable[[Path], None], data: Path, few: Films, launcher: Launcher
) -> None:
    [touched, *others] = sorted((data / "similarities" / "genres").iterdir())
    before = list(map(stamp, others))
    touch(touched)
    completes(launcher, few, data)
    assert list(map(stamp, others)) == before


@pytest.mark.usefixtures("is_finished")
def test_verify_finds_an_edit_that_kept_size_and_time_stamp(
    data: Path, few: Films, launcher: Launcher
) -> None:
    assert launcher.run("--data", data, "--verify").status == 0
    output = data / "similarities" / "genres" / "similarities_1920s.json"
    status = output.stat()
    edit(output)
    os.utime(output, ns=(status.st_atime_ns, status.st_mtime_ns))
    before = everything(data)
    fails(launcher.run("--data", data, "--verify"), str(output))
    assert everything(data) == before
    output.unlink()
    completes(launcher, few, data)


def test_verify_finds_damage_anywhere_and_changes_nothing(
    finished: Path, tmp_path: Path, inside: Inside
) -> None:
    for number, (part, damage) in enumerate(DAMAGED):
        if part == "root":
            continue
        data = shutil.copytree(finished, tmp_path / f"data-{number}")
        DAMAGES[damage](data / "similarities.zarr" / PARTS[part], random.Random(number))
        before = everything(data)
        outcome = inside.run("--data", data, "--verify")
        assert outcome.status, (part, damage)
        fails(outcome, "genres 1920s", errors=len(outcome.errors))
        assert everything(data) == before
        shutil.rmtree(data)


# --- Inputs that change


@pytest.mark.usefixtures("is_finished")
def test_a_changed_input_is_done_again_and_only_it(
    data: Path, few: Films, launcher: Launcher
) -> None:
    changed = data / "embeddings" / "genres" / "plots_1930s.json"
    status, text = changed.stat(), changed.read_text()
    at = text.index("0.") + 3
    changed.write_text(text[:at] + str((int(text[at]) + 1) % 10) + text[at + 1 :])
    os.utime(changed, ns=(status.st_atime_ns, status.st_mtime_ns))
    assert changed.stat().st_size == status.st_size
    outputs = sorted((data / "similarities" / "genres").iterdir())
    before = {path: stamp(path) for path in outputs if "1930" not in path.name}
    kept = {
        name: which
        for name, which in chunks(data / "similarities.zarr").items()
        if "/1930/" not in name
    }
    outcome = launcher.run("--data", data)
    assert outcome.status == 0
    assert "plots_1930s.json: has changed since it was read" in outcome.stderr
    assert {path: stamp(path) for path in before} == before
    after = chunks(data / "similarities.zarr")
    assert {name: after[name] for name in kept} == kept
    output = data / "similarities" / "genres" / "similarities_1930s.json"
    assert output.read_bytes() == notebook(changed)
    name = "similarities/genres/similarities_1930s.json"
    assert few.wrong(data) == [name]


@pytest.mark.usefixtures("is_finished")
def test_an_input_deleted_after_the_run_is_an_error_for_its_decade(
    data: Path, few: Films, launcher: Launcher
) -> None:
    gone = data / "embeddings" / "genres" / "plots_1930s.json"
    content = gone.read_bytes()
    gone.unlink()
    (data / "similarities" / "genres" / "similarities_1920s.json").unlink()
    before = chunks(data / "similarities.zarr")
    fails(launcher.run("--data", data), str(gone))
    assert few.missing(data) == few.wrong(data) == []
    assert chunks(data / "similarities.zarr") == before
    gone.write_bytes(content)
    completes(launcher, few, data)


@pytest.mark.parametrize("way", ["in place", *more("by rename")])
def test_an_input_that_changes_while_it_is_read_is_never_a_mixture(
    way: str, tmp_path: Path, launcher: Launcher
) -> None:
    data = tmp_path / "data"
    path = data / "embeddings" / "genres" / "plots_1920s.json"
    path.parent.mkdir(parents=True)
    versions = []
    for seed in (1, 2):
        write_films(
            path, [10 * seed + film for film in range(1, 9)], 5000, np.random.default_rng(seed)
        )
        versions.append(path.read_bytes())
    expected = []
    for version in versions:
        path.write_bytes(version)
        expected.append(notebook(path))
    output = data / "similarities" / "genres" / "similarities_1920s.json"
    done = threading.Event()

    def rewrite() -> None:
        rng = random.Random(0)
        while not done.is_set():
            version = rng.choice(versions)
            if way == "in place":
                with open(path, "r+b", buffering=0) as file:
                    for part in (version[: len(version) // 2], version[len(version) // 2 :]):
                        file.write(part)
                        time.sleep(rng.uniform(0.0, 0.01))
                    file.truncate()
            else:
                path.with_suffix(".new").write_bytes(version)
                path.with_suffix(".new").replace(path)
            time.sleep(rng.uniform(0.0, 0.05))

    writer = threading.Thread(target=rewrite)
    writer.start()
    statuses = Counter[int]()
    try:
        for _ in range(8):
            outcome = launcher.run("--data", data)
            statuses[outcome.status] += 1
            if outcome.status:
                fails(outcome, str(path))
            else:
                assert output.read_bytes() in expected
    finally:
        done.set()
        writer.join()
    path.write_bytes(versions[0])
    assert launcher.run("--data", data).status == 0
    assert output.read_bytes() == expected[0]
    assert strays(data) == []


# --- Places that cannot be read or written


@pytest.fixture
def mine(data: Path) -> dict[str, int]:
    """Options of a run that has no more rights than the owner of the data."""
    if os.geteuid():
        return {}
    for path in [data.parent, *data.parent.rglob("*")]:
        os.chown(path, NOBODY, NOBODY)
    for folder in data.parents:
        if not folder.stat().st_mode & 0o001 and folder != data.parent:
            folder.chmod(folder.stat().st_mode | 0o001)
    return {"user": NOBODY}


def test_no_permission_on_an_input(
    data: Path, few: Films, mine: dict[str, int], launcher: Launcher
) -> None:
    closed = data / "embeddings" / "genres" / "plots_1930s.json"
    closed.chmod(0)
    fails(launcher.run("--data", data, **mine), str(closed), "permission denied")
    assert few.wrong(data) == []
    assert few.missing(data) == ["similarities/genres/similarities_1930s.json"]
    closed.chmod(0o600)
    completes(launcher, few, data)
    closed.chmod(0)
    fails(launcher.run("--data", data, **mine), str(closed), "permission denied")
    assert few.missing(data) == few.wrong(data) == []


@pytest.mark.parametrize("bits", [0o000, 0o400, 0o100])
def test_no_permission_on_a_folder_of_inputs(
    bits: int, data: Path, few: Films, mine: dict[str, int], launcher: Launcher
) -> None:
    closed = data / "embeddings" / "genres"
    closed.chmod(bits)
    outcome = launcher.run("--data", data, **mine)
    fails(outcome, str(closed), errors=len(outcome.errors))
    closed.chmod(0o700)
    completes(launcher, few, data)


@pytest.mark.parametrize("finished", [False, True])
@pytest.mark.parametrize("where", ["everything", "the store", "one group"])
@pytest.mark.usefixtures("is_computed")
def test_a_store_that_may_only_be_read(
    where: str, finished: bool, data: Path, few: Films, mine: dict[str, int], launcher: Launcher
) -> None:
    if not finished:
        (data / "similarities.zarr/genres/1920/checksums/c/0/0").unlink()
    parts = {
        "everything": "",
        "the store": "similarities.zarr",
        "one group": "similarities.zarr/genres/1920",
    }
    closed = data / parts[where]
    folders = [path for path in [closed, *closed.rglob("*")] if path.is_dir()]
    for folder in folders:
        folder.chmod(0o500)
    before = everything(data / "similarities.zarr")
    outcome = launcher.run("--data", data, **mine)
    for folder in folders:
        folder.chmod(0o700)
    assert outcome.status == 1, outcome
    said = "ermission denied" if where == "one group" else "no permission to write the store here"
    fails(outcome, str(data), said, errors=len(outcome.errors))
    if where != "one group":
        assert everything(data / "similarities.zarr") == before
    assert few.wrong(data) == []
    completes(launcher, few, data)


@pytest.mark.parametrize(
    "place",
    ["similarities", "similarities/genres"],
)
def test_an_output_folder_that_is_a_file(
    place: str, data: Path, few: Films, launcher: Launcher
) -> None:
    path = data / place
    path.parent.mkdir(exist_ok=True)
    path.write_text("mine")
    outcome = launcher.run("--data", data)
    fails(outcome, str(path), errors=3)
    assert path.read_text() == "mine"
    path.unlink()
    completes(launcher, few, data)


def test_an_output_that_is_a_folder(data: Path, few: Films, launcher: Launcher) -> None:
    path = data / "similarities" / "genres" / "similarities_1930s.json"
    path.mkdir(parents=True)
    (path / "mine").touch()
    fails(launcher.run("--data", data), str(path))
    assert (path / "mine").exists()
    (path / "mine").unlink()
    path.rmdir()
    completes(launcher, few, data)


@pytest.mark.usefixtures("is_finished")
def test_a_store_of_a_newer_format_is_left_alone(
    data: Path, few: Films, launcher: Launcher
) -> None:
    root = data / "similarities.zarr" / "zarr.json"
    group = data / "similarities.zarr" / PARTS["group"]
    content, record = root.read_text(), group.read_text()
    newer = json.loads(content)
    newer["attributes"] = {key: value + 1 for key, value in newer["attributes"].items()}
    root.write_text(json.dumps(newer))
    attributes = json.loads(record)["attributes"]
    attributes["record"]["format"] += 1
    text = json.dumps(attributes["record"], sort_keys=True, separators=(",", ":"))
    attributes["sha256"] = hashlib.sha256(text.encode()).hexdigest()
    group.write_text(json.dumps({**json.loads(record), "attributes": attributes}))
    before = everything(data)
    for arguments in ([], ["--restart"], ["--verify"], ["--status"], ["--export-only"]):
        fails(launcher.run("--data", data, *arguments), str(root.parent), "format 3")
    assert everything(data) == before
    root.write_text(content)
    group.write_text(record)
    completes(launcher, few, data)


def test_a_folder_or_file_that_is_no_store_is_left_alone(data: Path, launcher: Launcher) -> None:
    folder, file = data / "precious", data / "precious.txt"
    folder.mkdir()
    (folder / "file").write_text("mine")
    file.write_text("mine")
    before = everything(data)
    for store in (folder, file):
        fails(launcher.run("--data", data, "--store", store), str(store), "another --store")
        assert everything(data) == before


@pytest.mark.parametrize("name", ["similarities.zarr", "store"])
def test_a_store_whose_first_write_was_killed_is_begun_again(
    name: str, data: Path, few: Films, launcher: Launcher
) -> None:
    (data / name).mkdir()
    (data / name / "zarr.0123456789abcdef0123456789abcdef.partial").write_bytes(b"{")
    outcome = launcher.run("--data", data, "--store", data / name)
    assert outcome.status == 0, outcome.stderr
    assert few.missing(data) == few.wrong(data) == strays(data) == []


# --- Two runs at once


def freeze(run: Running) -> None:
    run.kill(signal.SIGSTOP)
    within(lambda: " T " in Path(f"/proc/{run.pid}/stat").read_text())
    time.sleep(0.1)  # Its threads, too.


def test_the_second_run_on_a_store_stops_at_once_and_says_who_holds_it(
    tall: Films, tmp_path: Path, launcher: Launcher
) -> None:
    data = tall.copy(tmp_path / "data")
    hold = held_at("computing", tmp_path)
    first = launcher.warm("--data", data, hold=str(hold))
    within(lambda: row_blocks(data))
    freeze(first)
    before = everything(data)
    for arguments in ([], ["--decade", "1960"], ["--restart"], ["--export-only"]):
        second = launcher.run("--data", data, *arguments, impatient=True)
        fails(second, str(data), f"process {first.pid} on ")
    assert everything(data) == before
    hold.unlink()
    first.kill(signal.SIGCONT)
    outcome = first.wait()
    assert outcome.status == 0, outcome.stderr
    assert tall.missing(data) == tall.wrong(data) == strays(data) == []


def test_a_second_run_on_another_store_may_not_write_the_same_outputs(
    tall: Films, tmp_path: Path, launcher: Launcher
) -> None:
    data = tall.copy(tmp_path / "data")
    (tmp_path / "other.zarr").mkdir()
    (tmp_path / "link.zarr").symlink_to(data / "similarities.zarr")
    hold = held_at("computing", tmp_path)
    first = launcher.warm("--data", data, hold=str(hold))
    within(lambda: row_blocks(data))
    freeze(first)
    for store in ("other.zarr", "link.zarr"):
        second = launcher.run("--data", data, "--store", tmp_path / store, impatient=True)
        fails(second, f"process {first.pid} on ")
    second = launcher.run("--data", data, "--store", tmp_path / "other.zarr", "--compute-only")
    assert second.status == 0, second.stderr
    hold.unlink()
    first.kill(signal.SIGCONT)
    assert first.wait().status == 0
    assert tall.missing(data) == tall.wrong(data) == strays(data) == []


def test_two_data_folders_that_lead_to_one_output_keep_each_other_out(
    tall: Films, tmp_path: Path, launcher: Launcher
) -> None:
    one, two = (tall.copy(tmp_path / name) for name in ("one", "two"))
    (one / "similarities").mkdir()
    (two / "similarities").symlink_to(one / "similarities")
    hold = held_at("computing", tmp_path)
    first = launcher.warm("--data", one, "--decade", "1920", hold=str(hold))
    within(lambda: row_blocks(one))
    freeze(first)
    second = launcher.run("--data", two, impatient=True)
    fails(second, f"process {first.pid} on ", "similarities_1920s.json")
    second = launcher.run("--data", two, "--decade", "1930", "1970")
    assert second.status == 0, second.stderr
    hold.unlink()
    first.kill(signal.SIGCONT)
    assert first.wait().status == 0
    left = [f"similarities/genres/similarities_{year}s.json" for year in (1950, 1960)]
    assert tall.missing(one) == left
    assert tall.wrong(one) == strays(one) == []


def test_a_lock_left_by_a_killed_run_does_not_block(
    tall: Films, tmp_path: Path, launcher: Launcher
) -> None:
    data = tall.copy(tmp_path / "data")
    hold = held_at("computing", tmp_path)
    run = launcher.warm("--data", data, hold=str(hold))
    lock = data / "similarities.zarr.lock"
    within(lambda: at_work(data))
    run.kill()
    assert run.wait().status == -signal.SIGKILL
    assert at_work(data)
    completes(launcher, tall, data)
    assert not lock.exists()


# --- Another CPU kind


def test_a_store_that_another_kind_of_cpu_began(data: Path, few: Films, launcher: Launcher) -> None:
    launcher.run("--data", data, "--compute-only", machine="Abacus 1.0 wood")
    uncompute(data / "similarities.zarr" / "genres" / "1920", 0)
    outcome = completes(launcher, few, data)
    [warning] = outcome.messages
    for words in (
        "genres 1920s",
        "Abacus 1.0 wood",
        "may round the last digit of a similarity differently",
        "--restart --approach genres --decade 1920",
    ):
        assert words in warning


# --- Standard streams that are closed


@pytest.mark.parametrize("closed", [(2,), (0, 1, 2), *more((0,), (1,))])
def test_closed_streams_keep_no_run_from_its_work(
    closed: tuple[int, ...], data: Path, few: Films
) -> None:
    """A schedule may start it with ``2>&-``; what it says must not end up in a data file."""
    shut = " ".join(f"{descriptor}>&-" for descriptor in closed)
    command = f'exec "{sys.executable}" scripts/run.py --data "{data}" {shut}'
    done = subprocess.run(["sh", "-c", command], cwd=ROOT, capture_output=True, timeout=PATIENCE)
    assert done.returncode == 0, done.stderr
    assert few.missing(data) == few.wrong(data) == strays(data) == []


# --- Hostile names


APPROACHES = [
    "two\nlines",
    "\x1b[31mred",
    "tab\there",
    "x" * 200,
    "\u202egnp.exe",
    "back\\slash",
    "__init__",
    "-rf",
    "zarr.json",
    "c",
    "lost.partial",
    "lost.lock",
    "plots_1920s.json",
    "a b",
    "ünïcødé 🎬",
    "$(touch owned)",
    "'; rm -rf ~; '",
    "..\u2215..",
    "%s%n{0}",
]


@pytest.mark.parametrize("approach", APPROACHES, ids=ascii)
def test_no_name_of_an_approach_gets_out_of_the_data_folder_or_into_the_terminal(
    approach: str, few: Films, tmp_path: Path, inside: Inside
) -> None:
    data = tmp_path / "data"
    (data / "embeddings" / approach).mkdir(parents=True)
    shutil.copy(few.embeddings / "genres" / "plots_1940s.json", data / "embeddings" / approach)
    outcome = inside.run("--data", data)
    plain(outcome)
    assert [path.name for path in tmp_path.iterdir()] == ["data"]
    assert {path.name for path in data.iterdir()} <= {
        "embeddings",
        "similarities",
        "similarities.zarr",
        "similarities.zarr.lock",
    }
    if outcome.status:
        fails(outcome)
    else:
        output = data / "similarities" / approach / "similarities_1940s.json"
        assert output.read_bytes() == few.expected["similarities/genres/similarities_1940s.json"]
        again = inside.run("--data", data)
        assert "1 decade up to date" in again.stdout, again


def test_a_name_that_is_not_utf_8_is_refused(
    few: Films, tmp_path: Path, launcher: Launcher
) -> None:
    folder = os.fsencode(tmp_path / "data" / "embeddings") + b"/latin\xe9"
    os.makedirs(folder)
    shutil.copy(few.embeddings / "genres" / "plots_1940s.json", os.fsdecode(folder))
    outcome = launcher.run("--data", tmp_path / "data")
    fails(outcome, "an approach cannot be called")
    plain(outcome)


def test_no_id_breaks_the_terminal_or_gets_out_of_the_output(
    tmp_path: Path, launcher: Launcher
) -> None:
    data = tmp_path / "data"
    path = data / "embeddings" / "genres" / "plots_1920s.json"
    path.parent.mkdir(parents=True)
    ids = ["../../etc/passwd", "a/b", "\x1b[31mred", "\x00", "\n", '"', "\\", "🎬", "é", "x" * 9999]
    write_films(path, ids, 4, np.random.default_rng(0))
    outcome = launcher.run("--data", data)
    assert outcome.status == 0, outcome.stderr
    plain(outcome)
    output = data / "similarities" / "genres" / "similarities_1920s.json"
    assert output.read_bytes() == notebook(path)
    for bad in ("\x1b[31m-red", "\x1b[2J" + "y" * 9999 + "-", "\u202e-"):
        write_films(path, [1, bad], 4, np.random.default_rng(0))
        outcome = launcher.run("--data", data)
        fails(outcome, str(path))
        assert len(outcome.errors[0]) < 1000
        plain(outcome)


@pytest.mark.usefixtures("is_finished")
def test_no_name_in_a_store_breaks_the_terminal(data: Path, few: Films, launcher: Launcher) -> None:
    store = data / "similarities.zarr"
    for approach, decade in (("\x1b[31mred", "1920"), ("genres", "\x1b[31m"), ("genres", "..1")):
        shutil.copytree(store / "genres" / "1940", store / approach / decade)
    plain(launcher.run("--data", data))
    plain(launcher.run("--data", data, "--status"))
    plain(launcher.run("--data", data, "--verify"))
    assert few.wrong(data) == []


def plain(outcome: Outcome) -> None:
    """Nothing that a terminal would take for a command, and no traceback."""
    said = outcome.stdout + outcome.stderr
    assert "Traceback" not in said
    for line in said.split("\n"):
        assert all(c.isprintable() for c in line), ascii(line)
