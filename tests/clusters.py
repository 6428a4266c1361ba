"""Real Dask clusters and a real S3 server for the tests: commands, each in a process of its own.

They are forked from a process that has imported all that they need, which takes a second each.

Where the tests may (root, and `ip` of iproute2), every machine of a cluster is a network namespace
with an address of its own, and nothing but a bridge between them.
"""

import contextlib
import ctypes
import importlib.util
import os
import re
import runpy
import shutil
import signal
import socket
import subprocess
import sys
import urllib.parse
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from forks import ENGINE, ROOT, forker
from waiting import PATIENCE, within

WITHOUT_ENGINE = """
import sys
for name in ["engine", *sys.modules]:
    if name.partition(".")[0] == "engine":
        sys.modules[name] = None
"""
"""To prepare a scheduler or a worker: the engine is not installed there."""


def held(hold: Path) -> str:
    """To prepare a run or a worker: it waits after each row-block while a file is there.

    So that something can be killed before everything is computed.
    """
    return f"""
import time
from pathlib import Path
from engine.store.arrays import StoredDecade
def write_and_wait(self, *arguments, write=StoredDecade.write):
    write(self, *arguments)
    while Path({str(hold)!r}).exists():
        time.sleep(0.005)
StoredDecade.write = write_and_wait
"""


def not_installed(*modules: str) -> str:
    """Name those of some modules that are not installed."""
    return ", ".join(name for name in modules if importlib.util.find_spec(name) is None)


def needs(*modules: str) -> pytest.MarkDecorator:
    """Skip when a package of an extra is not installed."""
    missing = not_installed(*modules)
    return pytest.mark.skipif(bool(missing), reason=f"{missing} not installed")


def _loaded() -> list[str]:
    """What every command has imported that may want it, as far as it is installed."""
    late = {
        "engine.work.dask.cluster": "distributed",
        "distributed.cli": "distributed",
        "engine.store.remote": "fsspec",
        "s3fs": "s3fs",
        "moto.server": "moto",
    }
    there = [name for name, package in late.items() if not not_installed(package)]
    return ["clusters", *ENGINE, *there]


# --- Machines

_NEW_MOUNTS = 0x00020000
"""CLONE_NEWNS, for which Python 3.11 has no name."""


@dataclass(frozen=True)
class Machine:
    """Where a command runs: this machine, or a network namespace of it."""

    address: str = "127.0.0.1"
    namespace: str = ""
    hidden: Path | None = None
    """A folder of this machine that is empty there."""

    def enter(self) -> None:
        """Have this process run there."""
        libc = ctypes.CDLL(None, use_errno=True)
        if self.namespace:
            with open(f"/run/netns/{self.namespace}") as file:
                if libc.setns(file.fileno(), 0):
                    raise OSError(ctypes.get_errno(), "setns", self.namespace)
        if self.hidden:
            if libc.unshare(_NEW_MOUNTS):
                raise OSError(ctypes.get_errno(), "unshare")
            for words in (["--make-rprivate", "/"], ["-t", "tmpfs", "none", str(self.hidden)]):
                subprocess.run(["mount", *words], check=True)


def _ip(words: str) -> None:
    subprocess.run(["ip", *words.split()], check=True, capture_output=True)


@contextlib.contextmanager
def namespaces(count: int) -> Iterator[list[Machine]]:
    """Make machines with a bridge between them; skip where that is not allowed."""
    if os.geteuid() != 0:
        pytest.skip("network namespaces need root")
    if shutil.which("ip") is None:
        pytest.skip("network namespaces need ip (Debian's iproute2)")
    mark = f"{os.getpid() % 100000}"
    bridge = f"sbr{mark}"
    machines = [Machine(f"10.213.7.{i + 1}", f"sim{mark}n{i}") for i in range(count)]
    try:
        try:
            _ip(f"link add {bridge} type bridge")
            _ip(f"addr add 10.213.7.254/24 dev {bridge}")
            _ip(f"link set {bridge} up")
            for i, machine in enumerate(machines):
                here = f"s{mark}v{i}"
                _ip(f"netns add {machine.namespace}")
                _ip(f"link add {here} type veth peer name eth0 netns {machine.namespace}")
                _ip(f"link set {here} master {bridge} up")
                _ip(f"-n {machine.namespace} addr add {machine.address}/24 dev eth0")
                _ip(f"-n {machine.namespace} link set eth0 up")
                _ip(f"-n {machine.namespace} link set lo up")
        except subprocess.CalledProcessError as error:
            pytest.skip(f"network namespaces cannot be made here: {error.stderr.decode().strip()}")
        yield machines
    finally:
        for machine in machines:
            subprocess.run(["ip", "netns", "del", machine.namespace], capture_output=True)
        subprocess.run(["ip", "link", "del", bridge], capture_output=True)


