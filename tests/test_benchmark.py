"""The benchmark: every contender measured, every result checked, nothing left; no time asserted."""

import importlib.util
import json
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import orjson
import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "scripts"))
sys.path.insert(0, str(Path(__file__).parents[1] / "scripts" / "benchmarking"))

import agreement
import benchmark
from agreement import DisagreementError, difference, digests
from lineup import Engine, line_up
from machine import machine
from measuring import FailedError, measure
from tables import table
from warm_memory import warm_memory

ROOT = Path(__file__).parents[1]
SCRIPTS = ROOT / "scripts"
ENGINES = [Engine(), Engine("before", "before-", ROOT)]
WANTED = [
    contender.name
    for contender in line_up([2], ENGINES)
    if contender.name not in ("before-finished", "before-gemm-2")
]
PAIRS = {f"{a}-{b}": 1 / (a + b) for a in range(40) for b in range(a + 1, 40)}


def run(folder: Path, *arguments: str, scripts: Path = SCRIPTS) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(scripts / "benchmark.py"), "--scale", "smoke"]
    return subprocess.run(
        [*command, "--folder", str(folder), *arguments], capture_output=True, text=True
    )


pytestmark = pytest.mark.xdist_group("benchmark")  # One process runs the benchmark for all tests.


@pytest.fixture(scope="module")
def document(tmp_path_factory: pytest.TempPathFactory) -> Path:
    document = tmp_path_factory.mktemp("docs") / "benchmark.md"
    (document.parent / "images").mkdir()
    document.write_text(
        "before\n<!-- compare_all -->\nold\n<!-- end of compare_all -->\nafterwards\n"
    )
    return document


@pytest.fixture(scope="module")
def smoke(
    tmp_path_factory: pytest.TempPathFactory, document: Path
) -> subprocess.CompletedProcess[str]:
    """Everyone but one worker, and this checkout again as another; also put into a document."""
    folder = tmp_path_factory.mktemp("smoke")
    into = ("--into", str(document)) if importlib.util.find_spec("matplotlib") else ("--markdown",)
    done = run(folder, "--workers", "2", "--before", str(ROOT), *into, "--only", *WANTED)
    assert not list(folder.iterdir()), "the benchmark cleans up"
    return done


def test_each_contender_has_a_row_and_all_agree(smoke: subprocess.CompletedProcess[str]) -> None:
    assert smoke.returncode == 0, smoke.stderr
    rows = {}
    for line in smoke.stdout.splitlines():
        if line.startswith("|") and len(found := line.strip("|").split("|")) == 10:
            rows[found[0].strip()] = [cell.strip() for cell in found[1:]]
    for contender in line_up([2], ENGINES, WANTED):
        *figures, runs, result = rows[contender.label]
        if contender.missing:
            assert result == f"skipped: {contender.module} is not installed"
            continue
        assert runs == "1"
        assert figures[0], "wall seconds"
        assert result.startswith(
            ("(reference)", "same bytes") if contender.tolerance is None else "within "
        )


def test_the_notebook_judges_and_what_is_exact_has_its_bytes(
    smoke: subprocess.CompletedProcess[str],
) -> None:
    told = [line for line in smoke.stderr.splitlines() if line.startswith("round 1: ")]
    results = {line.split(": ")[1]: line.rpartition(", ")[2] for line in told}
    assert results["notebook"] == "(reference)"
    exact = {"dot-2", "finished", "before-dot-2", "numba"}
    assert {results[name] for name in exact & results.keys()} == {"same bytes"}


def test_before_and_after_are_divided(smoke: subprocess.CompletedProcess[str]) -> None:
    ratios = [line for line in smoke.stdout.splitlines() if line.startswith("| wall time")]
    assert any("before, dot, 2 workers" in line and "engine, dot" in line for line in ratios)


def test_the_machine_its_kernels_and_each_engine_are_named(
    smoke: subprocess.CompletedProcess[str],
) -> None:
    for word in ("machine: ", "CPUs usable", "kernels for ", "Python 3", "zarr ", "data on a"):
        assert word in smoke.stdout
    for label in ("engine", "before"):
        assert f"\n{label}: " in smoke.stdout
    assert smoke.stdout.count("1.0.0") >= 2


def test_tables_and_chart_come_into_a_document(
    smoke: subprocess.CompletedProcess[str], document: Path
) -> None:
    pytest.importorskip("matplotlib")
    head, _, rest = document.read_text().partition("<!-- compare_all -->\n")
    found, _, tail = rest.partition("<!-- end of compare_all -->\n")
    assert (head, tail) == ("before\n", "afterwards\n")
    assert found.strip() == smoke.stdout.strip()
    assert (document.parent / "images" / "benchmark.png").stat().st_size > 10_000


def test_the_chart_takes_the_wall_times_of_the_document() -> None:
    pytest.importorskip("matplotlib")
    from chart import wall_times

    found = wall_times(
        "| | wall s | result |\n|---|--:|--:|\n| notebook | 1,252.45 | x |\n| scipy | | none |\n\n"
        "| | wall s |\n|---|--:|\n| another table | 1.00 |\n"
    )
    assert found == {"notebook": 1252.45}
    assert "notebook" in wall_times((ROOT / "docs" / "benchmark.md").read_text())


