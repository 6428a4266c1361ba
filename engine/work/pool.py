"""The worker processes of one run, and joblib's threads that hand them their tasks.

joblib's own worker processes would do, were it not that all callers of a process share one set of
them, that they need semaphores in /dev/shm, and that the processes which watch over these import
from the current folder. So each of joblib's threads talks to a process of this run's own through a
pair of pipes: the process ends when its pipe does, and its exit status is known.
"""

import os
import pickle
import signal
import subprocess
import sys
import threading
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import suppress
from itertools import chain
from pathlib import Path
from queue import SimpleQueue
from typing import Any, Generic, TypeVar

import joblib

_Task = TypeVar("_Task")
_Result = TypeVar("_Result")

_NO_THREAD = "can't start new thread"
"""What Python says, in an error of no kind of its own."""
_STOPS = (signal.SIGINT, signal.SIGTERM)
_ENVIRONMENT = {
    # There is a worker for each CPU, and more threads would change the last bits of a product.
    "MKL_NUM_THREADS": "1",
    "OMP_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
}


class WorkerDiedError(Exception):
    """A worker process ended in the middle of its work; the text says how.

    For the engine alone, which starts others and goes on.

    Parameters
    ----------
    status
        Its exit status; the number of the signal that killed it, negative.
    """

    def __init__(self, status: int) -> None:
        how = f"ended with exit status {status}"
        if status < 0:
            how = f"was killed by {_name(-status)}"
        if status == -signal.SIGKILL:
            how += ", perhaps because memory ran out"
        super().__init__(how)


def _name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:  # A number without a name, as those of real-time signals.
        return f"signal {number}"


def cpus() -> int:
    """Number of CPUs this process may use."""
    return int(joblib.cpu_count())


class _Worker:
    """One worker process."""

    def __init__(self) -> None:
        # Ctrl-C and SIGTERM may reach the whole process group, and this process alone decides what
        # comes of it. A new process takes over which signals are blocked.
        mask = signal.pthread_sigmask(signal.SIG_BLOCK, _STOPS)
        try:
            self._process = subprocess.Popen(
                [sys.executable, "-P", str(Path(__file__).with_name("worker.py"))],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                env={**os.environ, **_ENVIRONMENT},
            )
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, mask)
        assert self._process.stdin
        assert self._process.stdout
        self._calls, self._answers = self._process.stdin, self._process.stdout
        self._busy = threading.Lock()
        self.send(sys.path)

    def send(self, what: object) -> None:
        """Send something, if there is anybody to get it; else the missing answer will tell."""
        with suppress(BrokenPipeError):
            self._calls.write(pickle.dumps(what))
            self._calls.flush()

    def ask(self, make: object, task: object) -> tuple[Any, Exception | None]:
        """Send a task and wait for its result, or for what was raised."""
        with self._busy:
            if self._calls.closed:
                return None, WorkerDiedError(self._process.wait())
            self.send((make, task))
            try:
                answer: tuple[Any, Exception | None] = pickle.load(self._answers)
            except (EOFError, pickle.UnpicklingError):  # Nothing, or the beginning of an answer.
                return None, WorkerDiedError(self._process.wait())
            return answer

    def kill(self) -> None:
        """End the process, whatever it is doing."""
        self._process.kill()

    def close(self) -> None:
        """Wait for the end of a process that was killed."""
        self._process.wait()
        with self._busy:
            with suppress(BrokenPipeError):  # Half a call was still to be sent.
                self._calls.close()
            self._answers.close()


class Shares(Generic[_Task]):
    """Tasks in groups, each group a deque, shared out among workers.

    A worker stays with a group as long as there is a task in it, so that what it holds of a decade
    is read once. Then it goes where most tasks are left for each worker that is there.
    """

    def __init__(self, groups: Iterable[Iterable[_Task]]) -> None:
        self._groups = [deque(group) for group in groups]
        self._at: dict[object, deque[_Task]] = {}
        self._lock = threading.Lock()

    def __len__(self) -> int:
        return sum(map(len, self._groups))

    def take(self, worker: object) -> _Task | None:
        """Take the next task for a worker; None when none is left."""
        with self._lock:
            if not self._at.get(worker):
                self._at.pop(worker, None)
                if not (groups := list(filter(None, self._groups))):
                    return None
                self._at[worker] = max(groups, key=self._share)
            return self._at[worker].popleft()

    def _share(self, group: deque[_Task]) -> float:
        there = sum(other is group for other in self._at.values())
        return len(group) / (there + 1)


