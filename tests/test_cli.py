"""The command line: options, exit statuses, and what is printed where."""

import json
import os
import pty
import re
import signal
import struct
import subprocess
import sys
import termios
from collections.abc import Callable
from fcntl import ioctl
from pathlib import Path
from typing import Any

import pytest
from reference import expected, films, notebook, output_path, outputs, put, stamps
from waiting import PATIENCE

import engine

Command = Callable[..., tuple[int, str, str]]
RUN = Path(__file__).parents[1] / "scripts" / "run.py"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for approach, decade, n in (("embedding", "1990", 9), ("genres", "1990", 20)):
        put(tmp_path, approach, decade, films(n))
    put(tmp_path, "genres", "2000", films(5))
    return tmp_path


# --- what comes out -----------------------------------------------------------------------------


def test_the_table_goes_to_stdout_and_nothing_to_stderr(command: Command, root: Path) -> None:
    status, out, err = command("--data", root)
    assert (status, err) == (0, "")
    assert outputs(root) == expected(root)
    lines = out.splitlines()
    assert [line.split()[:3] for line in lines if line] == [
        ["embedding"],
        ["decade", "films", "pairs"],
        ["1990s", "9", "36"],
        ["genres"],
        ["decade", "films", "pairs"],
        ["1990s", "20", "190"],
        ["2000s", "5", "10"],
        ["total", "236", "236"],
        ["3", "decades", "done,"],
        lines[-1].split()[:3],
    ]
    assert "3 decades done, 236 pairs" in lines[-2]
    assert lines[-1].endswith(f"of JSON → {root}/similarities/")
    lines.pop()
    assert max(map(len, lines)) <= 80


def test_a_second_run_says_that_everything_is_up_to_date(command: Command, root: Path) -> None:
    command("--data", root)
    status, out, err = command("--data", root)
    assert (status, err) == (0, "")
    assert out.count("up to date") == 3 + 1


def test_quiet_prints_nothing(command: Command, root: Path) -> None:
    put(root, "genres", "2010", {"1": [0.5, 0.5], "2": [3.0, 0.0]})  # norms worth a message
    assert command("--data", root, "--quiet", "--workers", "1000") == (0, "", "")
    assert outputs(root) == expected(root)


def test_quiet_prints_errors(command: Command, root: Path) -> None:
    path = put(root, "genres", "2010", {})
    path.write_text("[]")
    status, out, err = command("--data", root, "--quiet")
    assert (status, out) == (1, "")
    assert err.startswith(f"error: {path}")
    assert err.count("\n") == 1


def test_messages_go_to_stderr(command: Command, root: Path) -> None:
    status, out, err = command("--data", root, "--workers", "1000")
    assert status == 0
    assert "(1000 requested" in err
    assert "asked for" not in out


def test_verbose_adds_the_traceback_of_an_error(command: Command, root: Path) -> None:
    put(root, "genres", "2010", {}).write_text("[]")
    plain = command("--data", root)
    verbose = command("--data", root, "--verbose")
    assert plain[0] == verbose[0] == 1
    assert "Traceback" not in plain[2]
    assert "Traceback" in verbose[2]
    assert plain[2] in verbose[2]


# --- exit statuses ------------------------------------------------------------------------------


def test_one_bad_decade_exits_1_when_the_others_are_finished(command: Command, root: Path) -> None:
    wanted = expected(root)
    bad = put(root, "genres", "2010", {"1": [0.5], "2": [0.5, 0.5]})
    status, out, err = command("--data", root)
    assert status == 1
    assert err.startswith(f"error: {bad}")
    assert err.count("\n") == 1
    assert "failed" in out
    assert "1 failed" in out.splitlines()[-2]
    assert outputs(root) == wanted