def test_a_document_without_a_place_is_said_before_anything_runs(tmp_path: Path) -> None:
    (tmp_path / "a.md").write_text("<!-- compare_all -->\n")
    done = run(tmp_path, "--into", str(tmp_path / "a.md"))
    assert done.returncode == 1
    assert done.stderr.startswith(f"error: {tmp_path / 'a.md'}: ")


def test_without_matplotlib_one_sentence_says_how_to_install_it(document: Path) -> None:
    code = (
        "import sys; sys.modules['matplotlib'] = None; sys.path.insert(0, 'scripts'); "
        f"import benchmark; sys.exit(benchmark.main(['--into', {str(document)!r}]))"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 1
    assert done.stderr == (
        "error: the chart needs matplotlib, which is not installed: pip install matplotlib\n"
    )


@pytest.mark.parametrize(
    ("right", "wrong", "complaint"),
    [
        ("(vectors @ vectors.T)", "(vectors @ vectors.T + 1e-13)", "a value is 1e-13 off"),
        ("np.triu_indices(", "np.no_such_function(", "ended with exit status 1"),
    ],
)
def test_a_wrong_result_ends_in_exit_status_1(
    tmp_path: Path, right: str, wrong: str, complaint: str
) -> None:
    for folder in ("scripts", "engine"):
        pattern = shutil.ignore_patterns("__pycache__")
        shutil.copytree(ROOT / folder, tmp_path / folder, ignore=pattern)
    program = tmp_path / "scripts" / "benchmarking" / "contenders.py"
    text = program.read_text()
    assert text.count(right) == 1
    program.write_text(text.replace(right, wrong))
    work = tmp_path / "work"
    work.mkdir()
    done = run(work, "--only", "notebook", "rewrite", scripts=tmp_path / "scripts")
    assert done.returncode == 1
    assert "error: rewrite: " in done.stderr
    assert complaint in done.stderr
    assert "DISAGREES" in done.stdout or "failed" in done.stdout
    assert not list(work.iterdir())


def test_the_cost_of_growing_decades_has_a_row_for_each(tmp_path: Path) -> None:
    done = run(tmp_path, "--flat", "--workers", "2")
    assert done.returncode == 0, done.stderr
    lines = [line.split() for line in done.stdout.splitlines() if "engine, dot," in line]
    assert [line[0] for line in lines] == ["2", "200", "400"]
    assert [line[-1] for line in lines] == ["(reference)"] * 3
    assert not list(tmp_path.iterdir())


def test_interrupted_it_ends_its_processes_and_cleans_up(tmp_path: Path) -> None:
    command: list[str | Path] = [sys.executable, SCRIPTS / "benchmark.py", "--folder", tmp_path]
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
    [["--only", "nothing"], ["--workers", "0"], ["--before", "/"], ["--setting", "x"]],
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


def compare(found: Path, expected: Path, tolerance: float | None) -> float:
    return difference(found, expected, digests(expected), tolerance)


@pytest.mark.parametrize("piece", [20, 21, 22, 23, 1000, 2**22])
def test_other_separators_agree_wherever_the_text_is_cut(
    tmp_path: Path, expected: Path, monkeypatch: pytest.MonkeyPatch, piece: int
) -> None:
    monkeypatch.setattr(agreement, "PIECE", piece)
    found = write(tmp_path / "found", orjson.dumps(PAIRS))
    assert compare(found, expected, 0.0) == 0
    with pytest.raises(DisagreementError, match="bytes differ"):
        compare(found, expected, None)
    write(found, orjson.dumps({**PAIRS, "3-7": 0.1 + 1e-15}))
    assert 0 < compare(found, expected, 2e-15) <= 2e-15


def test_no_pairs_agree_with_no_pairs(tmp_path: Path) -> None:
    assert compare(write(tmp_path / "a", "{}"), write(tmp_path / "b", "{}\n"), 0.0) == 0


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
)
def test_a_difference_is_found(tmp_path: Path, expected: Path, text: str, complaint: str) -> None:
    with pytest.raises(DisagreementError, match=f"^a.json: .*{complaint}"):
        compare(write(tmp_path / "found", text), expected, 2e-15)


def test_a_file_too_few_or_too_many_is_found(tmp_path: Path, expected: Path) -> None:
    found = write(tmp_path / "found", json.dumps(PAIRS))
    write(found, "{}", "b.json")
    for one, other in ((found, expected), (expected, found)):
        with pytest.raises(DisagreementError, match=r"same files: b.json$"):
            compare(one, other, None)
    with pytest.raises(DisagreementError, match="no file at all"):
        compare(tmp_path / "nowhere", tmp_path / "nowhere", None)


# Who takes part


