"""Exports of the strong pairs alone: the bytes that filtering the whole file gives, come what may.

What is expected is made from the notebook's dict: by numpy's quantile of all its values, by sorting
the pairs of each film, or by the steps with which the JSON was filtered before.
"""

import json
import math
import shutil
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import Listener
from reference import expected, films, output_path, outputs, put

import engine
from engine import EngineError, native
from engine.work.tasks import BlockTask, SelectTask, perform

RULES: list[dict[str, Any]] = [
    *({"top_percent": p} for p in (1e-9, 25, 99.999)),
    *({"top_k": k} for k in (1, 7, 10**9)),
]
STRONGEST: dict[str, Any] = {"top_percent": 25}
BEST: dict[str, Any] = {"top_k": 2}
N_ROW_BLOCKS = 9
"""Of the largest decade, of 18 films, with small blocks."""


def decades(root: Path) -> Path:
    """Decades of no film up to many, one full of ties, one of similarities that are no numbers."""
    for n in (0, 1, 2, 3, 18):
        put(root, "sizes", f"19{n:02}", films(n, 2))
    corners = {str(k): [float(k % 3 == 0), float(k % 3 == 1)] for k in range(20)}
    put(root, "ties", "1990", corners)
    put(root, "ties", "2000", {str(k): [1.0] for k in range(6)})
    put(root, "ties", "2010", {"1": [0.0], "2": [-0.0], "3": [1.0], "4": [-1.0], "5": [-0.0]})
    huge = [[1e200, 1e200], [1e200, -1e200], [-1e200, 1e200], [0.6, 0.8], [1.0, 0.0], [0.0, 0.5]]
    put(root, "huge", "1990", {str(k): vector for k, vector in enumerate(huge * 3)})
    put(root, "huge", "2000", {"1": [1e200, 1e200], "2": [1e200, -1e200]})
    return root


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Inputs that nobody changes."""
    return decades(tmp_path_factory.mktemp("made"))


@pytest.fixture
def everything(made: Path, tmp_path: Path) -> Path:
    shutil.copytree(made / "embeddings", tmp_path / "embeddings")
    return tmp_path


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A data folder of one decade."""
    put(tmp_path, "sizes", "1918", films(18, 2))
    return tmp_path


pytestmark = [
    pytest.mark.usefixtures("small_blocks"),
    pytest.mark.filterwarnings("ignore:(overflow|invalid value) encountered:RuntimeWarning"),
]


@pytest.fixture
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    if request.param == "python":
        monkeypatch.setattr(native, "text", None)
    elif native.text is None:
        pytest.skip("no native part")


def export(root: Path, **arguments: Any) -> engine.Summary:
    summary = engine.run(root, workers=1, **arguments)
    assert summary.ok, summary
    return summary


# --- the bytes ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("way", "rule"),
    [*(("native", rule) for rule in RULES), ("python", STRONGEST), ("python", BEST)],
    indirect=["way"],
    ids=str,
)
@pytest.mark.usefixtures("way")
def test_an_export_by_a_rule_has_the_bytes_of_the_filtered_whole(
    everything: Path, rule: dict[str, Any]
) -> None:
    export(everything, **rule)
    assert outputs(everything) == expected(everything, **rule)


def test_an_export_holds_the_pairs_that_a_decade_gives(everything: Path) -> None:
    for rule in ({"min_similarity": 0.5}, *RULES):
        export(everything, approaches="ties", decades=1990, **rule)
        decade = engine.open(everything)["ties", 1990]
        i, j, values = decade.pairs(**rule)
        keys = [f"{decade.ids[a]}-{decade.ids[b]}" for a, b in zip(i, j, strict=True)]
        text = output_path(everything, "ties", "1990").read_bytes()
        assert json.loads(text) == dict(zip(keys, values.tolist(), strict=True))


def test_a_quarter_is_what_is_above_the_75_per_cent_of_pandas_description(root: Path) -> None:
    pandas = pytest.importorskip("pandas", reason="pandas is not installed: pip install '.[dev]'")
    export(root)
    whole = json.loads(output_path(root, "sizes", "1918").read_bytes())
    threshold = pandas.Series(whole).describe()["75%"]
    export(root, top_percent=25)
    found = output_path(root, "sizes", "1918").read_text()
    assert found == json.dumps({pair: x for pair, x in whole.items() if x > threshold})


