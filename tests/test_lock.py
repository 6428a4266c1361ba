"""The lock: one run at a time on a store, and none that outlives its run."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from conftest import Listener
from faults import children
from reference import films, outputs, put

import engine
from engine.errors import LockedError
from engine.store.lock import holder, lock_path, locked
from engine.store.store import Store

ROOT = Path(__file__).parents[1]
HOLD = """
import sys, time
from engine.store.lock import locked
from engine.store.store import Store
with locked(Store(sys.argv[1])):
    print("held", flush=True)
    time.sleep(600)
"""


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(str(tmp_path / "x.zarr"))


def hold_elsewhere(store: Store) -> "subprocess.Popen[str]":
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD, store.location], cwd=ROOT, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout
    assert process.stdout.readline() == "held\n"
    return process


def end(process: "subprocess.Popen[str]") -> None:
    process.kill()
    process.communicate()


def test_a_second_run_is_told_at_once_who_holds_the_store(store: Store) -> None:
    process = hold_elsewhere(store)
    try:
        begin = time.monotonic()
        with pytest.raises(LockedError, match=f"process {process.pid} on "), locked(store):
            pass
        assert time.monotonic() - begin < 5
        assert f"process {process.pid} on " in str(holder(store))
    finally:
        end(process)


def test_a_lock_left_by_a_killed_run_does_not_block(store: Store) -> None:
    process = hold_elsewhere(store)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert holder(store) is None
    with locked(store):
        assert f"process {os.getpid()} on " in str(holder(store))


def test_the_store_is_free_again_however_the_run_ends(store: Store) -> None:
    with pytest.raises(KeyboardInterrupt), locked(store):
        raise KeyboardInterrupt
    assert holder(store) is None
    with locked(store):
        pass
    assert holder(store) is None


def test_to_ask_who_holds_the_store_creates_nothing(store: Store, tmp_path: Path) -> None:
    assert holder(store) is None
    assert os.listdir(tmp_path) == []


def test_two_stores_are_locked_apart(store: Store, tmp_path: Path) -> None:
    with locked(store), locked(Store(str(tmp_path / "y.zarr"))):
        pass


def test_one_store_by_two_paths_is_one_store(store: Store, tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(tmp_path, target_is_directory=True)
    other = Store(str(tmp_path / "link" / "x.zarr"))
    with locked(store), pytest.raises(LockedError), locked(other):
        pass


def test_the_lock_of_a_store_elsewhere_lies_outside_of_it_and_names_no_secret() -> None:
    one, two = (Store(f"s3://bucket/{name}.zarr") for name in ("one", "two"))
    assert lock_path(one) == lock_path(Store(one.location))
    assert lock_path(one) != lock_path(two)
    assert "bucket" not in str(lock_path(one))


def test_a_run_on_a_held_store_stops_and_changes_nothing(tmp_path: Path) -> None:
    put(tmp_path, "genres", "1990", films(5))
    store = Store(str(tmp_path / "similarities.zarr"))
    process = hold_elsewhere(store)
    try:
        # Also for decades that the other run does not work on.
        for decades in (None, ["1990"]):
            with pytest.raises(LockedError, match="another run is at work"):
                engine.run(tmp_path, decades=decades)
        assert outputs(tmp_path) == {}
        assert not store.exists()
    finally:
        end(process)
    assert engine.run(tmp_path).ok


@pytest.mark.usefixtures("eager_workers")
def test_workers_do_not_keep_the_lock(tmp_path: Path) -> None:
    put(tmp_path, "genres", "1990", films(5))
    put(tmp_path, "genres", "2000", films(5))

    class Watcher(Listener):
        workers = 0

        def advance(self, name: str, amount: int) -> None:
            self.workers = max(self.workers, sum("worker.py" in command for command in children()))

    watcher = Watcher()
    assert engine.run(tmp_path, workers=2, progress=watcher).ok
    assert watcher.workers == 2
    assert holder(Store(str(tmp_path / "similarities.zarr"))) is None
    assert engine.run(tmp_path).ok
