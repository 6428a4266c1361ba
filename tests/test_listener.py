"""Who hears of a run: bars where they can be seen, and the log for what nobody shows."""

import logging
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from conftest import Listener
from reference import films, output_path, put

import engine
from engine.progress import in_notebook, listener
from engine.terminal import TerminalProgress

OFF = {"1": [1.0, 0.0], "2": [0.0, 2.0]}
"""A vector that is not of unit length."""


def kernel_of(**config: object) -> SimpleNamespace:
    return SimpleNamespace(get_ipython=lambda: SimpleNamespace(config=config))


def test_there_are_bars_by_default_in_a_notebook_and_for_the_asking_elsewhere(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert engine.run.__name__ == "run"  # With it comes what draws bars.
    monkeypatch.setitem(sys.modules, "IPython", None)
    assert not in_notebook()
    assert type(listener(None)) is type(listener(False)) is engine.Progress
    assert type(listener(True)) is TerminalProgress
    monkeypatch.setitem(sys.modules, "IPython", kernel_of(TerminalIPythonApp={}))
    assert type(listener(None)) is engine.Progress
    monkeypatch.setitem(sys.modules, "IPython", kernel_of(IPKernelApp={}))
    assert type(listener(None)) is TerminalProgress
    assert type(listener(False)) is engine.Progress
    own = Listener()
    assert listener(own) is own


@pytest.mark.parametrize("progress", [Listener, "no", 0, object()])
def test_what_would_hear_nothing_is_no_listener(progress: Any, tmp_path: Path) -> None:
    put(tmp_path, "genres", "1990", OFF)
    with pytest.raises(ValueError, match=r"^progress: .* is not True, False or an instance"):
        engine.run(tmp_path, workers=1, progress=progress)
    assert not (tmp_path / "similarities.zarr").exists()


def test_what_is_worth_knowing_is_logged_where_nobody_shows_it(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    put(tmp_path, "genres", "1990", OFF)
    assert engine.run(tmp_path, workers=1).ok
    (record,) = caplog.records
    assert (record.name, record.levelno) == ("engine", logging.WARNING)
    assert "genres 1990s: 1 of 2 vectors are not of unit length" in record.message
    assert capfd.readouterr() == ("", "")


def test_damage_is_logged_where_nobody_shows_it(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    put(tmp_path, "genres", "1990", films(5))
    assert engine.run(tmp_path, workers=1).ok
    chunk = tmp_path / "similarities.zarr/genres/1990/similarities/c/0/0"
    content = bytearray(chunk.read_bytes())
    content[20] ^= 1
    chunk.write_bytes(content)
    assert caplog.messages == []
    assert engine.verify(tmp_path, progress=False)
    assert "row 0, column 0 is damaged" in caplog.text
    output_path(tmp_path, "genres", "1990").unlink()
    assert engine.run(tmp_path, workers=1, progress=False).ok
    assert "genres 1990s: 1 damaged chunk computed again" in caplog.text


def test_an_error_is_logged_where_nobody_shows_it(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    put(tmp_path, "genres", "1990", {"1": []})
    summary = engine.run(tmp_path, workers=1)
    assert [(r.levelno, r.message) for r in caplog.records] == [
        (logging.ERROR, summary.decades[0].error)
    ]


def test_what_is_shown_is_not_logged(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]
) -> None:
    put(tmp_path, "genres", "1990", OFF)
    assert engine.run(tmp_path, workers=1, progress=True).ok
    assert "1 of 2 vectors are not of unit length" in capsys.readouterr().err
    assert caplog.records == []


def test_no_password_reaches_the_log(caplog: pytest.LogCaptureFixture) -> None:
    engine.Progress().message("s3://me:secret@host/store: is damaged")
    engine.Progress().error("s3://me:secret@host/store: is damaged")
    assert caplog.messages == ["s3://…@host/store: is damaged"] * 2