def test_the_steps_after_the_json_end_in_the_same_graph(root: Path) -> None:
    pandas = pytest.importorskip("pandas", reason="pandas is not installed: pip install '.[dev]'")
    networkx = pytest.importorskip("networkx", reason="networkx is not installed: '.[dev]'")

    def frame_of(path: Path) -> Any:
        pairs = json.loads(path.read_text())
        rows = [(*(int(film) for film in pair.split("-")), x) for pair, x in pairs.items()]
        return pandas.DataFrame(rows, columns=["film", "other", "similarity"])

    def graph_of(frame: Any) -> Any:
        graph = networkx.Graph()
        graph.add_weighted_edges_from(frame.itertuples(index=False, name=None))
        return graph

    path = output_path(root, "sizes", "1918")
    export(root)
    whole = frame_of(path)
    strong = whole[whole.similarity > whole.similarity.describe()["75%"]]
    export(root, top_percent=25)
    graph, filtered = graph_of(strong), graph_of(frame_of(path))
    assert list(filtered.edges(data=True)) == list(graph.edges(data=True))
    assert list(filtered) == list(graph)
    assert graph.number_of_edges() == 38


# --- what is done, and what is not --------------------------------------------------------------


@pytest.mark.parametrize("rule", [STRONGEST, BEST], ids=str)
def test_an_export_by_the_same_rule_is_up_to_date(
    root: Path, rule: dict[str, Any], performed: list[tuple[Any, Any]]
) -> None:
    (name,) = rule
    summary = export(root, **rule)
    assert getattr(summary, name) == rule[name]
    for decade in summary.decades:
        path = output_path(root, decade.name.approach, decade.name.decade)
        assert decade.pairs_exported == len(json.loads(path.read_bytes()))
    performed.clear()
    assert all(decade.next == "nothing" for decade in engine.status(root, **rule).decades)
    assert all(decade.up_to_date for decade in export(root, **rule).decades)
    assert performed == []
    for other in ({}, {name: rule[name] + 1}, {"min_similarity": 0.5}):
        (found,) = engine.status(root, **other).decades
        assert (found.next, getattr(found, name)) == ("export", rule[name])


def test_the_status_tells_of_the_rule_of_an_output_and_of_the_next_run(root: Path) -> None:
    export(root, **STRONGEST)
    text = str(engine.status(root, **STRONGEST))
    assert "1 decade exported with --top-percent 25: 38 of 153 pairs" in text
    found = engine.status(root, top_k=3)
    text = str(found)
    assert "1 output made with --top-percent 25; a run with these options makes it anew" in text
    written = "write 54 pairs, about 2.2 kB of JSON at most, of pairs among the 3 best"
    assert written in " ".join(text.split())
    assert (found.decades[0].forecast.pairs_to_export, found.top_k) == (54, 3)


@pytest.mark.parametrize("rule", [STRONGEST, BEST, {"min_similarity": 0.5}], ids=str)
def test_a_filtered_output_is_verified_against_the_store(root: Path, rule: dict[str, Any]) -> None:
    export(root, **rule)
    assert engine.verify(root, workers=1) == []
    path = output_path(root, "sizes", "1918")
    text = bytearray(path.read_bytes())
    text[-2] = ord("1") + (text[-2] == ord("1"))
    path.write_bytes(text)
    (problem,) = engine.verify(root, workers=1)
    assert problem.startswith(f"{path}: differs from the store between byte")


def chunk(root: Path) -> Path:
    return root / "similarities.zarr" / "sizes" / "1918" / "similarities" / "c" / "0" / "1"


def damage(root: Path) -> None:
    content = bytearray(chunk(root).read_bytes())
    content[5] ^= 64
    chunk(root).write_bytes(content)


@pytest.mark.parametrize("rule", [STRONGEST, BEST], ids=str)
def test_a_filtered_output_is_not_compared_with_a_damaged_store(
    root: Path, rule: dict[str, Any]
) -> None:
    export(root, **rule)
    damage(root)
    found, output = engine.verify(root, workers=1)
    assert "sizes 1918s: the chunk of similarities in row 0, column 1 is damaged" in found
    path = output_path(root, "sizes", "1918")
    assert output == f"{path}: cannot be compared with a damaged store"


