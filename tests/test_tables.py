"""Tables say the same as text and as HTML, and no name in them is taken for more than a name."""

import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import pytest
from reference import films, put

import engine
from engine import DecadeSummary, Status, Summary
from engine.data_folder import DecadeName
from engine.tables import Table, as_html, as_text


class Reader(HTMLParser):
    """Reads the cells and the texts of HTML, as a browser would."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.rows: list[list[str]] = []
        self.texts: list[str] = []
        self.tags: set[str] = set()
        self.open: list[str] = []
        self.feed(html)
        self.close()

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.open.append(tag)
        if tag == "tr":
            self.rows.append([])
        if tag in ("td", "th"):
            self.rows[-1].append("")

    def handle_endtag(self, tag: str) -> None:
        while self.open and self.open.pop() != tag:
            pass

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] in ("td", "th"):
            self.rows[-1][-1] += data
        elif data.strip():
            self.texts.append(data.strip())


def cells(text: str) -> list[list[str]]:
    """The cells of all lines of a text, columns being two spaces apart."""
    return [re.split(r"\s{2,}", line.strip()) for line in text.splitlines() if line.strip()]


def filled(rows: list[list[str]]) -> list[list[str]]:
    return [[cell for cell in row if cell] for row in rows]


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    data = tmp_path_factory.mktemp("tables")
    for approach in ("embedding", "genres"):
        put(data, approach, "1990", films(30))
    return data


@pytest.fixture(scope="module")
def summary(data: Path) -> Summary:
    return engine.run(data, workers=1)


def test_a_summary_is_the_same_table_for_a_notebook(summary: Summary) -> None:
    *table, last = cells(str(summary))
    read = Reader(summary._repr_html_())
    assert filled(read.rows) == table
    assert read.texts == last
    assert len(table) == 3
    assert repr(summary) == str(summary)


def test_a_status_is_the_same_tables_for_a_notebook(data: Path, summary: Summary) -> None:
    status = engine.status(data)
    read = Reader(status._repr_html_())
    table = [row for row in cells(str(status)) if len(row) > 1]
    assert filled(read.rows) == table
    assert read.texts == [row[0] for row in cells(str(status)) if len(row) == 1]
    assert len(table) == 4


def test_a_status_says_for_a_notebook_who_is_at_work_and_what_fails(data: Path) -> None:
    status = engine.status(data)
    failing = replace(status.decades[0], next="fail", reason="x.json: the input is gone")
    texts = Reader(Status("s.zarr", "process 12", [failing])._repr_html_()).texts
    assert texts[0] == "s.zarr: process 12 is at work on it"
    assert "x.json: the input is gone" in texts


def test_the_store_and_a_decade_print_as_tables(data: Path, summary: Summary) -> None:
    similarities = engine.open(data)
    head = ["approach", "decade", "films", "pairs", "computed"]
    rows = [[approach, "1990s", "30", "435", "100 %"] for approach in ("embedding", "genres")]
    assert cells(str(similarities)) == [head, *rows]
    assert Reader(similarities._repr_html_()).rows == [head, *rows]
    assert cells(str(similarities["genres", 1990])) == [head, rows[1]]
    assert Reader(similarities["genres", 1990]._repr_html_()).rows == [head, rows[1]]


def test_a_damaged_decade_hides_no_other(tmp_path: Path) -> None:
    for approach in ("embedding", "genres"):
        put(tmp_path, approach, "1990", films(30))
    assert engine.run(tmp_path, workers=1, export=False).ok
    (tmp_path / "similarities.zarr/embedding/1990/ids/c/0").write_bytes(b"rubbish")
    assert cells(str(engine.open(tmp_path)))[1:] == [
        ["embedding", "1990s", "damaged"],
        ["genres", "1990s", "30", "435", "100 %"],
    ]


def test_a_name_with_markup_stays_a_name() -> None:
    name = "<b>&amp;"
    hostile = DecadeSummary(DecadeName(name, "1990"), n_films=2, n_pairs=1)
    for html in (
        as_html([Table(("a", "b"), [(name, "1")], caption=name)]),
        Summary([hostile], 1.0)._repr_html_(),
    ):
        read = Reader(html)
        assert read.rows[1][0] == name
        assert "b" not in read.tags


def test_a_table_without_rows_is_its_head() -> None:
    assert as_text([Table(("a", "b"), [])]) == "a  b"
    assert Reader(as_html([Table(("a", "b"), [])])).rows == [["a", "b"]]
