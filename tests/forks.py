"""Processes that start warm: forks of one that has imported what they need.

What a short command takes goes to its imports. A `Forker` makes them once; every process it starts
afterwards is real, in a group of its own, but has nothing left to import.
"""

import atexit
import contextlib
import gc
import importlib
import json
import os
import runpy
import select
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import threading
import time
import traceback
from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
ENGINE = (
    "engine.cli",
    "engine.options",
    "engine.terminal.progress",
    "engine.batch.run",
    "engine.batch.status",
    "engine.batch.verify",
    "tqdm",
)
"""What the command line imports, early or late."""
_NUMBER = struct.Struct("<i")
"""What is told of a fork: its process number, then its exit status."""


class Forked:
    """A forked process, with what is needed of `subprocess.Popen`."""

    def __init__(self, answers: int) -> None:
        self._answers = answers
        self.returncode: int | None = None
        pid = self._told(None)
        assert pid is not None
        self.pid = pid

    def _told(self, timeout: float | None) -> int | None:
        ready, _, _ = select.select([self._answers], [], [], timeout)
        if not ready:
            return None
        answer = os.read(self._answers, _NUMBER.size)
        assert answer, "the process that forks the others has died"
        return int(_NUMBER.unpack(answer)[0])

    def wait(self, timeout: float | None = None) -> int:
        """Wait for the exit status; the number of the signal that killed it, negative."""
        if self.returncode is None:
            self.returncode = self._told(timeout)
            if self.returncode is None:
                raise subprocess.TimeoutExpired(str(self.pid), timeout or 0.0)
            os.close(self._answers)
        return self.returncode

    def poll(self) -> int | None:
        """Look for the exit status; None when there is none yet."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            return self.wait(0)
        return None


class Forker:
    """Starts processes as forks of one that has imported some modules."""

    def __init__(self, *modules: str) -> None:
        self._orders, theirs = socket.socketpair()
        self._turn = threading.Lock()
        with theirs:
            command = [sys.executable, __file__, str(theirs.fileno()), *modules]
            self._process = subprocess.Popen(
                command, pass_fds=[theirs.fileno()], stdin=subprocess.DEVNULL
            )

    def start(
        self,
        function: str,
        *arguments: Any,
        out: Path,
        err: Path,
        cwd: Path = ROOT,
        environment: Mapping[str, str] | None = None,
    ) -> Forked:
        """Call a function in a process of its own; what it returns is the exit status.

        Parameters
        ----------
        function
            ``"module:name"``
        arguments
            That JSON can hold.
        out, err
            Where stdout and stderr go.
        cwd
            The current folder.
        environment
            What is added to that of this process.
        """
        order = {
            "function": function,
            "arguments": arguments,
            "cwd": str(cwd),
            "environment": {**os.environ, **(environment or {})},
        }
        text = json.dumps(order).encode()
        read, write = os.pipe()
        with contextlib.ExitStack() as stack:
            files = [stack.enter_context(open(file, "wb")) for file in (write, out, err)]
            # Held until the process has begun: two orders must not run into one another.
            stack.enter_context(self._turn)
            descriptors = [file.fileno() for file in files]
            socket.send_fds(self._orders, [_NUMBER.pack(len(text))], descriptors)
            self._orders.sendall(text)
            return Forked(read)

    def close(self) -> None:
        """End the process that forks the others."""
        self._orders.close()
        self._process.wait()


@cache
def forker(*modules: str) -> Forker:
    """The one forker of this process that has imported these modules."""
    forker = Forker(*modules)
    atexit.register(forker.close)
    return forker


def never_sync(change: Callable[[Any, str, Any], object] = setattr) -> None:
    """Have this process wait for no disk.

    A killed process loses nothing that it wrote, and no test can cut the power: what must be
    synced, and in which order, is known from the calls.
    """
    change(os, "fsync", os.fstat)  # Which refuses what is no open file, too.


# --- In the process that forks


def python(words: list[str]) -> None:
    """Be ``python`` with these words after it, a script or a module and its arguments."""
    if words[0] == "-m":
        sys.path.insert(0, os.getcwd())
        sys.argv = words[1:]
        runpy.run_module(words[1], run_name="__main__", alter_sys=True)
    else:
        sys.path.insert(0, str(Path(words[0]).resolve().parent))
        sys.argv = words
        runpy.run_path(words[0], run_name="__main__")


def _serve(orders: socket.socket) -> None:
    """Fork a process for each order, and answer with its number, then with its status."""
    ended, ends = os.pipe()
    os.set_blocking(ends, False)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    signal.set_wakeup_fd(ends, warn_on_full_buffer=False)
    answers: dict[int, int] = {}
    while True:
        ready, _, _ = select.select([orders.fileno(), ended], [], [])
        if ended in ready:
            os.read(ended, 4096)
            for pid, status in _reaped():
                os.write(answers[pid], _NUMBER.pack(status))
                os.close(answers.pop(pid))
        if orders.fileno() in ready:
            head, files, _, _ = socket.recv_fds(orders, _NUMBER.size, 3)
            if not head:
                return
            answer, *said = files
            [size] = _NUMBER.unpack(head)
            order = json.loads(orders.recv(size, socket.MSG_WAITALL))
            pid = os.fork()
            if not pid:
                for descriptor in (orders.fileno(), ended, ends, answer, *answers.values()):
                    os.close(descriptor)
                os._exit(_play(order, *said))
            for descriptor in said:
                os.close(descriptor)
            while os.getpgid(pid) != pid:  # Not before it can be found, and killed, as a group.
                time.sleep(0.001)
            answers[pid] = answer
            os.write(answer, _NUMBER.pack(pid))


def _reaped() -> list[tuple[int, int]]:
    found = []
    with contextlib.suppress(ChildProcessError):  # None is left.
        while True:
            pid, status = os.waitpid(-1, os.WNOHANG)
            if not pid:
                break
            found.append((pid, os.waitstatus_to_exitcode(status)))
    return found


def _play(order: dict[str, Any], out: int, err: int) -> int:
    """Be what was ordered, and return the exit status."""
    os.setsid()
    signal.set_wakeup_fd(-1)
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    for descriptor, file in ((1, out), (2, err)):
        os.dup2(file, descriptor)
        os.close(file)
    os.chdir(order["cwd"])
    os.environ.clear()
    os.environ.update(order["environment"])
    tempfile.tempdir = None
    status = 70
    try:
        module, _, name = order["function"].partition(":")
        status = getattr(importlib.import_module(module), name)(*order["arguments"]) or 0
        sys.stdout.flush()
    except SystemExit as stop:
        status = int(stop.code or 0)
    except BaseException:
        traceback.print_exc()
    finally:
        with contextlib.suppress(BaseException):
            sys.stderr.flush()
    return status


if __name__ == "__main__":
    sys.path.insert(0, str(ROOT))
    for module in sys.argv[2:]:
        importlib.import_module(module)
    never_sync()
    gc.freeze()  # What is imported is no garbage: no fork needs to look for it there.
    assert threading.active_count() == 1, "a thread would be missing in every fork"
    _serve(socket.socket(fileno=int(sys.argv[1])))
