"""The arguments that the command line and Python share: what is taken, and what is refused."""

import itertools
import math
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from reference import expected, films, outputs, put, stamps

import engine
from engine.arguments import Arguments, read_arguments
from engine.triangle.rule import EVERY_PAIR, Rule

FUNCTIONS: list[Callable[..., object]] = [engine.run, engine.status, engine.verify]


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for approach, decade in itertools.product(("embedding", "genres"), ("1990", "2000")):
        put(tmp_path, approach, decade, films(5))
    return tmp_path


def test_what_is_left_out_is_for_others_to_fill_in() -> None:
    assert read_arguments() == Arguments(None, None, None, None, None, EVERY_PAIR)


@pytest.mark.parametrize(
    "decades",
    [
        "1990",
        "1990s",
        1990,
        np.int64(1990),
        np.array(1990),
        ["1990"],
        ("1990s",),
        {1990},
        range(1990, 2000, 10),
        np.array([1990]),
        np.array(["1990s"]),
        {"1990": 0}.keys(),
        ["1990", 1990, "1990s"],
    ],
    ids=repr,
)
def test_decades_are_years_as_text_or_number_one_or_several(decades: Any) -> None:
    assert read_arguments(decades=decades).decades == ("1990",)


def test_several_decades_keep_their_order() -> None:
    assert read_arguments(decades=[2000, "1990s"]).decades == ("2000", "1990")


@pytest.mark.parametrize("approaches", ["genres", ["genres"], ("genres",), np.array(["genres"])])
def test_approaches_are_one_name_or_several(approaches: Any) -> None:
    assert read_arguments(approaches=approaches).approaches == ("genres",)


@pytest.mark.parametrize("workers", [4, "4", np.int64(4), np.uint8(4), np.array(4)], ids=repr)
def test_workers_are_a_number_or_its_text(workers: Any) -> None:
    found = read_arguments(workers=workers).workers
    assert (found, type(found)) == (4, int)


def test_all_workers_are_what_is_usual() -> None:
    assert read_arguments(workers="all").workers is None


@pytest.mark.parametrize(
    "number", [0.5, "0.5", "5e-1", np.float64(0.5), np.float32(0.5), np.array(0.5), Fraction(1, 2)]
)
def test_min_similarity_is_a_number_or_its_text(number: Any) -> None:
    found = read_arguments(min_similarity=number).rule.min_similarity
    assert (found, type(found)) == (0.5, float)


def test_a_min_similarity_of_zero_has_no_sign() -> None:
    (found,) = {read_arguments(min_similarity=zero).rule.min_similarity for zero in (0, 0.0, -0.0)}
    assert found is not None
    assert math.copysign(1, found) == 1


@pytest.mark.parametrize("number", [25, "25", "2.5e1", 25.0, np.int64(25), Fraction(25)])
def test_top_percent_is_a_number_or_its_text(number: Any) -> None:
    found = read_arguments(top_percent=number).rule
    assert found == Rule(top_percent=25.0)
    assert type(found.top_percent) is float


@pytest.mark.parametrize("number", [10, "10", np.int64(10), np.array(10)])
def test_top_k_is_a_whole_number_or_its_text(number: Any) -> None:
    found = read_arguments(top_k=number).rule
    assert found == Rule(top_k=10)
    assert type(found.top_k) is int


@pytest.mark.parametrize(
    "rules", [{"min_similarity": 0, "top_k": 1}, {"min_similarity": 0.5, "top_percent": 25}]
)
def test_of_the_rules_for_pairs_only_one_can_be_given(rules: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="only one can be given"):
        read_arguments(**rules)


@pytest.mark.parametrize("k", [10**10, str(10**10), 2**64, 10**30, str(10**30)])
def test_more_than_all_are_the_best_is_no_mistake(root: Path, k: Any) -> None:
    assert engine.run(root, workers=1, top_k=k).ok
    assert outputs(root) == expected(root)
    assert {decade.next for decade in engine.status(root, top_k=k).decades} == {"nothing"}


@pytest.mark.parametrize("flag", [True, False])
def test_normalize_is_true_or_false_also_of_numpy(flag: bool) -> None:
    assert read_arguments(normalize=flag).normalize is flag
    assert read_arguments(normalize=np.bool_(flag)).normalize is flag  # type: ignore[arg-type]


