"""The pictures: there, legible, true to the numbers, and made from the store alone."""

import json
import shutil
import subprocess
import sys
import xml.etree.ElementTree
from pathlib import Path

import numpy as np
import pytest
from conftest import uncompute
from numpy.typing import NDArray
from reference import films, put

from engine import plot, run
from engine.data_folder import DecadeName
from engine.query.overview import FINE_BINS, Distribution

matplotlib = pytest.importorskip("matplotlib")

from matplotlib.collections import LineCollection  # noqa: E402
from matplotlib.figure import Figure  # noqa: E402
from matplotlib.patches import StepPatch  # noqa: E402
from matplotlib.text import Text  # noqa: E402
from PIL import Image  # noqa: E402

from engine import pictures  # noqa: E402

ROOT = Path(__file__).parents[1]


def named(approach: str, *decades: int) -> list[str]:
    """The files of an approach, in the order in which they are written."""
    return [
        *(f"distribution_{approach}.{kind}" for kind in ("png", "svg")),
        *(f"heatmap_{approach}_{x}s.{kind}" for x in decades for kind in ("png", "svg", "json")),
    ]


ALL = [*named("custom_genres", 1920), *named("embedding", 1930)]


def distribution(decade: int, n_films: int = 6238, part: float = 1.0) -> Distribution:
    counts = np.random.default_rng(decade).multinomial(10**6, [1 / FINE_BINS] * FINE_BINS)
    n_pairs = int(counts.sum() / part)
    return Distribution(DecadeName("made", str(decade)), n_films, n_pairs, counts, 0.1, 0.9)


def plots(data: Path) -> list[str]:
    return sorted(path.name for path in (data / "plots").iterdir())


def pixels(path: Path) -> NDArray[np.int64]:
    with Image.open(path) as image:
        return np.asarray(image.convert("RGB")).astype(np.int64)


def near(image: NDArray[np.int64], colour: str, most: int = 6) -> NDArray[np.bool_]:
    wanted = [int(colour[k : k + 2], 16) for k in (1, 3, 5)]
    result: NDArray[np.bool_] = np.abs(image - wanted).max(axis=-1) <= most
    return result


