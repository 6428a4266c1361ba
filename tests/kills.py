"""Kills at random moments, and the promises that every run after them is held to."""

import contextlib
import os
import random
import shutil
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from faults import (
    Films,
    Launcher,
    Outcome,
    Running,
    Runs,
    at_work,
    chunks_that_count,
    group,
    row_blocks,
    stage,
    strays,
    workers,
)
from reference import Stamp, chunks
from waiting import within


@dataclass(frozen=True)
class Scene:
    """A run to be killed again and again."""

    name: str
    films: Films
    """Judge of the bytes."""
    ready: Path
    """The data folder at the beginning, to copy."""
    arguments: tuple[str, ...]
    longest: float
    """Seconds from `begin` to the end when nobody disturbs it."""
    rest: float
    """Those of them after the first row-block."""
    options: dict[str, Any]
    """As in `faults._prepare`."""

    def begin(self, launcher: Launcher, data: Path) -> Running:
        """Start the run, or go on with it; it is at work when this returns."""
        run = launcher.warm("--data", data, *self.arguments, **self.options)
        within(lambda: str(run.pid) in at_work(data) or run.over)
        return run

    def wait_for_moment(self, run: Running, data: Path, rng: random.Random) -> None:
        """Wait for a moment at random, often one after the reading and the start of workers."""
        longest = self.longest
        if self.name in ("computing", "with workers") and rng.random() < 0.6:
            before = row_blocks(data)
            within(lambda: row_blocks(data) != before or run.over)
            longest = self.rest
        time.sleep(rng.uniform(0.0, longest))


SCENES = ("reading", "computing", "exporting", "everything", "another input", "with workers")
"""What a run is at when it is killed."""


def scene(name: str, launcher: Launcher, tall: Films, wide: Films, folder: Path) -> Scene:
    """Prepare one of `SCENES`, and let the run go to its end once to time it."""
    films = tall
    options: dict[str, Any] = {}
    arguments: tuple[str, ...] = ()
    ready = folder / "ready"
    if name == "another input":  # The store is finished, and then all inputs change.
        first = next(path for path in sorted(tall.embeddings.rglob("*.json")))
        films.copy(ready)
        (ready / "embeddings" / "genres" / first.name).write_text('{"1": [1.0], "2": [1.0]}')
        for path in sorted((ready / "embeddings").rglob("*.json"))[1:]:
            path.write_text(path.read_text().replace("0.0", "0.1"))
        assert launcher.run("--data", ready).status == 0
        shutil.rmtree(ready / "similarities")
        shutil.rmtree(ready / "embeddings")
    elif name == "reading":
        films = wide
    films.copy(ready)
    if name == "computing":
        arguments = ("--compute-only",)
    elif name == "exporting":
        assert launcher.run("--data", ready, "--compute-only").status == 0
        arguments = ("--export-only",)
    elif name == "with workers":
        arguments, options = ("--workers", "2"), {"cpus": 2, "eager": True}
    found = Scene(name, films, ready, arguments, 0.0, 0.0, options)
    whole = shutil.copytree(ready, folder / "whole")
    run = found.begin(launcher, whole)
    begin, before = time.monotonic(), row_blocks(whole)
    within(lambda: row_blocks(whole) != before or run.over)
    middle = time.monotonic()
    assert run.wait().status == 0, run.stderr()
    end = time.monotonic()
    return replace(found, longest=end - begin, rest=end - middle)


def series(
    scene: Scene, launcher: Launcher, data: Path, rng: random.Random, most: int
) -> list[str]:
    """Kill the process group at random moments, go on, and hold every run to the promises.

    The series ends when a run comes to its end before its moment, or has been killed `most`
    times; then the same command, and at last the plain one, complete it.

    Returns
    -------
    list[str]
        For each kill what the run was at.
    """
    kills = []
    shutil.copytree(scene.ready, data)
    finished: dict[str, Stamp] = {}
    for number in range(most + 1):
        run = scene.begin(launcher, data)
        if number < most:
            scene.wait_for_moment(run, data, rng)
            run.kill()
        outcome = run.wait()
        now = chunks_that_count(data)
        again = [name for name in finished if now.get(name) != finished[name]]
        assert not again, f"finished chunks were computed again: {again}"
        assert not (wrong := scene.films.wrong(data)), f"wrong bytes at a final path: {wrong}"
        finished = now
        if outcome.status != -signal.SIGKILL:
            break
        kills.append(stage(data))
    assert outcome.status == 0, outcome.stderr
    assert not outcome.errors, outcome.stderr
    assert not (left := strays(data)), f"stray files: {left}"
    completes(launcher, scene.films, data)
    shutil.rmtree(data)
    return kills


def completes(launcher: Runs, films: Films, data: Path, *arguments: str) -> Outcome:
    """Hold the next run to its promise: the right bytes, and no finished chunk written again."""
    before = chunks_that_count(data)
    outcome = launcher.run("--data", data, *arguments)
    assert outcome.status == 0, outcome.stderr
    assert outcome.errors == []
    assert films.missing(data) == []
    assert films.wrong(data) == []
    assert strays(data) == []
    after = chunks(data / "similarities.zarr")
    assert {name: after.get(name) for name in before} == before
    return outcome


def with_workers(
    launcher: Launcher, data: Path, n: int = 2, *, cold: bool = False, **options: Any
) -> Running:
    """Start a run with worker processes, and wait for the first."""
    start = launcher.cold if cold else launcher.warm
    run = start("--data", data, "--workers", n, cpus=n, eager=True, **options)
    within(lambda: workers(run.pid) or run.over)
    assert not run.over, run.stderr()
    return run


def kill_worker(run: Running) -> int | None:
    """Kill one worker of a run; None when there is none."""
    with contextlib.suppress(ValueError, ProcessLookupError):
        pid = max(workers(run.pid))
        os.kill(pid, signal.SIGKILL)
        return pid
    return None


def goes_on(
    launcher: Launcher, films: Films, data: Path, moment: Callable[[], object], **options: Any
) -> bool:
    """Kill one worker after `moment`: the run goes on by itself and ends with the right bytes.

    Returns
    -------
    bool
        Whether there was a worker to be killed, and it was missed.
    """
    films.copy(data)
    run = with_workers(launcher, data, 2, **options)
    moment()
    killed = kill_worker(run)
    before = chunks_that_count(data)
    if "hold" in options:
        os.unlink(options["hold"])
    outcome = run.wait()
    assert outcome.status == 0, outcome.stderr
    assert not (wrong := films.missing(data) + films.wrong(data)), wrong
    assert not (left := strays(data)), left
    after = chunks(data / "similarities.zarr")
    assert {name: after.get(name) for name in before} == before
    within(lambda: not group(run.pid))
    if killed is None or not outcome.messages:
        return False
    sentence = (
        "a worker process was killed by SIGKILL, perhaps because memory ran out; going on with"
    )
    assert outcome.messages == [f"{sentence} 1"], outcome.stderr
    return True
