"""Real Dask clusters and a real S3 server for the tests: commands, each in a process of its own.

Where the tests may (root, and `ip` of iproute2), every machine of a cluster is a network namespace
with an address of its own, and nothing but a bridge between them.
"""

import contextlib
import importlib.util
import os
import re
import shlex
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

import pytest
from waiting import PATIENCE, within

ROOT = Path(__file__).resolve().parents[1]
SLOW = """
import time
from engine.work import row_block
def slow(*arguments, fast=row_block.similarities, **options):
    time.sleep(0.15)
    return fast(*arguments, **options)
row_block.similarities = slow
"""
"""For `dask worker --preload`: time to kill something before everything is computed."""


def not_installed(*modules: str) -> str:
    """Name those of some modules that are not installed."""
    return ", ".join(name for name in modules if importlib.util.find_spec(name) is None)


def needs(*modules: str) -> pytest.MarkDecorator:
    """Skip when a package of an extra is not installed."""
    missing = not_installed(*modules)
    return pytest.mark.skipif(bool(missing), reason=f"{missing} not installed")


# --- Machines


@dataclass(frozen=True)
class Machine:
    """Where a command runs: this machine, or a network namespace of it."""

    address: str = "127.0.0.1"
    namespace: str = ""
    hidden: Path | None = None
    """A folder of this machine that is empty there."""

    def command(self, words: Sequence[str]) -> list[str]:
        """Write a command so that it runs there."""
        words = list(words)
        if self.hidden:
            script = (
                f"mount -t tmpfs none {shlex.quote(str(self.hidden))} && exec {shlex.join(words)}"
            )
            words = ["unshare", "--mount", "sh", "-c", script]
        return [*(["ip", "netns", "exec", self.namespace] if self.namespace else []), *words]


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
    """A command at work, in a process group of its own."""

    def __init__(self, words: Sequence[str], log: Path, environment: Mapping[str, str]) -> None:
        self.log = log
        with open(log, "wb") as err, open(log.with_suffix(".out"), "wb") as out:
            self.process = subprocess.Popen(
                words,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=err,
                cwd=log.parent,
                env={**os.environ, "PYTHONPATH": str(ROOT), **environment},
                start_new_session=True,
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


def run(
    data: Path,
    *arguments: object,
    prepare: str = "",
    machine: Machine | None = None,
    environment: Mapping[str, str] | None = None,
) -> Command:
    """Start the command line on a data folder, after some Python."""
    code = f"import sys; {prepare}\nfrom engine.cli import main; sys.exit(main(sys.argv[1:]))"
    words = [sys.executable, "-c", code, "--data", *map(str, [data, *arguments])]
    log = data.with_name(f"{data.name}-{sum(1 for _ in data.parent.glob('*.log'))}.log")
    return Command((machine or Machine()).command(words), log, environment or {})


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
    environment: dict[str, str] = field(default_factory=dict)
    commands: dict[str, Command] = field(default_factory=dict)
    _port: int = 0

    @property
    def address(self) -> str:
        """Of the scheduler."""
        return f"tcp://{self.machines[0].address}:{self._port}"

    def _start(self, name: str, machine: Machine, words: Sequence[str], **more: str) -> Command:
        log = self.folder / f"{name}-{sum(1 for _ in self.folder.glob(f'{name}-*.log'))}.log"
        command = machine.command([sys.executable, "-m", "dask", *words])
        self.commands[name] = Command(command, log, {**self.environment, **more})
        return self.commands[name]

    def scheduler(self, *options: str) -> None:
        """Start the scheduler, at the address where it was before, if it was."""
        if not self._port:
            self._port = free_port()
        words = ["scheduler", "--host", self.machines[0].address, "--port", str(self._port)]
        command = self._start("scheduler", self.machines[0], [*words, "--no-dashboard", *options])
        within(lambda: "Scheduler at:" in command.said())

    def worker(self, number: int, *options: str, **environment: str) -> None:
        """Start a worker; do not wait for it."""
        machine = self.machines[number]
        words = ["worker", self.address, "--host", machine.address, "--no-nanny"]
        scratch = ["--no-dashboard", "--local-directory", str(self.folder / f"scratch{number}")]
        threads = [] if "--nthreads" in options else ["--nthreads", "1"]
        self._start(
            f"worker{number}", machine, [*words, *scratch, *threads, *options], **environment
        )

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
        words = [sys.executable, "-m", "moto.server", "-H", address, "-p", port]
        self.server = Command(words, folder / f"bucket-{port}.log", {})
        within(self._answers)
        self.ask("PUT", "")

    def _answers(self) -> bool:
        with contextlib.suppress(OSError), urllib.request.urlopen(self.endpoint):
            return True
        return False

    def ask(self, method: str, key: str, content: bytes | None = None) -> bytes:
        """Make a request about the bucket or a key in it."""
        url = f"{self.endpoint}/films/{urllib.parse.quote(key)}"
        # Whatever is signed counts as the owner's.
        signature = "Credential=x/20200101/us-east-1/s3/aws4_request, SignedHeaders=, Signature="
        headers = {"Authorization": f"AWS4-HMAC-SHA256 {signature}"}
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
