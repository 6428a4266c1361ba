"""What a new user types in the first hour: how each command ends, and the sentence that helps."""

import configparser
import json
import re
import runpy
import shlex
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
from conftest import more
from waiting import PATIENCE

from engine import plot, report, synthesize
from engine.cli import main

PROGRAMS: dict[str, Callable[[list[str]], int]] = {
    "similarities-engine": main,
    "python -m engine.synthesize": synthesize.main,
    "python -m engine.plot": plot.main,
    "python -m engine.report": report.main,
}
EMBEDDING = Path("films/embeddings/embedding")
FILMS = [{"id": k, "vector": [0.6, 0.8]} for k in range(3)]


@dataclass(frozen=True)
class Typed:
    """A command, and what comes of it."""

    command: str
    status: int
    sentence: str
    """A part of what is printed; ``...`` stands for anything."""
    before: Callable[[], object] = lambda: None
    """What was done to the files beforehand."""


def write(name: str, text: str) -> Callable[[], object]:
    return lambda: (EMBEDDING / name).write_text(text)


HOUR = [
    # Looking around, with nothing there.
    Typed("similarities-engine --help", 0, "Examples:"),
    Typed("similarities-engine --version", 0, "similarities-engine 1."),
    Typed(
        "similarities-engine",
        1,
        "they belong in data/embeddings/APPROACH/plots_YEARs.json, or make some up: "
        "python -m engine.synthesize --data data --scale 0.1",
    ),
    Typed("similarities-engine run", 2, "run stands without an option"),
    Typed("python -m engine.plot", 1, "to compute it, run: python -m engine --data data"),
    Typed(
        "python -m engine.synthesize --data films --decade 1990 2000 --scale 0.01 --dimensions 8",
        0,
        "films/embeddings/embedding/plots_1990s.json: 34 films of 8 numbers",
    ),
    # Where is it?
    Typed("similarities-engine", 1, "did you mean --data films?"),
    Typed("similarities-engine films", 2, "type --data films"),
    Typed("similarities-engine --data films/embeddings", 1, "did you mean --data films?"),
    Typed(
        "similarities-engine --data films/embeddings/embedding/plots_1990s.json",
        1,
        "is a file where the root of the data was expected...did you mean --data films?",
    ),
    Typed("python -m engine.synthesize --data films/embeddings", 1, "did you mean --data films?"),
    Typed(
        "python -m engine.synthesize --data films --films 3", 1, "or --overwrite to replace them"
    ),
    # What would it do? Options as other programs call them.
    Typed("similarities-engine --data films --dry-run", 2, "type --status"),
    Typed(
        "similarities-engine --data films --status",
        0,
        "the next run works on 4 decades, to...read...compute...write...take",
    ),
    Typed("similarities-engine --data films --jobs 4", 2, "type --workers"),
    Typed("similarities-engine --data films --workers 0", 2, "is not a positive integer or all"),
    Typed("similarities-engine --data films --normalise", 2, "did you mean --normalize?"),
    Typed("similarities-engine --data films --decade nineties", 2, "is not a year like 1990"),
    Typed("similarities-engine --data films --decade 1980", 1, "found: 1990, 2000"),
    Typed(
        "similarities-engine --data films --approach genres", 1, "found: custom_genres, embedding"
    ),
    # Too early.
    Typed("similarities-engine --data films --export-only", 1, "run without --export-only"),
    Typed("similarities-engine --data films --verify", 1, "run the engine first"),
    Typed(
        "python -m engine.plot --data films",
        1,
        "there is no store yet; to compute it, run: python -m engine --data films",
    ),
    Typed(
        "python -m engine.report --data films",
        1,
        "there is no store yet; to compute it, run: python -m engine --data films",
    ),
    # The run, and again.
    Typed(
        "similarities-engine --data films --workers all",
        0,
        "4 decades done, ...of JSON → films/similarities/",
    ),
    Typed("similarities-engine --data films", 0, "4 decades up to date"),
    Typed("similarities-engine --data films --resume", 2, "a run always resumes: leave it out"),
    Typed("similarities-engine --data films --force", 2, "type --restart"),
    Typed("similarities-engine --data films --verify", 0, "every chunk matches its checksum"),
    # Another setting.
    Typed(
        "similarities-engine --data films --kernel gemm",
        1,
        "contradicts the store...leave the option out to keep that, or add --restart",
    ),
    Typed("similarities-engine --data films --kernel gemm --restart", 0, "4 decades done"),
    Typed("similarities-engine --data films --min-similarity 80%", 2, "is not a finite number"),
    Typed(
        "similarities-engine --data films --min-similarity 0.8",
        0,
        "of JSON (pairs ≥ 0.8) → films/similarities/",
    ),
    Typed("similarities-engine --data films --json", 2, "--json...--status"),
    Typed("similarities-engine --data films --status --json", 0, '"next": "export"'),
    Typed(
        "similarities-engine --data films --store films/embeddings/embedding/plots_1990s.json",
        1,
        "is a file where the folder of a zarr store was expected: choose another --store",
    ),
    # The own data.
    Typed(
        "similarities-engine --data films",
        0,
        "not read: films/embeddings/embedding/plots_1980.json (did you mean plots_1980s.json?)",
        write("plots_1980.json", "{}"),
    ),
    Typed(
        "similarities-engine --data films --decade 1970",
        1,
        "plots_1970s.json: found a list of objects...convert it: python -c",
        write("plots_1970s.json", json.dumps(FILMS)),
    ),
    Typed(
        "similarities-engine --data films --decade 1970",
        1,
        'plots_1970s.json, byte...id "2"...it may be cut short',
        write("plots_1970s.json", '{"1": [0.6, 0.8], "2": [0.8'),
    ),
    Typed(
        "similarities-engine --data films --decade 1970",
        0,
        "1 of 3 vectors are not of unit length",
        write("plots_1970s.json", '{"1": [0.6, 0.8], "2": [0.8, 0.6], "3": [3.0, 4.0]}'),
    ),
    Typed(
        "similarities-engine --data films --decade 1970",
        1,
        "the input is gone, though the store knows it: put it back, or forget it with --restart",
        lambda: (EMBEDDING / "plots_1970s.json").unlink(),
    ),
]


