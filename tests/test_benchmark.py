"""The benchmark: every contender measured, every result checked, nothing left; no time asserted."""

import contextlib
import importlib.util
import io
import json
import math
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import orjson
import pytest
import reference
from reference import films, outputs, put
from waiting import PATIENCE, within

sys.path.insert(0, str(Path(__file__).parents[1] / "scripts"))
sys.path.insert(0, str(Path(__file__).parents[1] / "scripts" / "benchmarking"))

import agreement
import benchmark
from agreement import DisagreementError, check
from lineup import HERE, KERNEL_TOLERANCE, Contender, line_up
from measuring import FailedError, measure
from tables import table

BEFORE = Path("before")
WANTED = [
    contender.name
    for contender in line_up([1], BEFORE)
    if "finished" not in contender.name
    and contender.name not in ("gemm-1", "before-gemm-1", "numba")
]
"""Who takes part in a benchmark here; the others have a test of their own, or are as these."""
ENGINE = f"""
import sys
sys.path.insert(0, {str(HERE)!r})
if "--version" in sys.argv:
    print("run.py 0.9")
else:
    from pathlib import Path
    from contenders import decades, notebook
    for paths in decades(Path(sys.argv[-1])):
        notebook(*paths)
"""
"""An engine that starts in no time."""
PAIRS = {f"{a}-{b}": 1 / (a + b) for a in range(40) for b in range(a + 1, 40)}


@dataclass
class Done:
    """What came of a benchmark."""

    status: int
    stdout: str
    stderr: str

    def rows(self) -> dict[str, list[str]]:
        """The cells of the table of contenders, by their labels."""
        lines = [line.strip("|").split("|") for line in self.stdout.splitlines()]
        return {
            cells[0].strip(): [cell.strip() for cell in cells[1:]]
            for cells in lines
            if len(cells) == 10
        }


def run(folder: Path, *arguments: str) -> Done:
    """Run the benchmark in this process, the contenders in theirs; it is to clean up."""
    folder.mkdir()
    stdout, stderr = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(stdout), contextlib.redirect_stderr(stderr):
        status = benchmark.main(["--scale", "smoke", "--folder", str(folder), *arguments])
    assert not list(folder.iterdir()), "the benchmark cleans up"
    return Done(status, stdout.getvalue(), stderr.getvalue())


@contextlib.contextmanager
def cheap() -> Iterator[pytest.MonkeyPatch]:
    """Two decades of 4 and 72 films, and no threads of BLAS, which spin on so little work."""
    with pytest.MonkeyPatch.context() as patch:
        for module in ("benchmark", "engine.synthesize"):
            patch.setattr(f"{module}.FILMS", {1910: 117, 2000: 2400})
        patch.setattr("measuring.THREADS", ())
        yield patch


def checkout(folder: Path) -> Path:
    """A checkout of an engine that is only the notebook."""
    (folder / "scripts").mkdir()
    (folder / "scripts" / "run.py").write_text(ENGINE)
    return folder


@pytest.fixture(scope="module")
def document(tmp_path_factory: pytest.TempPathFactory) -> Path:
    document = tmp_path_factory.mktemp("docs") / "benchmark.md"
    (document.parent / "images").mkdir()
    document.write_text(
        "before\n<!-- compare_all -->\nold\n<!-- end of compare_all -->\nafterwards\n"
    )
    return document


@pytest.fixture(scope="module")
def smoke(tmp_path_factory: pytest.TempPathFactory, document: Path) -> Done:
    """The engine, another checkout, and others; also put into a document."""
    folder = tmp_path_factory.mktemp("smoke") / "work"
    before = checkout(tmp_path_factory.mktemp("before"))
    into = ["--into", str(document)] if importlib.util.find_spec("matplotlib") else []
    with cheap():
        return run(folder, "--workers", "1", "--before", str(before), *into, "--only", *WANTED)


@pytest.mark.storm
def test_each_contender_has_a_row_and_all_agree(smoke: Done) -> None:
    assert smoke.status == 0, smoke.stderr
    rows = smoke.rows()
    for contender in line_up([1], BEFORE, WANTED):
        *figures, runs, result = rows[contender.label]
        if contender.over:
            assert result == contender.result
            assert re.fullmatch("skipped: [a-z]+ is not installed", result)
            continue
        assert runs == "1"
        assert figures[0], "wall seconds"
        assert result.startswith(
            ("(reference)", "same bytes") if contender.tolerance is None else "within "
        )


