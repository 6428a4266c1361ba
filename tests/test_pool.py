"""The workers: as many as are worth it, one BLAS thread each, none that outlives its run."""

import gc
import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest
import zarr
from threadpoolctl import threadpool_info

from engine.work.pool import (
    TerminatedWorkerError,
    _unheard,
    cpus,
    no_worker_left,
    perform_all,
    worth,
)


def square(x: int) -> int:
    return x * x


def process_id(task: int) -> int:
    time.sleep(0.02)
    return os.getpid()


def blas_threads(task: int) -> list[int]:
    np.ones((2, 2)) @ np.ones((2, 2))
    return [pool["num_threads"] for pool in threadpool_info() if pool["user_api"] == "blas"]


def writing_threads(task: int) -> object:
    return zarr.config.get("threading.max_workers")


def frozen_objects(task: int) -> int:
    return gc.get_freeze_count()


def fail_at_three(task: int) -> int:
    if task == 3:
        raise ArithmeticError("three")
    return task


def die_at_three(task: int) -> int:
    if task == 3:
        os.kill(os.getpid(), signal.SIGKILL)
    return task


def stay(task: int) -> int:
    time.sleep(0.01 if task < 3 else 60)
    return task


def taken(taken: list[int], tasks: range) -> Iterator[int]:
    for task in tasks:
        taken.append(task)
        yield task


def n_children() -> int:
    return len(multiprocessing.active_children())


@pytest.fixture(autouse=True)
def _no_worker_outlives_its_test() -> Iterator[None]:
    with no_worker_left():
        yield
    assert n_children() == 0


def test_there_is_at_least_one_cpu_and_no_more_than_the_machine_has() -> None:
    assert 1 <= cpus() <= (os.cpu_count() or 1)


@pytest.mark.parametrize("workers", [1, 2, 16])
def test_no_more_workers_are_worth_it_than_were_asked_for(workers: int) -> None:
    assert [worth(workers, seconds) for seconds in (0.0, 0.001)] == [1, 1]
    assert worth(workers, 3600.0) == workers
    counts = [worth(workers, seconds / 10) for seconds in range(200)]
    assert counts == sorted(counts)


def test_one_worker_is_this_process_and_takes_a_task_when_it_is_due() -> None:
    begun: list[int] = []
    results = perform_all(process_id, taken(begun, range(3)), 1)
    assert begun == []
    for n in range(1, 4):
        assert next(results) == os.getpid()
        assert begun == list(range(n))
    assert n_children() == 0


def test_several_workers_do_every_task_once_in_other_processes() -> None:
    assert sorted(perform_all(square, range(40), 2)) == [k * k for k in range(40)]
    pids = set(perform_all(process_id, range(20), 2))
    assert os.getpid() not in pids
    assert 1 <= len(pids) <= 2


def test_tasks_are_begun_in_their_order_and_not_all_at_once() -> None:
    begun: list[int] = []
    results = perform_all(square, taken(begun, range(200)), 2)
    next(results)
    assert begun == list(range(len(begun)))
    assert len(begun) < 50
    list(results)
    assert begun == list(range(200))


def test_a_worker_has_one_blas_thread_whatever_the_environment_says(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
        monkeypatch.setenv(name, "16")
    for threads in perform_all(blas_threads, range(4), 2):
        assert set(threads) == {1}


def test_a_worker_does_not_look_for_garbage_in_what_it_imported() -> None:
    before = gc.get_freeze_count()
    assert min(perform_all(frozen_objects, range(4), 2)) > before + 10_000
    assert gc.get_freeze_count() == before


def test_an_error_in_a_worker_is_an_error_here_and_ends_the_others() -> None:
    with pytest.raises(ArithmeticError, match="three"):
        list(perform_all(fail_at_three, range(100), 2))
    assert n_children() == 0


def test_a_killed_worker_is_noticed_and_the_others_end() -> None:
    with pytest.raises(TerminatedWorkerError):
        list(perform_all(die_at_three, range(100), 2))
    assert n_children() == 0
    # The next ones start afresh.
    assert sorted(perform_all(square, range(4), 2)) == [0, 1, 4, 9]


def test_who_stops_listening_ends_the_workers_at_once_and_in_silence() -> None:
    begin = time.monotonic()
    results: Any = perform_all(stay, range(100), 2)
    assert next(results) in range(3)
    results.close()
    assert n_children() == 0
    assert time.monotonic() - begin < 30


def test_an_interruption_ends_the_workers_at_once_and_in_silence() -> None:
    def work() -> None:
        with no_worker_left():
            for _ in perform_all(stay, range(100), 2):
                raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        work()
    assert n_children() == 0


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_waits_until_workers_are_started(number: signal.Signals) -> None:
    heard: list[int] = []
    before = signal.signal(number, lambda number, _: heard.append(number))
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, ())
    other = threading.Thread(target=time.sleep, args=(1.0,))  # Takes what this one has blocked.
    other.start()
    try:
        with _unheard():
            os.kill(os.getpid(), number)
            time.sleep(0.1)
            assert heard == []
        assert heard == [number]
        assert signal.pthread_sigmask(signal.SIG_BLOCK, ()) == mask
    finally:
        signal.signal(number, before)
        other.join()


def test_workers_are_started_from_any_thread() -> None:
    with ThreadPoolExecutor(1) as threads:
        found = threads.submit(lambda: sorted(perform_all(square, range(4), 2))).result()
    assert found == [0, 1, 4, 9]


def test_where_no_worker_was_started_none_is_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    def ended() -> None:
        raise AssertionError("there is nothing to end")

    monkeypatch.setattr("engine.work.pool.stop_workers", ended)
    with no_worker_left():
        list(perform_all(square, range(3), 1))
