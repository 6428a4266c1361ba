"""The main script: workers are forked from a server, which does no harm and leaves nothing."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import faults
import pytest
from faults import (
    PATIENCE,
    Films,
    Launcher,
    Running,
    chunks,
    fork_server,
    group,
    made_up,
    within,
    workers,
)
from kills import completes, with_workers

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="workers are forked on Linux only")

FILMS = {"1920": 600, "1930": 300}


@pytest.fixture(scope="module")
def launcher() -> Iterator[Launcher]:
    with Launcher() as launcher:
        yield launcher


@pytest.fixture(scope="module")
def films(tmp_path_factory: pytest.TempPathFactory) -> Films:
    return made_up(tmp_path_factory.mktemp("films"), FILMS, 16)


@pytest.fixture
def data(films: Films, tmp_path: Path) -> Path:
    return films.copy(tmp_path / "data")


@pytest.fixture
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder for temporary files of the test's own."""
    folder = tmp_path / "temporary"
    folder.mkdir()
    monkeypatch.setenv("TMPDIR", str(folder))
    return folder


def threads(pid: int) -> int:
    return len(list(Path(f"/proc/{pid}/task").iterdir()))


def right(films: Films, data: Path) -> bool:
    return films.missing(data) == films.wrong(data) == []


def in_memory(pid: int) -> list[Path]:
    return list(Path("/dev/shm").glob(f"*loky-{pid}-*"))


