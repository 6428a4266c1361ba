"""The workers: processes of one run, one BLAS thread each, none that outlives it."""

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import joblib
import pytest
from errands import (
    blas_threads,
    children,
    dies_when_told,
    fails_at_three,
    of_process,
    speaker,
    squarer,
    stays_from_three,
)
from waiting import PATIENCE, within

from engine.work.pool import Shares, WorkerDiedError, Workers, cpus

# joblib may make one more pool of threads while a worker's death ends the one before.
pytestmark = pytest.mark.filterwarnings("ignore:unclosed running multiprocessing pool")


def taken(taken: list[int], tasks: range) -> Iterator[int]:
    for task in tasks:
        taken.append(task)
        yield task


@pytest.fixture
def workers(monkeypatch: pytest.MonkeyPatch) -> Iterator[Workers]:
    """Workers that find what they need here; none outlives its test."""
    monkeypatch.syspath_prepend(str(Path(__file__).parent))
    before = children()
    messages: list[str] = []
    with Workers(messages.append) as workers:
        yield workers
    assert children() == before
    assert messages == []


def test_there_is_at_least_one_cpu_and_no_more_than_the_machine_has() -> None:
    assert 1 <= cpus() <= (os.cpu_count() or 1)


def test_one_worker_is_this_process_and_takes_a_task_when_it_is_due(workers: Workers) -> None:
    begun: list[int] = []
    results = workers.perform_all(of_process, [taken(begun, range(3))], 1)
    assert begun == []
    for n in range(1, 4):
        assert next(results) == (os.getpid(), n)
        assert begun == list(range(n))


def test_several_workers_do_every_task_once_in_other_processes(workers: Workers) -> None:
    assert sorted(workers.perform_all(squarer, [range(40)], 2)) == [k * k for k in range(40)]
    pids = {pid for pid, _ in workers.perform_all(of_process, [range(20)], 2)}
    assert os.getpid() not in pids
    assert 1 <= len(pids) <= 2


def test_a_worker_keeps_what_it_made_from_task_to_task(workers: Workers) -> None:
    done: dict[int, list[int]] = {}
    for pid, count in workers.perform_all(of_process, [range(20)], 2):
        done.setdefault(pid, []).append(count)
    assert all(counts == list(range(1, len(counts) + 1)) for counts in done.values())


def test_tasks_are_begun_in_their_order_and_not_all_at_once(workers: Workers) -> None:
    begun: list[int] = []

    def wanted(task: int) -> bool:
        begun.append(task)
        return True

    results: Any = workers.perform_all(stays_from_three, [range(200)], 2, wanted)
    assert {next(results) for _ in range(3)} == {0, 1, 2}
    assert begun in ([0, 1, 2, 3], [0, 1, 2, 3, 4])  # Two workers stay at one each.
    results.close()
    begun.clear()
    found = sorted(workers.perform_all(squarer, [range(50)], 2, wanted))
    assert found == [k * k for k in range(50)]
    assert begun == list(range(50))


@pytest.mark.parametrize("n", [1, 2])
def test_a_task_that_is_not_wanted_when_its_turn_comes_is_left_out(
    n: int, workers: Workers
) -> None:
    found = workers.perform_all(squarer, [range(5), range(5, 9)], n, lambda task: task % 2 == 0)
    assert sorted(found) == [0, 4, 16, 36, 64]


def test_a_worker_stays_with_a_group_and_then_goes_where_most_is_left_for_each() -> None:
    shares = Shares(
        [[f"{letter}{k}" for k in range(n)] for letter, n in zip("abc", (6, 2, 9), strict=True)]
    )
    assert len(shares) == 17
    both = [(shares.take("one"), shares.take("other")) for _ in range(6)]
    assert both == [(f"c{k}", f"a{k}") for k in range(6)]
    # Of c 3 are left for one worker, so 1.5 for each of two; of b there are 2.
    assert [shares.take("other") for _ in range(2)] == ["b0", "b1"]
    assert [shares.take("other"), shares.take("one"), shares.take("other")] == ["c6", "c7", "c8"]
    assert shares.take("one") is shares.take("other") is None


