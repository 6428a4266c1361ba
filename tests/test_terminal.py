"""What a person sees: true numbers, in 80 columns, and nothing that a file could sneak in."""

import errno
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
from waiting import PATIENCE

import engine
from engine import DecadeStatus, DecadeSummary, Status, Summary
from engine.batch.forecast import Forecast
from engine.data_folder import DecadeName
from engine.disk import size
from engine.tables import Table, as_text, duration
from engine.terminal import TerminalProgress
from engine.terminal.bars import Stage, bar

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
        pairs_exported=n * (n - 1) // 2,
        output=Path("data/similarities") / name.approach / "x.json",
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


def plain(text: str) -> str:
    """What is written, without the codes that move the cursor."""
    return re.sub(r"\x1b\[[0-9;]*[A-Za-z]", "", text)


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
    return [re.split(r"\s{2,}", line) for line in text.splitlines() if line]


def test_the_table_has_one_row_a_decade_a_row_of_sums_and_where_the_json_lies() -> None:
    first = replace(LARGEST, name=NAMES[0], n_films=117, n_pairs=6786, up_to_date=True, seconds=0.0)
    decades = [first, DecadeSummary(NAMES[1], error="x: it broke"), LARGEST, REAL[20]]
    text = str(Summary(decades, 12.34))
    head = ["decade", "films", "pairs", "computed", "resumed", "written", "JSON", "worker s"]
    pairs = "19,453,203"
    row = ["2000s", "6,238", pairs, pairs, "0", pairs, "778 MB", "1,234.5"]
    assert rows_of(text) == [
        ["custom_genres"],
        head,
        ["1910s", "117", "6,786", "up to date", "778 MB"],
        ["1920s", "failed"],
        row,
        ["embedding"],
        head,
        row,
        ["total", "38,913,192", "58,359,609", "0", "58,359,609", "2.3 GB", "2,469.0"],
        ["3 decades done, 38,913,192 pairs; 1 failed; 12.3 s"],
        ["2.3 GB of JSON → data/similarities/"],
    ]


def test_a_row_of_sums_is_the_sum_of_the_rows_above() -> None:
    text = str(Summary(REAL, 12.3))
    rows = [line.split() for line in text.splitlines() if re.match(r"\d{4}s ", line)]
    (total,) = [line.split() for line in text.splitlines() if line.startswith("total")]
    assert len(rows) == 22
    for row_column, column in ((2, 1), (3, 2), (4, 3), (5, 4), (-1, -1)):
        column_sum = sum(float(row[row_column].replace(",", "")) for row in rows)
        assert float(total[column].replace(",", "")) == pytest.approx(column_sum, rel=1e-12)


def test_finished_work_is_called_up_to_date() -> None:
    idle = [replace(LARGEST, up_to_date=True)]
    assert "1 decade up to date" in str(Summary(idle, 0.5))


def test_a_single_decade_has_no_row_of_sums() -> None:
    assert "total" not in str(Summary([LARGEST], 0.5))


def test_where_no_json_was_written_none_is_named() -> None:
    assert "JSON →" not in str(Summary([replace(LARGEST, output_bytes=None)], 0.5))


def test_a_min_similarity_is_named() -> None:
    assert "of JSON (pairs ≥ 0.25) → " in str(Summary([LARGEST], 1.0, 0.25))
    assert "≥" not in str(Summary([LARGEST], 1.0))


def test_the_strongest_and_the_best_are_named() -> None:
    strongest, best = Summary([LARGEST], 1.0, top_percent=0.5), Summary([LARGEST], 1.0, top_k=10)
    assert "of JSON (the strongest 0.5 % of the pairs) → " in str(strongest)
    assert "of JSON (pairs among the 10 best of either film) → " in str(best)


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
    assert widest(text) <= 80
    assert "resumed" in text


