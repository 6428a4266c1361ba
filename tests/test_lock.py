"""The lock: one run at a time on a store and on an output, and none that outlives its run."""

import errno
import fcntl
import multiprocessing
import os
import shutil
import socket
import stat
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from multiprocessing.process import BaseProcess
from pathlib import Path

import pytest
from conftest import Listener
from errands import children
from reference import expected, films, output_path, outputs, put

import engine
from engine.errors import EngineError, LockedError
from engine.store.lock import PATIENCE, holder, lock_path, locked
from engine.store.store import Store

NOBODY = 65534
FORK = multiprocessing.get_context("fork")
REMOTE = Store("s3://bucket/one.zarr")
as_root = pytest.mark.skipif(os.geteuid() != 0, reason="to become another user needs root")


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever holds a lock here holds it for longer than a moment."""
    monkeypatch.setattr("engine.store.lock.PATIENCE", 0.0)


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(str(tmp_path / "x.zarr"))


@contextmanager
def held_elsewhere(place: Store | Path) -> Iterator[BaseProcess]:
    """Another process that holds a lock."""
    answers, answer = FORK.Pipe(duplex=False)

    def child() -> None:
        with locked(place):
            answer.send("held")
            time.sleep(600)

    process = FORK.Process(target=child)
    process.start()
    answer.close()  # Or a child that ends without an answer would be waited for.
    try:
        assert answers.recv() == "held"
        yield process
    finally:
        process.kill()
        process.join()
        answers.close()


def leave(place: Store | Path) -> Path:
    """Have a run killed that holds a lock, which leaves its file."""
    with held_elsewhere(place):
        pass
    return lock_path(place)


# --- one at a time --------------------------------------------------------------------------------


def test_a_second_run_is_told_at_once_who_holds_the_store(store: Store) -> None:
    with held_elsewhere(store) as process:
        with pytest.raises(LockedError, match=f"process {process.pid} on "), locked(store):
            pass
        assert f"process {process.pid} on " in str(holder(store))


def test_who_holds_a_lock_for_the_moment_of_asking_turns_no_run_away(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    with open(leave(store)) as asked:
        fcntl.flock(asked, fcntl.LOCK_SH)
        monkeypatch.setattr("engine.store.lock.PATIENCE", 1000 * PATIENCE)
        monkeypatch.setattr(
            "engine.store.lock.time.sleep", lambda _: fcntl.flock(asked, fcntl.LOCK_UN)
        )
        with locked(store):
            pass


def test_a_lock_left_by_a_killed_run_does_not_block(store: Store) -> None:
    assert leave(store).read_text()
    assert holder(store) is None
    with locked(store):
        assert f"process {os.getpid()} on " in str(holder(store))


@pytest.mark.parametrize("killed_before", [False, True])
def test_nothing_is_left_however_the_run_ends(
    store: Store, tmp_path: Path, killed_before: bool
) -> None:
    if killed_before:
        leave(store)
    with pytest.raises(KeyboardInterrupt), locked(store):
        raise KeyboardInterrupt
    assert holder(store) is None
    assert os.listdir(tmp_path) == []


def test_to_ask_who_holds_the_store_creates_nothing(store: Store, tmp_path: Path) -> None:
    assert holder(store) is None
    assert holder(tmp_path / "nowhere" / "x.json") is None
    assert os.listdir(tmp_path) == []


def test_two_stores_are_locked_apart(store: Store, tmp_path: Path) -> None:
    with locked(store), locked(Store(str(tmp_path / "y.zarr"))):
        pass


def test_one_store_by_two_paths_is_one_store(store: Store, tmp_path: Path) -> None:
    (tmp_path / "folder").symlink_to(tmp_path, target_is_directory=True)
    (tmp_path / "link.zarr").symlink_to(tmp_path / "x.zarr")
    for other in ("folder/x.zarr", "link.zarr"):
        with locked(store), pytest.raises(LockedError), locked(Store(str(tmp_path / other))):
            pass


def take_turns(path: Path, counter: Path, rounds: int) -> None:
    for _ in range(rounds):
        while True:
            try:
                with locked(path):
                    # Not atomic: two at a time would lose a count.
                    number = int(counter.read_text())
                    counter.write_text(str(number + 1))
            except LockedError:
                continue
            break


def test_the_file_that_comes_and_goes_is_never_held_by_two(tmp_path: Path) -> None:
    counter = tmp_path / "counter"
    counter.write_text("0")
    turns = [
        FORK.Process(target=take_turns, args=(tmp_path / "x.json", counter, 50)) for _ in range(4)
    ]
    for turn in turns:
        turn.start()
    for turn in turns:
        turn.join()
    assert counter.read_text() == "200"
    assert os.listdir(tmp_path) == ["counter"]


def test_a_run_on_a_held_store_stops_and_changes_nothing(tmp_path: Path) -> None:
    put(tmp_path, "genres", "1990", films(5))
    store = Store(str(tmp_path / "similarities.zarr"))
    with held_elsewhere(store):
        # Also for decades that the other run does not work on.
        for decades in (None, ["1990"]):
            with pytest.raises(LockedError, match="another run is at work"):
                engine.run(tmp_path, decades=decades)
        assert outputs(tmp_path) == {}
        assert not store.exists()
    assert engine.run(tmp_path).ok


@pytest.mark.usefixtures("eager_workers")
def test_workers_do_not_keep_the_lock(tmp_path: Path) -> None:
    put(tmp_path, "genres", "1990", films(5))
    put(tmp_path, "genres", "2000", films(5))

    class Watcher(Listener):
        workers = 0

        def advance(self, name: str, amount: int) -> None:
            self.workers = max(
                self.workers, sum("worker.py" in command for _, command in children())
            )

    watcher = Watcher()
    assert engine.run(tmp_path, workers=2, progress=watcher).ok
    assert watcher.workers == 2
    assert holder(Store(str(tmp_path / "similarities.zarr"))) is None
    assert engine.run(tmp_path).ok


# --- one run at a time on an output ---------------------------------------------------------------


@pytest.fixture
def two_folders_of_one_output(tmp_path: Path) -> tuple[Path, Path]:
    """Two data folders whose ``similarities`` lead to one place."""
    one, two = tmp_path / "one", tmp_path / "two"
    for data in (one, two):
        put(data, "genres", "1990", films(5))
        put(data, "genres", "2000", films(4))
    (one / "similarities").mkdir()
    (two / "similarities").symlink_to(one / "similarities", target_is_directory=True)
    return one, two


def test_two_data_folders_that_lead_to_one_output_keep_each_other_out(
    two_folders_of_one_output: tuple[Path, Path],
) -> None:
    one, two = two_folders_of_one_output
    (one / "similarities" / "genres").mkdir()
    output = output_path(two, "genres", "1990")
    with (
        held_elsewhere(output_path(one, "genres", "1990")) as process,
        pytest.raises(LockedError, match=rf"^{output}: another run .*process {process.pid} on "),
    ):
        engine.run(two)
    assert not output.exists()
    assert engine.run(two).ok
    assert outputs(one) == expected(two)


def test_two_data_folders_that_lead_to_one_folder_may_write_other_decades(
    two_folders_of_one_output: tuple[Path, Path],
) -> None:
    one, two = two_folders_of_one_output
    runs = run_while_at_work(one, ["2000"], lambda: engine.run(two, decades=["1990"]).ok)
    assert runs == [True]
    assert outputs(one) == expected(one)


def test_runs_on_other_decades_with_stores_of_their_own_work_side_by_side(tmp_path: Path) -> None:
    put(tmp_path, "genres", "1990", films(5))
    put(tmp_path, "genres", "2000", films(4))
    other = tmp_path / "other.zarr"
    runs = run_while_at_work(
        tmp_path, ["2000"], lambda: engine.run(tmp_path, store=other, decades=["1990"]).ok
    )
    assert runs == [True]
    assert outputs(tmp_path) == expected(tmp_path)


def test_a_run_that_only_computes_needs_no_output(tmp_path: Path) -> None:
    put(tmp_path, "genres", "1990", films(5))
    other = tmp_path / "other.zarr"
    runs = run_while_at_work(
        tmp_path, ["1990"], lambda: engine.run(tmp_path, store=other, export=False).ok
    )
    assert runs == [True]
    assert outputs(tmp_path) == expected(tmp_path)


def run_while_at_work(data: Path, decades: list[str], other: Callable[[], object]) -> list[object]:
    """Run some decades, and something else in the middle of it, once."""
    answers: list[object] = []

    class Meddler(Listener):
        def stage(self, name: str, total: int, done: int, unit: str) -> None:
            if name == "exporting" and not answers:
                answers.append(other())

    assert engine.run(data, workers=1, decades=decades, progress=Meddler()).ok
    return answers


# --- file systems without locks, and those of others ----------------------------------------------


@pytest.mark.parametrize("number", [errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP])
def test_without_flock_the_run_says_so_once_and_works(
    tmp_path: Path, listener: Listener, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    put(tmp_path, "genres", "1990", films(5))
    put(tmp_path, "genres", "2000", films(4))

    def refuse(*_: object) -> None:  # No such file system is at hand.
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(fcntl, "flock", refuse)
    assert engine.run(tmp_path, workers=1, progress=listener).ok
    [message] = listener.messages
    assert "nothing keeps two runs apart here" in message
    assert os.strerror(number) in message
    assert outputs(tmp_path) == expected(tmp_path)
    assert list(tmp_path.rglob("*.lock")) == []
    assert engine.status(tmp_path).holder is None


def test_what_else_goes_wrong_with_flock_is_an_error(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    monkeypatch.setattr(fcntl, "flock", fail)
    with pytest.raises(OSError, match=os.strerror(errno.EIO)), locked(store):
        pass
    assert os.listdir(tmp_path) == []


@pytest.fixture
def shared() -> Iterator[Path]:
    """A folder that every user can reach and write, as /tmp is, but not sticky."""
    folder = Path(tempfile.mkdtemp())
    folder.chmod(0o777)
    yield folder
    shutil.rmtree(folder)


def told_as_nobody(work: Callable[[], object]) -> str:
    """Do something as another user, in a process that may do no more, and tell what came of it."""
    answers, answer = FORK.Pipe(duplex=False)

    def child() -> None:
        os.setgroups([])
        os.setgid(NOBODY)
        os.setuid(NOBODY)
        try:
            answer.send(str(work()))
        except (EngineError, OSError) as error:
            answer.send(f"{type(error).__name__}: {error}")

    process = FORK.Process(target=child)
    process.start()
    told = answers.recv()
    process.join()
    return str(told)


def hold(place: Store | Path) -> str:
    with locked(place):
        return f"held, {holder(place)}"


@as_root
@pytest.mark.parametrize("mask", [0o022, 0o077])
@pytest.mark.parametrize("sticky", [False, True])
def test_a_lock_that_another_user_left_does_not_block(
    shared: Path, sticky: bool, mask: int
) -> None:
    if sticky:
        shared.chmod(0o1777)
    store = Store(str(shared / "x.zarr"))
    before = os.umask(mask)
    try:
        leave(store)
    finally:
        os.umask(before)
    assert told_as_nobody(lambda: hold(store)).startswith("held, process ")
    assert lock_path(store).exists() == sticky


@as_root
def test_a_lock_that_another_user_left_and_that_cannot_be_written_does_not_block(
    shared: Path,
) -> None:
    shared.chmod(0o1777)
    store = Store(str(shared / "x.zarr"))
    leave(store).chmod(0o644)
    assert told_as_nobody(lambda: hold(store)).startswith("held, process ")


@as_root
def test_another_user_at_work_is_named(shared: Path) -> None:
    store = Store(str(shared / "x.zarr"))
    before = os.umask(0o077)
    try:
        with locked(store):
            me = f"process {os.getpid()} on {socket.gethostname()}"
            assert me in told_as_nobody(lambda: holder(store))
            told = told_as_nobody(lambda: hold(store))
            assert told.startswith("LockedError")
            assert me in told
    finally:
        os.umask(before)


@as_root
def test_a_lock_that_cannot_be_read_is_an_error_and_stays(shared: Path) -> None:
    store = Store(str(shared / "x.zarr"))
    lock = leave(store)
    lock.chmod(0o600)
    for ask in (lambda: hold(store), lambda: holder(store)):
        told = told_as_nobody(ask)
        assert told.startswith(
            f"EngineError: {lock}: the lock cannot be opened (Permission denied)"
        )
    assert lock.exists()


# --- what lies in the place of a lock -------------------------------------------------------------


def link(path: Path) -> None:
    path.symlink_to(path.parent / "victim")


THINGS: dict[str, Callable[[Path], object]] = {
    "a link": link,
    "a link to nothing": lambda path: path.symlink_to(path.parent / "nothing"),
    "a folder": Path.mkdir,
    "a pipe": os.mkfifo,
}


@pytest.mark.parametrize("thing", THINGS)
def test_what_is_no_lock_is_left_alone(store: Store, tmp_path: Path, thing: str) -> None:
    victim = tmp_path / "victim"
    victim.write_text("precious")
    lock = lock_path(store)
    THINGS[thing](lock)
    for ask in (hold, holder):
        with pytest.raises(EngineError, match=f"^{lock}: is not the file of a lock"):
            ask(store)
    assert victim.read_text() == "precious"
    assert sorted(tmp_path.iterdir()) == sorted([victim, lock])
    assert lock.lstat().st_mode != victim.stat().st_mode


def test_another_name_of_a_file_is_never_written(store: Store, tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    victim.write_text("precious")
    os.link(victim, lock_path(store))
    hold(store)
    assert victim.read_text() == "precious"


def test_nothing_raw_of_a_lock_reaches_the_terminal(store: Store) -> None:
    lock = lock_path(store)
    lock.write_text("\x1b[31mred\n\u202e" + 10_000 * "x")
    with open(lock) as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        with pytest.raises(LockedError) as refused, locked(store):
            pass
        for text in (str(refused.value), str(holder(store))):
            assert r"\x1b[31mred\n" in text
            assert text.isprintable()
            assert len(text) < 500


def test_who_holds_a_lock_need_not_have_said_it(store: Store) -> None:
    with open(lock_path(store), "w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        assert holder(store) == "a run that did not say who it is"


# --- stores behind a URL --------------------------------------------------------------------------


@pytest.fixture
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    return tmp_path


def test_the_lock_of_a_store_elsewhere_lies_outside_of_it_and_names_no_secret() -> None:
    other = Store("s3://bucket/two.zarr")
    assert lock_path(REMOTE) == lock_path(Store(REMOTE.location))
    assert lock_path(REMOTE) != lock_path(other)
    assert "bucket" not in str(lock_path(REMOTE))


def test_the_lock_of_a_store_elsewhere_lies_in_a_folder_of_the_users_own(temporary: Path) -> None:
    assert holder(REMOTE) is None
    assert os.listdir(temporary) == []
    with locked(REMOTE):
        [folder] = temporary.iterdir()
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700
        assert lock_path(REMOTE).parent == folder
        assert f"process {os.getpid()} " in str(holder(REMOTE))
    assert list(folder.iterdir()) == []
    assert hold(REMOTE)


def test_a_folder_for_locks_that_others_may_write_is_refused(temporary: Path) -> None:
    folder = lock_path(REMOTE).parent
    folder.mkdir()
    folder.chmod(0o770)
    refused_and_left_alone(folder)


def test_a_link_for_the_folder_of_locks_is_not_followed(temporary: Path) -> None:
    (temporary / "victim").mkdir()
    folder = lock_path(REMOTE).parent
    folder.symlink_to(temporary / "victim", target_is_directory=True)
    refused_and_left_alone(folder)
    assert os.listdir(temporary / "victim") == []


@as_root
def test_a_folder_for_locks_that_another_user_made_is_refused(temporary: Path) -> None:
    folder = lock_path(REMOTE).parent
    folder.mkdir(0o700)
    os.chown(folder, NOBODY, NOBODY)
    refused_and_left_alone(folder)


def refused_and_left_alone(folder: Path) -> None:
    for ask in (hold, holder):
        with pytest.raises(EngineError, match=f"^{folder}: is not a folder that you alone may"):
            ask(REMOTE)
    assert os.listdir(folder) == []
