"""Tables say the same as text and as HTML, and no name in them is taken for more than a name."""

import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import pytest
from reference import films, put

import engine
from engine import DecadeSummary, Status, Summary, terminal
from engine.data_folder import DecadeName
from engine.tables import Table, as_html, as_text


class Reader(HTMLParser):
    """Reads the cells and the texts of HTML, as a browser would."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.rows: list[list[str]] = []
        self.texts: list[str] = []
        self.tags: set[str] = set()
        self.n_tables = 0
        self.open: list[str] = []
        self.feed(html)
        self.close()

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.n_tables += tag == "table"
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
    *table, done, where = cells(str(summary))
    read = Reader(summary._repr_html_())
    assert filled(read.rows) == table
    assert read.texts == [*done, *where]
    assert [row[0] for row in table] == [
        *("embedding", "decade", "1990s"),
        *("genres", "decade", "1990s"),
        "total",
    ]
    assert repr(summary) == str(summary)


def test_a_status_is_the_same_tables_for_a_notebook(data: Path, summary: Summary) -> None:
    status = engine.status(data)
    read = Reader(status._repr_html_())
    *table, last = cells(str(status))
    assert filled(read.rows) == table
    assert read.texts == last == ["everything is up to date"]
    assert len(table) == 6


def test_what_the_next_run_would_do_is_in_columns_for_a_notebook_too(tmp_path: Path) -> None:
    put(tmp_path, "genres", "1990", films(30))
    status = engine.status(tmp_path, workers=1)
    *_, last = str(status).split("\n\n")
    head, *lines = cells(last)
    assert head == ["the next run works on 1 decade, to"]
    assert [line[0] for line in lines] == ["read", "compute", "write", "take"]
    read = Reader(status._repr_html_())
    assert [[cell.strip() for cell in row] for row in read.rows[-5:]] == [head, *lines]
    assert read.texts == []


def test_the_command_line_tables_have_a_name_of_their_own(data: Path, summary: Summary) -> None:
    assert terminal.summary_table(summary) == str(summary)
    assert terminal.status_table(engine.status(data)) == str(engine.status(data))


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
        assert read.rows[0] == [name]
        assert "b" not in read.tags


def test_a_table_without_rows_is_its_head() -> None:
    assert as_text([Table(("a", "b"), [])]) == "a  b"
    assert Reader(as_html([Table(("a", "b"), [])])).rows == [["a", "b"]]


def test_tables_of_one_head_are_one_table_for_a_notebook() -> None:
    head = ("a", "b")
    above, sums = Table(head, [("x", "1")], caption="of x"), Table(head, [("y", "2")], headed=False)
    read = Reader(as_html([above, sums, "done", Table(head, [])]))
    assert read.rows == [["of x"], ["a", "b"], ["x", "1"], ["y", "2"], ["a", "b"]]
    assert read.n_tables == 2


def test_dispensable_columns_are_left_out_until_the_text_fits() -> None:
    table = Table(("aaaa", "bbbb", "cccc"), [("1", "2", "3")], dispensable=(1, 2))
    for width, line in ((16, "aaaa  bbbb  cccc"), (15, "aaaa  cccc"), (9, "aaaa"), (1, "aaaa")):
        assert as_text([table], width).splitlines()[0] == line
    assert Reader(as_html([table])).rows == [["aaaa", "bbbb", "cccc"], ["1", "2", "3"]]
