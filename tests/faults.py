"""What the tests of faults share: films, the notebook's answer, and runs that can be killed.

Every run here cuts its triangles small (`errands.SMALL`): what a fault can do depends on the number
of boundaries, not of pairs.

A run starts *cold*, as a command of its own, or *warm*: forked from a process that has imported
everything already, so that a hundred runs take seconds and a kill falls on the work rather than
on the imports. Either way it is the real command line in a process group of its own, and what
is done to it is real. Where nothing is done to it but to what it reads, it may run *inside* the
process of the tests.
"""

import contextlib
import hashlib
import itertools
import json
import os
import re
import resource
import runpy
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol
from unittest import mock

import numpy as np
from errands import Small, cut_small
from forks import ENGINE, ROOT, Forked, forker
from reference import Stamp, chunks, notebook
from waiting import PATIENCE

if TYPE_CHECKING:  # It takes as long to import as a run takes.
    import pytest

NOBODY = 65534

TALL = {"1920": 225, "1930": 130, "1950": 65, "1960": 2, "1970": 0}
"""Many chunks of short vectors: computing and exporting take the time."""
WIDE = {"1920": 75, "1930": 65, "1940": 30}
"""Few chunks of long vectors: reading takes the time."""
LONG = 2048
"""Numbers of a long vector."""
FEW = {"1920": 75, "1930": 65, "1940": 10}
"""Few chunks of short vectors, yet more than one row-block: every run is short."""


# --- Films, and what the notebook makes of them


@dataclass(frozen=True)
class Films:
    """A folder of inputs to copy, and the bytes that every output must have."""

    embeddings: Path
    expected: dict[str, bytes]
    """Path of an output below the data folder → its content."""

    def copy(self, data: Path) -> Path:
        """Put the inputs into a new data folder."""
        shutil.copytree(self.embeddings, data / "embeddings")
        return data

    def wrong(self, data: Path) -> list[str]:
        """Name what lies at a final path and is not what the notebook writes."""
        found = outputs(data)
        return sorted(name for name in found if found[name] != self.expected.get(name))

    def faults(self, data: Path) -> dict[str, list[str]]:
        """Name what is missing, what is wrong and what is left over; empty when all is right."""
        found = {
            "missing": self.missing(data),
            "wrong": self.wrong(data),
            "left over": strays(data),
        }
        return {what: names for what, names in found.items() if names}

    def missing(self, data: Path) -> list[str]:
        """Name the outputs that are not there."""
        return sorted(set(self.expected) - set(outputs(data)))


def outputs(data: Path) -> dict[str, bytes]:
    """Read everything that lies at a final path."""
    return {
        path.relative_to(data).as_posix(): path.read_bytes()
        for path in sorted((data / "similarities").glob("*/*"))
        if not path.name.startswith(".")
    }


def made_up(folder: Path, sizes: Mapping[str, int], dimensions: int, seed: int = 0) -> Films:
    """Make up films of one approach and ask the notebook for their similarities."""
    rng = np.random.default_rng(seed)
    expected = {}
    approach = folder / "embeddings" / "genres"
    approach.mkdir(parents=True)
    for decade, n in sizes.items():
        ids = rng.permutation(10 * n)[:n].tolist()
        write_films(approach / f"plots_{decade}s.json", ids, dimensions, rng)
        name = f"similarities/genres/similarities_{decade}s.json"
        expected[name] = notebook(approach / f"plots_{decade}s.json")
    return Films(folder / "embeddings", expected)


def write_films(path: Path, ids: list[Any], dimensions: int, rng: np.random.Generator) -> None:
    """Write unit vectors as an embeddings file."""
    vectors = rng.normal(size=(len(ids), dimensions))
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    path.write_text(json.dumps(dict(zip(map(str, ids), vectors.tolist(), strict=True))))


# --- What lies in the folders


def chunks_that_count(data: Path) -> dict[str, Stamp]:
    """Leave out the chunks that were made from another input than the one that is there."""
    store = data / "similarities.zarr"
    groups = set()
    for metadata in store.glob("*/*/zarr.json"):
        approach, decade = metadata.parent.relative_to(store).parts
        with contextlib.suppress(OSError, ValueError, KeyError):
            record = json.loads(metadata.read_bytes())["attributes"]["record"]
            text = (data / "embeddings" / approach / f"plots_{decade}s.json").read_bytes()
            if record["input_sha256"] == hashlib.sha256(text).hexdigest():
                groups.add(f"{approach}/{decade}")
    return {
        name: which
        for name, which in chunks(store).items()
        if name.rpartition("/similarities/")[0] in groups
    }


