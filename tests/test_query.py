"""Asking the store gives what the notebook's loop gives, reads only what it needs, and says what
is not there."""

import doctest
import itertools
import json
import os
import pickle
import shlex
import shutil
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import uncompute
from reference import chunks, put

import engine.query.chunks
import engine.query.decade
import engine.query.similarities
import engine.query.whole
from engine import EngineError, run
from engine.cli import main
from engine.errors import NotComputedError, NotFoundError, StoreError
from engine.query.decade import Decade
from engine.query.similarities import Similarities
from engine.store.lock import locked
from engine.store.store import Store

ROOT = Path(__file__).parents[1]
Reference = tuple[list[str], np.ndarray]


def reference(data: Path, approach: str, decade: int) -> Reference:
    """The ids and the similarities of all pairs, NaN on the diagonal, by the notebook's loop."""
    text = (data / "embeddings" / approach / f"plots_{decade}s.json").read_text()
    embeddings = {key: np.array(vector) for key, vector in json.loads(text).items()}
    matrix = np.full((len(embeddings), len(embeddings)), np.nan)
    for (i, a), (j, b) in itertools.combinations(enumerate(embeddings.values()), 2):
        matrix[i, j] = matrix[j, i] = a @ b
    return list(embeddings), matrix


def write(data: Path, embeddings: dict[str, list[float]], decade: int = 2000) -> None:
    path = data / "embeddings" / "made" / f"plots_{decade}s.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(embeddings))


def made(data: Path, embeddings: dict[str, list[float]]) -> Decade:
    write(data, embeddings)
    assert run(data, workers=1, export=False).ok
    return engine.open(data)["made", 2000]


def chunk(data: Path, place: str) -> Path:
    """The file of the chunk of similarities at "row/column"."""
    return data / "similarities.zarr" / "embedding" / "1930" / "similarities" / "c" / place


def leave_only(data: Path, *places: str) -> None:
    """Delete all other chunks of similarities."""
    kept = [chunk(data, place) for place in places]
    for name in chunks(data / "similarities.zarr"):
        path = data / "similarities.zarr" / name
        if path not in kept:
            path.unlink()


def do_as_told(error: EngineError) -> None:
    """Run the command with which a sentence ends."""
    words = shlex.split("python" + str(error).partition(": python")[2])
    assert words[:3] == ["python", "-m", "engine"]
    handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        assert main([*words[3:], "--quiet"]) == 0
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)


