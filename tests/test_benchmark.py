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
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson
import pytest
import reference
from reference import films, outputs, put
from waiting import PATIENCE

sys.path.insert(0, str(Path(__file__).parents[1] / "scripts"))
sys.path.insert(0, str(Path(__file__).parents[1] / "scripts" / "benchmarking"))

import agreement
import benchmark
from agreement import DisagreementError, Judge
from lineup import HERE, KERNEL_TOLERANCE, Contender, Engine, line_up
from machine import machine
from measuring import FailedError, measure
from tables import table

ROOT = Path(__file__).parents[1]
SCRIPTS = ROOT / "scripts"
ENGINES = [Engine(), Engine("before", "before-", ROOT)]
WANTED = [
    contender.name
    for contender in line_up([1], ENGINES)
    if contender.name not in ("before-finished", "before-gemm-1")
]
PAIRS = {f"{a}-{b}": 1 / (a + b) for a in range(40) for b in range(a + 1, 40)}

pytestmark = pytest.mark.xdist_group("benchmark")  # One process runs the benchmark for all tests.


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
    """Everyone, and this checkout again as another; also put into a document."""
    folder = tmp_path_factory.mktemp("smoke") / "work"
    into = ["--into", str(document)] if importlib.util.find_spec("matplotlib") else []
    with cheap():
        return run(folder, "--workers", "1", "--before", str(ROOT), *into, "--only", *WANTED)


def test_each_contender_has_a_row_and_all_agree(smoke: Done) -> None:
    assert smoke.status == 0, smoke.stderr
    rows = smoke.rows()
    for contender in line_up([1], ENGINES, WANTED):
        *figures, runs, result = rows[contender.label]
        if contender.missing:
            assert result == f"skipped: {contender.module} is not installed"
            continue
        assert runs == "1"
        assert figures[0], "wall seconds"
        assert result.startswith(
            ("(reference)", "same bytes") if contender.tolerance is None else "within "
        )


def test_the_notebook_judges_and_what_is_exact_has_its_bytes(smoke: Done) -> None:
    told = [line for line in smoke.stderr.splitlines() if line.startswith("round 1: ")]
    results = {line.split(": ")[1]: line.rpartition(", ")[2] for line in told}
    assert results["notebook"] == "(reference)"
    exact = {"dot-1", "finished", "before-dot-1", "numba"}
    assert {results[name] for name in exact & results.keys()} == {"same bytes"}


def test_numba_has_the_notebook_s_bytes_also_of_what_is_rare_in_a_benchmark(
    tmp_path: Path,
) -> None:
    """Below 1e-4 and from 1 on it has no fast way; one such pair of millions must not end it."""
    pytest.importorskip("numba")
    twins = films(70, 16)
    twins["7"] = [-x for x in twins[next(iter(twins))]]
    put(tmp_path, "genres", "1990", twins)
    put(tmp_path, "genres", "2000", films(1))
    close = {film: [1 / (abs(x) + 9) for x in vector] for film, vector in films(130, 96).items()}
    put(tmp_path, "embedding", "1990", close)
    (numba,) = line_up([1], wanted=["numba"])[1:]
    subprocess.run([*numba.command, tmp_path], check=True, timeout=PATIENCE)
    assert outputs(tmp_path) == reference.expected(tmp_path)


def test_a_block_that_fails_leaves_none_waiting_for_its_text(tmp_path: Path) -> None:
    put(tmp_path, "genres", "2000", films(1))
    program = (
        "import blocks\n"
        "class Decade:\n"
        "    def __init__(self, source): self.ids = [str(k) for k in range(300)]\n"
        "    def text(self, first): return b' ' * (1 // abs(first - 64))\n"
        "blocks.write(Decade)\n"
    )
    command = [sys.executable, "-c", program, "failing", str(tmp_path)]
    done = subprocess.run(command, cwd=HERE, capture_output=True, text=True, timeout=PATIENCE)
    assert "ZeroDivisionError" in done.stderr


