"""What a person sees: true numbers, in 80 columns, and nothing that a file could sneak in."""

import importlib.util
import io
import json
import os
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from reference import films, put

import engine
from engine import DecadeStatus, DecadeSummary, Status, Summary
from engine.data_folder import DecadeName
from engine.tables import Table, as_text, size
from engine.terminal import TerminalProgress

APPROACHES = ("custom_genres", "embedding")
# The real decades, with a number of seconds that no table should break on.
FILMS = (117, 413, 1314, 1476, 1792, 1621, 1764, 2568, 3377, 6238, 1710)
NAMES = [DecadeName(approach, str(1910 + 10 * k)) for approach in APPROACHES for k in range(11)]
REAL = [
    DecadeSummary(
        name,
        n_films=n,
        n_pairs=n * (n - 1) // 2,
        pairs_computed=n * (n - 1) // 2,
        output_bytes=20 * n * (n - 1),
        seconds=1234.5,
    )
    for name, n in zip(NAMES, 2 * FILMS, strict=True)
]
LARGEST = REAL[9]


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture(autouse=True)
def _eighty_columns(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setenv("LINES", "24")
    monkeypatch.setenv("TERM", "xterm")


def widest(text: str) -> int:
    return max(map(len, text.splitlines()))


# --- numbers ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("n_bytes", "text"),
    [
        (0, "0 B"),
        (2, "2 B"),
        (999, "999 B"),
        (1000, "1.0 kB"),
        (99949, "99.9 kB"),
        (99950, "100 kB"),
        (999499, "999 kB"),
        (999500, "1.0 MB"),
        (781900000, "782 MB"),
        (2900000000, "2.9 GB"),
        (20000000000000.0, "20.0 TB"),
    ],
)
def test_a_size_is_written_for_a_person(n_bytes: float, text: str) -> None:
    assert size(n_bytes) == text


@given(st.integers(0, 10**13))
def test_a_size_is_short_and_right_to_half_a_per_cent_or_one_digit(n_bytes: int) -> None:
    text = size(n_bytes)
    assert len(text) <= 7
    number, unit = text.split()
    value = float(number) * 1000 ** ["B", "kB", "MB", "GB", "TB"].index(unit)
    assert abs(value - n_bytes) <= 0.051 * max(value, 1)


# --- the table ----------------------------------------------------------------------------------


def test_columns_are_as_wide_as_their_widest_cell_and_numbers_stand_right() -> None:
    text = as_text([Table(("name", "year", "n"), [("a", "1990s", "1,000"), ("bcdefg", "1s", "2")])])
    assert text.splitlines() == [
        "name    year       n",
        "a       1990s  1,000",
        "bcdefg  1s         2",
    ]


def rows_of(text: str) -> list[list[str]]:
    return [re.split(r"\s{2,}", line) for line in text.splitlines()]


def test_the_table_has_one_row_a_decade_and_a_line_with_the_sums() -> None:
    decades = [
        LARGEST,
        replace(LARGEST, name=NAMES[0], n_films=117, n_pairs=6786, up_to_date=True),
        DecadeSummary(NAMES[1], error="x: it broke"),
    ]
    rows = rows_of(str(Summary(decades, 12.34)))
    assert rows[0] == [
        "approach",
        "decade",
        "films",
        "pairs",
        "computed",
        "resumed",
        "JSON",
        "secs",
    ]
    assert rows[1][:7] == [
        "custom_genres",
        "2000s",
        "6,238",
        "19,453,203",
        "19,453,203",
        "0",
        "778 MB",
    ]
    assert rows[2][:5] == ["custom_genres", "1910s", "117", "6,786", "up to date"]
    assert rows[3] == ["custom_genres", "1920s", "failed"]
    last = str(Summary(decades, 12.34)).splitlines()[-1]
    for word in ("2 decades done", "19,459,989 pairs", "1.6 GB of JSON", "1 failed", "12.3 s"):
        assert word in last


def test_finished_work_is_called_up_to_date() -> None:
    idle = [replace(LARGEST, up_to_date=True)]
    assert "1 decade up to date" in str(Summary(idle, 0.5)).splitlines()[-1]


def test_a_min_similarity_is_named() -> None:
    assert "pairs ≥ 0.25" in str(Summary([LARGEST], 1.0, 0.25))
    assert "≥" not in str(Summary([LARGEST], 1.0))


@pytest.mark.parametrize("resumed", [0.0, 0.02, 0.4, 0.486, 0.52, 1.0])
@pytest.mark.parametrize("min_similarity", [None, 0.25])
def test_the_table_of_the_real_films_fits_80_columns(
    resumed: float, min_similarity: float | None
) -> None:
    decades = []
    for decade in REAL:
        n_resumed = int(resumed * decade.n_pairs)
        computed = decade.n_pairs - n_resumed
        decades.append(replace(decade, pairs_computed=computed, pairs_resumed=n_resumed))
    text = str(Summary(decades, 12.3, min_similarity))
    assert len(text.splitlines()) == 1 + 22 + 2
    assert widest(text) <= 80


