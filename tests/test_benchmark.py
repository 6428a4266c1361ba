"""The benchmark: every contender measured, every result checked, nothing left; no time asserted."""

import json
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import orjson
import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "scripts" / "benchmarking"))

import agreement
from agreement import DisagreementError, compare, read_pairs
from lineup import GROUPS, line_up
from measuring import FailedError, machine, measure
from tables import table
from warm_memory import warm_memory

ROOT = Path(__file__).parents[1]
SCRIPTS = ROOT / "scripts"
PAIRS = {f"{a}-{b}": 1 / (a + b) for a in range(40) for b in range(a + 1, 40)}


def run(folder: Path, *arguments: str, scripts: Path = SCRIPTS) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(scripts / "benchmark.py"), "--scale", "smoke"]
    return subprocess.run(
        [*command, "--folder", str(folder), *arguments], capture_output=True, text=True
    )


@pytest.fixture(scope="module")
def smoke(tmp_path_factory: pytest.TempPathFactory) -> subprocess.CompletedProcess[str]:
    folder = tmp_path_factory.mktemp("smoke")
    done = run(folder, "--workers", "1", "2", "--markdown")
    assert not list(folder.iterdir()), "the benchmark cleans up"
    return done


def test_each_contender_has_a_row_and_all_agree(smoke: subprocess.CompletedProcess[str]) -> None:
    assert smoke.returncode == 0, smoke.stderr
    rows = {}
    group = ""
    for line in smoke.stdout.splitlines():
        if line.startswith("|") and len(found := line.strip("|").split("|")) == 11:
            group = found[0].strip() or group
            rows[group, found[1].strip()] = [cell.strip() for cell in found[2:]]
    for contender in line_up([1, 2]):
        *figures, runs, result = rows[GROUPS[contender.group], contender.label]
        if contender.missing:
            assert result == f"skipped: {contender.package} is not installed"
            continue
        assert runs == "1"
        assert figures[0], "wall seconds"
        assert result.startswith(
            ("(reference)", "same bytes")
            if contender.tolerance is None
            else ("same bytes", "same values", "within ")
        )


def test_the_notebook_judges_and_the_engine_with_dot_has_its_bytes(
    smoke: subprocess.CompletedProcess[str],
) -> None:
    told = [line for line in smoke.stderr.splitlines() if line.startswith("round 1: ")]
    results = {line.split(": ")[1]: line.rpartition(", ")[2] for line in told}
    assert results["notebook"] == "(reference)"
    assert {results[name] for name in ("dot-1", "dot-2", "finished")} == {"same bytes"}


def test_the_machine_and_the_kind_of_folder_are_named(
    smoke: subprocess.CompletedProcess[str],
) -> None:
    for word in ("machine: ", "CPUs usable", "Python 3", "BLAS ", "zarr ", "orjson ", "data on: a"):
        assert word in smoke.stdout