@pytest.mark.storm
def test_the_notebook_judges_and_what_is_exact_has_its_bytes(smoke: Done) -> None:
    rounds = [line for line in smoke.stderr.splitlines() if line.startswith("round 1: ")]
    results = {line.split(": ")[1]: line.rpartition(", ")[2] for line in rounds}
    assert results["notebook"] == "(reference)"
    assert results["dot-1"] == results["before-dot-1"] == "same bytes"


@pytest.mark.storm
def test_numba_has_the_notebook_s_bytes_also_of_what_is_rare_in_a_benchmark(
    tmp_path: Path,
) -> None:
    """Below 1e-4 and from 1 on it has no fast way; one such pair of millions must not end it."""
    pytest.importorskip("numba")
    twins = films(70, 16)
    twins["7"] = [-x for x in twins[next(iter(twins))]]
    put(tmp_path, "genres", "1990", twins)
    put(tmp_path, "genres", "2000", films(1))
    close = {film: [1 / (abs(x) + 10) for x in vector] for film, vector in films(130, 96).items()}
    put(tmp_path, "embedding", "1990", close)
    wanted = reference.expected(tmp_path)
    # All of it in the fast way.
    common = json.loads(wanted["embedding/similarities_1990s.json"]).values()
    assert min(common) >= 1e-4
    assert max(common) < 1
    (numba,) = line_up([1], None, ["numba"])[1:]
    subprocess.run([*numba.command, tmp_path], check=True, timeout=PATIENCE)
    assert outputs(tmp_path) == wanted


@pytest.mark.parametrize("threads", [False, True])
def test_a_block_that_fails_leaves_none_waiting_for_its_text(threads: bool, tmp_path: Path) -> None:
    put(tmp_path, "genres", "2000", films(1))
    program = (
        "import blocks\n"
        "class Decade:\n"
        "    def __init__(self, source): self.ids = [str(k) for k in range(300)]\n"
        "    def text(self, first): return b' ' * (1 // abs(first - 64))\n"
        f"blocks.write(Decade, threads={threads})\n"
    )
    command = [sys.executable, "-c", program, "failing", str(tmp_path)]
    done = subprocess.run(command, cwd=HERE, capture_output=True, text=True, timeout=PATIENCE)
    assert done.returncode == 1
    assert "ZeroDivisionError" in done.stderr


@pytest.mark.storm
def test_before_and_after_are_divided(smoke: Done) -> None:
    ratios = [line for line in smoke.stdout.splitlines() if line.startswith("| wall time")]
    assert any("before, dot, 1 worker" in line and "engine, dot" in line for line in ratios)


@pytest.mark.storm
def test_the_machine_its_kernels_and_each_engine_are_named(smoke: Done) -> None:
    for word in ("machine: ", "CPUs usable", "kernels for ", "Python 3", "zarr ", "data on "):
        assert word in smoke.stdout
    assert "\nengine: similarities-engine 1.0.0" in smoke.stdout
    assert "\nbefore: run.py 0.9" in smoke.stdout


@pytest.mark.storm
def test_tables_and_chart_come_into_a_document(smoke: Done, document: Path) -> None:
    pytest.importorskip("matplotlib")
    head, _, rest = document.read_text().partition("<!-- compare_all -->\n")
    found, _, tail = rest.partition("<!-- end of compare_all -->\n")
    assert (head, tail) == ("before\n", "afterwards\n")
    assert found.strip() == smoke.stdout.strip()
    assert (document.parent / "images" / "benchmark.png").stat().st_size > 10_000


def test_a_document_without_a_place_is_said_before_anything_runs(tmp_path: Path) -> None:
    (tmp_path / "a.md").write_text("<!-- compare_all -->\n")
    done = run(tmp_path / "work", "--into", str(tmp_path / "a.md"))
    assert done.status == 1
    assert done.stderr.startswith(f"error: {tmp_path / 'a.md'}: ")
    assert not done.stdout


