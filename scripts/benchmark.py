"""The engine side by side with what people would use instead, measured in one go.

Makes embeddings of the real shape, runs every contender on them in turn, each in a process of
its own, round after round, checks every result against the notebook's, and prints the medians.

In the folder benchmarking: who takes part is in lineup.py, their programs in contenders.py,
arrow.py and compiled.py, what is measured and how in measuring.py, on what in machine.py, when two
results agree in agreement.py, what keeps a virtual machine's memory in hand in warm_memory.py, and
what comes of it in tables.py and chart.py.
"""

import argparse
import contextlib
import os
import re
import shutil
import signal
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import joblib

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
sys.path.insert(0, str(Path(__file__).resolve().parent / "benchmarking"))

from agreement import DisagreementError, difference, digests
from lineup import Contender, Engine, Row, line_up
from machine import machine
from measuring import FailedError, measure
from tables import contenders_table, flat_table, ratios_table
from warm_memory import warm_memory

from engine.synthesize import DIMENSIONS, FILMS
from engine.synthesize import main as synthesize

SCALES = {"smoke": 0.03, "medium": 0.1, "full": 1.0}
FLAT_FILMS = {"smoke": (200, 400), "medium": (1000, 2000, 4000), "full": (2000, 5000, 10000, 20000)}
_FLAT_DIMENSIONS = 64
_START_FILMS = 2


def say(text: str) -> None:
    """Tell on stderr how far it is."""
    print(text, file=sys.stderr, flush=True)


@dataclass
class Benchmark:
    """A benchmark at work in a folder of its own."""

    folder: Path
    options: argparse.Namespace
    ok: bool = True
    all_exact: bool = True
    reference: dict[str, str] = field(default_factory=dict)
    """Digests of the result that others are compared with."""

    def __post_init__(self) -> None:
        self.data, self.out = self.folder / "data", self.folder / "out"

    def synthesize(self, *options: object) -> None:
        """Make embeddings, and forget those that are there with all that was made of them."""
        shutil.rmtree(self.data, ignore_errors=True)
        self.reference = {}
        say("making embeddings")
        with open(os.devnull, "w") as nowhere, contextlib.redirect_stdout(nowhere):
            if synthesize(["--data", str(self.data), *map(str, options)]):
                raise OSError(f"{self.data}: the embeddings could not be made")

    def run(self, contenders: Sequence[Contender]) -> list[Row]:
        """Run contenders in turn, round after round, and check what they made."""
        rows = [Row(contender) for contender in contenders]
        self.all_exact = all(contender.tolerance is None for contender in contenders)
        for row in rows:
            if row.contender.missing:
                row.excluded, row.result = True, f"skipped: {row.contender.module} is not installed"
                say(f"{row.contender.name}: {row.result}")
        # Touched for each line-up anew: the system has moved some of the pages meanwhile.
        with warm_memory() if self.options.warm_memory else contextlib.nullcontext(0) as touched:
            if touched:
                say(f"memory: {touched / 1e9:.1f} GB touched")
            for turn in range(max(self.options.repeat, self.options.repeat_slow)):
                for before, row in zip([None, *rows], rows, strict=False):
                    slow = row.contender.slow
                    if row.contender.goes_on and before and before.excluded and not row.excluded:
                        row.excluded, row.result = True, "could not begin"
                    if turn < (self.options.repeat_slow if slow else self.options.repeat):
                        self._run_once(row, turn)
        shutil.rmtree(self.out, ignore_errors=True)
        return rows

    def _run_once(self, row: Row, turn: int) -> None:
        contender = row.contender
        if row.excluded:
            return
        if not contender.goes_on:
            shutil.rmtree(self.out, ignore_errors=True)
            self.out.mkdir()
            (self.out / "embeddings").symlink_to(self.data / "embeddings")
        os.sync()  # The disk is to be done with what the one before wrote.
        environment = contender.engine.environment if contender.engine else {}
        try:
            command = contender.command(self.data, self.out)
            run = measure(command, self.folder / "stderr", environment)
            row.result = self._check(contender.tolerance)
        except (FailedError, DisagreementError) as error:
            self.ok = False
            row.excluded = True
            row.result = "failed" if isinstance(error, FailedError) else "DISAGREES"
            say(f"error: {contender.name}: {error}")
        else:
            row.runs.append(run)
            say(f"round {turn + 1}: {contender.name}: {run.wall:.2f} s, {row.result}")

    def _check(self, tolerance: float | None) -> str:
        found, expected = self.out / "similarities", self.data / "similarities"
        if not self.reference:
            if tolerance is not None:
                raise DisagreementError("there is nothing to compare it with")
            self.reference = digests(found)
            if not self.all_exact:  # Else digests are enough, and a copy may take 8 GB.
                shutil.copytree(found, expected)
            return "(reference)"
        largest = difference(found, expected, self.reference, tolerance)
        return f"within {largest:.1e}" if largest else "same bytes"