def test_on_a_narrow_terminal_columns_of_less_use_are_left_out(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("sys.stdout", Terminal())
    monkeypatch.setenv("COLUMNS", "40")
    text = str(Summary([*REAL, DecadeSummary(NAMES[1], error="x: it broke")], 12.3))
    assert widest("\n".join(text.splitlines()[:-2])) <= 40
    assert rows_of(text)[1] == ["decade", "pairs", "JSON", "worker s"]
    assert ["1920s", "failed"] in rows_of(text)


def test_a_hostile_or_long_name_neither_breaks_the_table_nor_reaches_the_terminal() -> None:
    for approach in ("x" * 100, "a\x1b[31m\nb", "a\u202eb"):
        name = DecadeName(approach, "1990")
        text = str(Summary([replace(LARGEST, name=name)], 1.0))
        assert len(text.splitlines()) == 6
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


def test_the_status_lists_what_the_next_run_would_do() -> None:
    coming = Forecast(140_000_000, 19_453_203, 19_453_203, 171_000_000, 778_000_000, 5_000_000, 9.0)
    todo = status_of(NAMES[9], next="read", n_films=None, n_pairs=None, forecast=coming)
    status = Status(
        "x.zarr",
        None,
        [todo, status_of(NAMES[0]), status_of(NAMES[1], next="fail", reason="x: it is gone")],
        seconds=260.0,
        workers=16,
        warning="/data: about 950 MB are needed and 120 MB are free",
    )
    assert str(status).splitlines()[-8:] == [
        "the next run works on 1 decade, and fails for 1 decade, to",
        "  read     1 file, 140 MB",
        "  delete   5.0 MB of the store",
        "  compute  about 19,453,203 pairs, 171 MB of store",
        "  write    about 19,453,203 pairs, 778 MB of JSON",
        "  take     about 4 min with 16 workers",
        "",
        "/data: about 950 MB are needed and 120 MB are free",
    ]
    known = replace(
        todo, next="export", n_films=5, n_pairs=10, forecast=replace(coming, read_bytes=0)
    )
    assert (
        "  write    19,453,203 pairs, about 778 MB of JSON at most, of pairs ≥ 0.8"
        in str(replace(status, decades=[known], min_similarity=0.8)).splitlines()
    )


def test_a_contradiction_is_said_once_for_the_whole_run() -> None:
    refusing = [
        status_of(name, next="fail", reason=f"--kernel gemm contradicts {name}", conflict=True)
        for name in NAMES
    ]
    text = str(Status("x.zarr", None, refusing, refused="--kernel gemm contradicts all"))
    assert text.count("contradicts") == 1
    assert text.splitlines()[-1] == "the next run ends at once: --kernel gemm contradicts all"


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.01, "1 s"), (89.4, "89 s"), (90, "2 min"), (5399, "90 min"), (9000, "2.5 h")],
)
def test_a_duration_is_written_in_one_unit(seconds: float, text: str) -> None:
    assert duration(seconds) == text


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


class Window(Terminal):
    """A terminal as wide as the environment says, which breaks lines anew when that changes."""

    def __init__(self) -> None:
        super().__init__()
        self.lines = [""]
        """Each as long as it was written, however many rows it takes."""
        self.row, self.column = 0, 0
        """Of the cursor: in which line, and how far from its beginning."""

    @property
    def width(self) -> int:
        return int(os.environ["COLUMNS"])

    def write(self, text: str) -> int:
        for code in re.findall(r"\x1b\[\d*[A-Z]|.|\n", text):
            line = self.lines[self.row]
            start = self.column - self.column % self.width
            if code == "\r":
                self.column = start
            elif code == "\n":
                # To the next row: of the same line where that was broken.
                if start + self.width < len(line):
                    self.column = start + self.width
                else:
                    self.row, self.column = self.row + 1, 0
                    self.lines += [""] * (self.row == len(self.lines))
            elif code == "\x1b[K":
                rest = line[start + self.width :]
                self.lines[self.row] = line[: self.column] + (
                    " " * (start + self.width - self.column) + rest if rest else ""
                )
            elif code == "\x1b[J":
                self.lines[self.row :] = [line[: self.column]]
            elif up := re.fullmatch(r"\x1b\[(\d+)A", code):
                for _ in range(int(up[1])):
                    if self.column >= self.width:
                        self.column -= self.width
                    else:
                        self.row -= 1
                        above = len(self.lines[self.row])
                        self.column += max(0, above - 1) // self.width * self.width
            else:
                self.lines[self.row] = line[: self.column] + code + line[self.column + 1 :]
                self.column += 1
        return len(text)

    @property
    def rows(self) -> list[str]:
        broken = [
            line[k : k + self.width]
            for line in self.lines
            for k in range(0, max(1, len(line)), self.width)
        ]
        return [row.rstrip() for row in broken if row.strip()]