class Workers:
    """The worker processes of one run; leaving the ``with`` block ends them at once.

    Parameters
    ----------
    message
        Is told when workers cannot be started.
    """

    def __init__(self, message: Callable[[str], None]) -> None:
        self._message = message
        self._started: list[_Worker] = []
        self._alone = False
        """No others can be used."""

    def __enter__(self) -> "Workers":
        return self

    def __exit__(self, *_: object) -> None:
        self.end()

    def start(self, n: int, make: Callable[[], object]) -> None:
        """Start workers until there are `n`; each imports at once what `make` needs."""
        while len(self._started) < n:
            try:
                worker = _Worker()
            except OSError as error:
                self._message(
                    f"no more than {len(self._started)} of {n} worker processes can be started "
                    f"({error.strerror}); going on with {max(1, len(self._started))}"
                )
                break
            self._started.append(worker)
            worker.send((make,))

    def perform_all(
        self,
        make: Callable[[], Callable[[_Task], _Result]],
        groups: Iterable[Iterable[_Task]],
        n: int,
        wanted: Callable[[_Task], bool] = lambda _: True,
    ) -> Generator[_Result, None, None]:
        """Perform tasks, those of a group begun in their order; yield each result as it comes.

        Whoever closes the generator early ends all workers, and results not yet yielded are lost.

        Parameters
        ----------
        make
            Called once in each process for what performs a task; what that keeps from one task for
            the next is dropped with it.
        groups
            Tasks that need the same, together: a worker that has begun with a group stays with it.
        n
            Number of workers; 1 performs the tasks in this process.
        wanted
            Asked when the turn of a task comes; it is left out if this is False.

        Yields
        ------
        object
            What was returned, in the order in which the tasks end.

        Raises
        ------
        WorkerDiedError
            When a worker died. The others are ended, and results not yet yielded are lost.
        """
        if n > 1 and not self._alone:
            self.start(n, make)
        workers = self._started[:n]
        if n == 1 or not workers:
            yield from map(make(), filter(wanted, chain.from_iterable(groups)))
            return
        shares = Shares(groups)
        free: SimpleQueue[_Worker] = SimpleQueue()
        for worker in workers:
            free.put(worker)

        def call() -> tuple[_Result, Exception | None] | None:
            worker = free.get()
            try:
                while (task := shares.take(worker)) is not None:
                    if wanted(task):
                        return worker.ask(make, task)
                return None
            finally:
                free.put(worker)

        def calls() -> Iterator[Any]:
            for _ in range(len(shares)):
                if not workers:
                    return
                yield joblib.delayed(call)()

        try:
            answers = joblib.Parallel(
                n_jobs=len(workers),
                backend="threading",
                return_as="generator_unordered",
                batch_size=1,
                pre_dispatch="2*n_jobs",
            )(calls())
        except (RuntimeError, AttributeError) as failure:
            # Before anything is taken. Of its threads that cannot be started, the pool in Python's
            # own library tries to end the others as if they were processes.
            if _NO_THREAD not in (str(failure), str(failure.__context__)):
                raise
            self.end()
            self._alone = True
            self._message(
                f"the threads for {n} workers cannot be started ({_NO_THREAD}); going on with 1"
            )
            left = iter(lambda: shares.take(self), None)
            yield from map(make(), filter(wanted, left))
            return
        try:
            for result, error in filter(None, answers):
                if error:
                    raise error
                yield result
            workers.clear()
        finally:
            if workers:
                workers.clear()
                self.end()
                for _ in answers:  # joblib warns of results that nobody took.
                    pass

    def end(self) -> None:
        """End the workers, whatever they are doing."""
        for worker in self._started:
            worker.kill()
        for worker in self._started:
            worker.close()
        self._started.clear()