# --- Commands


@dataclass(frozen=True)
class Outcome:
    """How a run ended."""

    status: int
    stdout: str
    stderr: str

    @property
    def errors(self) -> list[str]:
        """The lines that begin ``error:``."""
        return [line for line in self.stderr.splitlines() if line.startswith("error:")]


class Command:
    """A command at work, in a process group of its own.

    Parameters
    ----------
    program
        What follows ``python -m``.
    words
        Its arguments.
    log
        What it says on stderr.
    environment
        What is added to that of this process.
    machine
        Where it runs.
    prepare
        Python that comes first.
    new
        Whether it is a process of its own from the start, with libraries that read the environment
        when they are loaded.
    """

    def __init__(
        self,
        program: str,
        words: Sequence[str],
        log: Path,
        environment: Mapping[str, str] | None = None,
        machine: Machine | None = None,
        prepare: str = "",
        new: bool = False,
    ) -> None:
        self.log = log
        there = machine or Machine()
        self.process = forker(*_loaded()).start(
            "clusters:perform",
            [there.address, there.namespace, str(there.hidden or "")],
            prepare,
            [program, *words],
            new,
            out=log.with_suffix(".out"),
            err=log,
            cwd=log.parent,
            environment={"PYTHONPATH": str(ROOT), **(environment or {})},
        )

    def kill(self, number: int = signal.SIGKILL) -> None:
        """Send a signal to all its processes."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, number)

    def wait(self, seconds: float = PATIENCE) -> Outcome:
        """Wait for its end; what hangs is killed and is a failure."""
        try:
            status = self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            self.kill()
            self.process.wait()
            raise AssertionError(f"it hangs; it said: {self.said()}") from None
        return Outcome(status, self.log.with_suffix(".out").read_text(), self.said())

    def said(self) -> str:
        """What it has said on stderr so far."""
        return self.log.read_text(errors="replace")

    def end(self) -> None:
        """Kill it and wait until it is gone."""
        self.kill()
        self.process.wait()


def perform(machine: list[str], prepare: str, command: list[str], new: bool) -> None:
    """Be a command; for `Command`."""
    address, namespace, hidden = machine
    Machine(address, namespace, Path(hidden) if hidden else None).enter()
    if new:
        os.execv(sys.executable, [sys.executable, "-m", *command])
    exec(prepare, {})
    sys.argv[:] = command
    runpy.run_module(command[0], run_name="__main__")


def run(
    data: Path,
    *arguments: object,
    prepare: str = "",
    machine: Machine | None = None,
    environment: Mapping[str, str] | None = None,
) -> Command:
    """Start the command line on a data folder, after some Python."""
    words = ["--data", *map(str, [data, *arguments])]
    if "--dask" in words:
        patient = f"import engine.work.dask.connection as c; c.CONNECT_SECONDS = {PATIENCE}"
        prepare = f"{patient}\n{prepare}"
    log = data.with_name(f"{data.name}-{sum(1 for _ in data.parent.glob('*.log'))}.log")
    return Command("engine", words, log, environment, machine, prepare)


def free_port() -> int:
    """Find a port that nobody listens to."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


