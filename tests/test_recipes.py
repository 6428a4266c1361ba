"""The recipes of CONTRIBUTING: what they name is enough, and is there."""

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from reference import films, output_path, put

import engine
from engine.arguments import kernel_name
from engine.options import parser
from engine.triangle import kernel

ROOT = Path(__file__).resolve().parents[1]
RECIPES = (ROOT / "CONTRIBUTING.md").read_text().partition("## Recipes")[2].partition("\n## ")[0]


def by_distance(
    rows: NDArray[np.float64],
    columns: NDArray[np.float64],
    diagonal: int,
    out: NDArray[np.float64],
) -> None:
    """Distances in blocks: a kernel that the engine does not have."""
    out[:] = np.abs(rows[:, None] - columns[None]).sum(axis=2)


def test_a_kernel_that_is_added_as_the_recipe_says_is_one_everywhere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    name: Any = "distance"
    monkeypatch.setitem(kernel.KERNELS, name, "the sum of differences")
    monkeypatch.setitem(kernel._OTHERS, name, by_distance)
    assert kernel_name(name) == name
    assert "distance: the sum of differences" in " ".join(parser().format_help().split())
    embeddings = films(40)
    put(tmp_path, "genres", "1990", embeddings)
    assert engine.run(tmp_path, workers=1, kernel=name).ok
    found = json.loads(output_path(tmp_path, "genres", "1990").read_text())
    assert len(found) == 40 * 39 // 2
    for key, value in found.items():
        a, b = (embeddings[film] for film in key.split("-"))
        assert value == pytest.approx(sum(abs(x - y) for x, y in zip(a, b, strict=True)))
    assert engine.status(tmp_path).decades[0].kernel == name
    assert engine.verify(tmp_path) == []
    with pytest.raises(engine.EngineError, match=r"--kernel dot contradicts .* --kernel distance"):
        engine.run(tmp_path, workers=1, kernel="dot")


def test_what_a_recipe_names_stands_in_the_file_that_it_names() -> None:
    pattern = r"^\d\. `((?:engine|tests)/\S+\.py)`(.*?)(?=^\d\. |^$)"
    steps = re.findall(pattern, RECIPES, re.MULTILINE | re.DOTALL)
    assert len(steps) >= 6
    for file, text in steps:
        content = (ROOT / file).read_text()
        for word in re.findall(r"`(_?[A-Za-z_]+)`", text):
            assert word in content, f"{file}: {word}"
