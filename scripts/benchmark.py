"""The engine side by side with what people would use instead, measured in one go.

Makes embeddings of the real shape, runs every contender on them in turn, each in a process of
its own, round after round, checks every result against the notebook's, and prints the medians.

In the folder benchmarking: who takes part is in lineup.py; their programs in contenders.py, and in
arrow.py and compiled.py, which share blocks.py; what is measured and how in measuring.py; on what
in machine.py; when two results agree in agreement.py; what comes of it in tables.py.
"""

import argparse
import contextlib
import io
import itertools
import math
import os
import re
import shutil
import signal
import sys
import tempfile
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path

import joblib

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
sys.path.insert(0, str(Path(__file__).resolve().parent / "benchmarking"))

from agreement import DisagreementError, check
from lineup import Contender, engines, line_up
from machine import describe_engine, describe_machine
from measuring import FailedError, measure
from tables import contenders_table, draw, flat_table, ratios_table

from engine.synthesize import DIMENSIONS, FILMS
from engine.synthesize import main as synthesize

SCALES = {"smoke": 0.03, "medium": 0.1, "full": 1.0}
FLAT_FILMS = {"smoke": (200, 400), "medium": (1000, 2000, 4000), "full": (2000, 5000, 10000, 20000)}
_FLAT_DIMENSIONS = 64
_START_FILMS = 2
FAILURES = {FailedError: "failed", DisagreementError: "DISAGREES"}


def say(text: str) -> None:
    """Tell on stderr how far it is."""
    print(text, file=sys.stderr, flush=True)


def compare_all(folder: Path, options: argparse.Namespace) -> tuple[list[Contender], list[str]]:
    """Measure the contenders; return them, and what is to be printed."""
    scale = SCALES[options.scale]
    films = [max(2, round(scale * n)) for n in FILMS.values()]
    n_pairs = len(DIMENSIONS) * sum(math.comb(n, 2) for n in films)
    contenders = run(["--scale", scale], folder, options)
    return contenders, [
        f"{sum(films):,} films in {len(films)} decades under {len(DIMENSIONS)} approaches, "
        f"{n_pairs:,} pairs; medians",
        contenders_table(contenders, options.workers[-1], n_pairs),
        ratios_table(contenders, options.workers),
    ]


def compare_sizes(folder: Path, options: argparse.Namespace) -> tuple[list[Contender], list[str]]:
    """Measure the engine on one decade that grows; return its contenders, and what to print."""
    measured, sizes = [], []
    for films in (_START_FILMS, *FLAT_FILMS[options.scale]):
        shape = ["--films", films, "--dimensions", _FLAT_DIMENSIONS]
        shape += ["--approach", "embedding", "--decade", 2000]
        measured.append(run(shape, folder, options))
        (source,) = folder.glob("data/embeddings/*/*.json")
        sizes.append((films, source.stat().st_size))
    return [*itertools.chain(*measured)], [
        f"one decade of vectors of {_FLAT_DIMENSIONS} numbers; medians; the cost of a pair "
        f"without what a decade of {_START_FILMS} films costs, which is the start",
        flat_table(sizes, measured),
    ]


def run(shape: Sequence[object], folder: Path, options: argparse.Namespace) -> list[Contender]:
    """Make embeddings, run contenders on them in turn, round after round, and check each result."""
    data, out, reference = folder / "data", folder / "out", folder / "reference"
    shutil.rmtree(data, ignore_errors=True)
    shutil.rmtree(reference, ignore_errors=True)
    say("making embeddings")
    with contextlib.redirect_stdout(io.StringIO()):
        if synthesize(["--data", str(data), *map(str, shape)]):
            raise OSError(f"{data}: the embeddings could not be made")
    contenders = line_up(options.workers, options.before, options.only)
    for contender in contenders:
        if contender.over:
            say(f"{contender.name}: {contender.result}")
    # For equal bytes digests are enough, and the reference may take 8 GB.
    inexact = any(contender.tolerance is not None for contender in contenders)
    kept, wanted = reference if inexact else None, dict[str, str]()
    for turn, contender in itertools.product(range(options.repeat), contenders):
        if contender.over:
            continue
        shutil.rmtree(out, ignore_errors=True)
        out.mkdir()
        (out / "embeddings").symlink_to(data / "embeddings")
        command = [*contender.command, str(out)]
        try:
            if contender.finished:
                measure(command)
            os.sync()  # The disk is to be done with what was written before.
            measurement = measure(command)
            contender.result = check(out / "similarities", wanted, kept, contender.tolerance)
        except (FailedError, DisagreementError) as error:
            contender.over, contender.result = True, FAILURES[type(error)]
            say(f"error: {contender.name}: {error}")
        else:
            contender.over = contender.once
            contender.runs.append(measurement)
            say(f"round {turn + 1}: {contender.name}: {measurement.wall:.2f} s, {contender.result}")
    shutil.rmtree(out, ignore_errors=True)
    return contenders