def compare_all(benchmark: Benchmark, options: argparse.Namespace) -> Iterator[str]:
    """Measure the contenders; yield what is to be printed."""
    films = [max(2, round(SCALES[options.scale] * n)) for n in FILMS.values()]
    n_pairs = len(DIMENSIONS) * sum(n * (n - 1) // 2 for n in films)
    benchmark.synthesize("--scale", SCALES[options.scale])
    rows = benchmark.run(line_up(options.workers, options.engines, options.only))
    yield (
        f"{sum(films):,} films in {len(films)} decades under {len(DIMENSIONS)} approaches, "
        f"{n_pairs:,} pairs; medians"
    )
    yield contenders_table(rows, options.workers[-1], n_pairs, options.markdown)
    yield ratios_table(rows, options.workers, options.engines, options.markdown)


def compare_sizes(benchmark: Benchmark, options: argparse.Namespace) -> Iterator[str]:
    """Measure the engine on one decade that grows; yield what is to be printed."""
    films = (_START_FILMS, *FLAT_FILMS[options.scale])
    measured, inputs = [], []
    for n in films:
        benchmark.synthesize(
            *("--films", n, "--dimensions", _FLAT_DIMENSIONS),
            *("--approach", "embedding", "--decade", 2000),
        )
        inputs += [path.stat().st_size for path in benchmark.data.rglob("plots_*.json")]
        measured.append(benchmark.run(line_up(options.workers, wanted=options.only)))
    yield (
        f"one decade of vectors of {_FLAT_DIMENSIONS} numbers; medians; the cost of a pair "
        f"without what a decade of {_START_FILMS} films costs, which is the start"
    )
    yield flat_table(films, inputs, measured, options.markdown)


def parser() -> argparse.ArgumentParser:
    """Build the parser of the command line."""
    names = ", ".join(contender.name for contender in line_up([1, 2]))
    parser = argparse.ArgumentParser(
        description="Measure the engine side by side with what people would use instead, on "
        "made-up embeddings, and check that all results agree.",
        epilog=f"NAME is one of {names}, or one of the engine's with before- or NAME=VALUE- in "
        "front. Exit status: 0 all agree; 1 something failed or differs; 2 wrong usage; 130 "
        "interrupted.",
    )
    scale = (
        "smoke: seconds; medium: a minute; full: 22,390 films, minutes and 4 GB of memory for "
        "the notebook, 8 GB in the folder, with --flat 11 (default: medium)"
    )
    warm = (
        "on a virtual machine: touch all free memory but 1 GB beforehand and keep the host from "
        "taking it back, which would be measured otherwise (takes up to a minute each time)"
    )
    into = (
        "put what is printed, as Markdown, between the two comments of this file that say where, "
        "and draw its chart anew, images/benchmark.png beside it"
    )
    add = parser.add_argument
    add("--scale", choices=SCALES, default="medium", help=scale)
    add("--flat", action="store_true", help="instead: the cost of a pair in one growing decade")
    add("--before", type=_checkout, metavar="PATH", help="another checkout, run in turn with this")
    text = "the engine once more, with this environment variable"
    add("--setting", type=_setting, default=[], action="append", metavar="NAME=VALUE", help=text)
    text = (
        "where to put a temporary folder; best on a RAM disk like /dev/shm (default: %(default)s)"
    )
    add("--folder", metavar="DIR", default=tempfile.gettempdir(), help=text)
    add("--warm-memory", action="store_true", help=warm)
    text = "of the engine, one or several numbers (default: 1 and the CPUs)"
    add("--workers", type=_positive, nargs="+", metavar="N", help=text)
    add("--repeat", type=_positive, metavar="N", help="rounds (default: smoke 1, others 3)")
    text = "rounds of the notebook (default: 1)"
    add("--repeat-slow", type=_positive, default=1, metavar="N", help=text)
    add("--only", nargs="+", metavar="NAME", default=[], help="only these (default: all)")
    add("--markdown", action="store_true", help="print tables as Markdown")
    add("--into", type=Path, metavar="FILE.md", help=into)
    return parser


def _positive(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a positive integer")
    return int(text)


def _checkout(text: str) -> Engine:
    root = Path(text).resolve()
    if not (root / "scripts" / "run.py").is_file():
        raise argparse.ArgumentTypeError(f"{text!r} holds no scripts/run.py")
    return Engine("before", "before-", root)


def _setting(text: str) -> Engine:
    name, _, value = text.partition("=")
    if not name or name == text:
        raise argparse.ArgumentTypeError(f"{text!r} is not of the form NAME=VALUE")
    return Engine(f"engine with {text}", f"{text}-", environment={name: value})


def main(arguments: Sequence[str] | None = None) -> int:
    """Parse the command line, measure, print the tables, and return the exit status."""
    options = parser().parse_args(arguments)
    usable = int(joblib.cpu_count())
    options.workers = sorted(set(options.workers or (1, usable)))
    options.repeat = options.repeat or (1 if options.scale == "smoke" else 3)
    options.markdown = options.markdown or options.into is not None
    options.engines = [Engine(), *options.setting, *([options.before] if options.before else [])]
    known = [contender.name for contender in line_up(options.workers, options.engines)]
    if options.flat:
        known = [name for name in known if re.fullmatch(r"(dot|gemm)-\d+", name)]
        options.only = options.only or [name for name in known if name.startswith("dot")]
    for name in options.only:
        if name not in known:
            parser().error(f"argument --only: {name!r} is none of {', '.join(known)}")
    if options.workers[-1] > usable:
        say(f"using {usable} workers ({options.workers[-1]} requested, {usable} CPUs)")
    signal.signal(signal.SIGTERM, lambda number, _: sys.exit(128 + number))
    try:
        return _measure(options)
    except KeyboardInterrupt:
        say("interrupted")
        return 130
    except OSError as error:
        say(f"error: {error}")
        return 1


def _measure(options: argparse.Namespace) -> int:
    section = compare_sizes if options.flat else compare_all
    if options.into:
        _insert(options.into, section.__name__)  # An error now, not after the hour.
    with tempfile.TemporaryDirectory(prefix="similarities-benchmark-", dir=options.folder) as made:
        folder = Path(made)
        lines = [machine(folder), *(engine.facts() for engine in options.engines)]
        if options.warm_memory:
            lines.append("memory: what is free is touched beforehand and kept from the host")
        fence = ["```text", "```"] if options.markdown else []
        texts = ["\n".join([*fence[:1], *lines, *fence[1:]])]
        print(texts[0], flush=True)
        benchmark = Benchmark(folder, options)
        for text in filter(None, section(benchmark, options)):
            texts.append(text)
            print(f"\n{text}", flush=True)
    if options.into:
        _insert(options.into, section.__name__, "\n\n".join(texts))
    return 0 if benchmark.ok else 1


def _insert(document: Path, section: str, text: str = "") -> None:
    """Replace what stands between the comments of a section, and draw its chart."""
    parts = re.split(rf"^(<!-- (?:end of )?{section} -->\n)", document.read_text(), flags=re.M)
    if len(parts) != 5:
        raise OSError(f"{document}: <!-- {section} --> and <!-- end of {section} --> are not in it")
    try:
        from chart import draw
    except ModuleNotFoundError:
        raise OSError(
            "the chart needs matplotlib, which is not installed: pip install matplotlib"
        ) from None
    if text:
        parts[2] = f"\n{text}\n\n"
        document.write_text("".join(parts))
        if section == compare_all.__name__:
            draw(document, document.parent / "images" / "benchmark.png")


if __name__ == "__main__":
    sys.exit(main())