def test_each_command_of_the_first_hour_ends_as_it_should_with_the_sentence_that_helps(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert len(HOUR) >= 30
    monkeypatch.chdir(tmp_path)
    for typed in HOUR:
        typed.before()
        program = next(name for name in PROGRAMS if typed.command.startswith(name))
        try:
            status = PROGRAMS[program](shlex.split(typed.command.removeprefix(program)))
        except SystemExit as end:
            status = int(str(end.code))
        out, err = capsys.readouterr()
        told = f"$ {typed.command}\n{out}{err}"
        assert status == typed.status, told
        sentence = ".*".join(map(re.escape, typed.sentence.split("...")))
        assert re.search(sentence, out + err, re.DOTALL), told
        assert "Traceback" not in err
        assert len(re.findall("^error: ", err, re.MULTILINE)) == (status == 1), told
        if status == 2:
            wrong_usage = r"usage: .* \[options\]; --help lists them\n.*: error: .*\n"
            assert re.fullmatch(wrong_usage, err), told


ROOT = Path(__file__).resolve().parents[1]


@pytest.mark.parametrize("script", ["run.py", "synthesize.py", "plot.py", "report.py"])
@pytest.mark.parametrize(
    ("beforehand", "sentence"),
    [
        ("", r"error: joblib, numpy, .* not installed; to install, run: \S+ -m pip install \S+\n"),
        (
            "sys.version_info = (3, 10, 13)",
            r"error: Python 3\.11 or newer is needed, and this is 3\.10\n",
        ),
    ],
    ids=["not installed", "old Python"],
)
def test_what_is_missing_of_python_is_one_sentence(
    script: str, beforehand: str, sentence: str
) -> None:
    folder = ROOT / "scripts"
    code = (
        f"import runpy, sys; sys.path.insert(0, {str(folder)!r}); {beforehand}\n"
        f"runpy.run_path({str(folder / script)!r}, run_name='__main__')"
    )
    # -S: without what is installed.
    command = [sys.executable, "-I", "-S", "-c", code]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 1
    assert re.fullmatch(sentence, done.stderr), done.stderr


def test_what_a_script_looks_for_is_what_the_engine_requires() -> None:
    config = configparser.ConfigParser()
    config.read(ROOT / "setup.cfg")
    lines = config["options"]["install_requires"].strip().splitlines()
    required = [line.split()[0].replace("-", "_") for line in lines if not line.startswith("#")]
    needed = runpy.run_path(str(ROOT / "scripts" / "entrance.py"))["NEEDED"]
    assert list(needed) == required


@pytest.mark.parametrize(
    "words", ["-P run.py", "-I run.py", *more("-I synthesize.py", "-I plot.py", "-I report.py")]
)
def test_a_script_finds_its_engine_where_python_leaves_its_folder_out(
    words: str, tmp_path: Path
) -> None:
    option, script = words.split()
    command = [sys.executable, option, str(ROOT / "scripts" / script), "--help"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=PATIENCE)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("usage: ")
