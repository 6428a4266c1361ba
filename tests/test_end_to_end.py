"""The promises of the whole: the notebook's bytes, however many workers, interrupted or not."""

import io
import itertools
import json
import math
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from conftest import Listener, more
from hypothesis import given
from hypothesis import strategies as st
from reference import (
    assert_near,
    chunks,
    expected,
    film_id,
    films,
    notebook,
    output_path,
    outputs,
    put,
    stamps,
)
from threadpoolctl import threadpool_limits
from waiting import PATIENCE

import engine
from engine.synthesize import main as synthesize

ROOT = Path(__file__).parents[1]
RUN = ROOT / "scripts" / "run.py"

# Around the ends of small row-blocks of all three heights, with every remainder mod 8.
SMALL_SIZES = [*range(22), *range(30, 36)]
# Around one and two real row-blocks of 256 rows, with every remainder mod 8.
REAL_SIZES = {1: [0, 1, 2, 3, 254, 255, 256, 259], 16: [253, 257, 258, 260, 513]}


def put_sizes(root: Path, sizes: range | list[int], d: int) -> None:
    for n in sizes:
        put(root, "sizes", str(1000 + n), films(n, d))


def finish(root: Path, **options: object) -> engine.Summary:
    summary = engine.run(root, **options)  # type: ignore[arg-type]
    assert [decade.error for decade in summary.decades if decade.error] == []
    assert summary.ok
    return summary


def run_script(root: Path, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-W", "error", str(RUN), "--data", str(root), *arguments]
    return subprocess.run(
        command, env={**os.environ, **environment}, capture_output=True, text=True, timeout=PATIENCE
    )


# --- exactness --------------------------------------------------------------------------------


@pytest.mark.usefixtures("small_blocks")
def test_every_size_around_small_row_blocks_comes_out_as_the_notebook_writes_it(
    tmp_path: Path,
) -> None:
    put_sizes(tmp_path, SMALL_SIZES, 2)
    finish(tmp_path, workers=1)
    assert outputs(tmp_path) == expected(tmp_path)


@pytest.mark.parametrize("d", REAL_SIZES)
def test_every_size_around_real_row_blocks_comes_out_as_the_notebook_writes_it(
    tmp_path: Path, d: int
) -> None:
    put_sizes(tmp_path, REAL_SIZES[d], d)
    finish(tmp_path, workers=1)
    assert outputs(tmp_path) == expected(tmp_path)


@pytest.mark.parametrize(("n", "d"), [(70, 1024), (259, 257), (300, 2)])
def test_other_dimensions_come_out_as_the_notebook_writes_them(
    tmp_path: Path, n: int, d: int
) -> None:
    put(tmp_path, "embedding", "1990", films(n, d))
    finish(tmp_path, workers=1)
    assert outputs(tmp_path) == expected(tmp_path)


@pytest.mark.parametrize("text", ["{}", '{"7": [0.6, 0.8]}'])
def test_a_decade_of_one_film_or_none_gives_an_empty_object(tmp_path: Path, text: str) -> None:
    put(tmp_path, "embedding", "1990", {}).write_text(text)
    finish(tmp_path)
    assert outputs(tmp_path) == {"embedding/similarities_1990s.json": b"{}"}


def test_made_up_films_of_the_real_form_come_out_as_the_notebook_writes_them(
    tmp_path: Path,
) -> None:
    decades = ["--decade", "1910", "1920", "1930"]
    assert synthesize(["--data", str(tmp_path), *decades, "--scale", "0.15"]) == 0
    summary = finish(tmp_path, workers=1)
    assert len(summary.decades) == 6
    assert outputs(tmp_path) == expected(tmp_path)


# One times each of these is itself: every value that a similarity can have.
SCALES = [0.0, -0.0, 1.0, -1.0, 1.0000000000000002, 0.9999999999999999, 5e-324, 2.5e-308] + [
    sign * digits * 10.0**exponent
    for exponent in (*range(-1, -18, -1), -100, -200, -300, 0, 15, 16, 17, 21, 22, 23, 100)
    for digits in (1, 9.5, 0.12345678901234567)
    for sign in (1, -1)
]
LARGEST = [1e150, 1e160, -1e200, 9.9e299, 1e300, -1.7976931348623157e308]


@pytest.mark.parametrize("d", [1, 2, 9])
@pytest.mark.parametrize("scales", [SCALES, SCALES + LARGEST], ids=["to 1e100", "to 1.8e308"])
def test_every_magnitude_and_sign_comes_out_as_the_notebook_writes_it(
    tmp_path: Path, d: int, scales: list[float]
) -> None:
    embeddings = {str(k): [x] + [0.0] * (d - 1) for k, x in enumerate([1.0, *scales], 1)}
    put(tmp_path, "scales", "1990", {**embeddings, "9999": [1.0] * d})
    finish(tmp_path, workers=1)
    assert outputs(tmp_path) == expected(tmp_path)
    values = json.loads(outputs(tmp_path)["scales/similarities_1990s.json"])
    assert [values[f"1-{k}"] for k in range(2, len(scales) + 2)] == scales


def test_values_beyond_float_range_come_out_as_the_notebook_writes_them(tmp_path: Path) -> None:
    numbers = [[1e200, 1e200], [1e200, -1e200], [-1e200, 1.0], [1e300, 1e-300], [0.5, 0.5]]
    put(tmp_path, "huge", "1990", {str(k): vector for k, vector in enumerate(numbers)})
    finish(tmp_path, workers=1)
    assert outputs(tmp_path) == expected(tmp_path)
    values = set(map(str, json.loads(outputs(tmp_path)["huge/similarities_1990s.json"]).values()))
    assert {"inf", "-inf"} <= values


def test_a_pair_without_a_value_is_computed_once_like_any_other(tmp_path: Path) -> None:
    # Long enough that every ddot, whatever CPU it is written for, adds +inf and -inf in the end.
    vectors = {"1": [1e200] * 64, "2": [1e200, -1e200] * 32, "3": [0.1, 0.2] * 32}
    put(tmp_path, "huge", "1990", vectors)
    wanted = expected(tmp_path)
    assert b"NaN" in wanted["huge/similarities_1990s.json"]
    finish(tmp_path, workers=1, export=False)
    summary = finish(tmp_path, workers=1, compute=False)
    assert summary.decades[0].pairs_computed == 0
    assert outputs(tmp_path) == wanted


IDS = ["007", "0", " 12 ", "1_000", "+5", '"', "\\", "\\n", "\n", "é", "ё", "\U0001f3ac", "", "a b"]
IDS += ["nm0000001", "\u2028", "\x00", "\x7f", "٣", "a'b", "{}", ": ", ", ", "1.5", "x" * 300]


def test_every_kind_of_id_comes_out_as_the_notebook_writes_it(tmp_path: Path) -> None:
    vectors = films(len(IDS)).values()
    put(tmp_path, "names", "1990", dict(zip(IDS, vectors, strict=True)))
    put(tmp_path, "names", "2000", dict(zip(IDS, vectors, strict=True)), ensure_ascii=False)
    finish(tmp_path)
    assert outputs(tmp_path) == expected(tmp_path)
    pairs = json.loads(output_path(tmp_path, "names", "1990").read_bytes())
    assert list(pairs)[:2] == ["7-0", "7-12"]


ids = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="-"), max_size=6)