# --- what goes wrong on the way -----------------------------------------------------------------


class Impatient(Listener):
    """Interrupts a run after some row-blocks were exported."""

    def __init__(self, after: int) -> None:
        super().__init__()
        self.left = after

    def advance(self, name: str, amount: int) -> None:
        self.left -= name == "exporting"
        if not self.left:
            raise KeyboardInterrupt


def interrupt(root: Path, after: int, **arguments: Any) -> None:
    with pytest.raises(KeyboardInterrupt):
        engine.run(root, workers=1, progress=Impatient(after), **arguments)


@pytest.mark.parametrize("rule", [STRONGEST, BEST], ids=str)
@pytest.mark.parametrize("after", [1, 5])
def test_an_interrupted_export_goes_on_where_it_was(
    root: Path, rule: dict[str, Any], after: int, performed: list[tuple[Any, Any]]
) -> None:
    interrupt(root, after, **rule)
    performed.clear()
    export(root, **rule)
    done = [result for task, result in performed if isinstance(task, BlockTask)]
    written = [result for result in done if result.pairs_exported]
    assert len(done) == N_ROW_BLOCKS
    assert 0 < len(written) <= N_ROW_BLOCKS - after
    assert outputs(root) == expected(root, **rule)


@pytest.mark.parametrize("rule", [STRONGEST, BEST], ids=str)
def test_what_is_damaged_is_computed_again_before_pairs_are_selected(
    root: Path, rule: dict[str, Any], listener: Listener
) -> None:
    export(root, export=False)
    damage(root)
    summary = export(root, progress=listener, **rule)
    assert sum(decade.pairs_computed for decade in summary.decades) == 16
    assert [text for text in listener.messages if "1 damaged chunk computed again" in text]
    assert outputs(root) == expected(root, **rule)


def test_without_computing_what_is_damaged_is_an_error_of_its_decade(root: Path) -> None:
    export(root, export=False)
    damage(root)
    put(root, "sizes", "1990", films(4))
    export(root, export=False)
    summary = engine.run(root, workers=1, compute=False, **STRONGEST)
    ((name, error),) = ((d.name.decade, d.error) for d in summary.decades if d.error)
    assert name == "1918"
    assert "the chunk of similarities in row 0, column 1 is damaged; run without" in str(error)
    assert list(outputs(root)) == ["sizes/similarities_1990s.json"]


@pytest.mark.parametrize("gone", ["missing", "damaged"])
def test_what_was_exported_of_other_similarities_is_not_gone_on_with(
    root: Path, gone: str, monkeypatch: pytest.MonkeyPatch, performed: list[tuple[Any, Any]]
) -> None:
    interrupt(root, N_ROW_BLOCKS - 1, **STRONGEST)
    chunk(root).unlink() if gone == "missing" else damage(root)
    # Another kind of CPU may round otherwise, and so find another threshold.
    monkeypatch.setattr(
        "engine.work.row_block.similarities",
        lambda kernel, rows, columns, start, out, dot: np.copyto(out, 2.0),
    )
    performed.clear()
    export(root, **STRONGEST)
    n_written = sum(result.pairs_exported for task, result in performed)
    found = json.loads(output_path(root, "sizes", "1918").read_bytes())
    assert n_written == len(found)
    assert list(found.values()).count(2.0) == 16
    assert engine.verify(root, workers=1) == []