WRONG: dict[str, list[Any]] = {
    "decades": [
        *("", "nineties", "1990,2000", "1990ss", "-1990", "١٩٩٠", "1" * 10),
        *(-1990, 1990.0, True, b"1990", [None], [[1990]], 10**9, object),
        *([], (), np.array([]), np.array(1990.0)),
    ],
    "approaches": [[], 5, True, b"genres", [5], [None], Path("genres")],
    "workers": [
        *(0, -1, "0", "-1", "four", "", "4.0", "1_0", "ALL", 4.0, 1.5, -(10**400)),
        *(True, False, np.bool_(True), math.nan, [4], b"4", np.array([4]), np.array(4.0)),
    ],
    "min_similarity": [
        *(math.nan, np.float64("nan"), "nan", math.inf, "inf", -math.inf, "1e999", 10**400),
        *("high", "", True, np.bool_(0), [0.5], 1j, b"0.5", np.array([0.5])),
    ],
    "top_percent": [
        *(0, 100, -0.0, "0", "100", -25, 1000, 1e-400, math.nan, "nan", math.inf, 10**400),
        *("25%", "half", "", True, np.bool_(1), [25], 1j, b"25", np.array([25])),
    ],
    "top_k": [
        *(0, -1, "0", "-1", "ten", "", "4.0", "1_0", "all", 4.0, 1.5, -(10**400)),
        *(True, np.bool_(True), math.nan, math.inf, [4], b"4", np.array([4]), np.array(4.0)),
    ],
    "kernel": ["cosine", "", "DOT", 0, True, ["dot"], b"dot"],
    "normalize": [0, 1, "yes", "", 1.0, [True]],
    **{flag: [0, 1, "0", "False", "", None, []] for flag in ("compute", "export", "restart")},
    "wait_for_workers": [-1, "soon", "", math.nan, True, [5]],
}


@pytest.mark.parametrize(
    ("name", "value"),
    [(name, value) for name, values in WRONG.items() for value in values],
    ids=lambda part: repr(part)[:30],
)
def test_what_is_wrong_is_said_with_its_name_in_a_line_fit_for_a_terminal(
    name: str, value: Any
) -> None:
    with pytest.raises(ValueError, match=f"^{name}: ") as caught:
        read_arguments(**{name: value})
    assert str(caught.value).isprintable()
    assert len(str(caught.value)) < 150


def test_a_hostile_argument_cannot_reach_the_terminal() -> None:
    with pytest.raises(ValueError, match="is not a year like 1990") as caught:
        read_arguments(decades="\x1b[2J\u202e" + "9" * 10_000)
    assert str(caught.value).isprintable()
    assert len(str(caught.value)) < 150


# --- where they come in -------------------------------------------------------------------------


@pytest.mark.parametrize("decades", [1990, "1990", "1990s", [1990], ["1990s"], np.array([1990])])
def test_a_run_a_status_and_a_verification_take_the_same_arguments(
    root: Path, decades: Any
) -> None:
    chosen: dict[str, Any] = {"approaches": "genres", "decades": decades}
    threshold: dict[str, Any] = {"min_similarity": np.float64(0.5)}
    summary = engine.run(root, workers="1", **chosen, **threshold)
    assert summary.ok
    assert summary.min_similarity == 0.5
    assert list(outputs(root)) == ["genres/similarities_1990s.json"]
    (decade,) = engine.status(root, **chosen, **threshold).decades
    assert (decade.next, decade.min_similarity) == ("nothing", 0.5)
    assert engine.verify(root, workers=np.int64(1), **chosen) == []


@pytest.mark.parametrize("function", FUNCTIONS, ids=lambda function: function.__name__)
@pytest.mark.parametrize("wrong", [{"decades": []}, {"decades": "x"}, {"approaches": 5}], ids=str)
def test_what_is_wrong_is_said_before_anything_starts(
    root: Path, function: Callable[..., object], wrong: dict[str, Any]
) -> None:
    before = stamps(root)
    with pytest.raises(ValueError, match=next(iter(wrong))):
        function(root, **wrong)
    assert stamps(root) == before


def test_a_word_that_says_no_deletes_nothing(root: Path) -> None:
    assert engine.run(root, workers=1).ok
    before = stamps(root)
    for no in ("0", "False", "", None):
        with pytest.raises(ValueError, match=r"^restart: .* is not True or False"):
            engine.run(root, workers=1, restart=no)  # type: ignore[arg-type]
    assert stamps(root) == before


@pytest.mark.parametrize("function", [*FUNCTIONS, engine.open], ids=lambda each: each.__name__)
def test_a_store_that_is_no_path_is_refused_and_not_made(
    root: Path, function: Callable[..., object], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert engine.run(root, workers=1).ok
    monkeypatch.chdir(root)
    before = stamps(root)
    with pytest.raises(TypeError, match="PathLike object, not int"):
        function(root, store=5)
    function(bytes(root), store=bytes(root / "similarities.zarr"))
    assert stamps(root) == before


@pytest.mark.parametrize("decade", [1990, "1990", "1990s", np.int64(1990)])
def test_an_opened_store_takes_the_same_years(root: Path, decade: Any) -> None:
    engine.run(root, workers=1)
    assert len(engine.open(root)["genres", decade]) == 5


@pytest.mark.parametrize(
    "key", [("genres", "199x"), ("genres", 1990.0), ("genres", True), (5, 1990), ("genres", b"1")]
)
def test_a_key_that_is_no_decade_s_is_not_in_the_store(root: Path, key: Any) -> None:
    engine.run(root, workers=1)
    similarities = engine.open(root)
    assert key not in similarities
    with pytest.raises(KeyError, match="there is no decade"):
        similarities[key]
