"""The report: one file, true to the numbers, safe with any text, and usable in a real browser."""

import base64
import configparser
import io
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from html.parser import HTMLParser
from itertools import combinations, pairwise
from pathlib import Path
from typing import Any
from urllib.parse import quote

import numpy as np
import pytest
from browser import PROGRAM, Browser
from conftest import uncompute
from numpy.typing import NDArray
from reference import films, notebook, put

from engine import report, run
from engine.data_folder import DecadeName
from engine.query.overview import FINE_BINS, Distribution

pytest.importorskip("matplotlib")

from PIL import Image

from engine.page.assemble import assemble
from engine.page.section import Section, ramp

ROOT = Path(__file__).parents[1]
HOSTILE = {
    "</script><script>alert(1)</script>": "</script><script>alert('title')</script>",
    "<img src=x onerror=alert(2)>": "<!-- <script> --> & &amp; \" ' `",
    "a/b#c?d%e f": "\u202egnp.exe\u2028\u2029\ud800",
    "\U0001f3ac": "שלום עולם",
    "x" * 2000: "W" * 2000,
    "__proto__": "constructor",
}
"""Ids and titles that some page somewhere was broken by."""


class Page(HTMLParser):
    """What a browser makes of a page, as far as these tests look."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str]]] = []
        self.texts: list[tuple[str, str]] = []
        self._open = [""]
        self.source = path.read_text("utf-8")
        self.feed(self.source)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, {name: value or "" for name, value in attrs}))
        self._open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        while self._open[-1] not in (tag, ""):  # What has no end, as meta.
            self._open.pop()
        self._open.pop()

    def handle_data(self, data: str) -> None:
        if data.strip():
            self.texts.append((self._open[-1], data))

    def of(self, tag: str) -> list[str]:
        """The texts directly in tags of a name."""
        return [text for found, text in self.texts if found == tag]

    @property
    def data(self) -> Any:
        """What the script of the page is given."""
        return json.loads(self.of("script")[0])


def numbers(text: str, dtype: str) -> NDArray[np.int64]:
    return np.frombuffer(base64.b64decode(text), dtype).astype(np.int64)


def described(page: Page) -> list[dict[str, str]]:
    """The numbers of each decade, under their names."""
    words, values = page.of("dt"), page.of("dd")
    pairs = list(zip(words, values, strict=True))
    return [dict(pairs[k : k + 8]) for k in range(0, len(pairs), 8)]


def matrix(path: Path) -> tuple[list[str], NDArray[np.float64]]:
    """Ids and similarities as the notebook's loop has them; -inf on the diagonal."""
    ids = list(json.loads(path.read_text()))
    similarities = list(json.loads(notebook(path)).values())
    full = np.full((len(ids), len(ids)), -np.inf)
    for (i, j), value in zip(combinations(range(len(ids)), 2), similarities, strict=True):
        full[i, j] = full[j, i] = value
    return ids, full


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two approaches, three decades, titles for most films, and the report; nobody changes it."""
    data = tmp_path_factory.mktemp("report") / "movies & <b>more"
    some = films(130, 3)
    put(data, "genres", "1990", films(70, 3))
    put(data, "genres", "2000", some)
    put(data, "plots", "2000", dict(zip(some, films(130, 8).values(), strict=True)))
    assert run(data, workers=1, export=False).ok
    titles = {film: f"Film Nº {film}" for film in list(some)[:-1]} | {list(some)[7]: "Amélie"}
    (data / "titles.json").write_text(json.dumps(titles))
    assert report.main(["--data", str(data), "--titles", str(data / "titles.json")]) == 0
    return data


@pytest.fixture(scope="module")
def hostile(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The report of films whose ids and titles try to break out of the page."""
    data = tmp_path_factory.mktemp("hostile")
    approach = "\"><b>'$x & ü"
    vectors = list(films(len(HOSTILE), 3).values())
    put(data, approach, "2000", dict(zip(HOSTILE, vectors, strict=True)))
    (data / "titles.json").write_text(json.dumps(HOSTILE))
    assert run(data, workers=1, export=False).ok
    assert report.main(["--data", str(data), "--titles", str(data / "titles.json")]) == 0
    return data / "report.html"


