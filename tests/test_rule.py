"""A rule: its words, how much it may keep, and the selection that it comes to."""

import math
from collections.abc import Iterator

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.triangle.rule import EVERY_PAIR, Rule
from engine.triangle.selection import AmongBest, AtLeast, Every, Rows


@pytest.mark.parametrize(
    ("rule", "option", "text"),
    [
        (EVERY_PAIR, "", "every pair"),
        (Rule(0.8), "--min-similarity 0.8", "pairs ≥ 0.8"),
        (Rule(-0.0), "--min-similarity 0", "pairs ≥ 0"),
        (Rule(-1e-5), "--min-similarity -1e-05", "pairs ≥ -1e-05"),
        (Rule(0.1 + 0.2), "--min-similarity 0.30000000000000004", "pairs ≥ 0.30000000000000004"),
        (Rule(top_percent=25.0), "--top-percent 25", "the strongest 25 % of the pairs"),
        (Rule(top_percent=0.5), "--top-percent 0.5", "the strongest 0.5 % of the pairs"),
        (Rule(top_k=10), "--top-k 10", "pairs among the 10 best of either film"),
    ],
    ids=str,
)
def test_a_rule_says_itself_in_words_and_as_an_option(rule: Rule, option: str, text: str) -> None:
    assert (rule.option, str(rule)) == (option, text)
    assert " ".join(rule.words) == option


@pytest.mark.parametrize(
    ("rule", "most"),
    [
        (EVERY_PAIR, 4950),
        (Rule(0.5), 4950),
        (Rule(top_percent=25.0), 1238),
        (Rule(top_percent=1e-9), 1),
        (Rule(top_k=3), 300),
        (Rule(top_k=98), 4950),
    ],
    ids=str,
)
def test_the_most_that_a_rule_keeps_of_a_hundred_films(rule: Rule, most: int) -> None:
    assert rule.most(100) == most
    assert rule.most(0) == rule.most(1) == 0


@given(st.integers(0, 300), st.floats(0, 100, exclude_min=True, exclude_max=True))
def test_no_more_are_above_a_quantile_than_the_most(n_films: int, per_cent: float) -> None:
    n_pairs = n_films * (n_films - 1) // 2
    numbers = np.arange(float(n_pairs))
    above = (
        np.count_nonzero(numbers > np.quantile(numbers, (100 - per_cent) / 100)) if n_pairs else 0
    )
    assert above <= Rule(top_percent=per_cent).most(n_films)


class Triangle:
    """Rows of all pairs of some films, and how often they were read."""

    def __init__(self, n: int, values: list[float]) -> None:
        self.n, self.n_readings = n, 0
        self.matrix = np.full((n, n), np.nan)
        self.matrix[np.triu_indices(n, 1)] = values

    def read(self) -> Iterator[Rows]:
        self.n_readings += 1
        for start in range(0, self.n - 1, 2):
            yield Rows(start, start, self.matrix[start : start + 2, start:])


def test_a_rule_that_compares_nothing_reads_nothing() -> None:
    triangle = Triangle(3, [0.1, 0.2, 0.3])
    for rule, selection in ((EVERY_PAIR, Every()), (Rule(0.2), AtLeast(0.2))):
        assert (rule.relative, rule.absolute) == (False, selection)
        assert rule.selection(triangle.read, 3) == selection
    assert triangle.n_readings == 0


def test_the_strongest_per_cent_are_found_in_two_readings_and_the_best_in_one() -> None:
    triangle = Triangle(4, [0.1, 0.2, 0.3, 0.4, 0.5, 0.6])
    rule = Rule(top_percent=50.0)
    assert (rule.relative, rule.absolute) == (True, None)
    assert rule.selection(triangle.read, 4) == AtLeast(math.nextafter(0.35, 1))
    assert triangle.n_readings == 2
    assert isinstance(Rule(top_k=1).selection(triangle.read, 4), AmongBest)
    assert triangle.n_readings == 3


def test_of_no_numbers_none_is_the_strongest() -> None:
    triangle = Triangle(2, [math.nan])
    for n in (0, 1, 2):
        selection = Rule(top_percent=25.0).selection(triangle.read if n == 2 else lambda: (), n)
        assert not any(selection.keeps(rows).any() for rows in triangle.read())


def test_nothing_is_above_infinity() -> None:
    triangle = Triangle(2, [math.inf])
    selection = Rule(top_percent=25.0).selection(triangle.read, 2)
    assert not any(selection.keeps(rows).any() for rows in triangle.read())
