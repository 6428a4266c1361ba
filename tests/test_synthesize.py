"""The made-up embeddings: the real shape and spread, the same bytes everywhere, nothing lost."""

import itertools
import json
import math
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from engine import synthesize

ROOT = Path(__file__).parents[1]
SCRIPT = ROOT / "scripts" / "synthesize.py"
SAMPLE = ROOT / "data" / "sample"

FILMS = {
    1910: 117,
    1920: 413,
    1930: 1314,
    1940: 1476,
    1950: 1792,
    1960: 1621,
    1970: 1764,
    1980: 2568,
    1990: 3377,
    2000: 6238,
    2010: 1710,
}
# The 5, 25, 50, 75 and 95 % quantiles of the pairs of a decade: of the real genre vectors, the
# mean of the eleven decades; of e5-like vectors, what the module promises.
QUANTILES = {
    "custom_genres": [0.402, 0.642, 0.781, 0.872, 0.944],
    "embedding": [0.69, 0.73, 0.75, 0.79, 0.85],
}


def run(folder: Path, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(SCRIPT), *arguments]
    return subprocess.run(
        command, cwd=folder, env={**os.environ, **environment}, capture_output=True, text=True
    )


def make(folder: Path, *arguments: str) -> None:
    assert synthesize.main(["--data", str(folder), *arguments]) == 0


def files(folder: Path) -> dict[str, bytes]:
    found = sorted(path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): path.read_bytes() for path in found}


def read(folder: Path, approach: str, decade: int) -> dict[str, list[float]]:
    text = (folder / "embeddings" / approach / f"plots_{decade}s.json").read_text()
    embeddings: dict[str, list[float]] = json.loads(text)
    return embeddings


def similarities(vectors: list[list[float]]) -> list[float]:
    matrix = np.array(vectors)
    found: list[float] = (matrix @ matrix.T)[np.triu_indices(len(matrix), 1)].tolist()
    return found


def test_the_committed_sample_is_what_its_command_writes(tmp_path: Path) -> None:
    python, script, *arguments = synthesize.SAMPLE_COMMAND.split()
    assert (python, script) == ("python", "scripts/synthesize.py")
    result = run(tmp_path, *arguments)
    assert (result.returncode, result.stderr) == (0, "")
    made = files(tmp_path / "data" / "sample" / "embeddings")
    assert len(made) == 6
    assert made == files(SAMPLE / "embeddings")


def test_the_sample_is_small() -> None:
    assert sum(map(len, files(SAMPLE / "embeddings").values())) < 600_000