@pytest.fixture(scope="module")
def alike(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The report of two films: median and 75th percentile are the same, in the middle of an axis
    whose numbers are long; and one id is no more than a space."""
    data = tmp_path_factory.mktemp("alike")
    put(data, "plots", "2000", {"7": [1.0], " ": [0.1465]})
    assert run(data, workers=1, export=False).ok
    assert report.main(["--data", str(data)]) == 0
    return data / "report.html"


@pytest.fixture
def data(made: Path, tmp_path: Path) -> Path:
    """A copy of the data and its store, without the report."""
    ignored = shutil.ignore_patterns("report.html", "titles.json")
    return Path(shutil.copytree(made, tmp_path / "movies", ignore=ignored))


# --- what the file holds --------------------------------------------------------------------------


def test_the_nearest_films_are_those_of_the_notebook_rounded_as_is_said(made: Path) -> None:
    content = Page(made / "report.html").data
    assert len(content["decades"]) == 3
    for decade in content["decades"]:
        name = f"plots_{decade['decade']}.json"
        ids, similarities = matrix(made / "embeddings" / decade["approach"] / name)
        assert content["ids"][decade["ids"]] == ids
        nearest = np.argsort(-similarities, axis=1, kind="stable")[:, :10]
        places = numbers(decade["places"], "<u2").reshape(-1, 10)
        assert (places == nearest).all()
        wanted = np.take_along_axis(similarities, nearest, axis=1)
        values = numbers(decade["values"], "<i2").reshape(-1, 10) / 10.0 ** decade["decimals"]
        assert decade["decimals"] == 4
        assert np.abs(values - wanted).max() <= 0.5e-4 + 1e-12
        order = numbers(decade["order"], "<u2")
        assert sorted(order) == list(range(len(ids)))


def test_the_figures_are_those_of_numpy(made: Path) -> None:
    decades = [("genres", "1990"), ("genres", "2000"), ("plots", "2000")]
    for (approach, decade), figures in zip(
        decades, described(Page(made / "report.html")), strict=True
    ):
        path = made / "embeddings" / approach / f"plots_{decade}s.json"
        pairs = np.array(list(json.loads(notebook(path)).values()))
        n = len(json.loads(path.read_text()))
        quarters = np.quantile(pairs, [0.25, 0.5, 0.75])
        assert figures == {
            "films": f"{n:,}",
            "pairs": f"{n * (n - 1) // 2:,}",
            "lowest": f"{pairs.min():.4f}",
            "25th percentile": f"{quarters[0]:.4f}",
            "median": f"{quarters[1]:.4f}",
            "mean": f"{pairs.mean():.4f}",
            "75th percentile": f"{quarters[2]:.4f}",
            "highest": f"{pairs.max():.4f}",
        }


def test_the_bars_are_the_distribution_and_a_quarter_of_it_is_marked(made: Path) -> None:
    source = (made / "report.html").read_text()
    drawn = re.findall(r'<path class="(\w+)" d="(.*?)"', source)
    assert len(drawn) == 2 * 2 * 3  # Two kinds of bars, small and large, in three decades.
    for (lower, low_path), (upper, high_path) in zip(drawn[::2], drawn[1::2], strict=True):
        assert (lower, upper) == ("lower", "upper")
        areas = []
        for path in (low_path, high_path):
            left = float(re.match(r"M(\S+) ", path)[1])  # type: ignore[index]
            bars = [(float(y), float(x)) for y, x in re.findall(r"V([\d.e-]+)H([\d.e-]+)", path)]
            edges = [left, *(x for _, x in bars)]
            widths = [b - a for a, b in pairwise(edges)]
            areas.append(sum((100 - y) * w for (y, _), w in zip(bars, widths, strict=True)))
        assert 0.22 < areas[1] / sum(areas) < 0.28


def test_the_heat_map_has_the_similarities_of_the_films_in_their_order(made: Path) -> None:
    page = Page(made / "report.html")
    pictures = [about["src"] for tag, about in page.tags if about.get("class") == "map"]
    assert len(pictures) == 3
    for decade, picture in zip(page.data["decades"], pictures, strict=True):
        with Image.open(io.BytesIO(base64.b64decode(picture.partition(",")[2]))) as image:
            levels = np.asarray(image).astype(float)
        path = made / "embeddings" / decade["approach"] / f"plots_{decade['decade']}.json"
        _, similarities = matrix(path)
        order = numbers(decade["order"], "<u2")
        wanted = similarities[order][:, order]
        off = ~np.eye(len(wanted), dtype=bool)
        low, high = np.quantile(wanted[off], [0.02, 0.98])
        expected = np.clip(64 * (wanted - low) / (high - low), 0, 63)
        assert np.abs(levels - expected)[off].max() <= 1.01
        assert (levels[~off] == 64).all()  # Transparent: a film and itself are no pair.


def test_the_colours_of_the_heat_map_are_an_order_of_lightness() -> None:
    with Image.open(io.BytesIO(ramp())) as image:
        grey = np.asarray(image.convert("RGB").convert("L")).ravel().astype(int)
    assert (np.diff(grey) > 0).all()
    assert grey[-1] - grey[0] > 150


def test_the_file_names_no_other_file_and_no_network(made: Path) -> None:
    page = Page(made / "report.html")
    for _, about in page.tags:
        for name in ("src", "href", "srcset", "action", "poster", "data"):
            assert about.get(name, "#").startswith(("#", "data:")), about
    assert "url(" not in page.source
    assert "@import" not in page.source
    assert not re.search(r"https?:", page.source)
    policy = next(about["content"] for _, about in page.tags if "http-equiv" in about)
    assert policy.startswith("default-src 'none'; img-src data:;")


def test_a_film_takes_so_few_bytes_that_thousands_fit(made: Path) -> None:
    page = Page(made / "report.html")
    # 70 + 130 + 130 films; the titles of 130 and the ids of 200 stand there once.
    assert len(page.of("script")[0].encode()) < 330 * 100
    assert (made / "report.html").stat().st_size < 300_000


def test_pictures_have_texts_that_stand_for_them(made: Path) -> None:
    page = Page(made / "report.html")
    alternatives = [about["alt"] for tag, about in page.tags if tag == "img"]
    assert sum("Heat map of the similarities of 130 films" in text for text in alternatives) == 2
    labels = [about["aria-label"] for _, about in page.tags if about.get("role") == "img"]
    for label, figures in zip(labels, described(page), strict=True):
        assert f"the 75th percentile of {figures['75th percentile']}" in label
        assert f"the median of {figures['median']}" in label


def test_the_same_store_gives_the_same_bytes_where_they_were_asked_for(
    made: Path, data: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    output = data / "new" / "page.html"
    arguments = ["--titles", str(made / "titles.json"), "--output", str(output)]
    capsys.readouterr()
    assert report.main(["--data", str(data), *arguments]) == 0
    told = capsys.readouterr()
    assert re.fullmatch(rf"{re.escape(str(output))}: \d\S+ kB\n", told.out)
    assert not (data / "report.html").exists()
    first = (made / "report.html").read_text().replace("movies &amp; &lt;b&gt;more", "movies")
    assert output.read_text() == first


def test_only_the_decades_asked_for_are_shown(data: Path) -> None:
    assert report.main(["--data", str(data), "--approach", "genres", "--decade", "2000s"]) == 0
    (decade,) = Page(data / "report.html").data["decades"]
    assert (decade["approach"], decade["decade"]) == ("genres", "2000s")


@pytest.mark.parametrize(
    "vectors",
    [
        [],
        [[1.0]],
        [[1.0], [1.0]],
        [[0.5]] * 9 + [[-1e150]],
        [[1e200]] * 3,
        [[1e200]] * 3 + [[0.5]] * 2,
        [[1e-170]] * 3,
        [[1.2e154], [-1.2e154], [1.2e154], [0.5]],
        [[1.5e308, 1.0], [1.5e308, 0.5], [1.5e308, 0.0], [0.0, 1.0]],
    ],
)
def test_decades_with_hardly_anything_are_shown(vectors: list[list[float]], tmp_path: Path) -> None:
    put(tmp_path, "made", "2000", {str(film): vector for film, vector in enumerate(vectors)})
    assert run(tmp_path, workers=1, export=False).ok
    assert report.main(["--data", str(tmp_path)]) == 0
    (figures,) = described(Page(tmp_path / "report.html"))
    assert figures["films"] == str(len(vectors))


def test_what_cannot_be_drawn_is_not_said_to_be_missing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    vectors = [[1e200, 0.0], [1e200, 1.0], [0.0, 2.0], [0.0, 0.5]]
    path = put(tmp_path, "made", "2000", {str(film): each for film, each in enumerate(vectors)})
    assert np.isinf(list(json.loads(notebook(path)).values())).sum() == 1
    assert run(tmp_path, workers=1, export=False).ok
    assert report.main(["--data", str(tmp_path)]) == 0
    assert capsys.readouterr().err == ""
    texts = "".join(Page(tmp_path / "report.html").of("p"))
    assert "are computed" not in texts
    assert "1 pair of a similarity that is no number, or too large to be drawn" in texts
    assert "Hatched: what cannot be drawn, a film and itself" in texts


def test_a_folder_may_have_a_name_that_is_no_text(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = tmp_path / "films \udce9"
    put(data, "made", "2000", films(3))
    assert run(data, workers=1, export=False).ok
    assert report.main(["--data", str(data)]) == 0
    assert "/films \\udce9/report.html: " in capsys.readouterr().out
    assert "films \\udce9" in Page(data / "report.html").of("bdi")


def test_a_wheel_has_all_that_the_page_is_made_of() -> None:
    config = configparser.ConfigParser()
    config.read(ROOT / "setup.cfg")
    packed = config["options.package_data"]["engine.page"].split(", ")
    files = [path.name for path in (ROOT / "engine" / "page").iterdir() if path.is_file()]
    assert sorted(packed) == sorted(name for name in files if not name.endswith(".py"))


# --- titles ---------------------------------------------------------------------------------------


def test_titles_are_found_by_the_ids_as_the_store_has_them(
    data: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    put(data, "genres", "2010", {"007": [1.0], "8": [0.5]})
    assert run(data, approaches=["genres"], decades=[2010], workers=1, export=False).ok
    titles = data / "t.json"
    titles.write_text('{"007": "Dr. No", "9": "elsewhere"}')
    assert report.main(["--data", str(data), "--decade", "2010", "--titles", str(titles)]) == 0
    assert Page(data / "report.html").data["titles"] == {"7": "Dr. No"}
    assert capsys.readouterr().err == (
        f"{titles}: has a title for 1 of 2 films; the others stand under their ids\n"
    )


def test_a_title_with_nothing_to_see_is_none(data: Path) -> None:
    first, second, third, *_ = films(130, 3)
    titles = data / "t.json"
    titles.write_text(json.dumps({first: "", second: " \u200b\n", third: "\u00b7"}))
    assert report.main(["--data", str(data), "--titles", str(titles)]) == 0
    assert Page(data / "report.html").data["titles"] == {third: "\u00b7"}


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (b'{"7": "x"', "t.json: found no JSON (Expecting ',' delimiter"),
        (b"\xff", "t.json: found no JSON ("),
        pytest.param(b"[" * 100_000, "t.json: found no JSON (", id="depth"),
        (b'["x"]', 't.json: found a list, expected a JSON object in UTF-8, {"id": "title", ...}'),
        (
            b'{"7": "x", "8": 9}',
            't.json, id "8": found a number, expected a title between quotes; correct this film '
            "or leave it out",
        ),
        (b'{"8": null}', 't.json, id "8": found null, expected a title'),
        (None, "t.json: No such file or directory"),
    ],
)
def test_what_is_wrong_with_titles_is_one_sentence(
    content: bytes | None, sentence: str, data: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    if content is not None:
        (data / "t.json").write_bytes(content)
    assert report.main(["--data", str(data), "--titles", str(data / "t.json")]) == 1
    told = capsys.readouterr().err
    assert told.startswith(f"error: {data}/{sentence}")
    assert told.count("\n") == 1
    assert not (data / "report.html").exists()


# --- what is missing ------------------------------------------------------------------------------


def test_an_unfinished_decade_is_shown_and_said_to_be(
    tmp_path: Path, small_blocks: None, capsys: pytest.CaptureFixture[str]
) -> None:
    path = put(tmp_path, "genres", "2000", films(16, 3))
    assert run(tmp_path, workers=1, export=False).ok
    uncompute(tmp_path / "similarities.zarr" / "genres" / "2000", 1)  # Rows 4 to 7.
    assert report.main(["--data", str(tmp_path)]) == 0
    told = capsys.readouterr().err
    assert told == "genres 2000s: 68 % of the pairs are computed; those are shown\n"
    page = Page(tmp_path / "report.html")
    assert "68 % of the pairs are computed; those are shown." in page.of("p")
    assert any("Hatched: what is not computed yet" in text for text in page.of("p"))
    _, similarities = matrix(path)
    similarities[4:8, 4:] = similarities[4:, 4:8] = -np.inf
    (decade,) = page.data["decades"]
    places = numbers(decade["places"], "<u2").reshape(-1, 10)
    for film, row in enumerate(similarities):
        nearest = np.argsort(-row, kind="stable")[: min(10, np.isfinite(row).sum())]
        # The film itself stands where there are no more.
        assert places[film].tolist() == [*nearest, *[film] * (10 - len(nearest))]
    known = similarities[np.triu(np.isfinite(similarities))]
    assert described(page)[0]["75th percentile"] == f"{np.quantile(known, 0.75):.4f}"


def test_what_is_left_out_is_said_on_the_page(
    data: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.rmtree(data / "similarities.zarr" / "genres" / "2000")
    (data / "similarities.zarr/plots/2000/similarities/c/0/0").write_bytes(b"")
    assert report.main(["--data", str(data)]) == 1
    absent, damaged = capsys.readouterr().err.splitlines()
    assert absent == "genres 2000s: nothing is computed yet; left out"
    assert damaged.startswith("error: ")
    assert "plots 2000s: the chunk of similarities in row 0, column 0 is damaged" in damaged
    page = Page(data / "report.html")
    assert absent in page.of("p")
    assert damaged.removeprefix("error: ") in page.of("p")
    assert [decade["decade"] for decade in page.data["decades"]] == ["1990s"]


def test_where_all_is_damaged_the_page_that_is_there_stays(data: Path) -> None:
    for chunk in data.glob("similarities.zarr/*/*/similarities/c/0/0"):
        chunk.write_bytes(b"")
    (data / "report.html").write_text("of yesterday")
    assert report.main(["--data", str(data)]) == 1
    assert (data / "report.html").read_text() == "of yesterday"


def test_a_store_without_a_decade_is_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    put(tmp_path, "made", "2000", {"1": []})
    assert not run(tmp_path, workers=1).ok
    assert report.main(["--data", str(tmp_path)]) == 1
    store = tmp_path / "similarities.zarr"
    told = f"error: {store}: nothing is computed yet; to compute it, run: python -m engine --data "
    assert capsys.readouterr().err == f"{told}{tmp_path}\n"


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--approach", "nobody"], "there is no approach 'nobody'; found: genres, plots"),
        (["--decade", "1850"], "there is no decade '1850'; found: 1990, 2000"),
        (["--store", "nowhere.zarr"], "nowhere.zarr: there is no store yet; to compute it, run"),
        (["--output", "/dev/null/page.html"], "/dev/null: File exists"),
        (["--output", "/"], "/: is a folder where the file of the page was expected"),
    ],
)
def test_what_is_not_there_is_one_line(
    arguments: list[str], sentence: str, data: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert report.main(["--data", str(data), *arguments]) == 1
    told = capsys.readouterr().err
    assert told.startswith("error: ")
    assert sentence in told
    assert told.count("\n") == 1


def test_a_page_that_cannot_be_written_leaves_the_one_that_is_there(
    data: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (data / "report.html").write_text("of yesterday")

    def full(path: Path, content: bytes) -> int:
        with open(path, "wb") as file:
            file.write(content[:1000])
        raise OSError(28, os.strerror(28), str(path))

    monkeypatch.setattr(Path, "write_bytes", full)
    assert report.main(["--data", str(data)]) == 1
    assert "No space left on device" in capsys.readouterr().err
    assert (data / "report.html").read_text() == "of yesterday"
    assert [path.name for path in data.glob(".*")] == []


def test_ctrl_c_ends_with_one_line(
    data: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def stop(films: object) -> Section:
        raise KeyboardInterrupt

    monkeypatch.setattr("engine.page.section.section_of", stop)
    assert report.main(["--data", str(data)]) == 130
    assert capsys.readouterr().err == "interrupted; no page was written\n"


def test_without_matplotlib_one_sentence_says_how_to_install_it(made: Path) -> None:
    code = (
        "import sys; sys.modules['matplotlib'] = None; from engine.report import main; "
        f"sys.exit(main(['--data', {str(made)!r}]))"
    )
    result = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert result.returncode == 1
    assert result.stderr == (
        "error: the report needs matplotlib, which is not installed: pip install matplotlib\n"
    )


# --- in a browser ---------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def window() -> Iterator[Browser]:
    """One browser for all tests."""
    if not PROGRAM:
        pytest.skip("no Chromium on this machine (Debian: apt install chromium)")
    with Browser() as browser:
        yield browser


@pytest.fixture
def browser(window: Browser) -> Iterator[Browser]:
    """The browser as a person has it; what a page complained of fails the test."""
    yield window
    window.media()
    assert window.run("1 + 1") == 2  # What was said before has been heard now.
    assert window.complaints == []
    assert window.requests == []


def shown(browser: Browser) -> list[str]:
    """The films in the rows of the table, as they are read."""
    found: list[str] = browser.run(
        "[...document.querySelectorAll('#rows th > a:first-child')].map((a) => a.textContent)"
    )
    return found


def search(browser: Browser, words: str) -> None:
    """Search as a person does who is in a hurry: the Enter key does not wait."""
    browser.run("document.querySelector('#search').select()")
    browser.type(words)
    browser.press("Enter", 13, "\r")


def found(browser: Browser) -> str:
    text: str = browser.run("document.querySelector('#found').textContent")
    return text


def test_a_film_is_found_by_title_without_its_accents_and_by_id(
    made: Path, browser: Browser
) -> None:
    browser.open(made / "report.html", "#plots/2000s")
    ids = list(json.loads((made / "embeddings" / "plots" / "plots_2000s.json").read_text()))
    assert len(shown(browser)) == 50
    search(browser, "amelie")
    assert (shown(browser), found(browser)) == (["Amélie"], "1 of 130 films found")
    search(browser, ids[-1])
    assert shown(browser) == [ids[-1]]  # It has no title.
    search(browser, "nº film")
    assert found(browser) == "128 of 130 films found"
    search(browser, "no such film")
    assert (shown(browser), found(browser)) == ([], "0 of 130 films found")


def test_a_search_needs_no_key_but_those_of_its_words(made: Path, browser: Browser) -> None:
    browser.open(made / "report.html", "#plots/2000s")
    browser.run("document.querySelector('#search').focus()")
    browser.type("amelie")
    browser.until("document.querySelectorAll('#rows tr').length === 1")
    assert shown(browser) == ["Amélie"]


def test_the_table_has_the_nearest_films_of_the_notebook(made: Path, browser: Browser) -> None:
    browser.open(made / "report.html", "#genres/1990s")
    ids, similarities = matrix(made / "embeddings" / "genres" / "plots_1990s.json")
    for film in (0, 49):
        read = browser.run(
            f"[...document.querySelectorAll('#rows tr')[{film}].querySelectorAll('li')]"
            ".map((li) => ['a', 'span'].map((tag) => li.querySelector(tag).textContent))"
        )
        nearest = np.argsort(-similarities[film], kind="stable")[:10]
        assert read == [[ids[k], f"{similarities[film, k]:.4f}"] for k in nearest]


def test_a_film_whose_id_cannot_be_seen_can_be_clicked(alike: Path, browser: Browser) -> None:
    browser.open(alike, "#plots/2000s/7")
    browser.click("#rows li a")
    browser.until("document.querySelector('tr.chosen th a').textContent === '“ ”'")
    assert browser.run("location.hash") == "#plots/2000s/%20"


def test_a_search_says_in_which_other_decades_there_are_films(made: Path, browser: Browser) -> None:
    ids = list(json.loads((made / "embeddings" / "genres" / "plots_1990s.json").read_text()))
    film = next(each for each in ids if len(each) == 4)
    browser.open(made / "report.html", "#genres/2000s")
    search(browser, film)
    browser.click("#elsewhere a")
    browser.until(f"document.querySelector('#rows th a')?.textContent === '{film}'")
    assert browser.run("location.hash") == "#genres/1990s"
    assert browser.run("document.querySelector('#search').value") == film


def test_what_enter_has_found_is_not_replaced_under_the_hand_that_clicks_on_it(
    made: Path, browser: Browser
) -> None:
    browser.open(made / "report.html", "#genres/2000s")
    search(browser, "1")
    stays = browser.run(
        "new Promise((tell) => {"
        "  const [row, link] = ['#rows tr', '#elsewhere a'].map((s) => document.querySelector(s));"
        # Whatever waited before this waits no longer than this.
        "  setTimeout(() => tell([row.isConnected, link.isConnected]), 500);"
        "})"
    )
    assert stays == [True, True]


def test_a_neighbour_leads_to_its_row_and_back(made: Path, browser: Browser) -> None:
    browser.open(made / "report.html", "#plots/2000s")
    first = shown(browser)[0]
    neighbour = browser.run("document.querySelector('#rows li a').textContent")
    browser.click("#rows li a")
    browser.until("document.querySelector('tr.chosen')")
    assert shown(browser)[0] == neighbour
    # The focus is on the row, and the row in sight.
    assert browser.run("document.activeElement.className") == "chosen"
    top, height = browser.run(
        "(({ top }) => [top, innerHeight])(document.activeElement.getBoundingClientRect())"
    )
    assert 0 <= top < height / 2
    assert browser.run("location.hash").startswith("#plots/2000s/")
    browser.run("history.back()")
    browser.until("!document.querySelector('tr.chosen')")
    assert shown(browser)[0] == first


def test_a_new_search_comes_before_the_film_that_was_chosen(made: Path, browser: Browser) -> None:
    ids = list(json.loads((made / "embeddings" / "plots" / "plots_2000s.json").read_text()))
    browser.open(made / "report.html", f"#plots/2000s/{ids[100]}")
    search(browser, "amelie")
    assert shown(browser) == ["Amélie"]
    assert browser.run("location.hash") == "#plots/2000s"


def test_an_address_opens_at_its_film(made: Path, browser: Browser) -> None:
    ids = list(json.loads((made / "embeddings" / "genres" / "plots_2000s.json").read_text()))
    browser.open(made / "report.html", f"#genres/2000s/{ids[100]}")
    assert shown(browser)[0] == f"Film Nº {ids[100]}"
    for nonsense in ("#%", "#genres/1850s", "#genres/2000s/nobody", "#/", "#top"):
        browser.open(made / "report.html", nonsense)
        assert len(shown(browser)) == 50


@pytest.mark.parametrize("order", ["name", "near", "far", "map"])
def test_films_are_sorted_as_is_said(order: str, made: Path, browser: Browser) -> None:
    ids, similarities = matrix(made / "embeddings" / "genres" / "plots_1990s.json")
    best = similarities.max(axis=1)
    browser.open(made / "report.html", "#genres/1990s")
    browser.run(
        f"document.querySelector('#sort').value = '{order}'; "
        "document.querySelector('#sort').dispatchEvent(new Event('change'))"
    )
    content = Page(made / "report.html").data
    wanted = {
        "name": sorted(ids, key=int),
        # As shown: to four decimals.
        "near": [ids[k] for k in np.argsort(-np.rint(1e4 * best), kind="stable")],
        "far": [ids[k] for k in np.argsort(np.rint(1e4 * best), kind="stable")],
        "map": [ids[k] for k in numbers(content["decades"][0]["order"], "<u2")],
    }[order]
    assert shown(browser) == wanted[:50]
    browser.click("#more")
    assert shown(browser) == wanted
    assert browser.run("document.querySelector('#more').hidden")


def test_a_click_on_the_heat_map_leads_to_the_film_there(made: Path, browser: Browser) -> None:
    browser.open(made / "report.html", "#genres/1990s")
    browser.click(".chosen .map")
    browser.until("document.querySelector('tr.chosen')")
    content = Page(made / "report.html").data
    order = numbers(content["decades"][0]["order"], "<u2")
    ids = content["ids"][content["decades"][0]["ids"]]
    wanted = [ids[k] for k in order]
    at = wanted.index(shown(browser)[0])
    assert abs(at - 35) <= 1
    assert shown(browser) == [*wanted[at:], *wanted[:at]][:50]


def test_the_keyboard_is_enough(made: Path, browser: Browser) -> None:
    browser.open(made / "report.html")
    for _ in range(40):
        browser.press("Tab", 9)
        if browser.run("document.activeElement.id") == "search":
            break
    assert browser.run("document.activeElement.id") == "search"
    # Where the focus is can be seen.
    assert browser.run("getComputedStyle(document.activeElement).outlineStyle") != "none"
    browser.type("amelie")
    browser.press("Enter", 13, "\r")
    browser.until("document.querySelectorAll('#rows tr').length === 1")
    browser.press("Tab", 9)  # How to sort.
    while browser.run("document.activeElement.closest('li')") is None:
        browser.press("Tab", 9)
    neighbour = browser.run("document.activeElement.textContent")
    browser.press("Enter", 13, "\r")
    browser.until("document.querySelector('tr.chosen')")
    assert shown(browser)[0] == neighbour


@pytest.mark.parametrize("page", ["made", "hostile", "alike"])
def test_nothing_is_wider_than_the_window(
    page: str, browser: Browser, request: pytest.FixtureRequest
) -> None:
    found: Path = request.getfixturevalue(page)
    path = found / "report.html" if found.is_dir() else found
    browser.open(path, "#plots/2000s", width=320)
    browser.run("document.querySelector('#rows li a').click()")
    browser.until("document.querySelector('tr.chosen')")
    for width in (320, 375, 768, 1280):
        browser.size(width)
        wide = browser.run(
            "[...document.querySelectorAll('body *')].filter((e) => "
            "e.getBoundingClientRect().right > document.documentElement.clientWidth + 0.5 || "
            "e.getBoundingClientRect().left < -0.5).map((e) => e.outerHTML.slice(0, 200))"
        )
        assert (width, wide) == (width, [])
        assert browser.run("[innerWidth, document.documentElement.scrollWidth <= innerWidth]") == [
            width,
            True,
        ]


@pytest.mark.parametrize("decade", ["genres/1990s", "genres/2000s", "plots/2000s", "alike"])
def test_no_label_of_a_figure_touches_another(
    decade: str, made: Path, alike: Path, browser: Browser
) -> None:
    if decade == "alike":
        browser.open(alike, width=320)
    else:
        browser.open(made / "report.html", f"#{decade}", width=320)
    for width in (320, 1280):
        browser.size(width)
        boxes = browser.run(
            "[...document.querySelectorAll('.chosen :is(.tick, .mark > span, .axis, figcaption)')]"
            ".map((e) => { const range = document.createRange(); range.selectNodeContents(e); "
            "const box = range.getBoundingClientRect(); "
            "return [e.textContent, box.left, box.right, box.top, box.bottom] })"
        )
        assert len(boxes) > 8
        for one, other in combinations(boxes, 2):
            apart = (
                *(one[1] - other[2], other[1] - one[2]),
                *(one[3] - other[4], other[3] - one[4]),
            )
            assert max(apart) >= 0, (width, one, other)


LUMINANCE = """
    const luminance = (colour) => {
      const parts = colour.match(/[\\d.]+/g).slice(0, 3).map((part) => part / 255)
        .map((part) => part <= 0.04045 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4);
      return 0.2126 * parts[0] + 0.7152 * parts[1] + 0.0722 * parts[2];
    };
    const contrast = (one, other) => {
      const [low, high] = [luminance(one), luminance(other)].sort((a, b) => a - b);
      return (high + 0.05) / (low + 0.05);
    };
    const style = (selector) => getComputedStyle(document.querySelector(selector));
"""
"""Contrast as the Web Content Accessibility Guidelines define it."""


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_and_bars_stand_out_without_colour(scheme: str, made: Path, browser: Browser) -> None:
    browser.media(prefers_color_scheme=scheme)
    browser.open(made / "report.html")
    browser.run("document.querySelector('#rows li a').click()")
    browser.until("document.querySelector('tr.chosen')")
    texts, bars, halves = browser.run(
        f"""(() => {{ {LUMINANCE}
          const grounds = {{ "": "body", ".numbers ": ".numbers", "tr.chosen ": "tr.chosen" }};
          const texts = [];
          for (const [within, ground] of Object.entries(grounds)) {{
            const all = `${{within}}:is(p, a, th, td, dt, dd, span)`;
            for (const one of document.querySelectorAll(all)) {{
              if (!within && one.closest(".numbers, tr.chosen, .here")) continue;
              texts.push(contrast(getComputedStyle(one).color, style(ground).backgroundColor));
            }}
          }}
          const ground = style("body").backgroundColor;
          const [lower, upper] = [".lower", ".upper"].map((one) => style(one).fill);
          return [Math.min(...texts), Math.min(contrast(lower, ground), contrast(upper, ground)),
            contrast(lower, upper)];
        }})()"""
    )
    assert texts >= 4.5
    assert bars >= 2.5
    assert halves >= 2.5


def test_on_paper_are_the_figures_of_the_decade_that_is_shown(made: Path, browser: Browser) -> None:
    browser.open(made / "report.html", "#plots/2000s")
    browser.media("print", prefers_color_scheme="dark")
    visible = "[...document.querySelectorAll('{}')].filter((e) => e.offsetParent).length"
    assert browser.run(visible.format(".map")) == 1
    assert browser.run(visible.format(".mark")) == 2
    assert browser.run(visible.format("input, select, button")) == 0
    body = "getComputedStyle(document.body)"
    assert browser.run(f"{body}.backgroundColor") == "rgb(255, 255, 255)"
    assert browser.run(f"{body}.color") == "rgb(0, 0, 0)"
    assert (
        browser.run("getComputedStyle(document.querySelector('.map')).printColorAdjust") == "exact"
    )


def test_without_javascript_all_but_the_table_is_there(made: Path, browser: Browser) -> None:
    browser.call("Emulation.setScriptExecutionDisabled", value=True)
    try:
        browser.open(made / "report.html")
        visible = "[...document.querySelectorAll('{}')].filter((e) => e.offsetParent).length"
        assert browser.run(visible.format(".map")) == 3
        assert browser.run(visible.format(".mark")) == 6
        assert "needs JavaScript" in browser.run("document.querySelector('noscript').innerText")
    finally:
        browser.call("Emulation.setScriptExecutionDisabled", value=False)


def test_no_text_from_outside_becomes_a_part_of_the_page(hostile: Path, browser: Browser) -> None:
    page = Page(hostile)
    assert [tag for tag, _ in page.tags].count("script") == 2
    assert page.data["ids"] == [list(HOSTILE)]
    assert page.data["titles"] == HOSTILE
    browser.open(hostile)
    titles = [title.replace("\ud800", "\ufffd") for title in HOSTILE.values()]
    read = browser.run(
        "[...document.querySelectorAll('#rows th')].map((th) => [th.querySelector('a').textContent"
        ".toWellFormed(), th.querySelector('small').textContent])"
    )
    assert read == [list(pair) for pair in zip(titles, HOSTILE, strict=True)]
    assert (
        browser.run(
            "document.querySelectorAll('b:not(header b, .mark b), img:not([src^=data])').length"
        )
        == 0
    )
    assert browser.run("document.querySelector('h2').innerText").split("\n") == [
        "\"><b>'$x & ü",
        "2000s",
    ]
    for film in HOSTILE:
        address = f"#{quote(page.data['decades'][0]['approach'])}/2000s/{quote(film, safe='')}"
        browser.run(f"location.hash = {json.dumps(address)}")
        browser.until(
            f"document.querySelector('tr.chosen small')?.textContent === {json.dumps(film)}"
        )


def test_decades_with_hardly_anything_can_be_looked_at(tmp_path: Path, browser: Browser) -> None:
    put(tmp_path, "made", "1980", {})
    put(tmp_path, "made", "1990", {"7": [1.0]})
    put(tmp_path, "made", "2000", {"7": [0.5], "8": [1e199], "9": [-1e200]})
    assert run(tmp_path, workers=1, export=False).ok
    assert report.main(["--data", str(tmp_path)]) == 0
    seen = {}
    for decade in (1980, 1990, 2000):
        browser.open(tmp_path / "report.html", f"#made/{decade}s")
        seen[decade] = browser.run(
            "[...document.querySelectorAll('#rows tr')].map((row) => "
            "[row.querySelector('th').textContent, "
            "...[...row.querySelectorAll('li')].map((li) => li.textContent)])"
        )
    assert seen == {
        1980: [],
        1990: [["7"]],
        2000: [
            ["7", "5.000e+1988", "-5.000e+1999"],
            ["8", "5.000e+1987", "not finite9"],
            ["9", "-5.000e+1997", "not finite8"],
        ],
    }


def test_more_films_than_two_bytes_count_keep_their_neighbours(
    tmp_path: Path, browser: Browser
) -> None:
    n = 2**16 + 1
    ids = [f"film {k}" for k in range(n)]
    shares = np.ones(FINE_BINS, dtype=np.int64)
    distribution = Distribution(DecadeName("a", "2000"), n, n * (n - 1) // 2, shares, 0.0, 1.0)
    places = np.roll(np.arange(n), -1)[:, None]
    figures = dict.fromkeys(("min", "25%", "50%", "mean", "75%", "max"), 0.5)
    section = Section(
        ids, distribution, figures, np.arange(n)[::-1], None, places, np.full((n, 1), 0.25)
    )
    (tmp_path / "many.html").write_text(assemble([section], {}, [], "many"), "utf-8")
    browser.open(tmp_path / "many.html", "#a/2000s/film%2065536")
    assert shown(browser)[0] == "film 65536"
    assert browser.run("document.querySelector('#rows li').textContent") == "0.25000film 0"