def test_no_input_exits_1_and_names_the_command_that_makes_some(
    command: Command, tmp_path: Path
) -> None:
    status, out, err = command("--data", tmp_path)
    assert (status, out) == (1, "")
    assert err.startswith("error: ")
    assert "python -m engine.synthesize" in err
    assert err.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "arguments",
    [
        ["--workers", "0"],
        ["--workers", "-1"],
        ["--workers", "many"],
        ["--workers", "1.5"],
        ["--kernel", "cosine"],
        ["--decade", "nineties"],
        ["--min-similarity", "high"],
        ["--min-similarity", "nan"],
        ["--top-percent", "0"],
        ["--top-percent", "100"],
        ["--top-percent", "25%"],
        ["--top-percent", "-5"],
        ["--top-k", "0"],
        ["--top-k", "2.5"],
        ["--top-k", "2", "--min-similarity", "0.5"],
        ["--top-k", "2", "--top-percent", "5"],
        ["--compute-only", "--export-only"],
        ["--compute-only", "--verify"],
        ["--quiet", "--verbose"],
        ["--json"],
        ["--approach"],
        ["--nonsense"],
        ["genres"],
    ],
    ids=" ".join,
)
def test_wrong_usage_exits_2_and_does_nothing(
    command: Command, root: Path, arguments: list[str]
) -> None:
    before = stamps(root)
    status, out, err = command("--data", root, *arguments)
    assert (status, out) == (2, "")
    assert err.startswith("usage: similarities-engine")
    assert err.count("\n") == 2
    assert stamps(root) == before


def test_a_selection_that_is_not_there_exits_1_and_lists_what_is(
    command: Command, root: Path
) -> None:
    for arguments, word in ((["--approach", "nonsense"], "genres"), (["--decade", "1890"], "2000")):
        status, _, err = command("--data", root, *arguments)
        assert status == 1
        assert err.startswith("error: ")
        assert word in err


def test_an_unexpected_error_is_one_line_that_says_how_to_see_more(
    command: Command, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*arguments: object, **options: object) -> None:
        raise ZeroDivisionError("by nobody")

    monkeypatch.setattr(engine, "run", broken)
    status, out, err = command("--data", root)
    assert (status, out) == (1, "")
    assert err.startswith("error: unexpected ZeroDivisionError: by nobody")
    assert "--verbose" in err
    assert err.count("\n") == 1


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interruption_is_one_sentence_that_says_how_to_go_on(number: int) -> None:
    program = (
        "import os, engine, engine.cli\n"
        "def interrupted(*_, progress, **__):\n"
        "    progress.stage('computing', 36_400, 0, 'pairs')\n"
        "    progress.advance('computing', 9_100)\n"
        f"    os.kill(os.getpid(), {number:d})\n"
        "engine.run = interrupted\n"
        "engine.cli.main([])\n"
    )
    command = [sys.executable, "-c", program]
    done = subprocess.run(command, cwd=RUN.parents[1], capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (128 + number, "")
    assert "25 %" in done.stderr
    assert "36,400 pairs" in done.stderr
    assert "the same command resumes" in done.stderr
    assert done.stderr.count("\n") == 1


# --- options ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "options",
    [
        "--status --dask tcp://here:8786",
        "--status --quiet",
        "--verify --dask tcp://here:8786",
        "--verify --kernel gemm",
        "--verify --normalize",
        "--verify --min-similarity 0.5",
        "--verify --top-percent 5",
        "--verify --top-k 5",
        "--export-only --dask tcp://here:8786",
        "--export-only --restart",
        "--compute-only --min-similarity 0.5",
        "--compute-only --top-percent 5",
        "--compute-only --top-k 5",
    ],
)
def test_an_option_that_would_have_no_effect_is_refused(
    options: str, root: Path, command: Command
) -> None:
    status, out, err = command("--data", root, *options.split())
    mode, option = options.split()[:2]
    assert (status, out) == (2, "")
    assert f"error: {option} has no effect with {mode}: leave it out\n" in err
    assert not (root / "similarities.zarr").exists()


@pytest.mark.parametrize("seconds", ["-1", "inf", "nan", "soon"])
def test_seconds_to_wait_are_a_number(seconds: str, root: Path, command: Command) -> None:
    status, _, err = command("--data", root, "--dask", "x", f"--wait-for-workers={seconds}")
    assert status == 2
    assert f"'{seconds}' is not a" in err