def test_the_help_names_the_command_of_the_sample(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        synthesize.main(["--help"])
    assert synthesize.SAMPLE_COMMAND in " ".join(capsys.readouterr().out.split())


def test_the_same_options_give_the_same_bytes_and_another_seed_others(tmp_path: Path) -> None:
    options = ("--decade", "1910", "1920", "--films", "30")
    for folder, seed in (("a", "7"), ("b", "7"), ("c", "8")):
        make(tmp_path / folder, *options, "--seed", seed)
    assert files(tmp_path / "a") == files(tmp_path / "b")
    assert not set(files(tmp_path / "a").values()) & set(files(tmp_path / "c").values())


def test_a_cpu_without_vector_instructions_gives_the_same_bytes(tmp_path: Path) -> None:
    simd: Any = np.show_config(mode="dicts")
    found = simd["SIMD Extensions"].get("found", [])
    options = ("--decade", "1910")
    make(tmp_path / "all", *options)
    result = run(tmp_path, "--data", "none", *options, NPY_DISABLE_CPU_FEATURES=" ".join(found))
    assert result.returncode == 0, result.stderr
    assert files(tmp_path / "all") == files(tmp_path / "none")


def test_a_decade_made_alone_equals_that_of_a_longer_run(tmp_path: Path) -> None:
    make(tmp_path / "all", "--films", "5")
    make(tmp_path / "one", "--films", "5", "--decade", "1950", "--approach", "custom_genres")
    alone = files(tmp_path / "one")
    assert list(alone) == ["embeddings/custom_genres/plots_1950s.json"]
    assert alone.items() < files(tmp_path / "all").items()


def test_the_film_counts_are_the_real_ones(tmp_path: Path) -> None:
    make(tmp_path, "--dimensions", "2", "--approach", "embedding")
    few = [1910, 1920, 1940]  # Their sixteen numbers take eight times as long to write.
    make(tmp_path, "--approach", "custom_genres", "--decade", *map(str, few))
    assert len(files(tmp_path)) == len(FILMS) + len(few)
    for approach, dimensions, decades in (("embedding", 2, FILMS), ("custom_genres", 16, few)):
        for decade in decades:
            embeddings = read(tmp_path, approach, decade)
            assert len(embeddings) == FILMS[decade]
            assert {len(vector) for vector in embeddings.values()} == {dimensions}


def test_scale_takes_a_part_of_the_films_but_at_least_two(tmp_path: Path) -> None:
    make(tmp_path, "--scale", "0.01", "--decade", "1910", "2000")
    assert [len(read(tmp_path, "custom_genres", decade)) for decade in (1910, 2000)] == [2, 62]


@pytest.mark.parametrize("films", [0, 1, 300])
def test_films_is_the_exact_number(tmp_path: Path, films: int) -> None:
    make(tmp_path, "--films", str(films), "--decade", "1910", "2000", "--dimensions", "3")
    for approach, decade in itertools.product(QUANTILES, (1910, 2000)):
        assert len(read(tmp_path, approach, decade)) == films


def test_full_length_files_are_as_large_as_real_ones(tmp_path: Path) -> None:
    make(tmp_path, "--decade", "1910")
    sizes = {Path(name).parent.name: len(text) for name, text in files(tmp_path).items()}
    assert sizes["custom_genres"] == pytest.approx(40_346, rel=0.02)  # the real file of the 1910s
    assert sizes["embedding"] == pytest.approx(117 * 1024 * 22, rel=0.02)
    assert {len(vector) for vector in read(tmp_path, "embedding", 1910).values()} == {1024}


def test_the_text_is_that_of_json_dump(tmp_path: Path) -> None:
    make(tmp_path, "--decade", "1910", "--approach", "custom_genres")
    (text,) = files(tmp_path).values()
    assert text.decode() == json.dumps(json.loads(text))


def test_what_is_written_reads_back_as_the_same_numbers(tmp_path: Path) -> None:
    vectors = np.array([[0.1, 1e-5], [-0.0, 1 / 3], [2.5e-17, -1.0]])
    ids = ["12", 'a "b"', "é"]
    synthesize.write_embeddings(tmp_path / "new" / "x.json", ids, vectors)
    text = (tmp_path / "new" / "x.json").read_text(encoding="ascii")
    assert repr(json.loads(text)) == repr(dict(zip(ids, vectors.tolist(), strict=True)))


def test_ids_are_different_integers_in_no_order_and_shared_by_the_approaches(
    tmp_path: Path,
) -> None:
    make(tmp_path, "--decade", "2000", "--dimensions", "1")
    ids = list(read(tmp_path, "embedding", 2000))
    assert ids == list(read(tmp_path, "custom_genres", 2000))
    numbers = [int(film) for film in ids]
    assert [str(number) for number in numbers] == ids
    assert len(set(numbers)) == FILMS[2000]
    rising = sum(a < b for a, b in itertools.pairwise(numbers)) / len(numbers)
    assert 0.4 < rising < 0.6


@pytest.mark.parametrize("dimensions", [1, 2, 16, 64, 1024])
@pytest.mark.parametrize("approach", QUANTILES)
def test_vectors_have_unit_length(approach: str, dimensions: int) -> None:
    rng = synthesize.generator(0, 1910, approach)
    vectors = synthesize.synthesize_vectors(approach, 300, dimensions, rng)
    assert vectors.shape == (300, dimensions)
    assert vectors.dtype == np.float64
    for vector in vectors.tolist():
        assert math.sqrt(math.fsum(x * x for x in vector)) == pytest.approx(1, abs=1e-14)


@pytest.mark.parametrize("approach", QUANTILES)
def test_rounded_vectors_of_the_sample_have_unit_length(approach: str) -> None:
    for decade in (1910, 1920, 1930):
        for vector in read(SAMPLE, approach, decade).values():
            assert math.sqrt(math.fsum(x * x for x in vector)) == pytest.approx(1, abs=1e-4)
            assert all(round(x, 5) == x for x in vector)


@pytest.mark.parametrize("approach", QUANTILES)
def test_similarities_spread_like_real_ones(approach: str) -> None:
    found = []
    films = {"custom_genres": 200, "embedding": 100}[approach]
    for decade in FILMS:
        rng = synthesize.generator(0, decade, approach)
        dimensions = synthesize.DIMENSIONS[approach]
        vectors = synthesize.synthesize_vectors(approach, films, dimensions, rng)
        found.append(np.quantile(similarities(vectors.tolist()), [0.05, 0.25, 0.5, 0.75, 0.95]))
    tolerance = {"custom_genres": 0.03, "embedding": 0.015}[approach]
    assert np.mean(found, axis=0) == pytest.approx(QUANTILES[approach], abs=tolerance)
    assert np.array(found) == pytest.approx(np.array([QUANTILES[approach]] * 11), abs=0.12)


@pytest.mark.parametrize("approach", QUANTILES)
def test_the_sample_spreads_like_the_full_data(approach: str) -> None:
    values = similarities(list(read(SAMPLE, approach, 1930).values()))
    quantiles = np.quantile(values, [0.05, 0.25, 0.5, 0.75, 0.95])
    assert quantiles == pytest.approx(QUANTILES[approach], abs=0.06)


def test_genre_like_similarities_are_all_positive() -> None:
    for decade in (1910, 1920, 1930):
        vectors = list(read(SAMPLE, "custom_genres", decade).values())
        assert min(map(min, vectors)) >= 0
        assert min(similarities(vectors)) > 0


@pytest.mark.parametrize("approach", QUANTILES)
def test_films_gather_in_clusters(approach: str) -> None:
    # Join the tenth of the pairs that is most similar. Two films joined to a third would be joined
    # themselves in a tenth of the cases if there were no clusters.
    vectors = np.array(list(read(SAMPLE, approach, 1920).values()))
    similar = vectors @ vectors.T
    np.fill_diagonal(similar, -1)
    joined = (similar >= np.quantile(similar, 0.9)).astype(int)
    paths = joined @ joined
    np.fill_diagonal(paths, 0)
    assert (paths * joined).sum() / paths.sum() > 0.3


def test_an_unknown_approach_is_refused() -> None:
    with pytest.raises(ValueError, match="'genres', expected one of embedding, custom_genres"):
        synthesize.synthesize_vectors("genres", 2, 2, synthesize.generator(0, 1910, "ids"))


def test_other_embeddings_are_not_overwritten_and_nothing_is_added(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    real = tmp_path / "embeddings" / "custom_genres" / "plots_1930s.json"
    real.parent.mkdir(parents=True)
    real.write_text('{"1": [1.0]}')
    monkeypatch.chdir(tmp_path)
    assert synthesize.main(["--data", ".", "--films", "3"]) == 1
    told = capsys.readouterr().err
    assert told.startswith(f"error: {real.relative_to(tmp_path)}: holds other embeddings")
    assert len(told.splitlines()) == 1
    assert files(tmp_path) == {str(real.relative_to(tmp_path)): b'{"1": [1.0]}'}


def test_overwrite_replaces_and_a_file_already_right_is_left_alone(tmp_path: Path) -> None:
    options = ("--decade", "1910", "--approach", "custom_genres", "--films", "3")
    make(tmp_path, *options)
    (first,) = files(tmp_path).values()
    (path,) = tmp_path.rglob("*.json")
    before = path.stat()
    make(tmp_path, *options)
    make(tmp_path, *options, "--overwrite")
    assert (path.stat().st_ino, path.stat().st_mtime_ns) == (before.st_ino, before.st_mtime_ns)
    make(tmp_path, *options, "--overwrite", "--seed", "1")
    (second,) = files(tmp_path).values()
    assert second != first


def test_a_write_that_fails_leaves_nothing_behind(tmp_path: Path) -> None:
    def failing() -> Iterator[str]:
        yield "1"
        raise OSError("no more")

    with pytest.raises(OSError, match="no more"):
        synthesize.write_embeddings(tmp_path / "x.json", failing(), np.eye(2))
    with pytest.raises(ValueError, match="argument 2 is longer"):
        synthesize.write_embeddings(tmp_path / "x.json", ["1"], np.eye(2))
    assert files(tmp_path) == {}


@pytest.mark.parametrize(
    ("moment", "dimensions"),
    [("*.partial", "64"), ("*.json", "2")],  # Written long enough to be met at it.
)
def test_a_killed_run_leaves_no_half_file_under_a_final_name(
    tmp_path: Path, moment: str, dimensions: str
) -> None:
    options = ["--data", str(tmp_path), "--decade", "2000", "--approach", "embedding"]
    options += ["--dimensions", dimensions]
    with subprocess.Popen([sys.executable, str(SCRIPT), *options]) as made:
        while made.poll() is None and not list(tmp_path.rglob(moment)):
            time.sleep(0.001)
        made.kill()
    finished = list(tmp_path.rglob("*.json"))
    assert len(finished) == (moment == "*.json")
    assert all(len(json.loads(path.read_bytes())) == FILMS[2000] for path in finished)


def test_an_unusable_folder_is_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.chdir(tmp_path)
    assert synthesize.main(["--data", "file", "--films", "2", "--decade", "1910"]) == 1
    told = capsys.readouterr().err
    assert told.startswith("error: file: is a file where the root of the data was expected")
    assert len(told.splitlines()) == 1


@pytest.mark.parametrize(
    "arguments",
    [
        ("--scale", "0"),
        ("--scale", "nan"),
        ("--scale", "0.1", "--films", "3"),
        ("--films", "-1"),
        ("--decade", "1915"),
        ("--approach", "genres"),
        ("--dimensions", "0"),
        ("--dimensions", "8", "--approach", "custom_genres"),
        ("--digits", "400"),
        ("--seed", "x"),
    ],
)
def test_wrong_usage_exits_2_and_writes_nothing(
    tmp_path: Path, arguments: tuple[str, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as stopped:
        synthesize.main(["--data", str(tmp_path), *arguments])
    assert stopped.value.code == 2
    assert (
        f"argument {arguments[-2 if arguments[0] == '--scale' else 0]}" in capsys.readouterr().err
    )
    assert files(tmp_path) == {}


def test_a_disk_that_is_too_small_is_said_before_anything_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda path: SimpleNamespace(free=120_000_000))
    assert synthesize.main(["--data", str(tmp_path / "films")]) == 1
    told = capsys.readouterr()
    assert told.out == ""
    assert re.fullmatch(
        rf"error: {tmp_path}: about 4\d\d MB are needed and 120 MB are free; make room, .*\n",
        told.err,
    )
    assert list(tmp_path.iterdir()) == []


def test_a_part_of_the_data_gets_no_embeddings_of_its_own(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    make(tmp_path, "--films", "2")
    before = files(tmp_path)
    assert synthesize.main(["--data", str(tmp_path / "embeddings")]) == 1
    assert f"did you mean --data {tmp_path}?" in capsys.readouterr().err
    assert files(tmp_path) == before
