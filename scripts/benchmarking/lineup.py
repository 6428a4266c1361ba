"""Who takes part in the benchmark, in the order in which they run, and what is known of each."""

import importlib.util
import math
import os
import shutil
import statistics
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from measuring import Measurement

HERE = Path(__file__).resolve().parent
KERNEL_TOLERANCE = 2e-15
COSINE_TOLERANCE = 1e-14
"""Of those that divide by the norms, which are 1 but for their last bits."""


@dataclass(frozen=True)
class Engine:
    """An engine to be measured: that of a checkout, with some settings."""

    label: str = "engine"
    prefix: str = ""
    """Of the names of its contenders."""
    root: Path = HERE.parents[1]
    environment: Mapping[str, str] = field(default_factory=dict)

    @property
    def program(self) -> list[str | Path]:
        """Its command line, without options."""
        return [sys.executable, self.root / "scripts" / "run.py"]

    def facts(self) -> str:
        """What it says of itself, and the commit it is from."""
        environment = {**os.environ, **self.environment}
        say = subprocess.run(
            [*self.program, "--version"], capture_output=True, text=True, env=environment
        )
        told = say.stdout.split("\n")
        if git := shutil.which("git"):
            describe = [git, "-C", str(self.root), "describe", "--always", "--dirty"]
            commit = subprocess.run(describe, capture_output=True, text=True).stdout
            told.append(commit and f"commit {commit}")
        return f"{self.label}: {', '.join(line.strip() for line in told if line.strip())}"


@dataclass(frozen=True)
class Contender:
    """Something to be measured."""

    name: str
    label: str
    program: Sequence[str | Path]
    """The command; the folders to read and to write follow."""
    tolerance: float | None = None
    """How far its values may be from the notebook's; None: its bytes must be the same."""
    slow: bool = False
    """Is run --repeat-slow times only."""
    module: str = ""
    """Without it, it is skipped."""
    engine: Engine | None = None
    goes_on: bool = False
    """Begins where the contender before it ended."""

    def command(self, data: Path, out: Path) -> list[str | Path]:
        """The command that reads DATA/embeddings and writes OUT/similarities."""
        return [*self.program, *(["--data", out, "--quiet"] if self.engine else [data, out])]

    @property
    def missing(self) -> bool:
        """Whether its module is not installed."""
        return bool(self.module) and importlib.util.find_spec(self.module) is None


def line_up(
    workers: Sequence[int], engines: Sequence[Engine] = (Engine(),), wanted: Sequence[str] = ()
) -> list[Contender]:
    """List those who take part: those wanted, or all, and what they cannot do without.

    The first makes the notebook's bytes: the others are compared with it.
    """
    everyone = list(_everyone(sorted(set(workers)), engines))
    names = set(wanted or (contender.name for contender in everyone))
    needed = {
        f"{engine.prefix}finished": f"{engine.prefix}dot-{max(workers)}" for engine in engines
    }
    names |= {before for name, before in needed.items() if name in names}
    if not any(name == "notebook" or name.startswith("dot-") for name in names):
        names.add(f"dot-{max(workers)}")
    return [contender for contender in everyone if contender.name in names]


def _everyone(workers: Sequence[int], engines: Sequence[Engine]) -> Iterator[Contender]:
    def program(file: str, *arguments: str) -> list[str | Path]:
        return [sys.executable, HERE / file, *arguments]

    yield Contender("notebook", "notebook", program("contenders.py", "notebook"), slow=True)
    for kernel, tolerance in (("dot", None), ("gemm", KERNEL_TOLERANCE)):
        for n in workers:
            for engine in engines:
                command = [*engine.program, "--workers", str(n), "--kernel", kernel]
                label = f"{engine.label}, {kernel}, {n} worker" + ("" if n == 1 else "s")
                name = f"{engine.prefix}{kernel}-{n}"
                yield Contender(name, label, command, tolerance, engine=engine)
                if kernel == "dot" and n == workers[-1]:
                    name, label = f"{engine.prefix}finished", f"{engine.label}, on finished work"
                    yield Contender(name, label, command, engine=engine, goes_on=True)
    for name, label, file, tolerance, module in (
        ("numba", "numba, exact, threads", "compiled.py", None, "numba"),
        ("pyarrow", "pyarrow, processes", "arrow.py", KERNEL_TOLERANCE, "pyarrow"),
        ("rewrite", "one product, dict, orjson", "", KERNEL_TOLERANCE, ""),
        ("sklearn", "scikit-learn, chunked", "", COSINE_TOLERANCE, "sklearn"),
        ("scipy", "scipy pdist", "", COSINE_TOLERANCE, "scipy"),
    ):
        command = program(file) if file else program("contenders.py", name)
        yield Contender(name, label, command, tolerance, module=module)


@dataclass
class Row:
    """What is known of a contender: a row of the table."""

    contender: Contender
    runs: list[Measurement] = field(default_factory=list)
    result: str = ""
    """Whether its result agreed, or why there is none."""
    excluded: bool = False
    """It failed, disagreed or could not begin: it is not run again."""

    def median(self, figure: str) -> float:
        """Median of a figure of `Measurement` over all runs; NaN when there is none."""
        found = [value for run in self.runs if (value := getattr(run, figure)) is not None]
        return statistics.median(found) if found else math.nan
