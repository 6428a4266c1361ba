"""Who takes part in the benchmark, in the order in which they run, and what is known of each."""

import importlib.util
import math
import statistics
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from measuring import Measurement

HERE = Path(__file__).resolve().parent

GROUPS = {
    "whole": "the whole job",
    "reading": "reading alone",
    "computing": "computing alone",
    "text": "text alone",
    "writing": "writing alone",
}
WHOLE, READING, COMPUTING, TEXT, WRITING = GROUPS

KERNEL_TOLERANCE = 2e-15
COSINE_TOLERANCE = 1e-14
"""Of those that divide by the norms, which are 1 but for their last bits."""


@dataclass(frozen=True)
class Contender:
    """Something to be measured."""

    name: str
    label: str
    group: str = WHOLE
    tolerance: float | None = None
    """How far its values may be from the notebook's; None: its bytes must be the same."""
    slow: bool = False
    """Is run --repeat-slow times only."""
    package: str = ""
    """Without it, it is skipped."""
    workers: int = 0
    """Of the engine; 0: it is one of contenders.py or parts.py."""
    kernel: str = "dot"
    goes_on: bool = False
    """Begins where the contender before it ended."""

    def command(self, data: Path, out: Path) -> list[str | Path]:
        """The command that reads DATA/embeddings and writes OUT/similarities."""
        if not self.workers:
            program = HERE / ("contenders.py" if self.group == WHOLE else "parts.py")
            return [sys.executable, program, self.name, data, out]
        options = ["--workers", str(self.workers), "--kernel", self.kernel, "--quiet"]
        return [sys.executable, HERE.parent / "run.py", "--data", out, *options]

    @property
    def makes(self) -> str:
        """What it makes, to be compared with what others make of it."""
        return "matrices" if self.group == READING else "similarities"

    @property
    def missing(self) -> bool:
        """Whether its package is not installed."""
        module = {"scikit-learn": "sklearn"}.get(self.package, self.package)
        return bool(module) and importlib.util.find_spec(module) is None


def line_up(workers: Sequence[int], wanted: Sequence[str] = ()) -> list[Contender]:
    """List those who take part.

    Parameters
    ----------
    workers
        Numbers of workers of the engine.
    wanted
        Names of contenders and of groups; all when empty. What they cannot do without comes along.

    Returns
    -------
    list of Contender
        The first that makes similarities makes them bit for bit as the notebook: it is the judge.
    """
    everyone = _everyone(sorted(set(workers)))
    chosen = [c for c in everyone if not wanted or c.name in wanted or c.group in wanted]
    names = {contender.name for contender in chosen}
    judged = any(contender.makes == "similarities" for contender in chosen)
    judges = any(name == "notebook" or name.startswith("dot-") for name in names)
    if "finished" in names or (judged and not judges):
        names.add(engine_name("dot", max(workers)))
    return [contender for contender in everyone if contender.name in names]


def engine_name(kernel: str, workers: int) -> str:
    """Name of the engine with a kernel and a number of workers."""
    return f"{kernel}-{workers}"


def _everyone(workers: Sequence[int]) -> list[Contender]:
    def engine(kernel: str, n: int) -> Contender:
        label = f"engine, {kernel}, {n} worker" + ("" if n == 1 else "s")
        return Contender(engine_name(kernel, n), label, workers=n, kernel=kernel)

    return [
        Contender("notebook", "notebook", slow=True),
        *(engine("dot", n) for n in workers),
        Contender("finished", "engine, on finished work", workers=workers[-1], goes_on=True),
        *(replace(engine("gemm", n), tolerance=KERNEL_TOLERANCE) for n in workers),
        Contender("rewrite", "one product, dict, orjson", WHOLE, KERNEL_TOLERANCE),
        Contender(
            "sklearn", "scikit-learn, chunked", WHOLE, COSINE_TOLERANCE, package="scikit-learn"
        ),
        Contender("scipy", "scipy pdist", WHOLE, COSINE_TOLERANCE, package="scipy"),
        Contender("read-engine", "engine", READING),
        Contender("read-json", "json.load, to a matrix", READING),
        Contender("read-orjson", "orjson.loads, to a matrix", READING),
        Contender("compute-dot", "engine, dot, one thread", COMPUTING, 0.0),
        Contender("compute-gemm", "engine, gemm, one thread", COMPUTING, KERNEL_TOLERANCE),
        Contender("compute-product", "X @ X.T, all CPUs", COMPUTING, KERNEL_TOLERANCE),
        Contender("text-engine", "engine, one process", TEXT),
        Contender("text-json", "json.dump of a ready dict", TEXT, slow=True),
        Contender("text-orjson", "orjson.dumps of a ready dict", TEXT, 0.0),
        Contender("write-copy", "copying the finished files", WRITING),
    ]


@dataclass
class Row:
    """What is known of a contender: a row of the table."""

    contender: Contender
    runs: list[Measurement] = field(default_factory=list)
    result: str = ""
    """Whether its result agreed, or why there is none."""
    excluded: bool = False
    """It failed, disagreed or could not begin: it is not run again."""
    checked: set[str] = field(default_factory=set)
    """Digests of the results that agreed."""

    def median(self, figure: str) -> float:
        """Median of a figure of `Measurement` over all runs; NaN when there is none."""
        found = [value for run in self.runs if (value := getattr(run, figure)) is not None]
        return statistics.median(found) if found else math.nan
