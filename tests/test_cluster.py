"""A Dask cluster computes what one machine computes, whoever is killed, or says why it will not.

Scheduler and workers are started with the `dask` command line, each in a process of its own.
"""

import os
import platform
import re
import shutil
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import CancelledError
from contextlib import contextmanager
from dataclasses import replace
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from types import SimpleNamespace
from typing import Any

import pytest
from clusters import (
    SECRETS,
    WITHOUT_ENGINE,
    Bucket,
    Cluster,
    Command,
    Machine,
    Outcome,
    free_port,
    held,
    namespaces,
    needs,
    not_installed,
    run,
)
from reference import chunks, expected, films, outputs, put, stamps
from waiting import PATIENCE, within

from engine.errors import ClusterError
from engine.triangle.blas import machine
from engine.work.dask.worker import environment, perform_for

pytestmark = needs("distributed")


def put_films(data: Path) -> Path:
    for decade, n in {1970: 520, 1980: 257, 1990: 40, 2000: 1, 2010: 0}.items():
        put(data, "genres", str(decade), films(n, 8))
    put(data, "other", "1990", films(41, 8))
    return data


def put_few(data: Path) -> Path:
    """For what one decade of two row-blocks shows."""
    put(data, "genres", "1990", films(300, 8))
    return data


@cache
def wanted() -> dict[str, bytes]:
    """What the notebook makes of these films."""
    with TemporaryDirectory() as folder:
        return expected(put_films(Path(folder)))


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return put_films(tmp_path / "data")


@pytest.fixture
def few(tmp_path: Path) -> Path:
    return put_few(tmp_path / "data")


