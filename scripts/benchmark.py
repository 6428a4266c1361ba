"""The engine side by side with what people would use instead, measured in one go.

Makes embeddings of the real shape, runs every contender on them in turn, each in a process of
its own, round after round, checks every result against the notebook's, and prints the medians.

In the folder benchmarking: who takes part is in lineup.py, their programs in contenders.py and
parts.py, what is measured and how in measuring.py, when two results agree in agreement.py, the
engine's own stages in stages.py, what keeps a virtual machine's memory in hand in warm_memory.py,
and what is printed in tables.py.
"""

import argparse
import contextlib
import json
import os
import shutil
import signal
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import FrameType
from typing import Any, NoReturn

import joblib

sys.path.insert(0, str(Path(__file__).resolve().parent / "benchmarking"))

from agreement import DisagreementError, compare, digest
from lineup import GROUPS, HERE, WHOLE, Contender, Row, engine_name, line_up
from measuring import FailedError, Measurement, kind_of_folder, machine, measure
from synthesize import DIMENSIONS, FILMS
from synthesize import main as synthesize
from tables import contenders_table, flat_table, ratios_table, stages_table
from warm_memory import warm_memory


@dataclass(frozen=True)
class Scale:
    """How much there is to do."""

    part: float
    """Of the real number of films."""
    repeat: int
    flat: tuple[int, ...]
    """Films in the one decade of --flat."""

    @property
    def films(self) -> list[int]:
        """Films of each decade, as synthesize.py makes them."""
        return [max(2, round(self.part * films)) for films in FILMS.values()]


SCALES = {
    "smoke": Scale(0.03, 1, (200, 400)),
    "medium": Scale(0.1, 3, (1000, 2000, 4000)),
    "full": Scale(1.0, 3, (2000, 5000, 10000, 20000)),
}
_FLAT_DIMENSIONS = 64
_FLAT_DECADE = 2000
_START_FILMS = 2
_STAGES = "stages"
_NUMBER_BYTES, _PAIR_BYTES, _STORED_BYTES = 21, 42, 9


def say(text: str) -> None:
    """Tell on stderr how far it is."""
    print(text, file=sys.stderr, flush=True)


@dataclass
class Benchmark:
    """A benchmark at work in a folder of its own."""

    folder: Path
    repeat: int
    repeat_slow: int
    keep_reference: bool = True
    """Keep the results that others are compared with, not only their digest."""
    warm: bool = False
    """Touch the free memory and keep it from the host of a virtual machine."""
    ok: bool = True
    digests: dict[str, str] = field(default_factory=dict)

    @property
    def data(self) -> Path:
        """Where the embeddings are, and the results that others are compared with."""
        return self.folder / "data"

    @property
    def out(self) -> Path:
        """Where the contender that runs puts its result."""
        return self.folder / "out"

    def synthesize(self, *options: object) -> None:
        """Make embeddings, and forget those that are there with all that was made of them."""
        shutil.rmtree(self.data, ignore_errors=True)
        self.digests.clear()
        say("making embeddings")
        with open(os.devnull, "w") as nowhere, contextlib.redirect_stdout(nowhere):
            if synthesize(["--data", str(self.data), *map(str, options)]):
                raise OSError(f"{self.data}: the embeddings could not be made")

    @contextlib.contextmanager
    def warm_memory(self) -> Iterator[None]:
        """Keep the free memory warm meanwhile, if that was asked for."""
        if not self.warm:
            yield
            return
        with warm_memory() as size:
            say(f"memory: {size / 1e9:.1f} GB touched")
            yield

    def run(self, contenders: Sequence[Contender]) -> list[Row]:
        """Run contenders in turn, round after round, and check what they made."""
        rows = [Row(contender) for contender in contenders]
        for row in rows:
            if row.contender.missing:
                row.excluded = True
                row.result = f"skipped: {row.contender.package} is not installed"
                say(f"{row.contender.name}: {row.result}")
        for turn in range(max(self.repeat, self.repeat_slow)):
            before = None
            for row in rows:
                turns = self.repeat_slow if row.contender.slow else self.repeat
                if row.contender.goes_on and before and before.excluded and not row.excluded:
                    row.excluded, row.result = True, "could not begin"
                if turn < turns and not row.excluded:
                    self._run_once(row, turn)
                before = row
        shutil.rmtree(self.out, ignore_errors=True)
        return rows

    def _run_once(self, row: Row, turn: int) -> None:
        contender = row.contender
        if not contender.goes_on:
            shutil.rmtree(self.out, ignore_errors=True)
            self.out.mkdir()
            (self.out / "embeddings").symlink_to(self.data / "embeddings")
        try:
            run = self.measure(contender.command(self.data, self.out))
            if contender.group != WHOLE:
                run = replace(run, **json.loads(run.output))
            self._check(row)
        except (FailedError, DisagreementError) as error:
            self.ok = False
            row.excluded = True
            row.result = "failed" if isinstance(error, FailedError) else "DISAGREES"
            say(f"error: {contender.name}: {error}")
        else:
            row.runs.append(run)
            say(f"round {turn + 1}: {contender.name}: {run.wall:.2f} s, {row.result}")

    def measure(self, command: Sequence[str | Path]) -> Measurement:
        """Measure a command, when the disk is done with what the one before it wrote."""
        os.sync()
        return measure(command, self.folder / "output")

    def _check(self, row: Row) -> None:
        tolerance, kind = row.contender.tolerance, row.contender.makes
        # A part that reads writes matrices, but in the place where others write similarities.
        found, expected = self.out / "similarities", self.data / kind
        if not found.exists():
            raise DisagreementError("it made nothing")
        if kind not in self.digests:
            if tolerance is not None:
                raise DisagreementError("there is nothing to compare it with")
            self.digests[kind] = digest(found)
            if self.keep_reference:
                shutil.copytree(found, expected)
            row.result = "(reference)"
            return
        there = digest(found)
        if there == self.digests[kind]:
            row.result = row.result or "same bytes"
        elif there not in row.checked:
            if not self.keep_reference:
                raise DisagreementError("the bytes differ")
            difference = compare(found, expected, tolerance)
            row.checked.add(there)
            row.result = f"within {difference:.1e}" if difference else "same values"


