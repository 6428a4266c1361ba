"""The options: what the help shows, and what is said of words that are no options."""

import inspect
import re
from collections.abc import Callable

import pytest

import engine
from engine import cli
from engine.options import parse, parser


def test_the_options_are_those_of_the_contract() -> None:
    text = parser().format_help()
    for option in (
        "--data DIR",
        "--store PATH_OR_URL",
        "--workers N",
        "--approach NAME",
        "--decade YEAR",
        "--kernel {dot,gemm}",
        "--normalize",
        "--min-similarity X",
        "--top-percent P",
        "--top-k K",
        "--compute-only",
        "--export-only",
        "--status",
        "--restart",
        "--quiet",
        "--verbose",
        "--version",
        "--help",
    ):
        assert option in text


def test_the_help_fits_80_columns_and_40(monkeypatch: pytest.MonkeyPatch) -> None:
    for columns, widest in ((200, 80), (80, 80), (40, 80)):  # Examples are not broken.
        monkeypatch.setenv("COLUMNS", str(columns))
        text = parser().format_help()
        assert max(map(len, text.splitlines())) <= widest
    options = text[text.index("What:") : text.index("Examples:")]
    assert max(map(len, options.splitlines())) <= 40


def test_the_help_has_groups_and_three_examples_that_are_commands() -> None:
    text = parser().format_help()
    for title in ("What:", "Where:", "How:", "Instead of a whole run:"):
        assert f"\n{title}\n" in text
    examples = re.findall(r"^  similarities-engine (.*?)  ", text, re.MULTILINE)
    assert len(examples) == 3
    for example in examples:
        parse(example.split())


def test_every_option_is_explained() -> None:
    assert all(action.help for action in parser()._actions)


def taken(call: Callable[..., object]) -> set[str]:
    return set(inspect.signature(call).parameters)


MODES = {"compute_only", "export_only", "json", "quiet", "status", "verbose", "verify"}
"""Options that say what else to do, or how loud; the others are arguments of a run."""
OPTIONS = [action for action in parser()._actions if action.dest not in MODES | {"help", "version"}]
PLURAL = {"approach": "approaches", "decade": "decades"}


def test_every_option_is_an_argument_of_a_run_and_of_its_status(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert {PLURAL.get(action.dest, action.dest) for action in OPTIONS} <= taken(engine.run)
    status = engine.status
    assert taken(engine.run) - taken(status) == {"dask", "wait_for_workers", "progress"}
    asked: set[str] = set()
    monkeypatch.setattr("engine.status", lambda data, **options: asked.update(options))
    assert cli.main(["--status"]) == 0
    assert {"data", *asked} == taken(status)


def test_an_option_that_verifying_does_not_take_is_refused_beside_it(
    capsys: pytest.CaptureFixture[str],
) -> None:
    for action in OPTIONS:
        if PLURAL.get(action.dest, action.dest) in taken(engine.verify):
            continue
        value = [] if action.nargs == 0 else [*(action.choices or ["1"])][:1]
        with pytest.raises(SystemExit) as stop:
            parse(["--verify", action.option_strings[-1], *map(str, value)])
        assert stop.value.code == 2, action.dest
        assert re.search("has no effect with --verify|requires", capsys.readouterr().err)


@pytest.mark.parametrize("door", ["similarities-engine", "run.py", "__main__.py"])
def test_the_program_has_one_name_whichever_door(
    door: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.argv", [door, "--version"])
    with pytest.raises(SystemExit) as stop:
        parse()
    assert stop.value.code == 0
    assert capsys.readouterr().out.startswith("similarities-engine ")


@pytest.mark.parametrize(
    ("words", "instead"),
    [
        ("--resume", "always resumes"),
        ("--force", "type --restart"),
        ("--force=1", "type --restart"),
        ("--dry-run", "type --status"),
        ("-n", "type --status"),
        ("-j 4", "type --workers"),
        ("-j4", "type --workers"),
        ("--output x.json", "type --data"),
        ("--decades 1990", "type --decade"),
        ("--threshold 0.5", "type --min-similarity"),
        ("--percentile 75", "type --top-percent"),
        ("-k 10", "type --top-k"),
        ("--worker 4", "did you mean --workers?"),
        ("--res", "did you mean --restart?"),
        ("--compute", "did you mean --compute-only?"),
        ("--min_similarity 0.5", "did you mean --min-similarity?"),
        ("genres", "--approach genres"),
        ("1990s", "--decade 1990s"),
        (".", "--data ."),
    ],
)
def test_a_word_that_is_no_option_s_is_answered_with_what_to_type_instead(
    words: str, instead: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as stop:
        parse(words.split())
    assert stop.value.code == 2
    usage, error = capsys.readouterr().err.splitlines()
    assert usage == "usage: similarities-engine [options]; --help lists them"
    assert error.startswith("similarities-engine: error: ")
    assert instead in error


@pytest.mark.parametrize("word", ["--rest", "--stat", "--work=4", "--deca", "--verb", "--js"])
def test_no_option_may_be_abbreviated(word: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        parse([word])
    assert stop.value.code == 2
    assert f"there is no option {word.split('=')[0]}" in capsys.readouterr().err


@pytest.mark.parametrize("word", ["--\x1b[2J", "\x1b[31m", "-\u202e", "--kernel=\x1b[2J"])
def test_no_word_reaches_the_terminal_raw(word: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        parse([word])
    assert all(line.isprintable() for line in capsys.readouterr().err.splitlines())