def row_blocks(data: Path) -> dict[Path, int]:
    """When each row-block was finished that is; asked often, so it reads no file."""
    found = {}
    for row in (data / "similarities.zarr").glob("*/*/checksums/c/*/0"):
        with contextlib.suppress(FileNotFoundError):  # It may be deleted meanwhile.
            found[row] = row.stat().st_mtime_ns
    return found


def strays(data: Path) -> list[str]:
    """Name the files that a finished run has no use for."""
    return sorted(
        path.relative_to(data).as_posix()
        for path in data.rglob("*")
        if path.name.endswith(".partial") or path.name.startswith(".")
    )


def everything(folder: Path) -> dict[str, bytes | None]:
    """Read a whole folder, to see whether anything changed in it; the lock does not count."""
    return {
        path.relative_to(folder).as_posix(): path.read_bytes() if path.is_file() else None
        for path in sorted(folder.rglob("*"))
        if not path.name.endswith(".lock")
    }


def at_work(data: Path) -> str:
    """Read who holds the store, or held it when it was killed."""
    try:
        return (data / "similarities.zarr.lock").read_text()
    except FileNotFoundError:
        return ""  # Not begun, or over.


def held_at(stage: str, folder: Path) -> Path:
    """Make the file that holds a run up at ``reading`` or ``computing`` until it is deleted."""
    hold = folder / stage
    hold.touch()
    return hold


def stage(data: Path) -> str:
    """Tell what a killed run was at, from what it left."""
    store = data / "similarities.zarr"
    inputs = list((data / "embeddings").glob("*/*.json"))
    read = 0
    for group in store.glob("*/*/zarr.json"):
        with contextlib.suppress(OSError, ValueError):
            read += "record" in json.loads(group.read_bytes())["attributes"]
    if read < len(inputs):
        return "reading"
    if any((data / "similarities").glob("*/.*.partial")):
        return "exporting"
    return "computing"


# --- Runs


_PROGRESS = re.compile(r"(reading|computing|computing and exporting|exporting) \d+ %")


@dataclass(frozen=True)
class Outcome:
    """How a run ended."""

    status: int
    """Exit status; the number of the signal that killed it, negative."""
    stdout: str
    stderr: str

    @property
    def messages(self) -> list[str]:
        """What it said beside the lines of progress that come every few seconds."""
        return [line for line in self.stderr.splitlines() if not _PROGRESS.match(line)]

    @property
    def errors(self) -> list[str]:
        """The lines that begin ``error:``."""
        return [line for line in self.stderr.splitlines() if line.startswith("error:")]


class Running:
    """A run at work, in a process group of its own."""

    ended = False

    def __init__(self, process: Forked | subprocess.Popen[bytes], out: Path, err: Path) -> None:
        self._process, self._out, self._err = process, out, err
        self.pid = process.pid

    def kill(self, number: int = signal.SIGKILL, *, group: bool = True) -> None:
        """Send a signal to the whole process group, or to the main process alone."""
        with contextlib.suppress(ProcessLookupError):
            (os.killpg if group else os.kill)(self.pid, number)

    @property
    def over(self) -> bool:
        """Whether it has come to its end."""
        return self._process.poll() is not None

    def stderr(self) -> str:
        """What it has said so far."""
        return self._err.read_text(errors="replace")

    def wait(self, timeout: float = PATIENCE) -> Outcome:
        """Wait for the end; a run that hangs is killed and is a failure."""
        try:
            status = self._process.wait(timeout)
        except subprocess.TimeoutExpired:
            self.kill()
            self._process.wait(PATIENCE)
            raise AssertionError(f"the run hangs; it said: {self.stderr()}") from None
        self.ended = True
        return Outcome(status, self._out.read_text(errors="replace"), self.stderr())


def script(*arguments: object, **options: Any) -> list[str]:
    """The command that runs ``scripts/run.py`` as `_prepare` makes it."""
    command = [sys.executable, __file__, json.dumps(options), *arguments]
    return list(map(str, command))