@given(st.lists(ids, max_size=7, unique_by=film_id))
def test_any_ids_come_out_as_the_notebook_writes_them(
    tmp_path_factory: pytest.TempPathFactory, keys: list[str]
) -> None:
    root = tmp_path_factory.mktemp("ids")
    put(root, "names", "1990", {key: [0.6, 0.8] for key in keys})
    finish(root, workers=1)
    assert outputs(root) == expected(root)


FORMS: dict[str, dict[str, object]] = {
    "as the notebook's model wrote it": {},
    "minified": {"separators": (",", ":")},
    "indented": {"indent": 4},
    "indented with tabs": {"indent": "\t", "separators": (" , ", " : ")},
}


def test_the_form_of_the_input_makes_no_difference(tmp_path: Path) -> None:
    for decade, form in enumerate(FORMS.values(), 1990):
        put(tmp_path, "forms", str(decade), films(30, 16), **form)
    put(tmp_path, "forms", "2000", {}).write_bytes(
        b"\r\n\t " + json.dumps(films(30, 16)).encode() + b"\r\n"
    )
    finish(tmp_path)
    assert outputs(tmp_path) == expected(tmp_path)
    assert len(set(outputs(tmp_path).values())) == 1


def test_integers_among_floats_are_numbers_like_any_other(tmp_path: Path) -> None:
    vectors = [[1, 0.5], [0, -0.25], [3.0, -2], [2**53 + 1, 0.1], [10**30, 0.5], [-(2**64), 0.5]]
    put(tmp_path, "mixed", "1990", {str(k): vector for k, vector in enumerate(vectors)})
    finish(tmp_path)
    assert outputs(tmp_path) == expected(tmp_path)