@pytest.fixture
def window(monkeypatch: pytest.MonkeyPatch) -> Window:
    monkeypatch.setattr("engine.terminal.progress.DRAW_SECONDS", -1.0)
    return Window()


def test_computing_and_exporting_have_one_bar_while_they_are_the_same(window: Window) -> None:
    progress = TerminalProgress(stream=window)
    progress.stage("reading", 140_000_000, 0, "B")
    progress.advance("reading", 14_000_000)
    assert [row.split()[0] for row in window.rows[1:]] == ["reading"]
    assert "14.0 MB of 140 MB" in window.rows[1]
    progress.advance("reading", 126_000_000)
    for name in ("computing", "exporting"):
        progress.stage(name, 72_853_138, 0, "pairs")
    for name in ("computing", "exporting"):
        progress.advance(name, 800_000)
        assert [row[:23] for row in window.rows[1:]] == ["computing and exporting"]
    assert "0.80M of 72.9M pairs" in window.rows[1] or "800k of 72.9M pairs" in window.rows[1]
    progress.advance("computing", 20_000_000)  # An output cannot be written.
    assert [row.split()[0] for row in window.rows[1:]] == ["computing", "exporting"]


def test_a_stage_with_nothing_to_do_has_no_bar(window: Window) -> None:
    progress = TerminalProgress(stream=window)
    progress.stage("computing", 1000, 1000, "pairs")
    progress.stage("exporting", 1000, 0, "pairs")
    assert [row.split()[0] for row in window.rows[1:]] == ["exporting"]