def test_before_and_after_are_divided(smoke: Done) -> None:
    ratios = [line for line in smoke.stdout.splitlines() if line.startswith("| wall time")]
    assert any("before, dot, 1 worker" in line and "engine, dot" in line for line in ratios)


def test_the_machine_its_kernels_and_each_engine_are_named(smoke: Done) -> None:
    for word in ("machine: ", "CPUs usable", "kernels for ", "Python 3", "zarr ", "data on a"):
        assert word in smoke.stdout
    for label in ("engine", "before"):
        assert f"\n{label}: " in smoke.stdout
    assert smoke.stdout.count("1.0.0") >= 2


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


@pytest.fixture(scope="module")
def wrong(tmp_path_factory: pytest.TempPathFactory) -> Done:
    """A program that judges, the same with values that are 1e-13 off, and one that fails."""
    folder = tmp_path_factory.mktemp("wrong")
    right, text = "(vectors @ vectors.T)", (HERE / "contenders.py").read_text()
    assert text.count(right) == 1
    (folder / "right.py").write_text(text)
    (folder / "off.py").write_text(text.replace(right, f"({right} + 1e-13)"))
    (folder / "fail.py").write_text("raise SystemExit('no luck')")
    taking_part = [
        Contender(name, label, [sys.executable, str(folder / file), "rewrite"], tolerance)
        for name, label, file, tolerance in (
            ("dot-1", "one that judges", "right.py", None),
            ("off", "one that is off", "off.py", KERNEL_TOLERANCE),
            ("fail", "one that fails", "fail.py", None),
        )
    ]
    with cheap() as patch:
        patch.setattr(benchmark, "line_up", lambda *_: taking_part)
        patch.setattr(Engine, "facts", lambda _: "")  # It is not run.
        return run(folder / "work", "--workers", "1", "--repeat", "2")


def test_a_wrong_result_ends_in_exit_status_1(wrong: Done) -> None:
    assert wrong.status == 1
    complaint = r"error: off: \S+/similarities_\d+s.json: a value is 1e-13 off, more than 2e-15\n"
    assert re.search(complaint, wrong.stderr)
    assert wrong.rows()["one that is off"][-1] == "DISAGREES"


def test_one_that_fails_is_named_with_what_it_said(wrong: Done) -> None:
    assert "error: fail: ended with exit status 1: no luck\n" in wrong.stderr
    assert wrong.rows()["one that fails"][-1] == "failed"


def test_one_that_failed_or_disagreed_is_not_run_again(wrong: Done) -> None:
    assert wrong.stderr.count("error: ") == 2
    runs = {label: row[-2] for label, row in wrong.rows().items()}
    assert runs["one that judges"] == "2"
    assert runs["one that is off"] == runs["one that fails"] == ""


def test_the_cost_of_growing_decades_has_a_row_for_each(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Engine, "facts", lambda _: "")
    done = run(tmp_path / "work", "--flat", "--workers", "1")
    assert done.status == 0, done.stderr
    lines = [line.strip("|").split("|") for line in done.stdout.splitlines() if "dot," in line]
    assert [line[0].strip() for line in lines] == ["2", "200", "400"]
    assert [line[-1].strip() for line in lines] == ["(reference)"] * 3


def test_interrupted_it_ends_its_processes_and_cleans_up(tmp_path: Path) -> None:
    command: list[str | Path] = [sys.executable, SCRIPTS / "benchmark.py", "--folder", tmp_path]
    command += ["--scale", "smoke"]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL)
    assert process.stderr is not None
    assert b"making embeddings" in process.stderr.readline()
    while not list(tmp_path.glob("*/out/similarities")):  # The notebook is at work.
        time.sleep(0.02)
    process.send_signal(signal.SIGINT)
    assert b"interrupted" in process.stderr.read()
    assert process.wait() == 130
    process.stderr.close()
    assert not list(tmp_path.iterdir())


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