def test_version_and_help_exit_0(command: Command) -> None:
    status, out, err = command("--version")
    assert (status, err) == (0, "")
    assert engine.__version__ in out
    status, out, err = command("--help")
    assert (status, err) == (0, "")
    assert "Exit status" in out


@pytest.mark.parametrize(
    "years",
    [["1990"], ["1990s"], ["1990", "2000s"], ["1990", "--decade", "2000s"], ["1990", "1990s"]],
    ids=" ".join,
)
def test_decades_are_chosen_by_year(command: Command, root: Path, years: list[str]) -> None:
    status, _, _ = command("--data", root, "--approach", "genres", "--decade", *years)
    assert status == 0
    assert sorted(outputs(root)) == sorted(
        {f"genres/similarities_{year.rstrip('s')}s.json" for year in years if year[0] != "-"}
    )


def test_approaches_may_be_repeated(command: Command, root: Path) -> None:
    put(root, "other", "1990", films(3))
    chosen = ["--approach", "genres", "--decade", "1990", "--approach", "embedding"]
    assert command("--data", root, *chosen)[0] == 0
    names = ("embedding", "genres")
    assert sorted(outputs(root)) == [f"{name}/similarities_1990s.json" for name in names]


def test_what_is_typed_daily_is_short(command: Command, root: Path) -> None:
    assert command("-d", root, "-w", "1", "-q") == (0, "", "")
    put(root, "genres", "2010", {}).write_text("[]")
    assert "Traceback" in command("-d", root, "-w1", "-v")[2]


@pytest.mark.parametrize("threshold", ["-1e-5", "-.5", "-0", "-1"])
def test_a_threshold_may_be_negative_in_any_form(
    command: Command, root: Path, threshold: str
) -> None:
    assert command("--data", root, "--min-similarity", threshold, "--decade", "1990")[0] == 0
    path = root / "embeddings" / "genres" / "plots_1990s.json"
    assert outputs(root)["genres/similarities_1990s.json"] == notebook(path, float(threshold))