@dataclass
class Cluster:
    """A scheduler and workers, started with the `dask` command line."""

    folder: Path
    machines: list[Machine] = field(default_factory=lambda: [Machine()] * 5)
    """Of the scheduler, then of each worker."""
    commands: dict[str, Command] = field(default_factory=dict)
    _port: int = 0

    @property
    def address(self) -> str:
        """Of the scheduler."""
        return f"tcp://{self.machines[0].address}:{self._port}"

    def _start(self, name: str, machine: Machine, words: Sequence[str], **more: Any) -> None:
        log = self.folder / f"{name}-{sum(1 for _ in self.folder.glob(f'{name}-*.log'))}.log"
        self.commands[name] = Command("dask", words, log, machine=machine, **more)

    def scheduler(self, **more: Any) -> None:
        """Start the scheduler, at the address where it was before, if it was.

        `more` is for `Command`.
        """
        if not self._port:
            self._port = free_port()
        words = ["scheduler", "--host", self.machines[0].address, "--port", str(self._port)]
        self._start("scheduler", self.machines[0], [*words, "--no-dashboard"], **more)
        command = self.commands["scheduler"]
        within(lambda: "Scheduler at:" in command.said())

    def worker(self, number: int, threads: int = 1, **more: Any) -> None:
        """Start a worker; do not wait for it."""
        machine = self.machines[number]
        words = ["worker", self.address, "--host", machine.address, "--nthreads", str(threads)]
        words += ["--no-nanny", "--no-dashboard"]
        words += ["--local-directory", str(self.folder / f"scratch{number}")]
        self._start(f"worker{number}", machine, words, **more)

    def ready(self, *numbers: int) -> None:
        """Wait until workers have registered."""
        for number in numbers:
            command = self.commands[f"worker{number}"]
            within(lambda command=command: "Registered to:" in command.said())  # type: ignore[misc]

    def alive(self, name: str) -> bool:
        """Whether the scheduler or a worker runs."""
        return name in self.commands and self.commands[name].process.poll() is None

    def kill(self, name: str) -> None:
        """Kill the scheduler or a worker."""
        self.commands[name].end()

    def close(self) -> None:
        """Leave nothing behind."""
        for command in self.commands.values():
            command.kill()
        for command in self.commands.values():
            command.process.wait()


SECRETS = {"AWS_ACCESS_KEY_ID": "AKIAOFNOBODYATALL", "AWS_SECRET_ACCESS_KEY": "hunter2/hunter2"}


class Bucket:
    """A bucket of an S3-compatible server at an address of this machine."""

    def __init__(self, folder: Path, address: str = "127.0.0.1") -> None:
        self.endpoint = f"http://{address}:{free_port()}"
        self.environment = {
            **SECRETS,
            "AWS_ENDPOINT_URL": self.endpoint,
            "AWS_DEFAULT_REGION": "us-east-1",
            "AWS_EC2_METADATA_DISABLED": "true",
            # Locks lie there by URL, and every bucket of the tests has the same.
            "TMPDIR": str(folder),
        }
        port = self.endpoint.rpartition(":")[2]
        self.server = Command(
            "moto.server", ["-H", address, "-p", port], folder / f"bucket-{port}.log"
        )
        within(self._answers)
        self.empty()

    def _answers(self) -> bool:
        with contextlib.suppress(OSError), urllib.request.urlopen(self.endpoint):
            return True
        return False

    def empty(self) -> None:
        """Have nothing but one bucket, which is empty."""
        urllib.request.urlopen(f"{self.endpoint}/moto-api/reset", b"").close()
        self.ask("PUT", "")

    def ask(self, method: str, key: str, content: bytes | None = None) -> bytes:
        """Make a request about the bucket or a key in it."""
        url = f"{self.endpoint}/films/{urllib.parse.quote(key)}"
        # Whatever is signed counts as the owner's.
        signature = "Credential=x/20200101/us-east-1/s3/aws4_request, SignedHeaders=, Signature="
        # What counts as a form, which urllib takes it for, would be stored as nothing.
        kind = "application/octet-stream"
        headers = {"Authorization": f"AWS4-HMAC-SHA256 {signature}", "Content-Type": kind}
        request = urllib.request.Request(url, content, headers, method=method)
        with urllib.request.urlopen(request) as answer:
            return bytes(answer.read())

    def listed(self, part: str = "") -> dict[str, str]:
        """List the keys that hold a part, with the time at which each was written."""
        url = f"{self.endpoint}/films?list-type=2&max-keys=10000"
        with urllib.request.urlopen(url) as answer:
            found = re.findall(
                r"<Key>(.*?)</Key>.*?<LastModified>(.*?)</LastModified>", answer.read().decode()
            )
        return {key: written for key, written in found if part in key}