@pytest.mark.parametrize(
    ("right", "wrong", "complaint"),
    [
        ("(vectors @ vectors.T)", "(vectors @ vectors.T + 1e-13)", "a value is 1e-13 off"),
        ("combinations(ids, 2)]", "combinations(ids[::-1], 2)]", "other keys"),
        ("target.write_bytes(", "print(", "do not hold the same files"),
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
    done = run(tmp_path, "--flat", "--workers", "1", "2")
    assert done.returncode == 0, done.stderr
    lines = [line.split() for line in done.stdout.splitlines() if "engine, dot," in line]
    assert [line[0] for line in lines[::2]] == ["2", "200", "400"]
    assert [line[-2:] for line in lines[1::2]] == [["same", "bytes"]] * 3
    assert not list(tmp_path.iterdir())


def test_the_stages_are_found_in_the_engine(tmp_path: Path) -> None:
    command: list[str | Path] = [
        sys.executable,
        SCRIPTS / "benchmarking" / "stages.py",
        ROOT / "data" / "sample",
        tmp_path / "out",
    ]
    told = json.loads(subprocess.run(command, capture_output=True, check=True).stdout)
    assert told["pairs"] == told["films"] * (told["films"] - 1) // 2
    of_all = {"number text", "assembly", "checksum of the text", "file write", "file sync"}
    for kernel in ("dot", "gemm"):
        spent = {stage for stage, cost in told["runs"][kernel].items() if cost > 0}
        assert spent >= of_all | {"reading", "kernel", "zarr write"}
    spent = {stage for stage, cost in told["runs"]["from the store"].items() if cost > 0}
    assert spent >= of_all | {"zarr read"}
    assert not spent & {"reading", "kernel", "zarr write"}


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


def test_wrong_usage_ends_in_exit_status_2(tmp_path: Path) -> None:
    for wrong in (["--only", "nothing"], ["--workers", "0"], ["--repeat", "x"]):
        assert run(tmp_path, *wrong).returncode == 2


def test_too_small_a_disk_is_said_before_anything_runs(tmp_path: Path) -> None:
    program = (
        "import shutil, sys, types, benchmark\n"
        "shutil.disk_usage = lambda _: types.SimpleNamespace(free=9)\n"
        "sys.exit(benchmark.main(['--folder', sys.argv[1]]))"
    )
    command: list[str | Path] = [sys.executable, "-c", program, tmp_path]
    done = subprocess.run(command, cwd=SCRIPTS, capture_output=True, text=True)
    assert done.returncode == 1
    assert "error: " in done.stderr
    assert "needed" in done.stderr
    assert "Traceback" not in done.stderr


# Agreement


def write(folder: Path, text: str | bytes, name: str = "a.json") -> Path:
    folder.mkdir(exist_ok=True)
    (folder / name).write_bytes(text if isinstance(text, bytes) else text.encode())
    return folder


@pytest.fixture
def expected(tmp_path: Path) -> Path:
    return write(tmp_path / "expected", json.dumps(PAIRS))


@pytest.mark.parametrize("piece", [20, 21, 22, 23, 1000, 2**22])
def test_other_separators_agree_wherever_the_text_is_cut(
    tmp_path: Path, expected: Path, monkeypatch: pytest.MonkeyPatch, piece: int
) -> None:
    monkeypatch.setattr(agreement, "_PIECE", piece)
    found = write(tmp_path / "found", orjson.dumps(PAIRS))
    assert compare(found, expected, 0.0) == 0
    assert read_pairs(found / "a.json").values.tolist() == list(PAIRS.values())
    with pytest.raises(DisagreementError, match="bytes differ"):
        compare(found, expected, None)


def test_values_alone_agree_with_the_file_of_their_name(tmp_path: Path, expected: Path) -> None:
    (tmp_path / "found").mkdir()
    np.save(tmp_path / "found" / "a.npy", np.array(list(PAIRS.values())) + 1e-16)
    assert 0 < compare(tmp_path / "found", expected, 2e-16) <= 2e-16


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
    with pytest.raises(DisagreementError, match=f"^a: .*{complaint}"):
        compare(write(tmp_path / "found", text), expected, 2e-15)


def test_a_file_too_few_or_too_many_is_found(tmp_path: Path, expected: Path) -> None:
    found = write(tmp_path / "found", json.dumps(PAIRS))
    write(found, "{}", "b.json")
    for one, other in ((found, expected), (expected, found)):
        with pytest.raises(DisagreementError, match=r"same files: b$"):
            compare(one, other, None)
    with pytest.raises(DisagreementError, match="no file at all"):
        compare(tmp_path / "nowhere", tmp_path / "nowhere", None)


# Who takes part


def test_what_a_contender_cannot_do_without_comes_along() -> None:
    def names(*wanted: str) -> list[str]:
        return [contender.name for contender in line_up([4, 2, 1], wanted)]

    assert names("finished") == ["dot-4", "finished"]
    assert names("sklearn", "gemm-1") == ["dot-4", "gemm-1", "sklearn"]
    assert names("text-json", "notebook") == ["notebook", "text-json"]
    assert names("dot-1", "scipy") == ["dot-1", "scipy"]
    assert names("reading") == ["read-engine", "read-json", "read-orjson"]
    assert names("stages") == []
    everyone = names()
    assert everyone[0] == "notebook"
    assert everyone.index("finished") == everyone.index("dot-4") + 1


# Measuring


TREE = """
import os, subprocess, sys, time
if sys.argv[1] == "child":
    held = b"x" * 100_000_000
    while time.process_time() < 0.4:
        pass
else:
    child = subprocess.Popen([sys.executable, __file__, "child"])
    print(os.environ.get("OMP_NUM_THREADS"), flush=True)
    if sys.argv[1] == "leave":
        os._exit(0)
    child.wait()
"""


def test_the_whole_tree_is_measured_and_may_use_all_cpus(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    (tmp_path / "tree.py").write_text(TREE)
    found = measure([sys.executable, tmp_path / "tree.py", "wait"], tmp_path / "log")
    assert found.output == "None\n"
    assert found.cpu >= 0.4
    if Path("/proc/self/smaps_rollup").exists():
        assert found.peak is not None
        assert found.peak > 100_000_000
    assert [path.name for path in tmp_path.iterdir()] == ["tree.py"]


@pytest.mark.skipif(sys.platform != "linux", reason="who becomes the parent of orphans")
def test_what_a_command_leaves_running_is_measured_to_its_end(tmp_path: Path) -> None:
    (tmp_path / "tree.py").write_text(TREE)
    assert measure([sys.executable, tmp_path / "tree.py", "leave"], tmp_path / "log").cpu >= 0.4


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
    monkeypatch.setattr("warm_memory._ORDER", tmp_path / "nothing")
    with warm_memory() as touched:
        assert touched == 0


def test_what_steers_blas_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENBLAS_CORETYPE", "Haswell")
    monkeypatch.setenv("OPENBLAS_NUM_THREADS", "1")
    assert "OPENBLAS_CORETYPE=Haswell" in machine()
    assert "OPENBLAS_NUM_THREADS" not in machine()


def test_tables_stand_straight() -> None:
    rows = [("engine", "1.00"), ("notebook", "31.25")]
    assert table(("", "s"), rows, 1, markdown=False) == (
        "              s\nengine     1.00\nnotebook  31.25"
    )
    assert table(("", "s"), rows, 1, markdown=True) == (
        "|          |     s |\n| -------- | ----: |\n| engine   |  1.00 |\n| notebook | 31.25 |"
    )