def test_what_a_contender_cannot_do_without_comes_along() -> None:
    def names(*wanted: str) -> list[str]:
        return [contender.name for contender in line_up([4, 2, 1], ENGINES, wanted)]

    assert names("finished") == ["dot-4", "finished"]
    assert names("before-finished") == ["dot-4", "before-dot-4", "before-finished"]
    assert names("sklearn", "gemm-1") == ["dot-4", "gemm-1", "sklearn"]
    assert names("numba", "notebook") == ["notebook", "numba"]
    assert names("dot-1", "scipy") == ["dot-1", "scipy"]
    everyone = names()
    assert everyone[0] == "notebook"
    for name in ("", "before-"):
        assert everyone.index(f"{name}finished") == everyone.index(f"{name}dot-4") + 1


# Measuring


TREE = """
import os, subprocess, sys, time
if sys.argv[1] == "child":
    held = b"x" * 100_000_000
    while time.process_time() < 0.4:
        pass
else:
    child = subprocess.Popen([sys.executable, __file__, "child"])
    print(*map(os.environ.get, ("OMP_NUM_THREADS", "MORE")), file=open(sys.argv[2], "w"))
    if sys.argv[1] == "leave":
        os._exit(0)
    child.wait()
"""


def test_the_whole_tree_is_measured_and_may_use_all_cpus(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    (tmp_path / "tree.py").write_text(TREE)
    command: list[str | Path] = [sys.executable, tmp_path / "tree.py", "wait", tmp_path / "told"]
    found = measure(command, tmp_path / "log", {"MORE": "1"})
    assert (tmp_path / "told").read_text() == "None 1\n"
    assert found.cpu >= 0.4
    if Path("/proc/self/smaps_rollup").exists():
        assert found.peak is not None
        assert found.peak > 100_000_000
    assert not (tmp_path / "log").exists()


@pytest.mark.skipif(sys.platform != "linux", reason="who becomes the parent of orphans")
def test_what_a_command_leaves_running_is_measured_to_its_end(tmp_path: Path) -> None:
    (tmp_path / "tree.py").write_text(TREE)
    command: list[str | Path] = [sys.executable, tmp_path / "tree.py", "leave", tmp_path / "told"]
    assert measure(command, tmp_path / "log").cpu >= 0.4


@pytest.mark.parametrize(
    ("program", "complaint"),
    [
        ("raise SystemExit('no luck')", "ended with exit status 1: no luck"),
        ("import os; os.kill(os.getpid(), 9)", "was killed by signal 9, probably for memory"),
    ],
)
def test_a_command_that_fails_says_how(tmp_path: Path, program: str, complaint: str) -> None:
    with pytest.raises(FailedError, match=complaint):
        measure([sys.executable, "-c", program], tmp_path / "log")
    assert not list(tmp_path.iterdir())


@pytest.mark.skipif(sys.platform != "linux", reason="what /proc tells of memory")
def test_a_command_may_end_while_its_threads_are_listed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []

    def gone(folder: str) -> list[str]:
        asked.append(folder)
        raise FileNotFoundError(folder)

    monkeypatch.setattr("os.listdir", gone)
    measure(["sleep", "0.1"], tmp_path / "log")  # An error in a thread would be one here.
    assert re.fullmatch(r"/proc/\d+/task", asked[0])


def test_memory_is_touched_and_given_back_but_for_a_page_here_and_there() -> None:
    program = (
        "import resource, sys, warm_memory\n"
        "peak = lambda: 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss\n"
        "now = lambda: 4096 * int(open('/proc/self/statm').read().split()[1])\n"
        "before = now()\n"
        "with warm_memory.warm_memory(2**28) as touched:\n"
        "    print(touched, peak() - before, now() - before)\n"
    )
    folder = SCRIPTS / "benchmarking"
    found = subprocess.run(
        [sys.executable, "-c", program], cwd=folder, capture_output=True, text=True, check=True
    )
    touched, peak, kept = map(int, found.stdout.split())
    if not touched:
        pytest.skip("this system tells no host of free memory, or has none to spare")
    assert touched == 2**28
    assert peak > 0.9 * touched
    assert 0 < kept < touched / 10


def test_where_no_host_is_told_of_free_memory_none_is_touched(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("warm_memory.ORDER", tmp_path / "nothing")
    with warm_memory() as touched:
        assert touched == 0


def test_what_steers_blas_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENBLAS_CORETYPE", "Haswell")
    monkeypatch.setenv("OPENBLAS_NUM_THREADS", "1")
    assert "OPENBLAS_CORETYPE=Haswell" in machine(tmp_path)
    assert "OPENBLAS_NUM_THREADS" not in machine(tmp_path)


def test_tables_stand_straight() -> None:
    rows = [("engine", "1.00"), ("notebook", "31.25")]
    assert table(("", "s"), rows, 1, markdown=False) == (
        "              s\nengine     1.00\nnotebook  31.25"
    )
    assert table(("", "s"), rows, 1, markdown=True) == (
        "|          |     s |\n| -------- | ----: |\n| engine   |  1.00 |\n| notebook | 31.25 |"
    )