def test_a_hostile_or_long_name_neither_breaks_the_table_nor_reaches_the_terminal() -> None:
    for approach in ("x" * 100, "a\x1b[31m\nb", "a\u202eb"):
        name = DecadeName(approach, "1990")
        text = str(Summary([replace(LARGEST, name=name)], 1.0))
        assert len(text.splitlines()) == 4
        assert all(line.isprintable() for line in text.splitlines())
        assert widest(text) <= 80


def status_of(name: DecadeName, **changes: object) -> DecadeStatus:
    known = DecadeStatus(
        name=name,
        input=Path("data/embeddings") / name.approach / f"plots_{name.decade}s.json",
        input_sha256="00" * 32,
        read="2024-01-01T00:00:00+00:00",
        kernel="dot",
        normalize=False,
        n_films=6238,
        n_pairs=19_453_203,
        pairs_computed=19_453_203,
        pairs_exported=19_453_203,
        output=Path("data/similarities/x.json"),
        output_bytes=781_900_000,
        output_written="2024-01-01T00:00:00+00:00",
        output_pairs=19_453_203,
        min_similarity=None,
        next="nothing",
        reason="",
    )
    return replace(known, **changes)  # type: ignore[arg-type]


def test_the_status_of_the_real_films_fits_80_columns() -> None:
    text = str(Status("data/similarities.zarr", None, [status_of(name) for name in NAMES]))
    assert widest(text) <= 80
    assert "everything is up to date" in text
    for name in NAMES:
        assert f"{name.decade}s" in text


def test_the_status_says_100_per_cent_of_what_is_whole_alone() -> None:
    almost = status_of(NAMES[0], pairs_computed=19_453_202, pairs_exported=1, next="compute")
    text = str(Status("x.zarr", None, [almost]))
    assert "99 %" in text
    assert "100 %" not in text
    assert "1 pairs to compute" in text or "1 pair to compute" in text


def test_the_columns_of_all_approaches_stand_below_one_another() -> None:
    wide, narrow = status_of(NAMES[0]), status_of(NAMES[-1], n_films=2, n_pairs=1)
    lines = str(Status("x.zarr", None, [wide, narrow])).splitlines()
    heads = [line for line in lines if line.startswith("decade")]
    assert len(heads) == 2
    assert heads[0] == heads[1]


def test_the_status_says_in_a_line_with_which_min_similarity_all_outputs_were_made() -> None:
    made = [status_of(name, min_similarity=0.8, output_pairs=10) for name in NAMES]
    assert "22 decades exported with --min-similarity 0.8: 220 of 427,970,466 pairs" in (
        str(Status("x.zarr", None, made))
    )
    other = [
        replace(each, output_pairs=None, output_bytes=None, output_written=None, next="export")
        for each in made
    ]
    text = str(Status("x.zarr", None, other))
    assert "22 outputs made with --min-similarity 0.8; a run with these options makes them" in text


def test_the_status_names_who_is_at_work_and_why_something_will_fail() -> None:
    failing = status_of(NAMES[0], next="fail", reason="x.json: the input is gone")
    text = str(Status("x.zarr", "process 12 on host", [failing]))
    assert "process 12 on host" in text
    assert "x.json: the input is gone" in text


# --- while a run works --------------------------------------------------------------------------


def test_on_a_terminal_there_is_a_bar_a_stage_that_fits_80_columns() -> None:
    stream = Terminal()
    progress = TerminalProgress(stream=stream)
    progress.stage("reading", 140_000_000, 0, "B")
    progress.advance("reading", 140_000_000)
    progress.stage("computing", 36_400_000, 12_000_000, "pairs")
    progress.stage("exporting", 36_400_000, 0, "pairs")
    progress.advance("computing", 24_400_000)
    progress.advance("exporting", 36_400_000)
    progress.close()
    drawn = re.split(r"[\r\n]+", re.sub(r"\x1b\[[0-9;]*[A-Za-z]", "", stream.getvalue()))
    assert max(map(len, drawn)) <= 80
    for name in ("reading", "computing", "exporting"):
        assert any(name in line and "100%" in line for line in drawn)


def test_a_bar_begins_at_what_was_done_before() -> None:
    stream = Terminal()
    progress = TerminalProgress(stream=stream)
    progress.stage("computing", 1000, 750, "pairs")
    progress.close()
    assert "75%" in stream.getvalue()


def test_where_there_is_no_terminal_there_are_no_bars() -> None:
    stream = io.StringIO()
    progress = TerminalProgress(stream=stream)
    progress.stage("computing", 1000, 0, "pairs")
    for _ in range(1000):
        progress.advance("computing", 1)
    progress.close()
    assert stream.getvalue() == ""