def test_vectors_of_nothing_but_integers_give_floats(tmp_path: Path) -> None:
    # The notebook's json.dump refused the int64 of such a pair; floats are what it wrote else.
    put(tmp_path, "integers", "1990", {"1": [3, 4], "2": [1, 0], "3": [0.5, 0.5]})
    finish(tmp_path)
    text = '{"1-2": 3.0, "1-3": 3.5, "2-3": 0.5}'
    assert output_path(tmp_path, "integers", "1990").read_text() == text


def test_norms_off_one_are_used_as_they_are(tmp_path: Path) -> None:
    embeddings = {film: [1.7 * x for x in vector] for film, vector in films(20, 16).items()}
    put(tmp_path, "long", "1990", embeddings)
    finish(tmp_path)
    assert outputs(tmp_path) == expected(tmp_path)


# --- settings that change the values ------------------------------------------------------------


@pytest.mark.parametrize(("d", "sizes"), [(1, [0, 1, 2, 3, 256]), (16, [1, 2, 255, 257])])
def test_gemm_gives_the_same_keys_in_the_same_order_and_near_values(
    tmp_path: Path, d: int, sizes: list[int]
) -> None:
    put_sizes(tmp_path, sizes, d)
    finish(tmp_path, workers=1, kernel="gemm")
    found = outputs(tmp_path)
    for name, reference in expected(tmp_path).items():
        assert_near(found[name], reference, 2e-15)


@pytest.mark.usefixtures("small_blocks")
def test_gemm_gives_near_values_at_sizes_around_small_row_blocks(tmp_path: Path) -> None:
    put_sizes(tmp_path, [0, 1, 2, 3, 4, 5, 8, 15, 16, 17, 18, 32, 33], 2)
    finish(tmp_path, workers=1, kernel="gemm")
    found, wanted = outputs(tmp_path), expected(tmp_path)
    assert found.keys() == wanted.keys()
    for name, reference in wanted.items():
        assert_near(found[name], reference, 2e-15)


@pytest.mark.parametrize("kernel", ["dot", "gemm"])
def test_normalize_gives_what_unit_vectors_give(tmp_path: Path, kernel: str) -> None:
    lengths = [0.1 + k for k in range(40)]
    long = zip(films(40, 16).items(), lengths, strict=True)
    embeddings = {film: [length * x for x in vector] for (film, vector), length in long}
    put(tmp_path, "long", "1990", embeddings)
    finish(tmp_path, kernel=kernel, normalize=True)
    unit = {k: (np.array(v) / math.hypot(*v)).tolist() for k, v in embeddings.items()}
    reference = notebook(put(tmp_path / "unit", "long", "1990", unit))
    assert_near(output_path(tmp_path, "long", "1990").read_bytes(), reference, 2e-15)


@pytest.mark.parametrize("length", [1e-200, 1e-160, 1e160, 1e200])
def test_normalize_never_gives_a_wrong_number_where_squares_leave_the_float_range(
    tmp_path: Path, length: float
) -> None:
    put(tmp_path, "far", "1990", {"1": [3 * length, 4 * length], "2": [length, 0.0]})
    summary = engine.run(tmp_path, workers=1, normalize=True)
    if summary.ok:  # to refuse such vectors with an error is right, too
        assert_near(output_path(tmp_path, "far", "1990").read_bytes(), b'{"1-2": 0.6}', 2e-15)


@pytest.mark.parametrize("x", [-2.0, 0.0, 0.5, 1.0, 2.0])
@pytest.mark.usefixtures("small_blocks")
def test_min_similarity_keeps_exactly_the_pairs_at_or_above_in_the_same_order(
    tmp_path: Path, x: float
) -> None:
    put_sizes(tmp_path, [0, 1, 2, 3, 5, 18, 33], 2)
    put(tmp_path, "sizes", "2000", {"1": [1.0], "2": [0.5], "3": [0.0], "4": [-0.0], "5": [1.0]})
    finish(tmp_path, workers=1, min_similarity=x)
    assert outputs(tmp_path) == expected(tmp_path, x)


# --- workers ------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def by_workers(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Several decades with more row-blocks than workers."""
    root = tmp_path_factory.mktemp("by_workers")
    for decade, n, d in (("1990", 270, 16), ("2000", 257, 3), ("2010", 90, 64), ("2020", 1, 4)):
        put(root, "genres", decade, films(n, d))
    # With its chunk of 256 × 44 cells beside the diagonal, threads of BLAS change bits of gemm.
    put(root, "embedding", "1990", films(300, 257))
    return root


@pytest.fixture(scope="module")
def by_notebook(by_workers: Path) -> dict[str, bytes]:
    return expected(by_workers)