def compare_all(benchmark: Benchmark, options: argparse.Namespace) -> Iterator[str]:
    """Measure the contenders and the engine's stages; yield what is to be printed."""
    scale = SCALES[options.scale]
    contenders = line_up(options.workers, options.only or ())
    benchmark.synthesize("--scale", scale.part)
    if contenders:
        with benchmark.warm_memory():
            rows = benchmark.run(contenders)
        n_pairs = len(DIMENSIONS) * sum(n * (n - 1) // 2 for n in scale.films)
        yield (
            f"{sum(scale.films):,} films in {len(scale.films)} decades under "
            f"{len(DIMENSIONS)} approaches, {n_pairs:,} pairs; medians"
        )
        yield contenders_table(rows, options.workers, n_pairs, options.markdown)
        yield ratios_table(rows, options.workers, options.markdown)
    if not options.only or _STAGES in options.only:
        profiles: list[dict[str, Any]] = []
        with benchmark.warm_memory():
            for turn in range(benchmark.repeat):
                run = benchmark.measure(
                    [sys.executable, HERE / "stages.py", benchmark.data, benchmark.out]
                )
                profiles.append(json.loads(run.output))
                say(f"round {turn + 1}: {_STAGES}")
        found = profiles[0]
        yield (
            f"where the engine's time goes: the {found['decade']}s of embedding, "
            f"{found['films']:,} films, {found['pairs']:,} pairs"
        )
        yield stages_table(profiles, options.markdown)


def compare_sizes(benchmark: Benchmark, options: argparse.Namespace) -> Iterator[str]:
    """Measure the engine on one decade that grows; yield what is to be printed."""
    names = [engine_name("dot", n) for n in options.workers]
    films = (_START_FILMS, *SCALES[options.scale].flat)
    measured, inputs = [], []
    for n in films:
        benchmark.synthesize(
            *("--films", n, "--dimensions", _FLAT_DIMENSIONS),
            *("--approach", "embedding", "--decade", _FLAT_DECADE),
        )
        inputs += [path.stat().st_size for path in benchmark.data.rglob("plots_*.json")]
        # Each time anew: the kernel has moved some of the pages meanwhile that keep it.
        with benchmark.warm_memory():
            measured.append(benchmark.run(line_up(options.workers, names)))
    yield (
        f"one decade of vectors of {_FLAT_DIMENSIONS} numbers; medians; the cost of a pair "
        f"without what a decade of {_START_FILMS} films costs, which is the start"
    )
    yield flat_table(films, inputs, measured, options.markdown)


def parser() -> argparse.ArgumentParser:
    """Build the parser of the command line."""
    names = [contender.name for contender in line_up([1, 2])]
    parser = argparse.ArgumentParser(
        description="Measure the engine side by side with what people would use instead, on "
        "made-up embeddings, and check that all results agree.",
        epilog=f"NAME is one of {', '.join(names)}, {_STAGES} (the engine's own), or a group of "
        f"them: {', '.join(GROUPS)}. Exit status: 0 all agree; 1 something failed or differs; "
        "2 wrong usage; 130 interrupted.",
    )
    add = parser.add_argument
    add(
        "--scale",
        choices=SCALES,
        default="medium",
        help="smoke: seconds; medium: within a minute; full: 22,390 films, for which the "
        "notebook takes minutes and 4 GB of memory, and the folder 8 GB (default: medium)",
    )
    add(
        "--flat",
        action="store_true",
        help="instead: what a pair costs in one decade that grows from 2,000 to 20,000 films "
        "(--scale full; needs 11 GB in the folder)",
    )
    add(
        "--folder",
        type=Path,
        metavar="DIR",
        help="where to put a temporary folder for inputs and outputs; on a RAM disk, for "
        "instance /dev/shm, the disk is left out of what is measured (default: "
        f"{tempfile.gettempdir()})",
    )
    add(
        "--warm-memory",
        action="store_true",
        help="on a virtual machine: touch all free memory but 1 GB beforehand, and keep the host "
        "from taking it back, which would be measured otherwise (takes up to a minute each time)",
    )
    add("--keep", action="store_true", help="do not delete the temporary folder")
    text = "of the engine, one or several numbers (default: 1 and the CPUs)"
    add("--workers", type=_positive, nargs="+", metavar="N", help=text)
    text = "rounds (default: smoke 1, others 3)"
    add("--repeat", type=_positive, metavar="N", help=text)
    text = "rounds of the notebook and of json.dump (default: 1)"
    add("--repeat-slow", type=_positive, default=1, metavar="N", help=text)
    add("--only", nargs="+", metavar="NAME", help="only these (default: all)")
    add("--markdown", action="store_true", help="print tables as Markdown")
    return parser


def _positive(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number from 1 on")
    return int(text)


def main(arguments: Sequence[str] | None = None) -> int:
    """Parse the command line, measure, print the tables, and return the exit status."""
    options = parser().parse_args(arguments)
    usable = int(joblib.cpu_count())
    options.workers = sorted(set(options.workers or (1, usable)))
    known = {contender.name for contender in line_up(options.workers)} | {*GROUPS, _STAGES}
    for name in options.only or ():
        if name not in known:
            parser().error(f"argument --only: {name!r} is none of {', '.join(sorted(known))}")
    if options.workers[-1] > usable:
        say(f"{options.workers[-1]} workers were asked for; the engine uses {usable}, one a CPU")
    signal.signal(signal.SIGTERM, _stop)
    try:
        return _measure(options)
    except KeyboardInterrupt:
        say("interrupted")
        return 130
    except (OSError, FailedError) as error:
        say(f"error: {error}")
        return 1


def _stop(number: int, frame: FrameType | None) -> NoReturn:
    raise SystemExit(128 + number)


def _measure(options: argparse.Namespace) -> int:
    section: Callable[[Benchmark, argparse.Namespace], Iterator[str]]
    section = compare_sizes if options.flat else compare_all
    folder = Path(tempfile.mkdtemp(prefix="similarities-benchmark-", dir=options.folder))
    try:
        _check_room(folder, options)
        print(f"{machine()}\ndata on: {kind_of_folder(folder)}", flush=True)
        repeat = options.repeat or SCALES[options.scale].repeat
        benchmark = Benchmark(
            folder, repeat, options.repeat_slow, not options.flat, options.warm_memory
        )
        if options.warm_memory:
            print("memory: what is free is touched beforehand and kept from the host", flush=True)
        for text in section(benchmark, options):
            if text:
                print(f"\n{text}", flush=True)
    finally:
        if options.keep:
            say(f"kept: {folder}")
        else:
            shutil.rmtree(folder, ignore_errors=True)
    return 0 if benchmark.ok else 1


def _check_room(folder: Path, options: argparse.Namespace) -> None:
    scale = SCALES[options.scale]
    if options.flat:
        n = scale.flat[-1]
        numbers, pairs = n * _FLAT_DIMENSIONS, n * (n - 1) // 2
    else:
        numbers = sum(scale.films) * sum(DIMENSIONS.values())
        pairs = len(DIMENSIONS) * sum(n * (n - 1) // 2 for n in scale.films)
    # The result that is made, a store, and the result of reference.
    results = 1 if options.flat else 2
    needed = numbers * _NUMBER_BYTES + pairs * (results * _PAIR_BYTES + _STORED_BYTES)
    free = shutil.disk_usage(folder).free
    if free < needed:
        raise OSError(
            f"{folder.parent}: {free / 1e9:.1f} GB are free and {needed / 1e9:.1f} GB needed: "
            "choose another --folder or a smaller --scale"
        )


if __name__ == "__main__":
    sys.exit(main())
