"""Verifying while a run is at work: what is finished is judged, and nothing else is blamed."""

import os
from pathlib import Path

import pytest
from conftest import Listener
from reference import expected, films, output_path, outputs, put

import engine
from engine.store.lock import locked
from engine.store.store import Store

pytestmark = pytest.mark.usefixtures("small_blocks")
LEFT_OUT = "genres 2000s: is not finished; left out"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A data folder with a finished store of two decades."""
    put(tmp_path, "genres", "1990", films(14))
    put(tmp_path, "genres", "2000", films(9))
    assert engine.run(tmp_path, workers=1).ok
    return tmp_path


def store(root: Path) -> Store:
    return Store(str(root / "similarities.zarr"))


def chunk(root: Path, decade: str) -> Path:
    return root / "similarities.zarr" / "genres" / decade / "similarities" / "c" / "0" / "1"


def flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[3] ^= 1
    path.write_bytes(content)


class Verifier(Listener):
    """Verifies the data folder whenever the run that it listens to says anything."""

    def __init__(self, root: Path) -> None:
        super().__init__()
        self.root = root
        self.found: list[list[str]] = []
        self.said: list[list[str]] = []

    def look(self) -> None:
        inner = Listener()
        self.found.append(engine.verify(self.root, workers=1, progress=inner))
        self.said.append(inner.messages)

    def stage(self, name: str, total: int, done: int, unit: str) -> None:
        self.look()

    def advance(self, name: str, amount: int) -> None:
        self.look()

    def message(self, text: str) -> None:
        self.look()


@pytest.mark.parametrize("change", ["new", "restart", "another input", "another cut"])
def test_no_step_of_a_run_is_blamed(root: Path, change: str) -> None:
    if change == "new":
        put(root, "genres", "2010", films(11))
    if change == "another input":
        put(root, "genres", "2000", films(12))
    verifier = Verifier(root)
    summary = engine.run(
        root,
        workers=1,
        restart=change == "restart",
        min_similarity=0.0 if change == "another cut" else None,
        progress=verifier,
    )
    assert summary.ok
    assert len(verifier.found) > 3
    assert not any(verifier.found)
    at_work = f"process {os.getpid()} on "
    assert all(
        at_work in said[0] and "only what is finished is judged" in said[0]
        for said in verifier.said
    )
    # With another cut the outputs are right, and as they were, until others replace them.
    assert any(said[1:] for said in verifier.said) == (change != "another cut")
    assert engine.verify(root, workers=1) == []


def test_damage_in_a_finished_decade_is_found_while_a_run_is_at_work(
    root: Path, listener: Listener
) -> None:
    flip(chunk(root, "1990"))
    chunk(root, "2000").parents[3].joinpath("checksums/c/0/0").unlink()
    with locked(store(root)):
        found = engine.verify(root, workers=1, progress=listener)
    assert found
    assert all("1990s" in problem for problem in found)
    assert "in row 0, column 1 is damaged" in found[0]
    assert listener.messages[1:] == [LEFT_OUT]


def test_an_edited_output_is_found_while_a_run_is_at_work(root: Path) -> None:
    output = output_path(root, "genres", "1990")
    before = output.stat()
    flip(output)
    os.utime(output, ns=(before.st_atime_ns, before.st_mtime_ns))
    with locked(store(root)):
        [problem] = engine.verify(root, workers=1)
    assert problem.startswith(f"{output}: differs from the store")


def test_without_a_run_what_is_missing_is_blamed(root: Path, listener: Listener) -> None:
    chunk(root, "2000").unlink()
    found = engine.verify(root, workers=1, progress=listener)
    assert "in row 0, column 1 is missing" in found[0]
    assert listener.messages == []


@pytest.mark.parametrize("held", ["the store", "the output, with another store"])
def test_an_output_that_is_about_to_be_replaced_is_left_out(
    root: Path, listener: Listener, held: str
) -> None:
    output = output_path(root, "genres", "2000")
    output.write_text("{}")
    with locked(store(root) if held == "the store" else output):
        assert engine.verify(root, workers=1, progress=listener) == []
    assert listener.messages[-1] == LEFT_OUT
    assert engine.verify(root, workers=1)


def test_a_decade_that_a_whole_run_changed_meanwhile_is_left_out(root: Path) -> None:
    put(root, "genres", "2000", films(12))

    class Meddler(Listener):
        def stage(self, name: str, total: int, done: int, unit: str) -> None:
            assert engine.run(root, workers=1).ok

    meddler = Meddler()
    assert engine.verify(root, workers=1, progress=meddler) == []
    assert meddler.messages == [LEFT_OUT]
    assert outputs(root) == expected(root)