@pytest.fixture
def expected(tmp_path: Path) -> Path:
    return write(tmp_path / "expected", json.dumps(PAIRS))


def compare(found: Path, expected: Path, tolerance: float | None) -> str:
    judge = Judge(expected.with_name("kept"))
    assert judge.check(expected, None) == "(reference)"
    try:
        return judge.check(found, tolerance)
    finally:
        expected.with_name("kept").rename(expected)


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
            Judge(None).check(tmp_path / "nowhere", tolerance)


def test_what_is_not_exact_judges_nobody(tmp_path: Path, expected: Path) -> None:
    judge = Judge(tmp_path / "kept")
    with pytest.raises(DisagreementError, match=r"same files as the first: a.json$"):
        judge.check(expected, 1.0)
    assert judge.check(expected, None) == "(reference)"


# Who takes part


def test_the_engine_with_the_most_workers_always_takes_part() -> None:
    def names(*wanted: str) -> list[str]:
        return [contender.name for contender in line_up([4, 2, 1], ENGINES, wanted)]

    assert names("before-finished") == ["dot-4", "before-finished"]
    assert names("sklearn", "gemm-1") == ["dot-4", "gemm-1", "sklearn"]
    assert names("numba", "notebook") == ["notebook", "dot-4", "numba"]
    assert names()[0] == "notebook", "it judges all others"


# Measuring


TREE = """
import os, subprocess, sys, time
if sys.argv[1] == "child":
    held = b"x" * 100_000_000
    while time.process_time() < 0.1:
        pass
    while not os.path.exists("seen"):
        time.sleep(0.01)
else:
    child = subprocess.Popen([sys.executable, __file__, "child"])
    print(os.environ.get("OMP_NUM_THREADS"), file=open("told", "w"))
    if sys.argv[1] == "leave":
        os._exit(0)
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
    found = measure([*tree, "wait"])
    assert Path("told").read_text() == "None\n"
    assert found.cpu >= 0.1
    assert found.peak > 100_000_000 or not importlib.util.find_spec("psutil")


@pytest.mark.skipif(sys.platform != "linux", reason="who becomes the parent of orphans")
def test_what_a_command_leaves_running_is_measured_to_its_end(tree: list[str]) -> None:
    found = measure([*tree, "leave"])
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
        ("import os; os.kill(os.getpid(), 9)", "was killed by signal 9, probably for memory"),
    ],
    ids=["exit", "signal"],
)
def test_a_command_that_fails_says_how(program: str, complaint: str) -> None:
    with pytest.raises(FailedError, match=complaint):
        measure([sys.executable, "-c", program])


@pytest.mark.filterwarnings("error::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_process_may_end_while_it_is_looked_at(monkeypatch: pytest.MonkeyPatch) -> None:
    psutil = pytest.importorskip("psutil")
    asked: list[int] = []

    def gone(process: Any) -> None:
        asked.append(process.pid)
        raise psutil.NoSuchProcess(process.pid)

    monkeypatch.setattr(psutil.Process, "memory_full_info", gone)
    assert measure(["sleep", "0.1"]).peak == 0  # An error in a thread would be one here.
    assert asked


def test_what_steers_blas_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENBLAS_CORETYPE", "Haswell")
    monkeypatch.setenv("OPENBLAS_NUM_THREADS", "1")
    assert "OPENBLAS_CORETYPE=Haswell" in machine(tmp_path)
    assert "OPENBLAS_NUM_THREADS" not in machine(tmp_path)


def test_tables_stand_straight() -> None:
    rows = [[("", "engine"), ("s", "1.00")], [("", "notebook"), ("s", "31.25")]]
    assert table(rows, 1) == (
        "|          |     s |\n| -------- | ----: |\n| engine   |  1.00 |\n| notebook | 31.25 |"
    )
