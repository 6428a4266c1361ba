"""Who takes part in the benchmark, in the order in which they run, and what came of each."""

import math
import statistics
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path

from measuring import Measurement

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
KERNEL_TOLERANCE = 2e-15
COSINE_TOLERANCE = 1e-14
"""Of those that divide by the norms, which are 1 but for their last bits."""


@dataclass
class Contender:
    """Something to be measured, and what came of it: a row of the tables."""

    name: str
    label: str
    command: Sequence[str]
    """The folder follows whose embeddings it reads, and where it writes similarities."""
    tolerance: float | None = None
    """How far its values may be from the notebook's; None: its bytes must be the same."""
    once: bool = False
    """It is so slow that one round has to do."""
    finished: bool = False
    """It is to find its work done."""
    over: bool = False
    """It is not run again, or not at all."""
    runs: list[Measurement] = field(default_factory=list)
    result: str = ""
    """Whether its result agreed, or why there is none."""

    @property
    def median(self) -> Measurement:
        """Median of each figure; NaN when there is no run."""
        runs = self.runs or [Measurement(math.nan, math.nan, math.nan)]
        return Measurement(*map(statistics.median, zip(*runs, strict=True)))


def engines(before: Path | None) -> dict[str, Path]:
    """Return the checkouts whose engine takes part, by its label."""
    return {"engine": ROOT, **({"before": before} if before else {})}


def line_up(
    workers: Sequence[int], before: Path | None = None, wanted: Sequence[str] = ()
) -> list[Contender]:
    """List those who take part: those wanted, or all.

    The engine with the most workers always does: others are compared with it, and divided by it.
    """
    names = {*wanted, f"dot-{max(workers)}"}
    everyone = _everyone(sorted(set(workers)), before)
    return [contender for contender in everyone if not wanted or contender.name in names]


def _everyone(workers: Sequence[int], before: Path | None) -> Iterator[Contender]:
    notebook = [sys.executable, str(HERE / "contenders.py"), "notebook"]
    yield Contender("notebook", "notebook", notebook, once=True)
    for kernel, tolerance in (("dot", None), ("gemm", KERNEL_TOLERANCE)):
        for n in workers:
            for which, root in engines(before).items():
                prefix = "" if which == "engine" else f"{which}-"
                command = [sys.executable, str(root / "scripts" / "run.py"), "--quiet"]
                command += ["--workers", str(n), "--kernel", kernel, "--data"]
                label = f"{which}, {kernel}, {n} worker" + ("" if n == 1 else "s")
                yield Contender(f"{prefix}{kernel}-{n}", label, command, tolerance)
                if kernel == "dot" and n == workers[-1]:
                    label = f"{which}, on finished work"
                    yield Contender(f"{prefix}finished", label, command, finished=True)
    for name, label, file, module, tolerance in (
        ("numba", "numba, exact, threads", "compiled.py", "numba", None),
        ("pyarrow", "pyarrow, processes", "arrow.py", "pyarrow", KERNEL_TOLERANCE),
        ("rewrite", "one product, dict, orjson", "contenders.py", "orjson", KERNEL_TOLERANCE),
        ("sklearn", "scikit-learn, chunked", "contenders.py", "sklearn", COSINE_TOLERANCE),
        ("scipy", "scipy pdist", "contenders.py", "scipy", COSINE_TOLERANCE),
    ):
        other = Contender(name, label, [sys.executable, str(HERE / file), name], tolerance)
        if find_spec(module) is None:
            other.over, other.result = True, f"skipped: {module} is not installed"
        yield other