def test_a_worker_has_one_blas_thread_whatever_the_environment_says(
    workers: Workers, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
        monkeypatch.setenv(name, "16")
    for threads in workers.perform_all(blas_threads, [range(4)], 2):
        assert set(threads) == {1}


def test_what_a_worker_prints_by_mistake_is_no_answer(workers: Workers) -> None:
    assert sorted(workers.perform_all(speaker, [range(4)], 2)) == [0, 1, 2, 3]


def test_an_error_in_a_worker_is_an_error_here_that_shows_where(workers: Workers) -> None:
    with pytest.raises(ArithmeticError, match="three") as caught:
        list(workers.perform_all(fails_at_three, [range(100)], 2))
    assert "in perform" in "".join(caught.value.__notes__)


@pytest.mark.parametrize(
    ("task", "how"),
    [
        (("exit", 0), "ended with exit status 0"),
        (("signal", signal.SIGKILL), "was killed by SIGKILL, perhaps because memory ran out"),
        (("signal", signal.SIGSEGV), "was killed by SIGSEGV"),
    ],
)
def test_a_worker_that_dies_is_told_with_how_it_ended(
    task: tuple[str, int], how: str, workers: Workers
) -> None:
    before = children()
    with pytest.raises(WorkerDiedError) as caught:
        list(workers.perform_all(dies_when_told, [[0, 1, 2, task, *range(100)]], 2))
    assert str(caught.value) == how
    assert children() == before  # The others ended.
    # The next ones start afresh.
    assert sorted(workers.perform_all(squarer, [range(4)], 2)) == [0, 1, 4, 9]


def test_who_stops_listening_ends_the_workers_at_once_and_in_silence(workers: Workers) -> None:
    before = children()
    results: Any = workers.perform_all(stays_from_three, [range(100)], 2)
    assert next(results) in range(3)
    results.close()
    assert children() == before


def test_an_interruption_ends_the_workers_at_once_and_in_silence(workers: Workers) -> None:
    before = children()

    def work() -> None:
        with workers:
            for _ in workers.perform_all(stays_from_three, [range(100)], 2):
                raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        work()
    assert children() == before


def test_workers_are_started_from_any_thread(workers: Workers) -> None:
    with ThreadPoolExecutor(1) as threads:
        found = threads.submit(lambda: sorted(workers.perform_all(squarer, [range(4)], 2))).result()
    assert found == [0, 1, 4, 9]


def test_the_workers_of_two_threads_do_not_know_each_other(workers: Workers) -> None:
    with Workers(print) as others:
        results = workers.perform_all(squarer, [range(50)], 2)
        assert next(results) in (0, 1)
        assert sorted(others.perform_all(squarer, [range(4)], 2)) == [0, 1, 4, 9]
        others.end()
        assert len(list(results)) == 49


def test_a_generator_of_joblib_that_the_caller_has_open_is_left_alone(workers: Workers) -> None:
    own = joblib.Parallel(n_jobs=2, return_as="generator", backend="threading")(
        joblib.delayed(pow)(k, 2) for k in range(50)
    )
    assert next(own) == 0
    assert sorted(workers.perform_all(squarer, [range(4)], 2)) == [0, 1, 4, 9]
    assert list(own) == [k * k for k in range(1, 50)]


@pytest.mark.parametrize("how", ["killed", "left in a hurry"])
def test_workers_end_with_their_parent_whatever_they_are_at(how: str, tmp_path: Path) -> None:
    end = "os.kill(os.getpid(), 9)" if how == "killed" else "os._exit(0)"
    program = (
        "import os, sys\n"
        "from errands import *\n"
        "from engine.work.pool import Workers\n"
        "workers = Workers(print)\n"
        "results = workers.perform_all(stays_from_three, [range(100)], 2)\n"
        "next(results)\n"
        "print(*(pid for pid, _ in children()), flush=True)\n" + end
    )
    done = subprocess.run(
        [sys.executable, "-c", program],
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(Path(__file__).parent), *sys.path])},
        capture_output=True,
        text=True,
        timeout=PATIENCE,
    )
    pids = done.stdout.split()
    assert len(pids) == 2, done.stderr
    within(lambda: not any(alive(pid) for pid in pids))
    assert done.stderr == ""


def alive(pid: str) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return False


def test_ctrl_c_and_sigterm_are_not_for_workers(workers: Workers) -> None:
    results = workers.perform_all(of_process, [range(20)], 2)
    pids = {next(results)[0]}
    for pid in pids:
        os.kill(pid, signal.SIGINT)
        os.kill(pid, signal.SIGTERM)
    assert len(list(results)) == 19
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, ())
    assert not mask & {signal.SIGINT, signal.SIGTERM}


def test_where_no_process_can_be_started_this_one_works_alone_and_says_so(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise OSError(11, "Resource temporarily unavailable")

    monkeypatch.setattr(subprocess, "Popen", refuse)
    messages: list[str] = []
    with Workers(messages.append) as workers:
        assert list(workers.perform_all(squarer, [range(3)], 2)) == [0, 1, 4]
    assert messages == [
        "no more than 0 of 2 worker processes can be started (Resource temporarily unavailable); "
        "going on with 1"
    ]


@pytest.mark.parametrize("room", range(5))
def test_where_no_thread_can_be_started_this_one_works_alone_and_says_so(
    room: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As with a low ``ulimit -u``, or in a container that may have few processes."""
    monkeypatch.syspath_prepend(str(Path(__file__).parent))
    before = children()
    start = threading.Thread.start
    started: list[threading.Thread] = []

    def refuse(thread: threading.Thread) -> None:
        if len(started) == room:
            raise RuntimeError("can't start new thread")
        started.append(thread)
        start(thread)

    monkeypatch.setattr(threading.Thread, "start", refuse)
    messages: list[str] = []
    with Workers(messages.append) as workers:
        for _ in range(2):
            found = workers.perform_all(of_process, [range(3), range(2)], 2, lambda task: task < 2)
            assert [pid for pid, _ in found] == [os.getpid()] * 4
        assert children() == before
    assert messages == [
        "the threads for 2 workers cannot be started (can't start new thread); going on with 1"
    ]
