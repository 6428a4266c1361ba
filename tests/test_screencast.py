"""The moving picture of a run: what a real run wrote in a terminal, and the present table."""

import re
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree

import pytest
from reference import films, put

sys.path.insert(0, str(Path(__file__).parents[1] / "scripts"))

from screencast import Screen

from engine import DecadeSummary, Summary
from engine.data_folder import DecadeName

ROOT = Path(__file__).resolve().parents[1]
SCREENCAST = ROOT / "scripts" / "screencast.py"
SVG = "{http://www.w3.org/2000/svg}"


def frames(picture: Path) -> list[list[str]]:
    """The lines of each frame; what is no SVG is an error here."""
    strip = ElementTree.parse(picture).getroot().find(f"{SVG}svg")
    assert strip is not None
    found: dict[int, list[str]] = {}
    for text in strip.iter(f"{SVG}text"):
        frame = int(text.attrib["y"]) // int(strip.attrib["height"])
        found.setdefault(frame, []).append("".join(text.itertext()))
    return [found[frame] for frame in sorted(found)]


def record(folder: Path, *arguments: str) -> list[list[str]]:
    picture = folder / "run.svg"
    command = [sys.executable, str(SCREENCAST), *arguments[:-3], str(picture), *arguments[-3:]]
    subprocess.run(command, cwd=folder, check=True, timeout=120)
    assert picture.stat().st_size < 300_000
    return frames(picture)


def test_the_picture_begins_with_the_command_and_ends_with_the_table_it_printed(
    tmp_path: Path,
) -> None:
    for approach in ("embedding", "genres"):
        put(tmp_path / "films", approach, "1990", films(30))
    run = f"{sys.executable} {ROOT / 'scripts' / 'run.py'} --data films --workers 1"
    first, *_, last = record(tmp_path, "sh", "-c", f"{run} | tee table")
    assert first[0].startswith("$ sh -c ")
    table = [line for line in (tmp_path / "table").read_text().splitlines() if line]
    assert last[-len(table) :] == table
    assert any(line.startswith("computing") for line in last)


def test_a_run_that_is_interrupted_is_shown_with_the_one_that_follows(tmp_path: Path) -> None:
    once = 'LC_ALL=C mkdir there || exit 0; trap "exit 130" INT; echo at work; sleep 60 & wait'
    shown = record(tmp_path, "--interrupt", "0.1", "sh", "-c", once)
    last = "\n".join(shown[-1])
    assert re.search(r"\$ sh .*\nat work\n.*\$ sh .*\nmkdir: .*exists$", last, re.DOTALL), last


def test_what_fails_makes_no_picture(tmp_path: Path) -> None:
    with pytest.raises(subprocess.CalledProcessError):
        record(tmp_path, "sh", "-c", "exit 3")
    assert not (tmp_path / "run.svg").exists()


def test_the_screen_is_that_of_a_terminal() -> None:
    screen = Screen()
    screen.write("one\r\ntwo\r\nthree\x1b[2A\rO\x1b[K\n12345\x1b[1AX\r\n\x1b[J")
    assert screen.lines == ["O     X", ""]
    screen.write("a" * 81)
    assert screen.lines == ["O     X", "a" * 80, "a"]
    with pytest.raises(ValueError, match="not known here"):
        screen.write("\x1b[31mred")


def test_the_picture_of_the_readme_has_the_columns_of_today() -> None:
    picture = ROOT / "docs" / "images" / "run.svg"
    assert picture.stat().st_size < 300_000
    printed = str(Summary([DecadeSummary(DecadeName("embedding", "1990"))], 1.0))
    head = printed.splitlines()[1].split()
    assert head in [line.split() for line in frames(picture)[-1]]