def test_above_the_bars_stand_the_decades_the_one_at_work_and_the_time(
    window: Window, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = 100.0
    monkeypatch.setattr("time.monotonic", lambda: now)
    progress = TerminalProgress(stream=window)
    progress.stage("computing", 1000, 0, "pairs")
    assert window.rows[0] == "00:00 elapsed"
    progress.decade("embedding 2000s", 7, 22)
    now = 105.0
    progress.advance("computing", 500)
    assert window.rows[0] == "7 of 22 decades, at embedding 2000s; 00:05 elapsed, 00:05 left"
    progress.decade("embedding 2000s", 22, 22)
    progress.advance("computing", 500)
    assert window.rows[0] == "22 of 22 decades; 00:05 elapsed"


def test_of_several_decades_at_work_one_is_named_as_long_as_it_is_heard_of(
    window: Window, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = [100.0]
    monkeypatch.setattr("time.monotonic", lambda: now[0])
    progress = TerminalProgress(stream=window)
    progress.stage("computing", 1000, 0, "pairs")
    named = []
    for later, decade in ((0, 1990), (0.5, 2000), (0.4, 1990), (0.9, 2000), (0.1, 2000)):
        now[0] += later
        progress.decade(f"embedding {decade}s", 0, 2)
        progress.advance("computing", 100)
        named.append(window.rows[0].split()[6])
    assert named == ["1990s;", "1990s;", "1990s;", "1990s;", "2000s;"]


@pytest.mark.parametrize("width", [40, 25, 79, 80, 200, 3])
def test_when_the_window_becomes_another_nothing_of_the_old_bars_is_left(
    window: Window, width: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    progress = TerminalProgress(stream=window)
    progress.message("a message that was there before")
    for name in ("computing", "exporting"):
        progress.stage(name, 10_000_000, 1000 if name == "computing" else 0, "pairs")
    progress.decade("embedding 2000s", 7, 22)
    progress.advance("computing", 4_000_000)
    assert len(window.rows) == 4
    monkeypatch.setenv("COLUMNS", str(width))
    progress.advance("computing", 1_000_000)
    other = Window()
    other.write("a message that was there before\n")
    message = other.rows
    assert window.rows[: len(message)] == message
    bars = window.rows[len(message) :]
    assert len(bars) == 3
    assert max(map(len, bars)) < max(width, 2)
    progress.close()
    assert window.rows == [*message, *bars]


def test_ctrl_c_leaves_the_bars_once(window: Window) -> None:
    progress = TerminalProgress(stream=window)
    progress.stage("computing", 1000, 0, "pairs")
    progress.advance("computing", 500)
    window.write("^C")  # As a terminal shows it.
    progress.close()
    progress.message("interrupted")
    assert [row.split()[0] for row in window.rows] == ["00:00", "computing", "interrupted"]


def test_a_terminal_without_blocks_gets_number_signs() -> None:
    stage = Stage("computing", 100, 50, "pairs", 0.0, 0)
    assert bar(stage, 60, blocks=False) == (
        "computing  50% |#############              | 50 of 100 pairs"
    )
    for width in range(1, 200):
        for done in (0, 33, 100):
            assert len(bar(replace(stage, done=done), width)) <= width


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
    drawn = re.split(r"[\r\n]+", plain(stream.getvalue()))
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
    assert progress.standing() == ("computing 50 %, exporting 33 % of 72,853,138 pairs; 00:19 left")
    progress.decade("embedding 2000s", 17, 22)
    assert progress.standing() == (
        "computing 50 %, exporting 33 % of 72,853,138 pairs; 17 of 22 decades; 00:19 left"
    )
    progress.advance("exporting", 12_142_189)
    assert progress.standing() == (
        "computing and exporting 50 % of 72,853,138 pairs; 17 of 22 decades; 00:10 left"
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
        f"patience = {{'startup_timeout': {PATIENCE}, 'iopub_timeout': {PATIENCE}}}\n"
        "nbclient.NotebookClient(notebook, kernel_name='python3', **patience).execute()\n"
        "print(json.dumps([cells[0].outputs, notebook.metadata]))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, NOTEBOOK],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(Path(engine.__file__).parents[1])},
        capture_output=True,
        text=True,
        timeout=PATIENCE,
    )
    assert done.returncode == 0, done.stderr
    outputs, metadata = json.loads(done.stdout)
    shown = [output["data"]["text/plain"].split()[0] for output in outputs if "data" in output]
    assert shown == ["reading", "computing", "genres"]
    assert "<td" in outputs[-1]["data"]["text/html"]
    widgets = metadata["widgets"]["application/vnd.jupyter.widget-state+json"]["state"].values()
    bars = [each["state"] for each in widgets if each["model_name"] == "FloatProgressModel"]
    assert [(bar["bar_style"], bar["value"]) for bar in bars] == [
        ("success", bar["max"]) for bar in bars
    ]
    assert len(bars) == 2
    labels = {each["state"]["value"] for each in widgets if each["model_name"] == "HTMLModel"}
    assert any("computing\u2007and\u2007exporting" in label for label in labels)


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
    lines = re.split(r"[\r\n]+", plain(stream.getvalue()))
    assert "one damaged chunk computed again" in lines


def test_what_is_done_never_exceeds_the_whole() -> None:
    progress = TerminalProgress(stream=io.StringIO())
    progress.stage("computing", 10, 5, "pairs")
    progress.advance("computing", 50)
    progress.advance("exporting", 3)  # a stage that was never announced
    assert progress.done == {"computing": 10}


def test_a_pipe_that_was_full_for_a_moment_gets_what_comes_next() -> None:
    class Pipe(io.StringIO):
        full = True

        def flush(self) -> None:
            if self.full:
                self.full = False
                raise BlockingIOError(errno.EAGAIN, "Resource temporarily unavailable")

    pipe = Pipe()
    progress = TerminalProgress(stream=pipe)
    progress.message("one")
    progress.error("two")
    assert pipe.getvalue() == "one\nerror: two\n"
