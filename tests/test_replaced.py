"""Outputs of another rule are replaced, and said with their sizes and the way to have them back."""

import re
import shlex
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from conftest import Listener
from reference import expected, films, output_path, outputs, put

import engine
from engine.disk import size

Command = Callable[..., tuple[int, str, str]]
YEARS = ("1990", "2000", "2010")


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for k, year in enumerate(YEARS):
        put(tmp_path, "genres", year, films(30 + k, 3))
    return tmp_path


def export(root: Path, **arguments: Any) -> list[str]:
    """Run; return what was said of outputs that are replaced."""
    listener = Listener()
    assert engine.run(root, workers=1, progress=listener, **arguments).ok
    return [text for text in listener.messages if "replaced" in text]


def bytes_of(root: Path, *years: str) -> int:
    return sum(output_path(root, "genres", year).stat().st_size for year in years)


def test_a_filtered_export_says_once_that_it_replaces_the_whole_with_both_sizes(root: Path) -> None:
    assert export(root) == []
    before = bytes_of(root, *YEARS)
    (sentence,) = export(root, top_percent=25)
    found = re.fullmatch(
        r"3 outputs of every pair \((.*)\) are replaced by the strongest 25 % of the pairs "
        r"\(about (.*)\); the store has every pair: to have them back, run: (.*)",
        sentence,
    )
    assert found is not None, sentence
    assert found[1] == size(before)
    n_bytes = float(found[2].split()[0]) * 1000
    assert found[2].endswith(" kB")
    assert n_bytes == pytest.approx(bytes_of(root, *YEARS), rel=0.05)
    assert found[3] == f"python -m engine --data {root}"


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ({}, {"min_similarity": 0.5}),
        ({}, {"top_k": 2}),
        ({"min_similarity": 0.5}, {}),
        ({"top_k": 2}, {"top_percent": 10}),
        ({"top_percent": 12.5}, {"min_similarity": -0.25}),
        ({"min_similarity": -1e-5}, {"min_similarity": 0.5}),
    ],
    ids=str,
)
def test_the_command_that_is_told_brings_the_replaced_outputs_back(
    root: Path, command: Command, before: dict[str, float], after: dict[str, float]
) -> None:
    export(root, **before)
    (sentence,) = export(root, **after)
    assert outputs(root) == expected(root, **after)
    python, *words = shlex.split(sentence.partition(" back, run: ")[2])
    assert (python, words[:2]) == ("python", ["-m", "engine"])
    assert command(*words[2:], "--workers", "1")[0] == 0
    assert outputs(root) == expected(root, **before)


def test_the_command_names_the_decades_that_were_selected(root: Path) -> None:
    export(root)
    (one,) = export(root, decades=1990, top_k=3)
    assert one.endswith(
        f"back, run: python -m engine --data {root} --approach genres --decade 1990"
    )
    assert (
        f"1 output of every pair ({size(len(expected(root)['genres/similarities_1990s.json']))})"
        in one
    )
    (two,) = export(root, approaches="genres", decades=[2010, 2000], top_k=3)
    assert two.endswith(f"--data {root} --approach genres --decade 2010 2000")
    # Two are of this rule by now.
    mixed = export(root, decades=["1990", "2000"], min_similarity=0.5)
    assert len(mixed) == 1
    assert mixed[0].endswith("--decade 1990 2000 --top-k 3")
    first, second = export(root, top_percent=50)
    assert first.startswith("2 outputs of pairs ≥ 0.5 (")
    assert second.startswith("1 output of pairs among the 3 best of either film (")


def test_where_nothing_is_replaced_nothing_is_said(root: Path) -> None:
    export(root, top_k=2)
    assert export(root, top_k=2) == []
    assert export(root, export=False) == []
    for year in YEARS:
        output_path(root, "genres", year).unlink()
    assert export(root) == []


def test_a_restart_says_it_too(root: Path) -> None:
    export(root)
    (sentence,) = export(root, restart=True, top_k=2)
    assert sentence.startswith("3 outputs of every pair (")


def test_a_decade_that_fails_keeps_its_output_and_is_not_named(root: Path) -> None:
    export(root)
    path = root / "embeddings" / "genres" / "plots_1990s.json"
    path.unlink()
    listener = Listener()
    engine.run(root, workers=1, progress=listener, top_k=2)
    (sentence,) = (text for text in listener.messages if "replaced" in text)
    assert sentence.startswith("2 outputs of every pair (")
    assert output_path(root, "genres", "1990").exists()


def test_the_status_says_what_the_next_run_would_replace(root: Path) -> None:
    export(root)
    assert engine.status(root).replaced == engine.status(root, top_k=2, export=False).replaced == []
    found = engine.status(root, top_k=2)
    assert str(found).splitlines()[-1] == found.replaced[0]
    assert export(root, top_k=2) == found.replaced


def test_the_size_of_what_replaces_an_empty_output_is_estimated_too(root: Path) -> None:
    export(root, decades=1990, min_similarity=75)
    (sentence,) = export(root, decades=1990)
    assert "1 output of pairs ≥ 75 (2 B) is replaced by every pair (about 17.4 kB)" in sentence
