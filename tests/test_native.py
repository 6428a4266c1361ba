"""The native part: taken where it is, left where it is forbidden, and told in both cases."""

import importlib
import json
import math
import os
import re
import runpy
import subprocess
import sys
import sysconfig
from collections.abc import Callable, Iterator
from fractions import Fraction
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
from reference import expected, films, outputs, put

import engine
from engine import native

ROOT = Path(__file__).resolve().parents[1]
SOURCES = {
    "_similarities_dot": ROOT / "engine/triangle/dot.c",
    "_similarities_numbers": ROOT / "engine/embeddings/numbers.c",
    "_similarities_text": ROOT / "engine/legacy_json/text.c",
}


@pytest.fixture
def reloaded(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    yield
    monkeypatch.undo()  # Before, or all later tests would go without the native part.
    importlib.reload(native)


def without(*arguments: str | Path) -> str:
    """Run the command in a process that may not use the native part."""
    done = subprocess.run(
        [sys.executable, "-m", "engine", *arguments],
        cwd=ROOT,
        env={**os.environ, native.FORBID: "1"},
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout


def test_the_output_is_the_same_with_and_without_the_native_part(tmp_path: Path) -> None:
    put(tmp_path, "plain", "1990", films(260, 16))
    put(tmp_path, "wide", "1990", films(40, 1040))
    engine.run(tmp_path, workers=1)
    assert outputs(tmp_path) == expected(tmp_path)
    without("--data", tmp_path, "--restart")
    assert outputs(tmp_path) == expected(tmp_path)


def test_status_and_version_say_which_way_is_taken(
    tmp_path: Path, command: Callable[..., tuple[int, str, str]]
) -> None:
    put(tmp_path, "plain", "1990", films(3))
    way = "native (" if native.text or (native.dot and native.dot.LANES) else "Python"
    assert f", {way}" in command("--version")[1]
    status = command("--data", tmp_path, "--status", "--json")[1]
    assert json.loads(status)["way"].startswith(way)
    assert json.loads(without("--data", tmp_path, "--status", "--json"))["way"] == "Python"


@pytest.mark.parametrize(
    ("lanes", "text", "said"),
    [
        (32, True, "native (AVX-512)"),
        (16, True, "native (AVX2)"),
        (16, False, "native (AVX2)"),
        (0, True, "native (text)"),
        (None, True, "native (text)"),
        (0, False, "Python"),  # Where text.c cannot be built, dot.c can, and computes nothing.
        (None, False, "Python"),
    ],
)
def test_what_computes_nothing_is_not_said_to_be_in_use(
    monkeypatch: pytest.MonkeyPatch, lanes: int | None, text: bool, said: str
) -> None:
    dot = None if lanes is None else SimpleNamespace(LANES=lanes)
    monkeypatch.setattr(native, "dot", dot)
    monkeypatch.setattr(native, "text", SimpleNamespace() if text else None)
    assert native.in_use() == said


def test_without_the_native_part_there_is_python(
    monkeypatch: pytest.MonkeyPatch, reloaded: None
) -> None:
    monkeypatch.delenv(native.FORBID, raising=False)
    for name in SOURCES:
        monkeypatch.setitem(sys.modules, name, None)
    importlib.reload(native)
    assert (native.dot, native.numbers, native.text) == (None, None, None)
    assert native.in_use() == "Python"


def test_a_native_part_of_another_version_is_left_alone(
    monkeypatch: pytest.MonkeyPatch, reloaded: None
) -> None:
    monkeypatch.delenv(native.FORBID, raising=False)
    for name in SOURCES:
        module = ModuleType(name)
        module.INTERFACE = 0  # type: ignore[attr-defined]
        monkeypatch.setitem(sys.modules, name, module)
    importlib.reload(native)
    assert (native.dot, native.numbers, native.text) == (None, None, None)
    assert native.in_use() == "Python"


def test_the_sources_are_of_the_version_that_this_engine_calls() -> None:
    for source in SOURCES.values():
        found = re.findall(r'"INTERFACE", (\d+)', source.read_text())
        assert found == [str(native.INTERFACE)]


def test_powers_of_ten_are_their_first_128_bits_rounded_up() -> None:
    table = native.powers_of_ten()
    words = [int.from_bytes(table[at : at + 8], sys.byteorder) for at in range(0, len(table), 8)]
    found = [first * 2**64 + second for first, second in zip(*[iter(words)] * 2, strict=True)]
    wanted = []
    for k in range(-292, 325):
        exact = Fraction(10) ** k
        size = exact.numerator.bit_length() - exact.denominator.bit_length()  # or one less
        scaled = exact * Fraction(2) ** (128 - size)
        wanted.append(math.ceil(scaled if scaled < 2**128 else scaled / 2))
    assert found == wanted


@pytest.mark.parametrize("free_threaded", [None, 0, 1])
def test_free_threaded_python_is_given_a_wheel_without_a_native_part(
    monkeypatch: pytest.MonkeyPatch, free_threaded: int | None
) -> None:
    setuptools = pytest.importorskip("setuptools")
    asked: list[dict[str, Any]] = []
    monkeypatch.setattr(setuptools, "setup", lambda **words: asked.append(words))
    monkeypatch.setitem(sysconfig.get_config_vars(), "Py_GIL_DISABLED", free_threaded)
    runpy.run_path(str(ROOT / "setup.py"))
    names = [[each.name for each in words.get("ext_modules", [])] for words in asked]
    assert names == [[] if free_threaded else list(SOURCES)]
    assert ("bdist_wheel" in asked[0].get("options", {})) == (not free_threaded)


BUILT = """
import math, sys
import numpy as np
import _similarities_dot, _similarities_numbers, _similarities_text
from engine.legacy_json.pairs import FilmTexts
values = np.array([[0.0, 0.5, math.nan]])
for lowest in (None, 0.0):
    text = FilmTexts(["1", "2", "3"]).block(0, values, lowest)
    print(_similarities_text.__file__.startswith(sys.argv[1]), *map(bytes, text.pieces()))
print(np.array([1e-310]) / 2)
"""


@pytest.mark.storm
def test_no_flags_of_a_compiler_that_the_environment_asks_for_change_a_byte(
    tmp_path: Path,
) -> None:
    pytest.importorskip("setuptools")
    flags = "-ffast-math -ffinite-math-only -funsafe-math-optimizations"  # Each by itself, too.
    subprocess.run(
        [sys.executable, "setup.py", "-q", "build_ext", "-b", tmp_path, "-t", tmp_path / "objects"],
        cwd=ROOT,
        env={**os.environ, "CFLAGS": flags},
        capture_output=True,
        check=True,
    )
    if len(list(tmp_path.glob("*.so"))) < len(SOURCES):
        pytest.skip("no compiler")
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    environment.pop(native.FORBID, None)
    done = subprocess.run(
        [sys.executable, "-c", BUILT, tmp_path],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.splitlines() == [
        """True b', "1-2": 0.5, "1-3": NaN'""",
        """True b', "1-2": 0.5'""",
        "[5.e-311]",
    ]