@pytest.mark.parametrize("rule", [STRONGEST, BEST], ids=str)
def test_other_machines_compute_and_this_one_selects_and_exports(
    root: Path, rule: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    sent: list[BlockTask] = []

    def perform_all(tasks: Iterable[BlockTask]) -> Iterator[Any]:
        for task in tasks:
            sent.append(task)
            yield perform(task)

    @contextmanager
    def cluster(*_: object) -> Iterator[Callable[[Iterable[BlockTask]], Iterator[Any]]]:
        yield perform_all

    monkeypatch.setattr("engine.batch.run.cluster_at", cluster)
    export(root, dask="elsewhere", **rule)
    assert sent
    assert not any(task.output for task in sent)
    assert outputs(root) == expected(root, **rule)


def test_each_decade_is_selected_by_one_task_and_not_at_all_without_need(
    root: Path, performed: list[tuple[Any, Any]]
) -> None:
    def selected() -> list[str]:
        found = [task.name.group for task, _ in performed if isinstance(task, SelectTask)]
        performed.clear()
        return found

    put(root, "sizes", "2000", films(20))
    export(root, **STRONGEST)
    assert selected() == ["sizes/2000", "sizes/1918"]
    export(root, decades=2000)
    export(root, **STRONGEST)
    assert selected() == ["sizes/2000"]
    export(root, min_similarity=0.5)
    export(root, export=False, **STRONGEST)
    export(root)
    assert selected() == []


# --- what is said -------------------------------------------------------------------------------


def nothing_kept(listener: Listener) -> dict[str, str]:
    texts = [text for text in listener.messages if "keeps none" in text]
    return {text.split(":")[0]: text.partition("; ")[2] for text in texts}


def test_where_nothing_is_kept_the_highest_similarity_is_told(
    everything: Path, listener: Listener
) -> None:
    export(everything, min_similarity=75, progress=listener)
    said = nothing_kept(listener)
    whole = {
        name: [x for x in json.loads(text).values() if not math.isnan(x)]
        for name, text in expected(everything).items()
        if text != b"{}"
    }
    for name, numbers in whole.items():
        approach, _, year = name.removesuffix("s.json").partition("/similarities_")
        decade = f"{approach} {year}s"
        if not numbers:
            assert said.pop(decade) == "no similarity is a number"
        elif max(numbers) < 75:
            assert said.pop(decade) == f"the highest is {max(numbers)!r}"
    assert said == {}


def test_where_nothing_is_kept_it_is_told_by_the_run_that_goes_on_too(
    root: Path, listener: Listener
) -> None:
    interrupt(root, 4, min_similarity=75)
    export(root, min_similarity=75, progress=listener)
    numbers = json.loads(expected(root)["sizes/similarities_1918s.json"]).values()
    assert nothing_kept(listener) == {"sizes 1918s": f"the highest is {max(numbers)!r}"}


def test_of_similarities_that_are_all_equal_none_is_the_strongest(
    tmp_path: Path, listener: Listener
) -> None:
    put(tmp_path, "ties", "2000", {str(k): [1.0] for k in range(6)})
    export(tmp_path, progress=listener, **STRONGEST)
    assert listener.messages == [
        "ties 2000s: --top-percent 25 keeps none of 15 pairs; the highest is 1.0"
    ]


@pytest.mark.parametrize(
    ("rules", "told"),
    [
        ({"top_percent": 100}, "top_percent: 100 is not a percentage between 0 and 100"),
        ({"top_k": 0}, "top_k: 0 is not a positive integer"),
        ({"top_k": 5, "top_percent": 5}, "only one can be given"),
    ],
)
@pytest.mark.parametrize("call", [engine.run, engine.status])
def test_a_rule_that_is_none_is_refused_before_anything_is_done(
    tmp_path: Path, call: Callable[..., object], rules: dict[str, Any], told: str
) -> None:
    with pytest.raises(ValueError, match=told):
        call(tmp_path, **rules)
    assert list(tmp_path.iterdir()) == []


def test_of_a_store_that_is_not_finished_nothing_is_selected(root: Path) -> None:
    export(root, export=False)
    put(root, "sizes", "1990", films(4))
    summary = engine.run(root, workers=1, compute=False, **BEST)
    errors = {d.name.decade: d.error for d in summary.decades if d.error}
    assert list(errors) == ["1990"]
    with pytest.raises(EngineError, match="no store to export from"):
        engine.run(root, store=root / "other.zarr", compute=False, **BEST)


def test_of_ties_the_best_are_the_first_in_the_file(tmp_path: Path) -> None:
    put(tmp_path, "ties", "2000", {str(k): [1.0] for k in range(6)})
    export(tmp_path, top_k=1)
    # Of film 0 the best is film 1, and of all others film 0.
    found = json.loads(output_path(tmp_path, "ties", "2000").read_bytes())
    assert list(found) == [f"0-{k}" for k in range(1, 6)]