def test_all_workers_are_as_many_as_there_are_cpus(
    command: Command, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[Any] = []

    def run(*arguments: object, **options: Any) -> engine.Summary:
        asked.append(options["workers"])
        return engine.Summary([], 0.0)

    monkeypatch.setattr(engine, "run", run)
    command("--data", root, "--workers", "all")
    command("--data", root)
    assert asked[0] is asked[1] is None


def test_kernel_normalize_and_min_similarity_reach_the_run(command: Command, root: Path) -> None:
    options = ["--kernel", "gemm", "--normalize", "--min-similarity", "0.25"]
    assert command("--data", root, *options)[0] == 0
    found = engine.status(root, kernel="gemm", normalize=True, min_similarity=0.25)
    assert [decade.next for decade in found.decades] == ["nothing"] * 3


@pytest.mark.parametrize(
    ("options", "rule"),
    [(["--top-percent", "25"], {"top_percent": 25}), (["--top-k", "2"], {"top_k": 2})],
    ids=str,
)
def test_a_rule_for_pairs_reaches_the_run_and_the_status(
    command: Command, root: Path, options: list[str], rule: dict[str, float]
) -> None:
    status, out, err = command("--data", root, *options)
    assert (status, err) == (0, "")
    assert outputs(root) == expected(root, **rule)
    assert re.search(r" of JSON \((the strongest 25 %|pairs among the 2 best) of .*\) → ", out)
    told = command("--data", root, "--status", *options)[1]
    assert f"3 decades exported with {' '.join(options)}: " in told
    assert "everything is up to date" in told


def test_compute_only_and_export_only_are_the_two_halves(command: Command, root: Path) -> None:
    assert command("--data", root, "--compute-only")[0] == 0
    assert outputs(root) == {}
    status, out, _ = command("--data", root, "--export-only")
    assert status == 0
    assert outputs(root) == expected(root)
    assert "236 pairs" in out


def test_export_only_from_an_unfinished_store_exits_1(command: Command, root: Path) -> None:
    assert command("--data", root, "--export-only")[0] == 1
    assert command("--data", root, "--compute-only", "--decade", "1990")[0] == 0
    status, _, err = command("--data", root, "--export-only")
    assert status == 1
    assert "genres 2000s" in err
    assert err.count("error: ") == 1
    assert len(outputs(root)) == 2


def test_store_names_another_place(command: Command, root: Path, tmp_path: Path) -> None:
    store = tmp_path / "elsewhere" / "x.zarr"
    assert command("--data", root, "--store", store)[0] == 0
    assert store.is_dir()
    assert not (root / "similarities.zarr").exists()


def test_restart_computes_the_selected_again(command: Command, root: Path) -> None:
    command("--data", root)
    _, out, _ = command("--data", root, "--restart", "--decade", "2000")
    (row,) = [line.split() for line in out.splitlines() if "2000s" in line]
    assert row[:6] == ["2000s", "5", "10", "10", "0", "10"]
    assert "up to date" not in out


def test_status_tells_and_changes_nothing(command: Command, root: Path) -> None:
    before = stamps(root)
    status, out, err = command("--data", root, "--status")
    assert (status, err) == (0, "")
    assert "3 decades" in out
    assert stamps(root) == before
    command("--data", root)
    before = stamps(root)
    status, out, err = command("--data", root, "--status")
    assert (status, err) == (0, "")
    assert "everything is up to date" in out
    assert max(map(len, out.splitlines())) <= 80 + len(str(root))
    assert stamps(root) == before


def test_status_json_is_for_scripts(command: Command, root: Path) -> None:
    command("--data", root, "--decade", "1990")
    status, out, err = command("--data", root, "--status", "--json")
    assert (status, err) == (0, "")
    content = json.loads(out)
    assert [decade["next"] for decade in content["decades"]] == ["nothing", "nothing", "read"]
    assert content["decades"][1]["n_pairs"] == 190
    assert content["decades"][1]["output"] == str(output_path(root, "genres", "1990"))


# --- on a real terminal -------------------------------------------------------------------------


def test_on_a_terminal_of_80_columns_no_line_is_longer(root: Path) -> None:
    put(root, "genres", "1980", films(600))
    ours, theirs = pty.openpty()
    ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))
    command = [sys.executable, str(RUN), "--data", str(root), "--workers", "1"]
    environment = {**os.environ, "TERM": "xterm"}
    process = subprocess.Popen(command, stdout=theirs, stderr=theirs, stdin=theirs, env=environment)
    os.close(theirs)
    drawn = b""
    while True:
        try:
            piece = os.read(ours, 4096)
        except OSError:  # what Linux says when the other side is closed
            break
        if not piece:
            break
        drawn += piece
    os.close(ours)
    assert process.wait() == 0
    lines = re.split(r"[\r\n]+", re.sub(r"\x1b\[[0-9;]*[A-Za-z]", "", drawn.decode()))
    assert max(len(line.replace(str(root), "")) for line in lines) <= 80
    assert any("computing" in line and "100%" in line for line in lines)
    assert any("4 decades done" in line for line in lines)


def test_a_name_that_the_terminal_cannot_write_does_no_harm(root: Path) -> None:
    put(root, "жанры", "1990", films(9))
    command = [sys.executable, str(RUN), "--data", str(root), "--min-similarity", "0.5"]
    environment = {**os.environ, "PYTHONIOENCODING": "latin-1"}
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
    assert r"\u0436" in done.stdout


@pytest.mark.parametrize("door", [["scripts/run.py"], ["-m", "engine"]])
def test_a_stop_while_it_imports_is_one_sentence(door: list[str], tmp_path: Path) -> None:
    # A numpy that stops the process that imports it.
    (tmp_path / "numpy.py").write_text(
        "import os, signal, time\nos.kill(os.getpid(), signal.SIGINT)\ntime.sleep(600)\n"
    )
    run = subprocess.run(
        [sys.executable, *door, "--status"],
        cwd=Path(__file__).parents[1],
        env={**os.environ, "PYTHONPATH": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=PATIENCE,
    )
    assert run.returncode == 130
    assert run.stderr == "interrupted before anything was done; the same command starts again\n"
