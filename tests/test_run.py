"""The command by each of its doors: what its end says, and what the place it is started from does.

Whatever happens around a run, its exit status tells what became of the work.
"""

import os
import pty
import signal
import subprocess
import sys
import termios
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from shutil import copytree
from tempfile import TemporaryDirectory

import pytest
from conftest import more
from errands import children
from faults import FEW, Films, Launcher, held_at, made_up
from forks import ROOT
from kills import with_workers
from reference import chunks
from waiting import PATIENCE, within

import engine

DOORS = {
    "script": [sys.executable, str(ROOT / "scripts" / "run.py")],
    "module": [sys.executable, "-m", "engine"],
    "installed": [sys.executable, "bin/similarities-engine"],
}


@pytest.fixture(scope="module")
def launcher() -> Iterator[Launcher]:
    with Launcher() as launcher:
        yield launcher


@pytest.fixture(scope="module")
def films(tmp_path_factory: pytest.TempPathFactory) -> Films:
    return made_up(tmp_path_factory.mktemp("films"), FEW, 16)


@pytest.fixture
def data(films: Films, tmp_path: Path) -> Path:
    return films.copy(tmp_path / "data")


@pytest.fixture
def door(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder to start the command in, with what pip installs as a command."""
    here = tmp_path / "here"
    (here / "bin").mkdir(parents=True)
    (here / "bin" / "similarities-engine").write_text(
        "import engine.batch.cost, engine.batch.run\n"
        "engine.batch.cost.START_SECONDS = 1e-9\n"
        "engine.batch.run.cpus = lambda: 2\n"
        "from engine.cli import command\n"
        "command()\n"
    )
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    return here


def run(here: Path, *command: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        list(map(str, command)), cwd=here, capture_output=True, text=True, timeout=PATIENCE
    )


@pytest.mark.parametrize("name", DOORS)
def test_every_door_is_the_same_command(
    name: str, door: Path, data: Path, films: Films, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHONWARNINGS", "error")
    done = run(door, *DOORS[name], "--data", data, "--workers", 1)
    assert (done.returncode, done.stderr) == (0, "")
    assert "3 decades done" in done.stdout
    assert films.faults(data) == {}


def test_what_is_called_like_a_library_where_the_user_is_does_no_harm(
    door: Path, data: Path, films: Films
) -> None:
    for library in ("queue", "random", "types", "joblib", "orjson", "engine"):
        code = f"open('imported-{library}', 'w').close()\nraise SystemExit(3)\n"
        (door / f"{library}.py").write_text(code)
    done = run(door, *DOORS["installed"], "--data", data, "--workers", 9)
    assert (done.returncode, len(done.stderr.splitlines())) == (0, 1), done.stderr
    assert films.faults(data) == {}
    assert not list(door.glob("imported-*"))


def test_bars_start_no_process_that_imports_from_where_the_user_is(
    door: Path, data: Path, films: Films
) -> None:
    (door / "types.py").write_text("open('imported', 'w').close()\n")
    (door / "signal.py").write_text("open('imported', 'w').close()\n")
    shown, terminal = pty.openpty()
    termios.tcsetwinsize(terminal, (24, 100))
    command = [*DOORS["installed"], "--data", str(data), "--workers", "1"]
    with subprocess.Popen(command, cwd=door, stdout=subprocess.PIPE, stderr=terminal) as process:
        os.close(terminal)
        said = b""
        while more := _read(shown):
            said += more
        assert process.wait(PATIENCE) == 0
    os.close(shown)
    assert b"computing" in said
    assert films.faults(data) == {}
    assert not (door / "imported").exists()


def _read(descriptor: int) -> bytes:
    try:
        return os.read(descriptor, 2**16)
    except OSError:  # The other side of the terminal is closed.
        return b""


@pytest.mark.storm
def test_a_finished_run_is_a_finished_run_however_long_its_process_takes_to_end(
    door: Path, data: Path, films: Films
) -> None:
    command = [*DOORS["installed"], "--data", str(data)]
    with subprocess.Popen(command, cwd=door, stdout=subprocess.PIPE) as process:
        assert process.stdout
        assert any(b"decades done" in line for line in process.stdout)
        time.sleep(0.05)
        process.send_signal(signal.SIGSTOP)
        time.sleep(3.2)  # Longer than anything may have been given to end.
        process.send_signal(signal.SIGCONT)
        assert process.wait(PATIENCE) == 0
    assert films.faults(data) == {}


# --- Who listens, and goes away


def test_a_reader_of_stderr_that_goes_away_does_not_stop_the_work(
    door: Path, data: Path, films: Films
) -> None:
    (data / "similarities.zarr").mkdir()
    command = [*DOORS["installed"], "--data", str(data), "--workers", "9"]  # It has a message.
    read, write = os.pipe()
    os.close(read)
    done = subprocess.run(command, cwd=door, stdout=subprocess.PIPE, stderr=write, timeout=PATIENCE)
    os.close(write)
    assert done.returncode == 0
    assert b"3 decades done" in done.stdout
    assert films.faults(data) == {}


@pytest.mark.parametrize("bad", [False, True])
def test_a_reader_of_the_table_that_goes_away_does_not_change_the_status(
    bad: bool, door: Path, data: Path, films: Films
) -> None:
    if bad:
        (data / "embeddings" / "genres" / "plots_1920s.json").write_text("{")
    read, write = os.pipe()
    os.close(read)
    command = [*DOORS["installed"], "--data", str(data), "--workers", "1"]
    done = subprocess.run(command, cwd=door, stdout=write, stderr=subprocess.PIPE, timeout=PATIENCE)
    os.close(write)
    assert done.returncode == int(bad), done.stderr
    assert len(done.stderr.splitlines()) == int(bad)
    missing = ["similarities/genres/similarities_1920s.json"]
    assert films.faults(data) == ({"missing": missing} if bad else {})


@pytest.fixture(params=["device", "pipe"])
def full(request: pytest.FixtureRequest) -> Iterator[int]:
    """Where nothing can be written: as a log on a full disk, or a pipe that does not wait."""
    if request.param == "device":
        if not Path("/dev/full").exists():
            pytest.skip("needs a device that is always full")
        ends = [os.open("/dev/full", os.O_WRONLY)]
    else:
        ends = list(os.pipe())
        os.set_blocking(ends[-1], False)
        with suppress(BlockingIOError):
            while True:
                os.write(ends[-1], bytes(4096))
    yield ends[-1]
    for end in ends:
        os.close(end)


def test_messages_that_cannot_be_written_do_not_stop_the_work(
    full: int, door: Path, data: Path, films: Films, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Without a buffer Python says nothing of a full pipe.
    monkeypatch.delenv("PYTHONUNBUFFERED", raising=False)
    for name in ("plots_1920s.json", "plots_1980.json"):  # An error, and a message.
        (data / "embeddings" / "genres" / name).write_text("{")
    command = [*DOORS["installed"], "--data", str(data), "--workers", "1"]
    done = subprocess.run(command, cwd=door, stdout=subprocess.PIPE, stderr=full, timeout=PATIENCE)
    assert done.returncode == 1
    assert b"2 decades done" in done.stdout
    assert films.faults(data) == {"missing": ["similarities/genres/similarities_1920s.json"]}


def test_a_terminal_that_is_closed_does_not_stop_the_work(
    door: Path, data: Path, films: Films
) -> None:
    """As of a run that was started with ``trap '' HUP``, or disowned by its shell."""
    command = ["sh", "-c", 'trap "" HUP; read begin; exec "$@"', "sh", *DOORS["installed"]]
    screen, terminal = pty.openpty()
    with subprocess.Popen(
        [*command, "--data", str(data), "--workers", "9"],
        cwd=door,
        stdin=subprocess.PIPE,
        stdout=terminal,
        stderr=terminal,
        start_new_session=True,
    ) as process:
        os.close(terminal)
        os.close(screen)
        process.communicate(b"now\n", timeout=PATIENCE)
    assert process.returncode == 0
    assert films.faults(data) == {}


@pytest.mark.parametrize("shut", ["<&- >&- 2>&-", *more("<&-", "2>&-")])
def test_with_closed_streams_workers_do_their_work(
    shut: str, door: Path, data: Path, films: Films
) -> None:
    """The number of a closed stream would go to a pipe of a worker."""
    command = " ".join([*DOORS["installed"], "--data", str(data), "--workers", "2", shut])
    done = run(door, "sh", "-c", f"exec {command}")
    assert (done.returncode, done.stderr) == (0, "")
    assert films.faults(data) == {}


def test_no_file_gets_the_number_of_a_closed_stream(door: Path) -> None:
    """What a library says on it by its number would stand in that file."""
    (door / "command").write_text(
        "import os\n"
        "from contextlib import suppress\n"
        "from engine.cli import main\n"
        "with suppress(SystemExit):\n"
        "    main(['--version'])\n"
        "file = os.open('file', os.O_WRONLY | os.O_CREAT)\n"
        "os.write(file, str(file).encode())\n"
    )
    for shut in (">&-", "<&- >&- 2>&-"):
        run(door, "sh", "-c", f"exec {sys.executable} command {shut}")
        assert int((door / "file").read_text()) > 2, shut


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs a device that is always full")
def test_a_table_that_cannot_be_written_is_an_error_with_a_name(door: Path, data: Path) -> None:
    with open("/dev/full", "wb") as full:
        done = subprocess.run(
            [*DOORS["installed"], "--data", str(data), "--workers", "1"],
            cwd=door,
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            timeout=PATIENCE,
        )
    assert done.returncode == 1
    assert done.stderr == "error: standard output: No space left on device\n"


# --- Signals


def test_signals_that_were_ignored_before_stay_ignored(
    films: Films, data: Path, launcher: Launcher
) -> None:
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        for number in before:
            signal.signal(number, signal.SIG_IGN)
        hold = held_at("computing", data)
        running = with_workers(launcher, data, cold=True, hold=str(hold))
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    for number in before:
        running.kill(number)
    hold.unlink()
    outcome = running.wait()
    assert (outcome.status, outcome.messages) == (0, [])
    assert films.faults(data) == {}


def writes(pid: int, descriptor: int) -> bool:
    """Whether a process waits in a call on a descriptor; where that is not told, as if it did."""
    try:
        call = Path(f"/proc/{pid}/syscall").read_text().split()
    except OSError:
        return True
    return call[1:2] == [hex(descriptor)]


@pytest.mark.parametrize("number", [signal.SIGINT, *more(signal.SIGTERM)])
def test_a_reader_of_stderr_that_has_stopped_reading_does_not_keep_a_run_from_its_end(
    number: signal.Signals, door: Path, data: Path
) -> None:
    read, write = os.pipe()
    os.set_blocking(write, False)
    with suppress(BlockingIOError):
        while True:
            os.write(write, bytes(4096))
    os.set_blocking(write, True)
    (door / "command").write_text(
        "import os\n"
        "import engine.batch.run, engine.terminal.stopping\n"
        "from engine.cli import main\n"
        "from engine.terminal.progress import TerminalProgress\n"
        "def say(self, text):\n"
        "    print('begun', flush=True)\n"
        "    self._write(text)\n"
        "TerminalProgress.message = say\n"
        "engine.batch.run.cpus = lambda: 2\n"
        "engine.terminal.stopping.PATIENCE = 0.05\n"
        "main(leave=os._exit)\n"
    )
    command = [sys.executable, "command", "--data", str(data), "--workers", "9"]
    with subprocess.Popen(command, cwd=door, stdout=subprocess.PIPE, stderr=write) as process:
        assert process.stdout
        assert process.stdout.readline() == b"begun\n"
        within(lambda: writes(process.pid, 2))
        os.close(write)
        process.send_signal(number)
        try:
            assert process.wait(PATIENCE) == 128 + number
        finally:
            os.close(read)


@pytest.mark.usefixtures("eager_workers")
def test_ctrl_c_in_a_call_from_python_is_a_keyboard_interrupt(data: Path) -> None:
    class Interrupts(engine.Progress):
        def advance(self, name: str, amount: int) -> None:
            if name == "computing":
                assert children() != before
                os.kill(os.getpid(), signal.SIGINT)

    before = children()
    handlers = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
    with pytest.raises(KeyboardInterrupt):
        engine.run(data, workers=2, progress=Interrupts())
    assert handlers == [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
    assert children() == before


@pytest.mark.usefixtures("eager_workers")
def test_two_runs_in_two_threads_do_not_disturb_each_other(films: Films, tmp_path: Path) -> None:
    folders = [films.copy(tmp_path / name) for name in ("one", "two")]
    summaries: list[engine.Summary] = []
    threads = [
        threading.Thread(target=lambda data=data: summaries.append(engine.run(data, workers=2)))
        for data in folders
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [summary.ok for summary in summaries] == [True, True]
    assert [films.faults(data) for data in folders] == [{}, {}]


# --- Shared memory


@pytest.mark.skipif(os.geteuid() != 0, reason="to mount something needs root")
@pytest.mark.parametrize("options", ["size=4k", *more("ro")])
def test_workers_need_no_shared_memory(options: str, door: Path, films: Films) -> None:
    fill = "dd if=/dev/zero of=/dev/shm/filler 2>&-"
    mount = f"mount -t tmpfs -o {options} tmpfs /dev/shm && ({fill}; true)"
    with TemporaryDirectory(dir="/var/tmp") as other:  # The files of tests may lie in /dev/shm.
        data, here = films.copy(Path(other, "data")), copytree(door, Path(other, "here"))
        command = " ".join([*DOORS["installed"], "--data", str(data), "--workers", "2"])
        done = run(here, "unshare", "--mount", "sh", "-c", f"{mount} && exec {command}")
        if "unshare" in done.stderr or "mount:" in done.stderr:
            pytest.skip(f"this user may not mount anything: {done.stderr}")
        assert done.returncode == 0, done.stderr
        assert "error" not in done.stderr
        assert films.faults(data) == {}


def test_a_run_leaves_nothing_behind_and_what_is_another_run_s_alone(
    films: Films, data: Path, tmp_path: Path, launcher: Launcher, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "temporary").mkdir()
    # Of a run in another container, where there are other process numbers.
    theirs = tmp_path / "temporary" / "pymp-theirs" / "similarities-999999999"
    theirs.mkdir(parents=True)
    monkeypatch.setenv("TMPDIR", str(tmp_path / "temporary"))
    hold = held_at("computing", tmp_path)
    for end in ("killed", "done"):
        # What is imported leaves nothing, either.
        running = with_workers(launcher, data, cold=end == "done", hold=str(hold))
        within(lambda: chunks(data / "similarities.zarr"))
        if end == "killed":
            running.kill()
        else:
            hold.unlink()
        running.wait()
        assert not [name for name in os.listdir("/dev/shm") if str(running.pid) in name]
        assert os.listdir(tmp_path / "temporary") == ["pymp-theirs"]
    assert films.faults(data) == {}