def parser() -> argparse.ArgumentParser:
    """Build the parser of the command line."""
    names = ", ".join(contender.name for contender in line_up([1, 2]))
    parser = argparse.ArgumentParser(
        description="Measure the engine side by side with what people would use instead, on "
        "made-up embeddings, and check that all results agree.",
        epilog=f"NAME is one of {names}, or one of the engine's with before- in front. Exit "
        "status: 0 all agree; 1 something failed or differs; 2 wrong usage; 130 interrupted.",
    )
    add = parser.add_argument
    text = "smoke: seconds; medium: a minute; full: 22,390 films, half an hour, 4 GB of memory and "
    text += "8 GB in the folder, with --flat 11 (default: medium)"
    add("--scale", choices=SCALES, default="medium", help=text)
    add("--flat", action="store_true", help="instead: the cost of a pair in one growing decade")
    add("--before", type=_checkout, metavar="PATH", help="another checkout, run in turn with this")
    text = "for temporary files; best on a RAM disk like /dev/shm (default: %(default)s)"
    add("--folder", metavar="DIR", default=tempfile.gettempdir(), help=text)
    text = "of the engine, one or several numbers, up to the CPUs (default: 1 and all)"
    add("--workers", type=_positive, nargs="+", metavar="N", help=text)
    text = "rounds, but of the notebook one (default: smoke 1, others 3)"
    add("--repeat", type=_positive, metavar="N", help=text)
    text = "only these, and dot with the most workers (default: all; with --flat every dot)"
    add("--only", nargs="+", metavar="NAME", default=[], help=text)
    text = "put what is printed between the two comments of this file that say where, and draw its "
    text += "chart anew, images/benchmark.png beside it"
    add("--into", type=Path, metavar="FILE.md", help=text)
    return parser


def _positive(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a positive integer")
    return int(text)


def _checkout(text: str) -> Path:
    root = Path(text).resolve()
    if not (root / "scripts" / "run.py").is_file():
        raise argparse.ArgumentTypeError(f"{text!r} holds no scripts/run.py")
    return root


def main(arguments: Sequence[str] | None = None) -> int:
    """Parse the command line, measure, print the tables, and return the exit status."""
    options = parser().parse_args(arguments)
    usable = int(joblib.cpu_count())
    options.workers = sorted({min(n, usable) for n in options.workers or (1, usable)})
    options.repeat = options.repeat or (1 if options.scale == "smoke" else 3)
    known = [contender.name for contender in line_up(options.workers, options.before)]
    for name in options.only:
        if name not in known:
            parser().error(f"argument --only: {name!r} is none of {', '.join(known)}")
    if options.flat and not options.only:
        options.only = [name for name in known if "dot-" in name]
    try:
        return _report(options)
    except KeyboardInterrupt:
        say("interrupted")
        return 130
    except OSError as error:
        say(f"error: {error}")
        return 1


def _report(options: argparse.Namespace) -> int:
    compare = compare_sizes if options.flat else compare_all
    if options.into:  # An error now, not after the hour.
        parts_of(options.into, compare.__name__)
        if not find_spec("matplotlib"):
            raise OSError(
                "the chart needs matplotlib, which is not installed: pip install matplotlib"
            )
    with tempfile.TemporaryDirectory(prefix="similarities-benchmark-", dir=options.folder) as made:
        found = itertools.starmap(describe_engine, engines(options.before).items())
        facts = "\n".join(["```text", describe_machine(Path(made)), *found, "```"])
        print(facts, flush=True)
        contenders, texts = compare(Path(made), options)
    tables = "\n\n".join(filter(None, texts))
    print(f"\n{tables}")
    if options.into:
        parts = parts_of(options.into, compare.__name__)  # As it is after all that time.
        parts[2] = f"\n{facts}\n\n{tables}\n\n"
        options.into.write_text("".join(parts))
        if not options.flat:
            draw(contenders, options.into.parent / "images" / "benchmark.png")
    return int(any(contender.result in FAILURES.values() for contender in contenders))


def parts_of(document: Path, section: str) -> list[str]:
    """Take a document apart, so that the third part is what stands between a section's comments."""
    parts = re.split(rf"^(<!-- (?:end of )?{section} -->\n)", document.read_text(), flags=re.M)
    if len(parts) != 5:
        raise OSError(f"{document}: <!-- {section} --> and <!-- end of {section} --> are not in it")
    return parts


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, lambda number, _: sys.exit(128 + number))
    sys.exit(main())