def test_where_there_is_no_terminal_there_is_a_line_now_and_then(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    now = 0.0
    monkeypatch.setattr("time.monotonic", lambda: now)
    stream = io.StringIO()
    progress = TerminalProgress(stream=stream)
    progress.stage("computing", 36_400, 400, "pairs")
    for _ in range(360):
        now += 0.25
        progress.advance("computing", 100)
    lines = stream.getvalue().splitlines()
    assert 2 <= len(lines) <= 10
    assert re.search(r"; \d\d:\d\d left$", lines[0])
    assert all("computing" in line and "36,400 pairs" in line for line in lines)
    shares = [int(re.findall(r"(\d+) %", line)[0]) for line in lines]
    assert shares == sorted(set(shares))


def test_a_line_of_the_real_films_fits_80_columns(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 0.0
    monkeypatch.setattr("time.monotonic", lambda: now)
    progress = TerminalProgress(stream=io.StringIO())
    for name in ("reading", "computing", "exporting"):
        progress.stage(name, 72_853_138, 0, "pairs" if name != "reading" else "B")
    progress.advance("reading", 72_853_138)
    now = 10.0
    progress.advance("computing", 36_426_569)
    progress.advance("exporting", 24_284_380)
    assert progress.standing() == (
        "computing 50 % of 72,853,138 pairs, exporting 33 % of 72,853,138; 00:19 left"
    )


def test_where_the_cursor_cannot_go_up_there_are_no_bars(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "dumb")
    stream = Terminal()
    progress = TerminalProgress(stream=stream)
    progress.stage("computing", 1000, 0, "pairs")
    progress.advance("computing", 1000)
    progress.close()
    assert stream.getvalue() == ""


NOTEBOOK = """
import engine
engine.run("data", workers=1)
"""


def test_a_notebook_shows_a_bar_a_stage_and_then_the_table(tmp_path: Path) -> None:
    for module in ("ipykernel", "ipywidgets", "nbclient"):
        if importlib.util.find_spec(module) is None:
            pytest.skip(f"{module} not installed")
    put(tmp_path / "data", "genres", "1990", films(300))
    # In a process of its own, where what Jupyter warns of is nobody's failure.
    code = (
        "import json, nbclient, nbformat, sys\n"
        "cells = [nbformat.v4.new_code_cell(sys.argv[1])]\n"
        "notebook = nbformat.v4.new_notebook(cells=cells)\n"
        "nbclient.NotebookClient(notebook, kernel_name='python3').execute()\n"
        "print(json.dumps([cells[0].outputs, notebook.metadata]))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, NOTEBOOK],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(Path(engine.__file__).parents[1])},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    outputs, metadata = json.loads(done.stdout)
    shown = [output["data"]["text/plain"].split()[0] for output in outputs if "data" in output]
    assert shown == ["reading", "computing", "exporting", "approach"]
    assert "<td" in outputs[-1]["data"]["text/html"]
    widgets = metadata["widgets"]["application/vnd.jupyter.widget-state+json"]["state"].values()
    bars = [each["state"] for each in widgets if each["model_name"] == "FloatProgressModel"]
    assert [(bar["bar_style"], bar["value"]) for bar in bars] == [
        ("success", bar["max"]) for bar in bars
    ]
    assert len(bars) == 3


@pytest.mark.parametrize("stream", [io.StringIO, Terminal])
def test_quiet_is_silent_but_for_errors(stream: type[io.StringIO]) -> None:
    out = stream()
    progress = TerminalProgress(quiet=True, stream=out)
    progress.stage("computing", 10, 0, "pairs")
    progress.advance("computing", 10)
    progress.message("norms are off")
    assert out.getvalue() == ""
    progress.error("x.json: it broke", "Traceback ...")
    progress.close()
    assert out.getvalue() == "error: x.json: it broke\n"


def test_an_error_is_one_line_and_a_traceback_only_with_verbose() -> None:
    quiet, verbose = io.StringIO(), io.StringIO()
    for stream, progress in (
        (quiet, TerminalProgress(stream=quiet)),
        (verbose, TerminalProgress(verbose=True, stream=verbose)),
    ):
        progress.error("x.json: it broke", "Traceback\n  line 7\n")
        assert stream.getvalue().endswith("error: x.json: it broke\n")
    assert quiet.getvalue() == "error: x.json: it broke\n"
    assert verbose.getvalue() == "Traceback\n  line 7\nerror: x.json: it broke\n"


def test_a_message_stands_on_a_line_of_its_own_above_the_bars() -> None:
    stream = Terminal()
    progress = TerminalProgress(stream=stream)
    progress.stage("computing", 1000, 0, "pairs")
    progress.advance("computing", 500)
    progress.message("one damaged chunk computed again")
    progress.close()
    lines = re.split(r"[\r\n]+", stream.getvalue())
    assert "one damaged chunk computed again" in lines


def test_what_is_done_never_exceeds_the_whole() -> None:
    progress = TerminalProgress(stream=io.StringIO())
    progress.stage("computing", 10, 5, "pairs")
    progress.advance("computing", 50)
    progress.advance("exporting", 3)  # a stage that was never announced
    assert progress.done == {"computing": 10}