@pytest.fixture(scope="module")
def sample(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The sample with a finished store, no JSON, and its pictures; nobody changes it.

    Its largest decade, which takes the most time, is there for one of the approaches.
    """
    data = tmp_path_factory.mktemp("plot") / "sample"
    shutil.copytree(ROOT / "data" / "sample" / "embeddings", data / "embeddings")
    (data / "embeddings" / "custom_genres" / "plots_1930s.json").unlink()
    assert run(data, workers=1, export=False).ok
    assert plot.main(["--data", str(data)]) == 0
    return data


@pytest.fixture
def data(sample: Path, tmp_path: Path) -> Path:
    """A copy of the sample and its store, without pictures."""
    return Path(
        shutil.copytree(sample, tmp_path / "sample", ignore=shutil.ignore_patterns("plots"))
    )


def test_each_approach_gets_both_pictures_in_both_forms(sample: Path) -> None:
    assert plots(sample) == sorted(ALL)


def test_the_same_store_gives_the_same_bytes_in_the_files_that_are_named(
    sample: Path, data: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert plot.main(["--data", str(data), "--approach", "custom_genres"]) == 0
    captured = capsys.readouterr()
    names = named("custom_genres", 1920)
    assert captured.out.split() == [str(data / "plots" / name) for name in names]
    assert captured.err == ""
    assert plots(data) == sorted(names)
    for name in names:
        assert (data / "plots" / name).read_bytes() == (sample / "plots" / name).read_bytes()


def test_only_the_decades_asked_for_get_a_heat_map(data: Path) -> None:
    arguments = ["--approach", "embedding", "--decade", "1910", "1920s"]
    assert plot.main(["--data", str(data), *arguments]) == 0
    assert plots(data) == sorted(named("embedding", 1910, 1920))


def test_pictures_are_small_enough_for_a_readme(sample: Path) -> None:
    for path in (sample / "plots").iterdir():
        most = {".png": 150_000, ".svg": 1_000_000, ".json": 10_000}
        assert path.stat().st_size < most[path.suffix]
        if path.suffix == ".png":
            assert 1100 < pixels(path).shape[1] < 1500


@pytest.mark.parametrize("name", ["benchmark.png", "distribution.png", "heatmap.png", "report.png"])
def test_the_pictures_of_the_documents_are_there_and_small(name: str) -> None:
    path = ROOT / "docs" / "images" / name
    assert path.stat().st_size < 150_000
    assert 1100 < pixels(path).shape[1] < 1500


def test_a_quarter_of_each_distribution_is_marked(sample: Path) -> None:
    for approach in ("embedding", "custom_genres"):
        image = pixels(sample / "plots" / f"distribution_{approach}.png")[180:]
        upper, lower = near(image, pictures.UPPER).sum(), near(image, pictures.LOWER).sum()
        assert 0.22 < upper / (upper + lower) < 0.28


def test_a_heat_map_has_the_colours_of_the_similarities_of_the_films_in_the_file_beside_it(
    data: Path,
) -> None:
    assert plot.main(["--data", str(data), "--approach", "embedding", "--decade", "1910"]) == 0
    text = (data / "embeddings" / "embedding" / "plots_1910s.json").read_text()
    vectors = np.array(list(json.loads(text).values()))
    ids = list(json.loads(text))
    ordered = json.loads((data / "plots" / "heatmap_embedding_1910s.json").read_text())
    assert sorted(ordered) == sorted(ids)
    order = [ids.index(film) for film in ordered]
    matrix = (vectors @ vectors.T)[order][:, order]
    off = ~np.eye(len(matrix), dtype=bool)
    low, high = np.quantile(matrix[off], [0.02, 0.98])
    image = pixels(data / "plots" / "heatmap_embedding_1910s.png")
    side = 20 * len(matrix)
    centres = np.arange(len(matrix)) * 20 + 10
    cells = image[image.shape[0] - 60 - side + centres][:, 60 + centres]
    colours = matplotlib.colormaps["viridis"]((matrix - low) / (high - low))[..., :3] * 255
    assert np.abs(cells - colours)[off].max() < 12
    assert near(cells, pictures.MISSING)[~off].all()


def test_an_svg_has_text_as_text_and_one_small_image_a_heat_map(sample: Path) -> None:
    svg = "{http://www.w3.org/2000/svg}"
    for name in ALL:
        if name.endswith(".svg"):
            root = xml.etree.ElementTree.parse(sample / "plots" / name).getroot()
            # The colour bar is another.
            assert len(root.findall(f".//{svg}image")) == (2 if name.startswith("heatmap") else 0)
            texts = {text.text for text in root.iter(f"{svg}text")}
            if name.startswith("heatmap"):
                assert "films, ordered so that similar ones stand together" in texts
            elif "embedding" in name:
                assert {"1930s", "526 films, 138,075 pairs", "75th percentile"} <= texts
            else:
                assert {"1920s", "165 films, 13,530 pairs", "75th percentile"} <= texts


def check_layout(figure: Figure) -> None:
    """Every text stands inside the figure, and none over another."""
    figure.draw_without_rendering()
    unseen = {
        tick.label1
        for axes in figure.axes
        for axis in (axes.xaxis, axes.yaxis)
        for tick in axis.get_major_ticks()
        if not min(axis.get_view_interval()) <= tick.get_loc() <= max(axis.get_view_interval())
    }
    boxes = [
        (text.get_text(), text.get_window_extent())
        for text in set(figure.findobj(Text)) - unseen
        if text.get_visible() and text.get_text().strip()
    ]
    boxes = [(text, box) for text, box in boxes if box.width * box.height]
    for text, box in boxes:
        assert box.x0 >= 0, text
        assert box.y0 >= 0, text
        assert box.x1 <= figure.bbox.x1, text
        assert box.y1 <= figure.bbox.y1, text
    for k, (text, box) in enumerate(boxes):
        for other, other_box in boxes[:k]:
            # Neighbouring lines share a point or two of empty space above and below letters.
            assert not box.padded(-1.5).overlaps(other_box), (text, other)


@pytest.mark.parametrize("n", [1, 2, 5, 11])
def test_any_number_of_decades_is_legible(n: int) -> None:
    decades = [distribution(1800 + 10 * k, part=0.051) for k in range(n)]
    with matplotlib.rc_context(pictures.STYLE):
        check_layout(pictures.draw_distributions("custom_genres", decades))


@pytest.mark.parametrize("n", [2, 263, 500])
def test_a_heat_map_of_any_size_is_legible(n: int) -> None:
    image = np.random.default_rng(0).uniform(0.1, 0.9, (n, n))
    with matplotlib.rc_context(pictures.STYLE):
        check_layout(pictures.draw_heat_map(image, 13, distribution(2000)))


def test_the_axes_are_common_and_the_sizes_are_told() -> None:
    figure = pictures.draw_distributions(
        "x", [distribution(1990), distribution(2000, 1, part=0.41)]
    )
    first, second = figure.axes
    assert first.get_xlim() == second.get_xlim()
    assert first.get_ylim() == second.get_ylim()
    texts = {text.get_text() for text in figure.findobj(Text)}
    assert {
        "1990s",
        "6,238 films, 1,000,000 pairs",
        "median 0.500",
        "75th percentile\n0.700",
    } <= texts
    assert {"1 film, 2,439,024 pairs", "41 % of the pairs"} <= texts


def test_the_lines_of_median_and_percentile_hide_no_bar() -> None:
    figure = pictures.draw_distributions("x", [distribution(1990), distribution(2000)])
    for panel in figure.axes:
        (bars, *_) = (patch for patch in panel.patches if isinstance(patch, StepPatch))
        heights, edges, _ = bars.get_data()
        lines = [x for x in panel.collections if isinstance(x, LineCollection)]
        assert len(lines) == 2
        assert not panel.lines
        for line in lines:
            ((x, foot), (_, top)) = line.get_segments()[0]
            (bar,) = np.flatnonzero((edges[:-1] <= x) & (x < edges[1:]))
            assert foot == heights[bar]
            assert top - foot > 0.1 * panel.get_ylim()[1]


def test_the_name_of_an_approach_is_no_formula() -> None:
    figure = pictures.draw_distributions("$x^2$", [distribution(1990)])
    title = next(text for text in figure.findobj(Text) if "$x^2$" in text.get_text())
    assert title.get_parse_math() is False


@pytest.mark.parametrize("vectors", [[], [[1.0], [1.0]], [[0.5]] * 9 + [[-1e150]]])
def test_decades_with_hardly_anything_are_drawn(vectors: list[list[float]], tmp_path: Path) -> None:
    put(tmp_path, "made", "2000", {str(film): vector for film, vector in enumerate(vectors)})
    assert run(tmp_path, workers=1, export=False).ok
    assert plot.main(["--data", str(tmp_path)]) == 0
    assert len(plots(tmp_path)) == (5 if len(vectors) > 1 else 2)


def test_an_unfinished_decade_is_drawn_and_said_to_be(
    tmp_path: Path, small_blocks: None, capsys: pytest.CaptureFixture[str]
) -> None:
    put(tmp_path, "made", "2000", films(16, 3))
    assert run(tmp_path, workers=1, export=False).ok
    uncompute(tmp_path / "similarities.zarr" / "made" / "2000", 1)  # Rows 4 to 7.
    assert plot.main(["--data", str(tmp_path)]) == 0
    told = capsys.readouterr().err
    assert told == "made 2000s: 68 % of the pairs are computed; those are drawn\n"
    drawn = pixels(tmp_path / "plots" / "heatmap_made_2000s.png")
    assert near(drawn, pictures.MISSING).sum() > 10_000


def test_a_decade_that_no_run_has_read_is_said_to_be_left_out(
    data: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.rmtree(data / "similarities.zarr" / "custom_genres" / "1920")
    assert plot.main(["--data", str(data), "--approach", "custom_genres"]) == 0
    assert capsys.readouterr().err == "custom_genres 1920s: nothing is computed yet; left out\n"
    assert plots(data) == sorted(named("custom_genres", 1910))


def test_a_damaged_decade_does_not_stop_the_others(
    data: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (data / "similarities.zarr/embedding/1930/similarities/c/0/1").write_bytes(b"")
    (data / "similarities.zarr/embedding/1920/zarr.json").write_bytes(b"rubbish")
    assert plot.main(["--data", str(data), "--approach", "embedding"]) == 1
    errors = capsys.readouterr().err.splitlines()
    assert [line.startswith("error: ") for line in errors] == [True, True]
    assert "embedding 1920s: the record of its group is damaged" in errors[0]
    assert "embedding 1930s: the chunk of similarities in row 0, column 1 is damaged" in errors[1]
    assert "heatmap_embedding_1910s.png" in plots(data)


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--approach", "nobody"], "there is no approach 'nobody'; found: custom_genres"),
        (["--decade", "1850"], "there is no decade '1850'; found: 1910, 1920, 1930"),
        (["--store", "nowhere.zarr"], "nowhere.zarr: there is no store yet; to compute it, run"),
    ],
)
def test_what_is_not_there_is_one_line(
    arguments: list[str], sentence: str, data: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert plot.main(["--data", str(data), *arguments]) == 1
    told = capsys.readouterr().err
    assert told.startswith("error: ")
    assert sentence in told
    assert told.count("\n") == 1


def test_a_folder_that_cannot_be_written_is_one_line(
    data: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (data / "plots").write_text("a file")
    assert plot.main(["--data", str(data), "--approach", "custom_genres"]) == 1
    assert capsys.readouterr().err == f"error: {data / 'plots'}: File exists\n"


def test_without_matplotlib_one_sentence_says_how_to_install_it(sample: Path) -> None:
    code = (
        "import sys; sys.modules['matplotlib'] = None; from engine.plot import main; "
        f"sys.exit(main(['--data', {str(sample)!r}]))"
    )
    result = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert result.returncode == 1
    assert result.stderr == (
        "error: pictures need matplotlib, which is not installed: pip install matplotlib\n"
    )