def test_without_matplotlib_one_sentence_says_how_to_install_it(
    tmp_path: Path, document: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    done = run(tmp_path / "work", "--into", str(document))
    assert done.status == 1
    assert done.stderr == (
        "error: the chart needs matplotlib, which is not installed: pip install matplotlib\n"
    )


UNFINISHED = """
import pathlib, runpy, sys
folder = pathlib.Path(sys.argv[-1])
if (folder / "first").exists():
    (folder / "first").rename(folder / "second")
    runpy.run_path(str(pathlib.Path(__file__).with_name("right.py")), run_name="__main__")
else:
    (folder / "second").exists() and sys.exit("a third run")
    (folder / "first").touch()
"""
"""Has its result when it is run for the second time, and fails after that."""


@pytest.fixture(scope="module")
def wrong(tmp_path_factory: pytest.TempPathFactory) -> Done:
    """A program that judges, the same with values that are 1e-13 off, and one that fails."""
    folder = tmp_path_factory.mktemp("wrong")
    right, text = "(vectors @ vectors.T)", (HERE / "contenders.py").read_text()
    assert text.count(right) == 1
    (folder / "right.py").write_text(text)
    (folder / "off.py").write_text(text.replace(right, f"({right} + 1e-13)"))
    (folder / "fail.py").write_text("raise SystemExit('no luck')")
    (folder / "unfinished.py").write_text(UNFINISHED)

    def line_up(*_: object) -> list[Contender]:
        taking_part = [
            Contender(name, label, [sys.executable, str(folder / file), "rewrite"], tolerance)
            for name, label, file, tolerance in (
                ("dot-1", "one that judges", "right.py", None),
                ("off", "one that is off", "off.py", KERNEL_TOLERANCE),
                ("fail", "one that fails", "fail.py", None),
                ("finished", "one that finds its work done", "unfinished.py", None),
            )
        ]
        taking_part[-1].finished = True
        return taking_part

    with cheap() as patch:
        patch.setattr(benchmark, "line_up", line_up)
        patch.setattr(benchmark, "describe_engine", lambda *_: "")  # It is not run.
        return run(folder / "work", "--workers", "1", "--repeat", "2")


@pytest.mark.storm
def test_a_wrong_result_ends_in_exit_status_1(wrong: Done) -> None:
    assert wrong.status == 1
    complaint = r"error: off: \S+/similarities_\d+s.json: a value is 1e-13 off, more than 2e-15\n"
    assert re.search(complaint, wrong.stderr)
    assert wrong.rows()["one that is off"][-1] == "DISAGREES"


@pytest.mark.storm
def test_one_that_fails_is_named_with_what_it_said(wrong: Done) -> None:
    assert "error: fail: ended with exit status 1: no luck\n" in wrong.stderr
    assert wrong.rows()["one that fails"][-1] == "failed"


@pytest.mark.storm
def test_one_that_failed_or_disagreed_is_not_run_again(wrong: Done) -> None:
    assert wrong.stderr.count("error: ") == 2
    runs = {label: row[-2] for label, row in wrong.rows().items()}
    assert runs["one that judges"] == runs["one that finds its work done"] == "2"
    assert runs["one that is off"] == runs["one that fails"] == ""


@pytest.mark.storm
def test_the_cost_of_growing_decades_has_a_row_for_each(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("lineup.ROOT", checkout(tmp_path))
    monkeypatch.setitem(benchmark.FLAT_FILMS, "smoke", (20, 40))
    done = run(tmp_path / "work", "--flat", "--workers", "1")
    assert done.status == 0, done.stderr
    lines = [line.strip("|").split("|") for line in done.stdout.splitlines() if "dot," in line]
    cells = [[cell.strip() for cell in line] for line in lines]
    assert [line[:2] for line in cells] == [["2", "1"], ["20", "190"], ["40", "780"]]
    assert [[bool(cell) for cell in line[-3:-1]] for line in cells] == [[False] * 2] + [
        [True] * 2
    ] * 2
    assert [line[-1] for line in cells] == ["(reference)"] * 3


def test_interrupted_it_ends_its_processes_and_cleans_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = (
        "import os, signal, sys, time\n"
        "if child := os.fork():\n"
        "    print(os.getpid(), child, file=open(sys.argv[1], 'w'), flush=True)\n"
        "    os.kill(os.getppid(), signal.SIGINT)\n"
        "time.sleep(1000)\n"
    )
    command = [sys.executable, "-c", program, str(tmp_path / "processes")]
    monkeypatch.setattr(benchmark, "line_up", lambda *_: [Contender("endless", "endless", command)])
    monkeypatch.setattr(benchmark, "describe_engine", lambda *_: "")
    done = run(tmp_path / "work", "--scale", "smoke", "--workers", "1")
    assert done.status == 130
    assert done.stderr.endswith("interrupted\n")
    for process in map(int, (tmp_path / "processes").read_text().split()):
        within(partial(has_ended, process))


@pytest.mark.parametrize("stop", [signal.SIGINT, signal.SIGTERM])
def test_stopped_while_it_starts_a_process_it_ends_that_one_too(
    monkeypatch: pytest.MonkeyPatch, stop: int
) -> None:
    started: list[subprocess.Popen[bytes]] = []

    def start(*arguments: Any, **options: Any) -> subprocess.Popen[bytes]:
        started.append(subprocess.Popen(*arguments, **options))
        signal.raise_signal(stop)
        return started[-1]

    monkeypatch.setattr("measuring.Popen", start)
    before = signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    try:
        with pytest.raises((KeyboardInterrupt, SystemExit)):
            measure(["sleep", "1000"])
    finally:
        signal.signal(signal.SIGTERM, before)
    assert started[0].returncode == -signal.SIGKILL


@pytest.mark.parametrize(
    "wrong",
    [["--only", "nothing"], ["--workers", "0"], ["--before", "/"]],
    ids=" ".join,
)
def test_wrong_usage_ends_in_exit_status_2(
    wrong: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as end:
        benchmark.main(wrong)
    assert end.value.code == 2
    assert f"argument {wrong[0]}: '{wrong[1]}'" in capsys.readouterr().err


# Agreement


def write(folder: Path, text: str | bytes, name: str = "a.json") -> Path:
    folder.mkdir(exist_ok=True)
    (folder / name).write_bytes(text if isinstance(text, bytes) else text.encode())
    return folder


def has_ended(process: int) -> bool:
    """Whether a process is gone, or only waited for."""
    done = subprocess.run(["ps", "-o", "stat=", "-p", str(process)], capture_output=True, text=True)
    return done.stdout.strip()[:1] in ("", "Z")


@pytest.fixture
def expected(tmp_path: Path) -> Path:
    return write(tmp_path / "expected", json.dumps(PAIRS))


def compare(found: Path, expected: Path, tolerance: float | None) -> str:
    wanted: dict[str, str] = {}
    kept = expected.with_name("kept")
    assert check(expected, wanted, kept, None) == "(reference)"
    try:
        return check(found, wanted, kept, tolerance)
    finally:
        kept.rename(expected)


@pytest.mark.parametrize("piece", [20, 21, 22, 23, 1000, 2**22])
def test_other_separators_agree_wherever_the_text_is_cut(
    tmp_path: Path, expected: Path, monkeypatch: pytest.MonkeyPatch, piece: int
) -> None:
    monkeypatch.setattr(agreement, "PIECE", piece)
    found = write(tmp_path / "found", orjson.dumps(PAIRS))
    assert compare(found, expected, 0.0) == "within 0.0e+00"
    with pytest.raises(DisagreementError, match="bytes differ"):
        compare(found, expected, None)
    write(found, orjson.dumps({**PAIRS, "3-7": 0.1 + 1e-15}))
    assert compare(found, expected, 2e-15) == "within 1.0e-15"


def test_no_pairs_agree_with_no_pairs(tmp_path: Path) -> None:
    found = compare(write(tmp_path / "a", "{}"), write(tmp_path / "b", "{}\n"), 0.0)
    assert found == "within 0.0e+00"


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        (json.dumps({**PAIRS, "3-7": 0.1 + 3e-15}), "a value is 3e-15 off, more than 2e-15"),
        (json.dumps({**PAIRS, "3-7": float("nan")}), "line 1"),
        (json.dumps({**PAIRS, "3-7": None}), "a value is nan off"),
        (json.dumps(dict(reversed(PAIRS.items()))), "other keys"),
        (json.dumps(PAIRS).replace("3-7", "3-07"), "other keys"),
        (json.dumps(PAIRS)[:-30] + "}", "779 pairs instead of 780"),
        (json.dumps(PAIRS)[:-1], "cut short"),
        ("[]", "not a JSON object"),
        ("", "not a JSON object"),
    ],
    ids=["value", "NaN", "null", "order", "key", "pair", "end", "list", "nothing"],
)
def test_a_difference_is_found(tmp_path: Path, expected: Path, text: str, complaint: str) -> None:
    with pytest.raises(DisagreementError, match=f"^a.json: .*{complaint}"):
        compare(write(tmp_path / "found", text), expected, 2e-15)


def test_a_file_too_few_or_too_many_is_found(tmp_path: Path, expected: Path) -> None:
    found = write(tmp_path / "found", json.dumps(PAIRS))
    write(found, "{}", "b.json")
    for one, other in ((found, expected), (expected, found)):
        with pytest.raises(DisagreementError, match=r"same files as the first: b.json$"):
            compare(one, other, None)
    for tolerance in (None, 1.0):
        with pytest.raises(DisagreementError, match="no file at all"):
            check(tmp_path / "nowhere", {}, None, tolerance)


def test_what_is_not_exact_judges_nobody(tmp_path: Path, expected: Path) -> None:
    with pytest.raises(DisagreementError, match=r"same files as the first: a.json$"):
        check(expected, {}, tmp_path / "kept", 1.0)
    assert check(expected, {}, tmp_path / "kept", None) == "(reference)"


# Who takes part


def test_the_engine_with_the_most_workers_always_takes_part() -> None:
    def names(*wanted: str) -> list[str]:
        return [contender.name for contender in line_up([4, 2, 1], BEFORE, wanted)]

    assert names("before-finished") == ["dot-4", "before-finished"]
    assert names("sklearn", "gemm-1") == ["dot-4", "gemm-1", "sklearn"]
    assert names("numba", "notebook") == ["notebook", "dot-4", "numba"]
    assert names()[0] == "notebook", "it judges all others"
    finished = [contender.name for contender in line_up([1, 2], BEFORE) if contender.finished]
    assert finished == ["finished", "before-finished"]


# Measuring


TREE = """
import os, subprocess, sys, time
if sys.argv[1:]:
    held = b"x" * 100_000_000
    while time.process_time() < 0.1:
        pass
    while not os.path.exists("seen"):
        time.sleep(0.01)
else:
    child = subprocess.Popen([sys.executable, __file__, "child"])
    print(os.environ.get("OMP_NUM_THREADS"), file=open("told", "w"))
    child.wait()
"""


@pytest.fixture
def tree(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """A program with a child that holds 100 MB until they were seen, where they can be."""
    (tmp_path / "tree.py").write_text(TREE)
    monkeypatch.chdir(tmp_path)
    if not importlib.util.find_spec("psutil"):
        Path("seen").touch()
        return [sys.executable, "tree.py"]
    import psutil

    look = psutil.Process.memory_full_info

    def seen(process: Any) -> Any:
        found = look(process)
        if found.uss > 100_000_000:
            Path("seen").touch()
        return found

    monkeypatch.setattr(psutil.Process, "memory_full_info", seen)
    return [sys.executable, "tree.py"]


def test_the_whole_tree_is_measured_and_may_use_all_cpus(
    tree: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    found = measure(tree)
    assert Path("told").read_text() == "None\n"
    assert found.cpu >= 0.1
    assert found.peak > 100_000_000 or not importlib.util.find_spec("psutil")


def test_without_psutil_all_but_the_memory_is_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "psutil", None)
    found = measure(["true"])
    assert 0 < found.cpu < found.wall + 1
    assert math.isnan(found.peak)


@pytest.mark.parametrize(
    ("program", "complaint"),
    [
        ("raise SystemExit('no luck')", "ended with exit status 1: no luck"),
        ("import os; os.kill(os.getpid(), 9)", "ended by signal 9"),
    ],
    ids=["exit", "signal"],
)
def test_a_command_that_fails_says_how(program: str, complaint: str) -> None:
    with pytest.raises(FailedError, match=complaint):
        measure([sys.executable, "-c", program])


def test_what_a_killed_command_has_started_ends_with_it(tmp_path: Path) -> None:
    program = (
        "import os, pathlib, signal, subprocess, sys\n"
        "left = subprocess.Popen(['sleep', '1000'])\n"
        "pathlib.Path(sys.argv[1]).write_text(str(left.pid))\n"
        "os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    with pytest.raises(FailedError, match="ended by signal 9"):
        measure([sys.executable, "-c", program, str(tmp_path / "left")])
    left = int((tmp_path / "left").read_text())
    within(lambda: has_ended(left))


@pytest.mark.filterwarnings("error::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_process_may_end_while_it_is_looked_at(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    psutil = pytest.importorskip("psutil")
    looked = tmp_path / "looked"

    def gone(process: Any) -> None:
        looked.touch()
        raise psutil.NoSuchProcess(process.pid)

    monkeypatch.setattr(psutil.Process, "memory_full_info", gone)
    waiting = 'until [ -e "$0" ]; do sleep 0.01; done'
    # An error in a thread would be one here.
    assert measure(["sh", "-c", waiting, str(looked)]).peak == 0


def test_tables_stand_straight() -> None:
    rows = [["engine", "1.00"], ["notebook", "31.25"]]
    assert table(["", "s"], rows, left=1) == (
        "|          |     s |\n| -------- | ----: |\n| engine   |  1.00 |\n| notebook | 31.25 |"
    )