class Launcher:
    """Starts runs, and leaves none behind."""

    def __init__(self) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="faults-")
        self._count = itertools.count()
        self._runs: list[Running] = []

    def __enter__(self) -> "Launcher":
        return self

    def __exit__(self, *_: object) -> None:
        for run in self._runs:
            if not run.ended:  # Its test has failed.
                run.kill()
                run.wait()
        self._folder.cleanup()

    def _files(self) -> tuple[Path, Path]:
        n = next(self._count)
        return Path(self._folder.name, f"{n}.out"), Path(self._folder.name, f"{n}.err")

    def warm(self, *arguments: object, **options: Any) -> Running:
        """Start a run without imports; `options` as in `_prepare`."""
        out, err = self._files()
        words = list(map(str, arguments))
        process = forker("faults", *ENGINE).start(
            "faults:run_warm", options, words, out=out, err=err
        )
        return self._begun(Running(process, out, err))

    def cold(self, *arguments: object, **options: Any) -> Running:
        """Start a process with ``scripts/run.py`` in it; `options` as in `_prepare`."""
        out, err = self._files()
        with open(out, "wb") as stdout, open(err, "wb") as stderr:
            process = subprocess.Popen(
                script(*arguments, **options),
                stdin=subprocess.DEVNULL,
                stdout=stdout,
                stderr=stderr,
                start_new_session=True,
                cwd=ROOT,
            )
        return self._begun(Running(process, out, err))

    def _begun(self, run: Running) -> Running:
        self._runs = [each for each in self._runs if not each.ended] + [run]
        return run

    def run(self, *arguments: object, **options: Any) -> Outcome:
        """Let a warm run go to its end."""
        return self.warm(*arguments, **options).wait()


class Runs(Protocol):
    """What lets a run go to its end."""

    def run(self, *arguments: object) -> Outcome:
        """Run the command line."""


class Inside:
    """Runs in this process, with small triangles."""

    def __init__(
        self, command: Callable[..., tuple[int, str, str]], monkeypatch: "pytest.MonkeyPatch"
    ) -> None:
        self._command = command
        cut_small(monkeypatch.setattr)

    def run(self, *arguments: object) -> Outcome:
        """Run the command line."""
        return Outcome(*self._command(*map(str, arguments)))


def _prepare(
    *,
    path: str | None = None,
    cpus: int = 0,
    eager: bool = False,
    file_size: int = 0,
    user: int = 0,
    machine: str = "",
    hold: str = "",
    impatient: bool = False,
) -> None:
    """Make the process what a test wants it to be.

    Parameters
    ----------
    path
        Where other programs are found.
    cpus
        As if there were so many, to have more workers than CPUs.
    eager
        As if workers cost nothing to start, to have them on few films.
    file_size
        Limit for the size of a file, bytes.
    user
        Number of the user, to lose root's rights.
    machine
        As if the CPU were of this kind.
    hold
        Path of a file that holds the run up, as in `Small`.
    impatient
        Whether whoever holds a lock is known to hold it for longer than a moment.
    """
    if path is not None:
        os.environ["PATH"] = path
    import engine.batch.cost
    import engine.batch.notices
    import engine.batch.run
    import engine.store.lock
    import engine.work.tasks
    from engine.work.pool import Workers

    def small(make: Any) -> Small:
        return make if isinstance(make, Small) else Small(make, hold)

    cut_small()
    start, perform_all = Workers.start, Workers.perform_all
    mock.patch.object(Workers, "start", lambda self, n, make: start(self, n, small(make))).start()
    mock.patch.object(
        Workers,
        "perform_all",
        lambda self, make, *rest: perform_all(self, small(make), *rest),
    ).start()
    if cpus:
        mock.patch.object(engine.batch.run, "cpus", return_value=cpus).start()
    if eager:
        mock.patch.object(engine.batch.cost, "START_SECONDS", 1e-9).start()
    if impatient:
        mock.patch.object(engine.store.lock, "PATIENCE", 0.0).start()
    if machine:
        for module in (engine.batch.notices, engine.work.tasks):
            mock.patch.object(module, "machine", return_value=machine).start()
    if file_size:
        resource.setrlimit(resource.RLIMIT_FSIZE, (file_size, file_size))
    if user:
        # What is imported late could lie where only root may read.
        import engine.options
        import engine.terminal.progress

        os.setgroups([])
        os.setgid(user)
        os.setuid(user)


def run_warm(options: dict[str, Any], arguments: list[str]) -> int:
    """Be a run, as a fork."""
    from engine.cli import main

    _prepare(**options)
    return main(arguments)


# --- Processes


def group(pgid: int) -> list[tuple[int, str]]:
    """List the living processes of a process group: number and command."""
    found = []
    for pid in filter(str.isdigit, os.listdir("/proc")):
        with contextlib.suppress(OSError):
            if os.getpgid(int(pid)) != pgid:
                continue
            state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
            command = Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode()
            if state not in "ZX":
                found.append((int(pid), command))
    return found


def workers(pgid: int) -> list[int]:
    """List the worker processes of a run."""
    return sorted(pid for pid, command in group(pgid) if "work/worker.py" in command)


if __name__ == "__main__":
    sys.path.insert(0, str(ROOT))
    _prepare(**json.loads(sys.argv[1]))
    sys.argv[:] = ["scripts/run.py", *sys.argv[2:]]
    sys.path.insert(0, str(ROOT / "scripts"))  # As Python does for a script.
    runpy.run_path(str(ROOT / "scripts" / "run.py"), run_name="__main__")
