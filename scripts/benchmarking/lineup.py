"""Who takes part in the benchmark, in the order in which they run, and what is known of each."""

import importlib.util
import math
import shutil
import statistics
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from measuring import Measurement

HERE = Path(__file__).resolve().parent
KERNEL_TOLERANCE = 2e-15
COSINE_TOLERANCE = 1e-14
"""Of those that divide by the norms, which are 1 but for their last bits."""


@dataclass(frozen=True)
class Engine:
    """An engine to be measured: that of a checkout."""

    label: str = "engine"
    prefix: str = ""
    """Of the names of its contenders."""
    root: Path = HERE.parents[1]

    @property
    def program(self) -> list[str]:
        """Its command line, without options."""
        return [sys.executable, str(self.root / "scripts" / "run.py")]

    def facts(self) -> str:
        """What it says of itself, and the commit it is from."""
        told = _output(*self.program, "--version").splitlines()
        if shutil.which("git"):
            commit = _output("git", "-C", str(self.root), "describe", "--always", "--dirty")
            told.append(commit and f"commit {commit}")
        return f"{self.label}: {', '.join(line.strip() for line in told if line.strip())}"


def _output(*command: str) -> str:
    return subprocess.run(command, capture_output=True, text=True).stdout


@dataclass
class Contender:
    """Something to be measured, and what came of it: a row of the tables."""

    name: str
    label: str
    command: Sequence[str]
    """The folder follows whose embeddings it reads, and where it writes similarities."""
    tolerance: float | None = None
    """How far its values may be from the notebook's; None: its bytes must be the same."""
    module: str = ""
    """Without it, it is skipped."""
    once: bool = False
    """It is so slow that one round has to do."""
    finished: bool = False
    """It is to find its work done."""
    runs: list[Measurement] = field(default_factory=list)
    result: str = ""
    """Whether its result agreed, or why there is none."""

    @property
    def missing(self) -> bool:
        """Whether its module is not installed."""
        return bool(self.module) and importlib.util.find_spec(self.module) is None

    def median(self, figure: str) -> float:
        """Median of a figure of `Measurement` over all runs; NaN when there is none."""
        found: list[float] = [getattr(run, figure) for run in self.runs]
        return statistics.median(found or [math.nan])


def line_up(
    workers: Sequence[int], engines: Sequence[Engine] = (Engine(),), wanted: Sequence[str] = ()
) -> list[Contender]:
    """List those who take part: those wanted, or all.

    The engine with the most workers always does: others are compared with it, and divided by it.
    """
    names = {*wanted, f"dot-{max(workers)}"}
    everyone = _everyone(sorted(set(workers)), engines)
    return [contender for contender in everyone if not wanted or contender.name in names]


def _everyone(workers: Sequence[int], engines: Sequence[Engine]) -> Iterator[Contender]:
    def program(file: str, *arguments: str) -> list[str]:
        return [sys.executable, str(HERE / file), *arguments]

    yield Contender("notebook", "notebook", program("contenders.py", "notebook"), once=True)
    for kernel, tolerance in (("dot", None), ("gemm", KERNEL_TOLERANCE)):
        for n in workers:
            for engine in engines:
                options = ["--workers", str(n), "--kernel", kernel, "--quiet", "--data"]
                command = [*engine.program, *options]
                label = f"{engine.label}, {kernel}, {n} worker" + ("" if n == 1 else "s")
                yield Contender(f"{engine.prefix}{kernel}-{n}", label, command, tolerance)
                if kernel == "dot" and n == workers[-1]:
                    name, label = f"{engine.prefix}finished", f"{engine.label}, on finished work"
                    yield Contender(name, label, command, finished=True)
    for name, label, file, tolerance, module in (
        ("numba", "numba, exact, processes", "compiled.py", None, "numba"),
        ("pyarrow", "pyarrow, processes", "arrow.py", KERNEL_TOLERANCE, "pyarrow"),
        ("rewrite", "one product, dict, orjson", "contenders.py", KERNEL_TOLERANCE, ""),
        ("sklearn", "scikit-learn, chunked", "contenders.py", COSINE_TOLERANCE, "sklearn"),
        ("scipy", "scipy pdist", "contenders.py", COSINE_TOLERANCE, "scipy"),
    ):
        yield Contender(name, label, program(file, name), tolerance, module)
