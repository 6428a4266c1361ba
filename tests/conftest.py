"""What the tests share: small blocks, many workers, and a record of what the disk was asked."""

import atexit
import os
import shutil
import signal
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

# The threads of BLAS, which the engine does without, take a third of what it takes to start each of
# some hundred processes.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import pytest
from forks import never_sync
from hypothesis import HealthCheck, settings

import engine
from engine.triangle import blocks
from engine.work import tasks
from engine.work.row_block import Opened
from engine.work.tasks import perform

# Else every process that the tests start would compile the engine for itself.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)

# Where the tests are started in the background of a script it is ignored, and would be in every run
# that they interrupt.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

# Thousands of small files are made and deleted, which takes a disk five times as long as memory.
MEMORY = "/dev/shm"
ROOM = 1 << 30
"""Bytes; the tests take a quarter of it at most."""
_made = ""
"""The folder there in which this process, and those that it starts, have all their files."""
if (
    "TMPDIR" not in os.environ
    and os.access(MEMORY, os.W_OK)
    and shutil.disk_usage(MEMORY).free >= ROOM
):
    os.environ["TMPDIR"] = _made = tempfile.mkdtemp(prefix="tests-", dir=MEMORY)
    tempfile.tempdir = None
    os.chmod(_made, 0o711)  # Some tests have another user open what lies in it, as in /tmp.


def pytest_sessionfinish(exitstatus: int) -> None:
    """Give the memory back, unless somebody may want to see what a test that failed has left."""
    if _made and exitstatus != pytest.ExitCode.TESTS_FAILED:
        atexit.register(shutil.rmtree, _made, ignore_errors=True)


# Time limits of single examples would make the tests depend on what else the machine does.
# 25 examples find what 40 find: the same 16 of 22 random mutations of the centre.
settings.register_profile(
    "engine",
    deadline=None,
    print_blob=True,
    max_examples=25,
    suppress_health_check=[HealthCheck.too_slow],
)
# For .ci/run, where nobody waits: pytest --hypothesis-profile=many
settings.register_profile("many", settings.get_profile("engine"), max_examples=100)
settings.load_profile("engine")


def more(*values: Any) -> list[Any]:
    """Values for ``pytest.mark.parametrize`` that are tried in the storm alone."""
    return [pytest.param(value, marks=pytest.mark.storm) for value in values]


@dataclass
class Disk:
    """How often each file was opened to be read, and how often it was written."""

    reads: Counter[str] = field(default_factory=Counter)
    writes: Counter[str] = field(default_factory=Counter)
    """Opened to be written, or given its name by rename."""

    def hear(self, event: str, arguments: tuple[Any, ...]) -> None:
        if event == "os.rename":
            self.writes[os.fsdecode(arguments[1])] += 1
        elif event == "open" and not isinstance(arguments[0], int):
            path, mode, flags = arguments
            wrote = any(letter in mode for letter in "wax+") if mode else flags & 3
            (self.writes if wrote else self.reads)[os.fsdecode(path)] += 1


_listeners: list[Disk] = []


@pytest.fixture(scope="session")
def overheard() -> None:
    """Have the listeners hear what this process does; that takes time, and it cannot be undone."""

    def hook(event: str, arguments: tuple[Any, ...]) -> None:
        for disk in _listeners:
            disk.hear(event, arguments)

    sys.addaudithook(hook)


@pytest.fixture
def disk(overheard: None) -> Iterator[Disk]:
    """Python's own record of the files that this process opens and renames."""
    disk = Disk()
    _listeners.append(disk)
    yield disk
    _listeners.remove(disk)


@pytest.fixture(scope="session", autouse=True)
def unsynced() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        never_sync(patch.setattr)
        yield


@pytest.fixture(autouse=True)
def at_rest(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody writes an input while it is read, so it need not be seen to rest before."""
    monkeypatch.setattr("engine.embeddings.reading.CLOCK_TICK", 0.0)


def cut_smallest(change: Callable[[Any, str, Any], object]) -> None:
    """As the fixture `small_blocks`, for fixtures of a wider scope."""
    change(blocks, "CHUNK_CELLS", 16)
    change(blocks, "ROW_BLOCK_CELLS", 64)
    change(blocks, "TALLEST", 4)


@pytest.fixture
def small_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Row-blocks of four rows up to 16 films, of two up to 32, of one above, in this process."""
    cut_smallest(monkeypatch.setattr)


@pytest.fixture
def eager_workers(monkeypatch: pytest.MonkeyPatch) -> None:
    """As many worker processes as are asked for, however small the job and the machine."""
    monkeypatch.setattr("engine.batch.cost.START_SECONDS", 1e-12)
    monkeypatch.setattr("engine.batch.run.cpus", lambda: 4)


@pytest.fixture
def command(capsys: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, str, str]]:
    """The command line, called in this process: exit status, stdout, stderr."""
    from engine.cli import main

    def run(*arguments: str | Path) -> tuple[int, str, str]:
        capsys.readouterr()
        try:
            status = main([str(argument) for argument in arguments])
        except SystemExit as stop:
            status = int(str(stop.code))
        captured = capsys.readouterr()
        return status, captured.out, captured.err

    return run


@pytest.fixture
def performed(monkeypatch: pytest.MonkeyPatch) -> list[tuple[Any, Any]]:
    """The tasks that runs with one worker perform, in their order, with their results."""
    performed: list[tuple[Any, Any]] = []

    def record(task: Any, opened: Opened | None = None) -> Any:
        result = perform(task, opened)
        performed.append((task, result))
        return result

    monkeypatch.setattr(tasks, "perform", record)
    return performed


def uncompute(decade: Path, row_block: int) -> None:
    """Delete a row-block from the group of a decade, as if it had never been computed."""
    for array in ("checksums", "similarities"):
        shutil.rmtree(decade / array / "c" / str(row_block))


class Listener(engine.Progress):
    """Remembers everything that a run says."""

    def __init__(self) -> None:
        self.stages: list[tuple[str, int, int, str]] = []
        self.advances: list[tuple[str, int]] = []
        self.messages: list[str] = []
        self.errors: list[tuple[str, str]] = []
        self.closed = 0

    def stage(self, name: str, total: int, done: int, unit: str) -> None:
        self.stages.append((name, total, done, unit))

    def advance(self, name: str, amount: int) -> None:
        self.advances.append((name, amount))

    def message(self, text: str) -> None:
        self.messages.append(text)

    def error(self, text: str, details: str = "") -> None:
        self.errors.append((text, details))

    def close(self) -> None:
        self.closed += 1


@pytest.fixture
def listener() -> Listener:
    return Listener()