@pytest.fixture(scope="module")
def by_gemm(by_workers: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """What one worker makes with ``gemm``, with one thread of BLAS, whoever sees to it."""
    root = copy(by_workers, tmp_path_factory.mktemp("by_gemm"))
    with threadpool_limits(1, user_api="blas"):
        finish(root, workers=1, kernel="gemm")
    return outputs(root)


def copy(source: Path, root: Path) -> Path:
    shutil.copytree(source / "embeddings", root / "embeddings")
    return root


@pytest.mark.parametrize("rule", [{"top_k": 5}, *more({"top_percent": 25})], ids=str)
@pytest.mark.usefixtures("eager_workers")
def test_workers_select_the_same_pairs(
    by_workers: Path, tmp_path: Path, rule: dict[str, int]
) -> None:
    finish(copy(by_workers, tmp_path), workers=2, **rule)
    assert outputs(tmp_path) == expected(tmp_path, **rule)


KILLED = """
import json, os, signal, sys
import engine

class Killer(engine.Progress):
    def advance(self, name, amount):
        if name == sys.argv[2]:
            os.kill(os.getpid(), signal.SIGKILL)

engine.run(sys.argv[1], workers=1, progress=Killer(), **json.loads(sys.argv[3]))
"""


@pytest.mark.parametrize(
    ("stage", "rule"), [("selecting", {"top_k": 5}), ("exporting", {"top_percent": 25})]
)
def test_a_run_killed_on_its_way_to_the_strong_pairs_goes_on(
    tmp_path: Path, stage: str, rule: dict[str, int]
) -> None:
    put(tmp_path, "genres", "1990", films(300, 3))
    command = [sys.executable, "-c", KILLED, str(tmp_path), stage, json.dumps(rule)]
    assert subprocess.run(command, cwd=ROOT).returncode == -signal.SIGKILL
    assert not output_path(tmp_path, "genres", "1990").exists()
    (decade,) = finish(tmp_path, workers=1, **rule).decades
    assert decade.pairs_computed == 0
    assert outputs(tmp_path) == expected(tmp_path, **rule)


@pytest.mark.usefixtures("eager_workers")
def test_dot_gives_the_notebook_s_bytes_with_several_workers(
    tmp_path: Path, by_workers: Path, by_notebook: dict[str, bytes]
) -> None:
    finish(copy(by_workers, tmp_path), workers=3)
    assert outputs(tmp_path) == by_notebook


@pytest.mark.usefixtures("eager_workers")
def test_gemm_gives_the_same_bytes_with_several_workers(
    tmp_path: Path,
    by_workers: Path,
    by_gemm: dict[str, bytes],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "16")
    monkeypatch.setenv("OPENBLAS_NUM_THREADS", "16")
    finish(copy(by_workers, tmp_path), workers=2, kernel="gemm")
    assert outputs(tmp_path) == by_gemm


def test_gemm_gives_the_same_bytes_however_many_threads_blas_is_offered(
    tmp_path: Path, by_workers: Path, by_gemm: dict[str, bytes]
) -> None:
    copy(by_workers, tmp_path)
    result = run_script(tmp_path, "--kernel", "gemm", OPENBLAS_NUM_THREADS="7")
    assert (result.returncode, result.stderr) == (0, "")
    assert outputs(tmp_path) == by_gemm


def test_json_dumps_writes_what_the_notebook_s_json_dump_writes() -> None:
    """The second is the notebook's; the first is ten times as fast, and what the tests compare."""
    numbers = [0.1, -0.0, 5e-324, 1e16, 1e-5, 1e308, math.inf, -math.inf, math.nan]
    vectors = [*np.random.default_rng(0).normal(size=(40, 3)), *map(np.atleast_1d, numbers)]
    with np.errstate(all="ignore"):
        pairs = {
            f"{a}-{b}": x @ y
            for (a, x), (b, y) in itertools.combinations(enumerate(vectors), 2)
            if len(x) == len(y)
        }
    written = io.StringIO()
    json.dump(pairs, written)
    assert json.dumps(pairs) == written.getvalue()


# --- resuming -----------------------------------------------------------------------------------


class Impatient(Listener):
    """Interrupts the run after so many steps, as Ctrl-C would."""

    def __init__(self, steps: int) -> None:
        super().__init__()
        self.steps = steps

    def advance(self, name: str, amount: int) -> None:
        super().advance(name, amount)
        if sum(amount > 0 for _, amount in self.advances) == self.steps:
            raise KeyboardInterrupt


@pytest.mark.parametrize(("kernel", "every"), [("dot", 1), ("gemm", 7)])
@pytest.mark.usefixtures("small_blocks")
def test_a_run_interrupted_at_any_step_ends_with_the_same_bytes_and_computes_nothing_twice(
    tmp_path: Path, kernel: str, every: int
) -> None:
    whole = tmp_path / "whole"
    put(whole, "genres", "1990", films(18, 3))
    put(whole, "genres", "2000", films(5, 3))
    finish(whole, workers=1, kernel=kernel)
    if kernel == "dot":
        assert outputs(whole) == expected(whole)
    for steps in itertools.count(1, every):
        root = copy(whole, tmp_path / f"after {steps}")
        interrupted = Impatient(steps)
        try:
            finish(root, workers=1, kernel=kernel, progress=interrupted)
        except KeyboardInterrupt:
            pass
        else:
            break
        before = chunks(root / "similarities.zarr")
        summary = finish(root, workers=1, kernel=kernel)
        assert outputs(root) == outputs(whole)
        after = chunks(root / "similarities.zarr")
        assert {name: after[name] for name in before} == before
        computed = sum(amount for name, amount in interrupted.advances if name == "computing")
        assert sum(decade.pairs_resumed for decade in summary.decades) >= computed
        for decade in summary.decades:
            assert decade.pairs_computed + decade.pairs_resumed == decade.n_pairs
    assert steps > 20


@pytest.mark.usefixtures("small_blocks")
def test_a_run_interrupted_again_and_again_ends_with_the_same_bytes(tmp_path: Path) -> None:
    put(tmp_path, "genres", "1990", films(18, 3))
    put(tmp_path, "genres", "2000", films(9, 3))
    for run in itertools.count():  # noqa: B007
        try:
            finish(tmp_path, workers=1, progress=Impatient(3))
        except KeyboardInterrupt:
            continue
        break
    assert run > 5
    assert outputs(tmp_path) == expected(tmp_path)


@pytest.mark.usefixtures("eager_workers")
def test_a_run_begun_with_one_worker_and_resumed_with_others_gives_the_same_bytes(
    tmp_path: Path, by_workers: Path, by_notebook: dict[str, bytes]
) -> None:
    copy(by_workers, tmp_path)
    for workers, steps in ((1, 8), (2, 4)):
        with pytest.raises(KeyboardInterrupt):
            engine.run(tmp_path, workers=workers, progress=Impatient(steps))
    finish(tmp_path, workers=2)
    assert outputs(tmp_path) == by_notebook


def test_a_second_run_does_nothing(tmp_path: Path) -> None:
    for approach, decade, n in (("a", "1990", 300), ("a", "2000", 40), ("b", "1990", 1)):
        put(tmp_path, approach, decade, films(n))
    finish(tmp_path)
    before = stamps(tmp_path)
    summary = finish(tmp_path)
    lock = "similarities.zarr.lock"
    after = stamps(tmp_path)
    assert before.keys() == after.keys()
    assert {k: v for k, v in before.items() if k != lock} == {
        k: v for k, v in after.items() if k != lock
    }
    assert all(decade.up_to_date for decade in summary.decades)


# --- the command --------------------------------------------------------------------------------


def test_the_main_job_runs_as_a_command_and_says_what_it_did(
    tmp_path: Path, command: Callable[..., tuple[int, str, str]]
) -> None:
    put(tmp_path, "genres", "1990", films(60, 16))
    result = run_script(tmp_path, "--workers", "1")
    assert (result.returncode, result.stderr) == (0, "")
    assert "1,770" in result.stdout
    assert outputs(tmp_path) == expected(tmp_path)
    status, stdout, stderr = command("--data", tmp_path)
    assert (status, stderr) == (0, "")
    assert "up to date" in stdout


def test_one_bad_decade_fails_the_command_and_leaves_the_others_finished(
    tmp_path: Path, command: Callable[..., tuple[int, str, str]]
) -> None:
    put(tmp_path, "genres", "1990", films(12))
    put(tmp_path, "genres", "2010", films(13))
    wanted = expected(tmp_path)
    bad = put(tmp_path, "genres", "2000", {"1": [0.5], "2": [0.5, 0.5]})
    status, stdout, stderr = command("--data", tmp_path)
    assert status == 1
    lines = stderr.splitlines()
    assert len(lines) == 1
    assert lines[0].startswith(f"error: {bad}")
    assert "Traceback" not in stdout + stderr
    assert outputs(tmp_path) == wanted


def test_wrong_usage_has_a_status_of_its_own(tmp_path: Path) -> None:
    result = run_script(tmp_path, "--workers", "0")
    assert result.returncode == 2
    assert "usage:" in result.stderr