def test_a_worker_starts_no_python_and_imports_nothing_again(
    films: Films, tmp_path: Path, launcher: Launcher, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = tmp_path / "imports"
    (tmp_path / "path").mkdir()
    (tmp_path / "path" / "sitecustomize.py").write_text(
        "import sys\n"
        "def told(event, arguments):\n"
        "    if event == 'import' and arguments[0] in ('site', 'zarr', 'orjson'):\n"
        f"        print(arguments[0], file=open({str(log)!r}, 'a'))\n"
        "told('import', ['site'])\n"
        "sys.addaudithook(told)\n"
    )
    monkeypatch.setenv("PYTHONPATH", str(tmp_path / "path"))
    counts = []
    for n in (2, 4):
        data = films.copy(tmp_path / f"data-{n}")
        outcome = with_workers(launcher, data, n).wait()
        assert (outcome.status, outcome.stderr) == (0, "")
        imports = log.read_text().split()
        log.unlink()
        counts.append({name: imports.count(name) for name in set(imports)})
    assert counts[0] == counts[1]
    # By the main process and the server.
    assert (counts[0]["zarr"], counts[0]["orjson"]) == (2, 2)


def test_the_server_has_one_thread_and_blas_is_told_so(
    data: Path, launcher: Launcher, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A process with threads is not to be forked (OpenBLAS ends its own before it is)."""
    for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
        monkeypatch.setenv(name, "16")
    run = with_workers(launcher, data)
    server = fork_server(run.pid)
    assert server is not None
    assert threads(server) == 1
    environment = Path(f"/proc/{server}/environ").read_bytes().split(b"\0")
    assert b"OPENBLAS_NUM_THREADS=1" in environment
    assert run.wait().status == 0


@pytest.mark.parametrize("moment", ["starting", "computing"])
def test_a_run_goes_on_when_the_server_is_killed(
    moment: str, films: Films, data: Path, launcher: Launcher
) -> None:
    there: Callable[[], object] = {
        "starting": lambda: True,
        "computing": lambda: chunks(data / "similarities.zarr"),
    }[moment]
    run = with_workers(launcher, data, 3)
    assert within(PATIENCE, there)
    server = fork_server(run.pid)
    assert server is not None
    os.kill(server, signal.SIGKILL)
    goes_on(run, films, data)


def test_a_run_goes_on_when_the_server_is_killed_before_it_forks(
    films: Films, data: Path, launcher: Launcher
) -> None:
    run = launcher.cold("--data", data, "--workers", 3, cpus=3, eager=True)
    assert within(PATIENCE, lambda: fork_server(run.pid))
    server = fork_server(run.pid)
    assert server is not None
    os.kill(server, signal.SIGSTOP)
    # The store is there, and then the first worker is waited for.
    assert within(PATIENCE, lambda: (data / "similarities.zarr" / "zarr.json").exists())
    time.sleep(0.3)
    os.kill(server, signal.SIGKILL)
    goes_on(run, films, data)


def goes_on(run: Running, films: Films, data: Path) -> None:
    outcome = run.wait()
    assert outcome.status == 0, outcome.stderr
    assert "Traceback" not in outcome.stderr
    assert right(films, data)
    assert within(PATIENCE, lambda: not group(run.pid)), group(run.pid)


@pytest.mark.parametrize("shut", ["<&-", ">&-", "2>&-", "<&- >&- 2>&-"])
def test_with_a_closed_stream_workers_are_started(shut: str, films: Films, data: Path) -> None:
    """The socket of a server would have its number."""
    options = json.dumps({"cpus": 2, "eager": True})
    command = f'exec "{sys.executable}" "{faults.__file__}" run \'{options}\''
    with subprocess.Popen(
        ["sh", "-c", f'{command} --data "{data}" --workers 2 {shut}'],
        cwd=faults.ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        start_new_session=True,
    ) as run:
        assert within(PATIENCE, lambda: workers(run.pid))
        assert fork_server(run.pid) is None
    assert run.returncode == 0
    assert right(films, data)


def test_a_run_killed_while_it_imports_is_swept_up_after(
    films: Films, data: Path, temporary: Path, launcher: Launcher
) -> None:
    run = launcher.cold("--data", data)
    assert within(PATIENCE, lambda: list(temporary.glob("pymp-*/similarities-*")))
    run.kill()
    run.wait()
    assert list(temporary.iterdir())
    assert within(PATIENCE, lambda: not group(run.pid))
    with Launcher() as other:
        completes(other, films, data)
    assert list(temporary.iterdir()) == []


def test_a_killed_run_leaves_nothing_that_the_next_one_does_not_delete(
    films: Films, data: Path, temporary: Path, launcher: Launcher
) -> None:
    run = with_workers(launcher, data)
    assert within(PATIENCE, lambda: chunks(data / "similarities.zarr"))
    run.kill()
    run.wait()
    assert list(temporary.iterdir())
    assert in_memory(run.pid)
    with Launcher() as other:  # Started now, for the folder of the temporary files.
        completes(other, films, data)
    assert list(temporary.iterdir()) == []
    assert in_memory(run.pid) == []


def test_a_run_that_ends_leaves_nothing(
    films: Films, data: Path, temporary: Path, launcher: Launcher
) -> None:
    run = with_workers(launcher, data)
    assert run.wait().status == 0
    assert right(films, data)
    assert within(PATIENCE, lambda: not group(run.pid)), group(run.pid)
    assert list(temporary.iterdir()) == []
    assert in_memory(run.pid) == []


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("moment", [0.0, 0.03, 0.1, 0.3])
def test_a_run_stopped_while_it_imports_leaves_nothing(
    moment: float, number: signal.Signals, data: Path, temporary: Path, launcher: Launcher
) -> None:
    run = launcher.cold("--data", data)
    assert within(PATIENCE, lambda: list(temporary.iterdir()))  # The folder of its server.
    time.sleep(moment)
    run.kill(number)
    outcome = run.wait()
    assert outcome.status in (0, 128 + number), outcome.stderr
    assert "Traceback" not in outcome.stderr
    assert within(PATIENCE, lambda: not group(run.pid)), group(run.pid)
    assert list(temporary.iterdir()) == []


def test_what_is_called_like_a_library_where_the_user_is_does_no_harm(
    films: Films, data: Path, tmp_path: Path
) -> None:
    here = tmp_path / "here"
    for name in ("joblib", "orjson", "zarr", "numpy", "random", "engine"):
        (here / name).mkdir(parents=True)
        (here / name / "__init__.py").write_text("open('imported', 'w').close()")
    options = json.dumps({"cpus": 2, "eager": True})
    done = subprocess.run(
        [sys.executable, faults.__file__, "run", options, "--data", data, "--workers", "2"],
        cwd=here,
        capture_output=True,
        text=True,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert right(films, data)
    assert not (here / "imported").exists()


def test_where_the_server_has_no_place_for_its_socket_workers_are_started(
    films: Films, data: Path, temporary: Path, launcher: Launcher, monkeypatch: pytest.MonkeyPatch
) -> None:
    deep = temporary / ("long" * 30)
    deep.mkdir()
    monkeypatch.setenv("TMPDIR", str(deep))
    outcome = with_workers(launcher, data).wait()
    assert (outcome.status, outcome.stderr) == (0, "")
    assert right(films, data)
    assert list(deep.iterdir()) == []