@pytest.fixture(scope="module")
def fast(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """A cluster with one worker of one thread and one of two."""
    cluster = Cluster(tmp_path_factory.mktemp("fast"))
    try:
        cluster.scheduler()
        cluster.worker(1)
        # More BLAS threads than one would change the last bits, so the engine must limit them.
        cluster.worker(2, threads=2, prepare="import threadpoolctl as t; t.threadpool_limits(4)")
        cluster.ready(1, 2)
        yield cluster
    finally:
        cluster.close()


@pytest.fixture(scope="module")
def finished(fast: Cluster, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What a run on that cluster leaves; nobody changes it."""
    data = put_films(tmp_path_factory.mktemp("finished") / "data")
    finish(data, "--dask", fast.address, "--workers", 2)
    return data


@pytest.fixture
def done(finished: Path, tmp_path: Path) -> Path:
    """A copy of it."""
    return Path(shutil.copytree(finished, tmp_path / "data"))


@pytest.fixture(scope="module")
def stopping(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """A cluster that stops after each row-block, as in `held`; something of it may be dead."""
    cluster = Cluster(tmp_path_factory.mktemp("stopping"))
    try:
        yield cluster
    finally:
        cluster.close()


def hold(cluster: Cluster) -> Path:
    """While this file is there, the cluster stops after each row-block."""
    return cluster.folder / "hold"


def revive(cluster: Cluster) -> None:
    """Start what is dead."""
    if not cluster.alive("scheduler"):
        for name in list(cluster.commands):
            cluster.kill(name)
        cluster.scheduler()
    for number in (1, 2):
        if not cluster.alive(f"worker{number}"):
            cluster.worker(number, prepare=held(hold(cluster)))
    cluster.ready(1, 2)


def finish(data: Path, *arguments: object) -> Outcome:
    outcome = run(data, *arguments).wait()
    assert (outcome.status, outcome.errors) == (0, []), outcome.stderr
    assert outputs(data) == wanted()
    return outcome


def begun(data: Path, cluster: Cluster, *arguments: object, prepare: str = "") -> Command:
    """Start a run on a cluster that stops, and wait until it has finished some chunks."""
    revive(cluster)
    hold(cluster).touch()
    running = run(data, "--dask", cluster.address, *arguments, prepare=prepare)
    within(lambda: len(chunks(data / "similarities.zarr")) >= 3)
    return running


# --- The same bytes -----------------------------------------------------------------------------


def test_the_bytes_are_the_notebooks_and_finished_work_is_not_done_again(
    fast: Cluster, done: Path
) -> None:
    assert outputs(done) == wanted()
    before = stamps(done)
    assert "6 decades up to date" in finish(done, "--dask", fast.address).stdout
    after = stamps(done)
    assert {name: after[name] for name in after if not name.endswith(".lock")} == {
        name: before[name] for name in before if not name.endswith(".lock")
    }


def test_the_bytes_of_matrix_products_do_not_depend_on_where_they_are_computed(
    fast: Cluster, tmp_path: Path
) -> None:
    data, kernel = tmp_path / "data", ["--kernel", "gemm"]
    for decade in ("1990", "2000", "2010"):  # So that each worker has some of it.
        put(data, "genres", decade, films(300, 257))  # Of so many, threads of BLAS change bits.
    assert run(data, "--dask", fast.address, *kernel).wait().status == 0
    there = outputs(data)
    assert run(data, "--restart", *kernel).wait().status == 0
    assert len(there) == 3
    assert outputs(data) == there


def test_machines_with_addresses_of_their_own_share_a_folder_or_a_bucket(
    tmp_path: Path, few: Path
) -> None:
    data = few
    put(data, "genres", "2000", films(20, 8))
    missing = not_installed("moto", "flask", "s3fs")
    with namespaces(4) as machines:
        client = machines.pop()
        cluster = Cluster(tmp_path, machines)
        bucket = None
        try:
            cluster.scheduler()
            cluster.worker(1)
            cluster.worker(2)
            cluster.ready(1, 2)
            words = ["--dask", cluster.address]
            outcome = run(data, *words, machine=client).wait()
            assert (outcome.status, outcome.errors) == (0, []), outcome.stderr
            assert outputs(data) == expected(data)
            if missing:
                pytest.skip(f"no bucket: {missing} not installed")
            bucket = Bucket(tmp_path, "10.213.7.254")
            # Workers that see nothing of the folder, and have the credentials from elsewhere.
            for number in (1, 2):
                cluster.kill(f"worker{number}")
                cluster.machines[number] = Machine(
                    machines[number].address, machines[number].namespace, hidden=data
                )
                cluster.worker(number, environment=bucket.environment)
            cluster.ready(1, 2)
            shutil.rmtree(data / "similarities")
            shutil.rmtree(data / "similarities.zarr")
            words += ["--store", "s3://films/similarities.zarr"]
            outcome = run(data, *words, machine=client, environment=bucket.environment).wait()
            assert (outcome.status, outcome.errors) == (0, []), outcome.stderr
            assert outputs(data) == expected(data)
            said = outcome.stderr + "".join(log.read_text() for log in tmp_path.glob("*.log"))
            assert not [secret for secret in SECRETS.values() if secret in said]
        finally:
            cluster.close()
            if bucket:
                bucket.server.end()


# --- Begun in one place, finished in another ------------------------------------------------------


def lose_some(data: Path) -> None:
    """Leave the store as a killed run does: some chunks are there and some are not."""
    for name in sorted(chunks(data / "similarities.zarr"))[::2]:
        (data / "similarities.zarr" / name).unlink()


@pytest.mark.parametrize("place", ["here", "there"])
def test_what_was_begun_in_one_place_is_finished_in_the_other(
    fast: Cluster, data: Path, place: str
) -> None:
    there = ["--dask", fast.address]
    first, second = ([], there) if place == "here" else (there, [])
    assert run(data, "--compute-only", *first).wait().status == 0
    lose_some(data)
    before = chunks(data / "similarities.zarr")
    finish(data, *second)
    assert before.items() <= chunks(data / "similarities.zarr").items()


def test_damaged_chunks_and_vectors_are_done_again(fast: Cluster, done: Path) -> None:
    decade = done / "similarities.zarr" / "genres" / "1970"
    for part, chunk in (("similarities", "0/1"), ("vectors", "0/0")):
        path = decade / part / "c" / chunk
        content = bytearray(path.read_bytes())
        content[99] ^= 1
        path.write_bytes(content)
    (decade / "similarities" / "c" / "0" / "2").unlink()
    for path in (done / "similarities").rglob("*.json"):
        path.unlink()
    outcome = finish(done, "--dask", fast.address)
    assert "its input is read again" in outcome.stderr


# --- Whoever is killed ----------------------------------------------------------------------------


def test_a_worker_that_dies_costs_a_retry_and_not_the_run(stopping: Cluster, data: Path) -> None:
    running = begun(data, stopping)
    stopping.kill("worker1")
    hold(stopping).unlink()
    outcome = running.wait()
    assert (outcome.status, outcome.errors) == (0, [])
    assert outputs(data) == wanted()


def test_without_the_scheduler_the_run_ends_in_one_line_and_goes_on_without_it(
    stopping: Cluster, data: Path
) -> None:
    running = begun(data, stopping)
    stopping.kill("scheduler")
    outcome = running.wait()
    assert outcome.status == 1
    assert outcome.stderr.splitlines()[-1:] == outcome.errors
    assert "the connection to the scheduler was lost" in outcome.errors[0]
    assert "Traceback" not in outcome.stderr
    finished = chunks(data / "similarities.zarr")
    finish(data)
    assert finished.items() <= chunks(data / "similarities.zarr").items()


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT])
def test_a_run_that_is_killed_or_interrupted_is_resumed_on_the_cluster(
    stopping: Cluster, data: Path, number: int
) -> None:
    running = begun(data, stopping)
    running.kill(number)
    outcome = running.wait()
    assert outcome.status == (-number if number == signal.SIGKILL else 128 + number)
    if number == signal.SIGINT:
        assert outcome.stderr.splitlines()[-1].startswith("interrupted: ")
        assert "Traceback" not in outcome.stderr
    finished = chunks(data / "similarities.zarr")
    # The workers are at work still; the next run waits for them.
    threading.Timer(0.2, hold(stopping).unlink).start()
    finish(data, "--dask", stopping.address)
    assert finished.items() <= chunks(data / "similarities.zarr").items()


def test_a_scheduler_that_dies_when_all_is_computed_is_not_missed(fast: Cluster, few: Path) -> None:
    data = few
    # The cluster's last result is in, and the export has begun.
    prepare = (
        "import time; from pathlib import Path\n"
        "from engine.terminal.progress import TerminalProgress as Progress\n"
        "def stage(progress, name, *more, begin=Progress.stage):\n"
        "    if name == 'exporting':\n"
        f"        Path({str(data)!r}, 'computed').touch()\n"
        f"        while not Path({str(data)!r}, 'killed').exists(): time.sleep(0.02)\n"
        "    begin(progress, name, *more)\n"
        "Progress.stage = stage"
    )
    cluster = Cluster(fast.folder / "mortal")
    cluster.folder.mkdir()
    try:
        cluster.scheduler()
        cluster.worker(1)
        cluster.ready(1)
        running = run(data, "--dask", cluster.address, prepare=prepare)
        within((data / "computed").exists)
        cluster.close()
        (data / "killed").touch()
        outcome = running.wait()
        assert (outcome.status, outcome.errors) == (0, [])
        assert outputs(data) == expected(data)
    finally:
        cluster.close()


def test_a_task_that_kills_each_worker_is_given_up(tmp_path: Path, data: Path) -> None:
    deadly = (
        "import os\n"
        "from engine.work.dask import worker as cluster_worker\n"
        "cluster_worker.perform = lambda task: os._exit(9)\n"
    )
    cluster = Cluster(tmp_path)
    try:
        strict = "import dask; dask.config.set({'distributed.scheduler.allowed-failures': 0})"
        cluster.scheduler(prepare=strict)
        cluster.worker(1, prepare=deadly)
        cluster.ready(1)
        outcome = run(data, "--dask", cluster.address).wait()
        assert outcome.status == 1
        assert len(outcome.errors) == 1
        assert "the worker died over a row-block" in outcome.errors[0]

        # Nobody is left now.
        outcome = run(data, "--dask", cluster.address, "--wait-for-workers", 1).wait()
        assert "the scheduler has had no worker for" in outcome.errors[0]
    finally:
        cluster.close()


def test_the_first_worker_may_take_its_time(tmp_path: Path, few: Path) -> None:
    data = few
    cluster = Cluster(tmp_path)
    try:
        cluster.scheduler()
        outcome = run(data, "--dask", cluster.address, "--wait-for-workers", 0).wait()
        assert outcome.status == 1
        assert "the scheduler has had no worker for 0 s" in outcome.errors[0]
        running = run(data, "--dask", cluster.address, "--wait-for-workers", 600)
        within((data / "similarities.zarr.lock").exists)
        cluster.worker(1)
        assert (running.wait().status, outputs(data)) == (0, expected(data))
    finally:
        cluster.close()


def test_a_cluster_without_any_worker_is_not_waited_for_without_end(
    stopping: Cluster, data: Path
) -> None:
    impatient = "import engine.work.dask.cluster; engine.work.dask.cluster.ALONE_SECONDS = 0.5"
    running = begun(data, stopping, "--wait-for-workers", 0.5, prepare=impatient)
    stopping.kill("worker1")
    stopping.kill("worker2")
    outcome = running.wait()
    assert outcome.status == 1
    assert "the scheduler has had no worker for" in outcome.errors[0]


# --- What is said before it starts ----------------------------------------------------------------


def refused(data: Path, address: str, prepare: str = "") -> str:
    """Hear the one line with which a run refuses to begin."""
    outcome = run(data, "--dask", address, prepare=prepare).wait()
    assert outcome.status == 1
    assert len(outcome.stderr.splitlines()) == 1, outcome.stderr
    assert not chunks(data / "similarities.zarr")
    return outcome.errors[0]


@contextmanager
def joined(cluster: Cluster, number: int, **more: Any) -> Iterator[None]:
    """Have one more worker for a while."""
    cluster.worker(number, **more)
    try:
        cluster.ready(number)
        yield
    finally:
        cluster.kill(f"worker{number}")


def test_a_scheduler_that_cannot_be_reached_is_said(data: Path) -> None:
    address = f"tcp://127.0.0.1:{free_port()}"
    impatient = "import engine.work.dask.connection as c; c.CONNECT_SECONDS = 1"
    for there in (address, "nonsense://here"):
        sentence = f"{there}: no Dask scheduler was reached within 1 s"
        assert sentence in refused(data, there, prepare=impatient)


def test_workers_that_would_compute_something_else_are_said(fast: Cluster, data: Path) -> None:
    other = "import numpy; numpy.__version__ = '1.0'"
    with joined(fast, 3, prepare=other), joined(fast, 4, prepare=WITHOUT_ENGINE):
        assert re.fullmatch(
            r"error: tcp://[\d.:]+: the worker (has engine .*, numpy 1\.0, distributed .*; install "
            r"the same on both|cannot run the engine \(.*\); install .* there) "
            r"\(and 1 more are unfit\)",
            refused(data, fast.address),
        )


@pytest.mark.skipif(os.geteuid() != 0, reason="to hide a folder needs root")
def test_a_worker_that_does_not_see_the_store_is_said(fast: Cluster, data: Path) -> None:
    data.mkdir(exist_ok=True)
    fast.machines[3] = Machine(hidden=data)
    try:
        with joined(fast, 3):
            sentence = f"cannot use the store {data}/similarities.zarr (it finds none there)"
            assert sentence in refused(data, fast.address)
        assert not list((data / "similarities.zarr").glob(".seen*"))
    finally:
        fast.machines[3] = Machine()


def test_a_worker_of_another_cpu_kind_is_said_and_works(fast: Cluster, few: Path) -> None:
    here = machine()
    if "openblas" not in here or platform.machine() != "x86_64":
        pytest.skip(f"OPENBLAS_CORETYPE means nothing to {here}")
    other = "Nehalem" if "Nehalem" not in here else "Haswell"
    with joined(fast, 3, new=True, environment={"OPENBLAS_CORETYPE": other}):
        outcome = run(few, "--dask", fast.address).wait()
        assert (outcome.status, outcome.errors) == (0, [])
        said = [line for line in outcome.stderr.splitlines() if "may round the last digit" in line]
        assert len(said) == 1
        assert other in said[0]
        assert here in said[0]


def test_a_scheduler_without_the_engine_is_said(tmp_path: Path, data: Path) -> None:
    cluster = Cluster(tmp_path)
    try:
        cluster.scheduler(prepare=WITHOUT_ENGINE)
        assert "the scheduler cannot run the engine" in refused(data, cluster.address)
    finally:
        cluster.close()


def test_a_worker_that_came_after_the_check_does_nothing_that_it_should_not() -> None:
    client = replace(environment(), versions="engine 0.1")
    with pytest.raises(ClusterError, match="install the same on both"):
        perform_for(client, "not even looked at")  # type: ignore[arg-type]


def test_without_the_extra_the_command_says_what_to_install(
    data: Path, command: Callable[..., tuple[int, str, str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delitem(sys.modules, "engine.work.dask.cluster", raising=False)
    monkeypatch.setitem(sys.modules, "distributed", None)
    status, _, stderr = command("--data", data, "--dask", "tcp://127.0.0.1:8786")
    assert status == 1
    assert re.fullmatch(r'error: --dask needs more packages .*: pip install "\.\[dask\]"\n', stderr)


def test_the_block_for_dask_jobqueue_runs(
    fast: Cluster, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[object] = []

    class SLURMCluster:
        """A queue whose jobs are at work already."""

        scheduler_address = fast.address

        def __init__(self, *, cores: int, processes: int, memory: str, walltime: str) -> None:
            asked.append((cores, processes))

        def scale(self, *, jobs: int) -> None:
            asked.append(jobs)

        def wait_for_workers(self, n_workers: int) -> None:
            asked.append(n_workers)

    document = (Path(__file__).parents[1] / "docs" / "cluster.md").read_text()
    (code,) = re.findall(r"```python\n(.*?)```", document, re.DOTALL)
    queue = SimpleNamespace(SLURMCluster=SLURMCluster)
    monkeypatch.setitem(sys.modules, "dask_jobqueue", queue)
    monkeypatch.setattr("engine.work.dask.connection.CONNECT_SECONDS", PATIENCE)
    monkeypatch.chdir(tmp_path)
    exec(code.replace("/shared/", f"{tmp_path}/"), {})
    assert asked == [(1, 1), 32, 1]
    assert outputs(data) == wanted()


def test_no_answer_is_waited_for_when_the_scheduler_is_gone() -> None:
    from engine.work.dask.connection import answer

    never = threading.Event()
    client = SimpleNamespace(status="running")
    threading.Timer(0.1, lambda: setattr(client, "status", "connecting")).start()
    with pytest.raises(CancelledError):
        answer(client, never.wait)
    never.set()


def test_an_answer_that_is_an_error_is_raised_where_the_question_was_put() -> None:
    from engine.work.dask.connection import answer

    def question() -> int:
        raise TimeoutError("the question's own")

    with pytest.raises(TimeoutError, match="the question's own"):
        answer(SimpleNamespace(status="running"), question)