@pytest.fixture(scope="module")
def sample(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The sample with a finished store, which nobody changes."""
    data = tmp_path_factory.mktemp("query") / "sample"
    shutil.copytree(ROOT / "data" / "sample" / "embeddings", data / "embeddings")
    assert run(data, workers=1, export=False).ok
    return data


@pytest.fixture(scope="module")
def expected(sample: Path) -> Reference:
    return reference(sample, "embedding", 1930)


@pytest.fixture
def data(sample: Path, tmp_path: Path) -> Path:
    """A copy of the sample and its store."""
    return Path(shutil.copytree(sample, tmp_path / "copy of sample"))


@pytest.fixture
def similarities(sample: Path) -> Similarities:
    return engine.open(sample)


@pytest.fixture
def films(similarities: Similarities) -> Decade:
    return similarities["embedding", "1930"]


@pytest.mark.parametrize("approach", ["embedding", "custom_genres"])
def test_every_pair_in_either_order_is_the_notebooks(
    approach: str, sample: Path, similarities: Similarities
) -> None:
    ids, matrix = reference(sample, approach, 1920)
    films = similarities[approach, "1920"]
    assert films.ids == ids
    for i, j in itertools.permutations(range(len(ids)), 2):
        assert films[ids[i], ids[j]] == matrix[i, j]


def test_every_row_is_the_notebooks_in_file_order(films: Decade, expected: Reference) -> None:
    ids, matrix = expected
    assert films.ids == ids
    for k in [*range(0, len(ids), 37), 255, 256, 257, 511, 512, len(ids) - 1]:
        np.testing.assert_array_equal(films.row(ids[k]), matrix[k], strict=True)


def test_pairs_at_the_edges_of_chunks_are_the_notebooks(films: Decade, expected: Reference) -> None:
    ids, matrix = expected
    edges = [0, 1, 254, 255, 256, 257, 510, 511, 512, 513, len(ids) - 2, len(ids) - 1]
    for i, j in itertools.permutations(edges, 2):
        assert films[ids[i], ids[j]] == matrix[i, j]


def test_similar_films_come_best_first(films: Decade, expected: Reference) -> None:
    ids, matrix = expected
    for i in (0, 300, len(ids) - 1):
        others = sorted(set(range(len(ids))) - {i}, key=lambda j: (-matrix[i, j], j))
        best = [(ids[j], matrix[i, j]) for j in others]
        assert films.similar_to(ids[i]) == best[:10]
        assert films.similar_to(ids[i], k=0) == []
        assert films.similar_to(ids[i], k=10**6) == best


def test_equally_similar_films_come_in_file_order(tmp_path: Path) -> None:
    decade = made(tmp_path, {"9": [0, 1], "5": [1, 0], "8": [1, 0], "1": [1, 0], "7": [-1, 0]})
    best = [("8", 1.0), ("1", 1.0), ("9", 0.0), ("7", -1.0)]
    assert decade.similar_to("5") == best
    assert decade.similar_to("5", k=1) == best[:1]


@pytest.mark.parametrize("k", [-1, "-1", "many", 2.5, np.nan, True, None, [1]])
def test_what_is_no_number_of_similar_films_is_refused(films: Decade, k: Any) -> None:
    with pytest.raises(ValueError, match="is not an integer of at least 0"):
        films.similar_to(films.ids[0], k=k)


@pytest.mark.parametrize("k", [3, "3", np.int64(3), np.array(3)])
def test_a_number_of_similar_films_may_be_text_or_numpys(films: Decade, k: Any) -> None:
    assert len(films.similar_to(films.ids[0], k=k)) == 3


def test_an_id_may_be_an_integer(films: Decade) -> None:
    first, second = films.ids[:2]
    assert films[int(first), np.int64(second)] == films[first, second]
    assert films.similar_to(int(first), k=1) == films.similar_to(first, k=1)
    assert int(first) in films


def test_ids_that_are_no_numbers_are_found(tmp_path: Path) -> None:
    decade = made(tmp_path, {"Amélie 🎬": [0.6, 0.8], 'the "best"': [1, 0], "007": [0, 1]})
    assert decade.ids == ["Amélie 🎬", 'the "best"', "7"]
    assert decade["7", "Amélie 🎬"] == 0.8


@pytest.mark.parametrize("n", [0, 1, 2])
def test_a_decade_may_have_hardly_a_film(n: int, tmp_path: Path) -> None:
    decade = made(tmp_path, {str(k): [1.0, k] for k in range(n)})
    assert (len(decade), list(decade), decade.n_pairs) == (n, decade.ids, n // 2)
    for k in range(n):
        assert np.array_equal(
            decade.row(k), [np.nan if j == k else 1.0 for j in range(n)], equal_nan=True
        )
        assert decade.similar_to(k) == [(str(j), 1.0) for j in range(n) if j != k]


def test_a_similarity_that_is_not_a_number_is_not_taken_for_missing(tmp_path: Path) -> None:
    # Long enough that every ddot, whatever CPU it is written for, adds +inf and -inf in the end.
    rest = [0.0] * 63
    write(tmp_path, {"1": [1e200] * 64, "2": [1e200, -1e200] * 32, "3": [1.0, *rest]})
    command = [sys.executable, str(ROOT / "scripts" / "run.py"), "--data", str(tmp_path)]
    subprocess.run([*command, "--compute-only"], check=True, capture_output=True)
    decade = engine.open(tmp_path)["made", 2000]
    assert np.isnan(decade["1", "2"])
    assert decade.similar_to("1") == [("3", 1e200)]


def test_all_pairs_come_chunk_by_chunk(films: Decade, expected: Reference) -> None:
    ids, matrix = expected
    found = np.full(matrix.shape, np.nan)
    for chunk, values in films.chunks():
        found[chunk.start : chunk.stop, chunk.left : chunk.right] = values
    matrix = matrix.copy()
    matrix[np.tril_indices(len(ids))] = np.nan
    np.testing.assert_array_equal(found, matrix)


def test_the_store_is_a_mapping_of_its_decades(similarities: Similarities) -> None:
    names = [(a, d) for a in ("custom_genres", "embedding") for d in ("1910", "1920", "1930")]
    assert list(similarities) == names
    assert [len(films) for films in similarities.values()] == [47, 165, 526] * 2
    assert ("embedding", 1920) in similarities
    assert ("embedding", "1990") not in similarities
    assert similarities.get(("embedding", "1990")) is None
    assert repr(similarities["embedding", "1920s"]) == "<embedding 1920s: 165 films, 13,530 pairs>"


def test_the_examples_of_the_documentation_are_true(
    sample: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "sample").symlink_to(sample)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(engine, "open", engine.query.similarities.open, raising=False)
    examples = 0
    for module in (
        engine.query.similarities,
        engine.query.decade,
        engine.query.whole,
        engine.query.chunks,
    ):
        for test in doctest.DocTestFinder().find(module, extraglobs={"engine": engine}):
            for example in test.examples:
                example.options.clear()
            examples += len(test.examples)
            assert doctest.DocTestRunner(optionflags=doctest.ELLIPSIS).run(test).failed == 0
    assert examples > 14


def test_an_unknown_film_is_a_key_error_that_names_the_decade_it_is_in(
    similarities: Similarities, films: Decade
) -> None:
    other = next(film for film in similarities["embedding", 1910] if film not in films)
    for ask in (films.row, films.similar_to, lambda film: films[film, films.ids[0]]):
        with pytest.raises(NotFoundError) as error:
            ask(other)
        assert isinstance(error.value, KeyError)
        told = f"embedding 1930s: there is no film '{other}'; it is in the 1910s"
        assert str(error.value) == told


def test_an_unknown_film_brings_like_ids_to_mind(films: Decade) -> None:
    with pytest.raises(NotFoundError, match=f"did you mean {films.ids[3]}"):
        films.row(films.ids[3] + "0")
    with pytest.raises(NotFoundError, match=r"no film '\\x1b\[31m'$"):
        films.row("\x1b[31m")


def test_a_film_and_itself_are_no_pair(films: Decade) -> None:
    film = films.ids[0]
    with pytest.raises(NotFoundError, match=f"{film} and {film} are the same film"):
        films[film, int(film)]


def test_what_is_no_pair_of_ids_is_refused(films: Decade, similarities: Similarities) -> None:
    with pytest.raises(TypeError, match=r"'12' is not a pair of ids; .* row\(id\)"):
        films["12"]  # type: ignore[index]
    with pytest.raises(TypeError, match="'embedding' is not an approach and a decade"):
        similarities["embedding"]  # type: ignore[index]


@pytest.mark.parametrize("name", [("nobody", "1930"), ("embedding", "1850"), ("..", "1"), ("", "")])
def test_an_unknown_decade_is_a_key_error_that_lists_the_known(
    name: tuple[str, str], similarities: Similarities
) -> None:
    with pytest.raises(KeyError, match=r"there is no decade .*; found: custom_genres 1910s, "):
        similarities[name]


def test_without_a_store_the_error_says_how_to_make_it(data: Path) -> None:
    shutil.rmtree(data / "similarities.zarr")
    with pytest.raises(
        NotComputedError, match=r"similarities\.zarr: there is no store yet"
    ) as error:
        engine.open(data)
    assert not (data / "similarities.zarr").exists()
    do_as_told(error.value)
    assert len(engine.open(data)) == 6


def test_a_folder_of_something_else_is_refused(tmp_path: Path) -> None:
    (tmp_path / "letters").mkdir()
    (tmp_path / "letters" / "to_nobody.txt").touch()
    with pytest.raises(
        StoreError, match="letters: is not empty, and nothing proves that it is a store"
    ):
        engine.open(tmp_path, store=tmp_path / "letters")


def test_the_store_is_a_mapping_that_is_equal_to_itself(data: Path, sample: Path) -> None:
    similarities = engine.open(data)
    assert similarities == similarities
    assert similarities == engine.open(data) == pickle.loads(pickle.dumps(similarities))
    assert similarities != engine.open(sample)
    assert similarities != {}
    assert len({similarities, engine.open(data)}) == 1


def test_what_is_not_in_the_store_has_the_default(data: Path) -> None:
    similarities = engine.open(data)
    put(data, "embedding", "1940", {"1": [1.0]})
    for key in (("embedding", 1940), ("embedding", 1850), "embedding", None):
        assert key not in similarities
        assert similarities.get(key) is None
        assert similarities.get(key, 5) == 5
    known = similarities.get(("embedding", "1930s"), default=None)
    assert known is not None
    assert len(known) == 526


def test_a_decade_that_no_run_has_read_is_said_to_be_missing(data: Path) -> None:
    similarities = engine.open(data)
    write(data, {"1": [1.0], "2": [0.5]})
    assert ("made", 2000) not in similarities
    with pytest.raises(NotComputedError, match="nothing of made 2000s is computed yet") as error:
        similarities["made", 2000]
    do_as_told(error.value)
    assert similarities["made", 2000]["1", "2"] == 0.5


def test_what_is_not_computed_yet_is_said_with_the_command_that_computes_it(
    data: Path, expected: Reference
) -> None:
    ids, matrix = expected
    uncompute(data / "similarities.zarr" / "embedding" / "1930", 0)
    films = engine.open(data)["embedding", 1930]
    assert (films.n_pairs, films.n_pairs_computed) == (138_075, 270 * 269 // 2)
    assert repr(films).endswith("138,075 pairs, 26 % of them computed>")
    for ask in (
        lambda: films[ids[300], ids[0]],
        lambda: films.row(ids[300]),
        lambda: films.similar_to(ids[0]),
        lambda: list(films.chunks()),
    ):
        with pytest.raises(NotComputedError, match="138,075 pairs, 26 % of them computed") as error:
            ask()
    assert films[ids[256], ids[257]] == matrix[256, 257]
    assert films[ids[300], ids[520]] == matrix[300, 520]
    do_as_told(error.value)
    assert films[ids[300], ids[0]] == matrix[300, 0]
    assert films.n_pairs_computed == films.n_pairs


def test_what_is_computed_so_far_is_had_for_the_asking(data: Path, expected: Reference) -> None:
    ids, matrix = expected
    uncompute(data / "similarities.zarr" / "embedding" / "1930", 0)
    films = engine.open(data)["embedding", 1930]
    row = matrix[300].copy()
    row[:256] = np.nan
    np.testing.assert_array_equal(films.row(ids[300], partial=True), row)
    (film, value), *_ = films.similar_to(ids[300], partial=True)
    assert (film, value) == (ids[int(np.nanargmax(row))], np.nanmax(row))
    assert {(c.row, c.column) for c, _ in films.chunks(partial=True)} == {*((1, 1), (1, 2), (2, 2))}


def test_the_command_keeps_the_settings_that_change_the_values(data: Path) -> None:
    settings: Any = {"kernel": "gemm", "normalize": True, "restart": True}
    assert run(data, decades=["1930"], workers=1, export=False, **settings).ok
    before = engine.open(data)["embedding", 1930]
    pair = before.ids[300], before.ids[0]
    value = before[pair]
    uncompute(data / "similarities.zarr" / "embedding" / "1930", 0)
    stamp = chunk(data, "1/1").stat().st_mtime_ns
    films = engine.open(data)["embedding", 1930]
    with pytest.raises(NotComputedError) as error:
        films[pair]
    do_as_told(error.value)
    assert films[pair] == value
    assert chunk(data, "1/1").stat().st_mtime_ns == stamp


def test_a_row_needs_only_the_chunks_under_it(data: Path, expected: Reference) -> None:
    ids, matrix = expected
    leave_only(data, "0/1", "1/1", "1/2")
    films = engine.open(data)["embedding", 1930]
    np.testing.assert_array_equal(films.row(ids[300]), matrix[300])


def test_a_pair_needs_one_chunk_and_that_once(data: Path, expected: Reference) -> None:
    ids, matrix = expected
    leave_only(data, "0/1")
    films = engine.open(data)["embedding", 1930]
    assert films[ids[3], ids[300]] == matrix[3, 300]
    chunk(data, "0/1").unlink()
    assert films[ids[400], ids[200]] == matrix[400, 200]


@pytest.mark.parametrize("damage", ["flipped bit", "truncated", "emptied", "deleted"])
def test_a_damaged_chunk_is_never_believed_and_its_repair_is_named(
    damage: str, data: Path, expected: Reference
) -> None:
    ids, matrix = expected
    path = chunk(data, "0/1")
    content = bytearray(path.read_bytes())
    content[1000] ^= 1
    size = {"flipped bit": len(content), "truncated": 5000, "emptied": 0}.get(damage)
    path.write_bytes(content[:size])
    if damage == "deleted":
        path.unlink()
    films = engine.open(data)["embedding", 1930]
    np.testing.assert_array_equal(films.row(ids[-1]), matrix[-1])
    for ask in (
        lambda: films[ids[300], ids[0]],
        lambda: films.row(ids[300]),
        lambda: films.row(ids[300], partial=True),
        lambda: list(films.chunks()),
    ):
        with pytest.raises(StoreError, match=r"row 0, column 1 is (damaged|missing)") as error:
            ask()
    do_as_told(error.value)
    films = engine.open(data)["embedding", 1930]
    np.testing.assert_array_equal(films.row(ids[300]), matrix[300])


@pytest.mark.parametrize(
    ("file", "content", "what"),
    [
        ("zarr.json", b"rubbish", "the record of its group is"),
        ("ids/c/0", None, "the ids are"),
        ("ids/c/0", b"rubbish", "the ids are"),
    ],
)
def test_a_damaged_group_is_said_to_be_damaged(
    file: str, content: bytes | None, what: str, data: Path
) -> None:
    path = data / "similarities.zarr" / "embedding" / "1930" / file
    path.unlink()
    if content is not None:
        path.write_bytes(content)
    similarities = engine.open(data)
    with pytest.raises(StoreError, match=f"embedding 1930s: .*{what} damaged") as error:
        similarities["embedding", 1930]
    assert len(similarities) == 6
    do_as_told(error.value)
    assert len(similarities["embedding", 1930]) == 526


@pytest.mark.parametrize("content", [None, b"rubbish"])
def test_damaged_vectors_are_said_to_be_damaged_and_hinder_no_other_question(
    content: bytes | None, data: Path, expected: Reference
) -> None:
    ids, matrix = expected
    path = data / "similarities.zarr" / "embedding" / "1930" / "vectors" / "c" / "0" / "0"
    path.unlink()
    if content is not None:
        path.write_bytes(content)
    films = engine.open(data)["embedding", 1930]
    with pytest.raises(StoreError, match=r"embedding 1930s: .*the vectors are damaged"):
        _ = films.vectors
    np.testing.assert_array_equal(films.row(ids[300]), matrix[300])


@pytest.mark.parametrize("array", ["similarities", "checksums", "ids", "vectors"])
def test_damaged_metadata_of_an_array_hinder_no_question(
    array: str, data: Path, expected: Reference
) -> None:
    ids, matrix = expected
    (data / "similarities.zarr" / "embedding" / "1930" / array / "zarr.json").write_text("{}")
    films = engine.open(data)["embedding", 1930]
    assert films.ids == ids
    assert films.vectors.shape[0] == len(ids)
    np.testing.assert_array_equal(films.row(ids[300]), matrix[300])


def test_a_chunk_that_is_damaged_beside_its_output_is_mended_as_is_told(
    data: Path, expected: Reference
) -> None:
    ids, matrix = expected
    assert run(data, workers=1, top_k=3).ok
    output = data / "similarities/embedding/similarities_1930s.json"
    written = output.read_bytes()
    content = bytearray(chunk(data, "0/1").read_bytes())
    content[20] ^= 1
    chunk(data, "0/1").write_bytes(content)
    films = engine.open(data)["embedding", 1930]
    with pytest.raises(StoreError, match="row 0, column 1 is damaged") as error:
        films.row(ids[0])
    assert f"to mend it, delete {output}, which is written again, and run: " in str(error.value)
    output.unlink()
    do_as_told(error.value)
    np.testing.assert_array_equal(films.row(ids[0]), matrix[0])
    assert output.read_bytes() == written


def test_a_decade_that_is_gone_is_not_said_to_be_restarted(data: Path) -> None:
    films = engine.open(data)["embedding", 1930]
    some, other = films.ids[:2]
    shutil.rmtree(data / "similarities.zarr/embedding/1930")
    for ask in (lambda: films[some, other], films.matrix, lambda: films.vectors):
        with pytest.raises(StoreError, match="1930s was deleted since it was opened") as error:
            ask()
    do_as_told(error.value)
    assert engine.open(data)["embedding", 1930][some, other] == films[some, other]


def test_a_record_that_is_damaged_meanwhile_is_not_said_to_be_restarted(data: Path) -> None:
    films = engine.open(data)["embedding", 1930]
    (data / "similarities.zarr/embedding/1930/zarr.json").write_text("{}")
    with pytest.raises(StoreError, match="the record of its group is damaged"):
        films.row(films.ids[0])


def test_an_open_decade_that_is_begun_again_is_not_mixed_with_the_new_one(tmp_path: Path) -> None:
    films = made(tmp_path, {"1": [1.0, 0.0], "2": [0.5, 0.5]})
    again = made(tmp_path, {"1": [1.0, 0.0], "2": [0.25, 0.5]})
    for ask in (
        lambda: films["1", "2"],
        lambda: films.row("1"),
        lambda: list(films.chunks()),
        lambda: films.vectors,
    ):
        with pytest.raises(StoreError, match=r"made 2000s was restarted .*; open it again"):
            ask()
    assert again["1", "2"] == 0.25


def test_while_a_run_is_at_work_answers_are_right_or_not_yet(data: Path) -> None:
    ids, matrix = reference(data, "embedding", 1930)
    for path in (data / "embeddings").glob("*/plots_19[12]0s.json"):
        path.unlink()
    shutil.rmtree(data / "similarities.zarr")
    script = str(ROOT / "scripts" / "run.py")
    command = [sys.executable, script, "--data", str(data), "--workers", "1"]
    answers = {"right": 0, "not yet": 0}
    with subprocess.Popen(command, stdout=subprocess.DEVNULL) as process:
        while process.poll() is None or not answers["right"]:
            try:
                films = engine.open(data)["embedding", 1930]
                np.testing.assert_array_equal(films.row(ids[100]), matrix[100])
                assert films[ids[3], ids[400]] == matrix[3, 400]
                answers["right"] += 1
            except NotComputedError:
                answers["not yet"] += 1
            time.sleep(0.01)  # The run needs a CPU, too.
    assert process.returncode == 0
    assert answers["not yet"]


def test_a_run_at_work_is_named(data: Path) -> None:
    uncompute(data / "similarities.zarr" / "embedding" / "1930", 0)
    films = engine.open(data)["embedding", 1930]
    told = f"a run is at work .*process {os.getpid()} on"
    with (
        locked(Store(str(data / "similarities.zarr"))),
        pytest.raises(NotComputedError, match=told),
    ):
        films.row(films.ids[0])


def test_asking_writes_nothing(data: Path) -> None:
    store = data / "similarities.zarr"

    def state() -> list[tuple[Path, int]]:
        return [(path, path.stat().st_mtime_ns) for path in sorted(data.rglob("*"))]

    before = state()
    folders = [store, *(path for path in store.rglob("*") if path.is_dir())]
    try:
        for folder in folders:
            folder.chmod(0o555)
        for films in engine.open(data).values():
            films.similar_to(films.ids[0])
            assert films[films.ids[0], films.ids[-1]] == films.row(films.ids[0])[-1]
    finally:
        for folder in folders:
            folder.chmod(0o755)
    assert state() == before


def test_threads_may_ask_at_once(films: Decade, expected: Reference) -> None:
    ids, matrix = expected

    def right(k: int) -> bool:
        return np.array_equal(films.row(ids[k]), matrix[k], equal_nan=True)

    with ThreadPoolExecutor(4) as threads:
        assert all(threads.map(right, range(0, len(ids), 9)))
