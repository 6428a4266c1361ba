"""Where the engine's time goes: what each stage of a run costs per pair.

    python scripts/benchmarking/stages.py DATA OUT

Runs the engine on the largest decade of DATA/embeddings/embedding in this process, with one
worker, and prints as JSON what it spent in the functions that make up each stage: with either
kernel, and once more when only the text has to be written, from the store. A function called by
another counts for itself alone. What is in none of them is "the rest".
"""

import functools
import json
import os
import resource
import shutil
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import google_crc32c

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

import engine
from engine.embeddings import reading
from engine.legacy_json import text
from engine.legacy_json.pairs import NativeText
from engine.store.arrays import StoredDecade
from engine.store.store import Store
from engine.triangle import kernel

STAGES: dict[str, list[tuple[Any, str]]] = {
    "reading": [
        (reading, "read_embeddings"),
        (Store, "begin"),
    ],
    "kernel": [(kernel, "similarities")],
    "zarr write": [(StoredDecade, "write")],
    "zarr read": [(StoredDecade, "read")],
    "number text": [(NativeText, "__init__"), (text, "numbers_text")],
    "assembly": [(NativeText, "_piece"), (text, "row_text")],
    "checksum of the text": [(google_crc32c, "extend")],
    "file write": [(os, "pwrite")],
    "file sync": [(os, "fsync")],
}
"""The functions of each stage, none of them called more than once or twice a row or chunk."""

FLOOR = {
    "kernel": "145 dot, 25 gemm",
    "zarr write": "11",
    "zarr read": "7",
    "number text": "22",
    "assembly": "67",
    "file write": "15",
}
"""Nanoseconds per pair of a stage by itself at its best, on a quiet 2-core AVX-512 machine."""

RUNS = ("dot", "gemm", "from the store")
REST, TOTAL = "the rest", "in all"
FAULTS = "page faults per 1,000 pairs"


class _Stopwatches(threading.local):
    """Seconds spent in stages, of one thread; a stage within another stops its clock."""

    def __init__(self, seconds: dict[str, float]) -> None:
        self.seconds = seconds
        self.within: list[float] = []

    def timed(self, stage: str, function: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(function)
        def wrapper(*arguments: Any, **options: Any) -> Any:
            self.within.append(0.0)
            begin = time.perf_counter()
            try:
                return function(*arguments, **options)
            finally:
                spent = time.perf_counter() - begin
                self.seconds[stage] += spent - self.within.pop()
                if self.within:
                    self.within[-1] += spent

        return wrapper


def instrument() -> dict[str, float]:
    """Put a clock on the functions of all stages, wherever the engine imported them to."""
    seconds = dict.fromkeys(STAGES, 0.0)
    watches = _Stopwatches(seconds)
    modules = [module for name, module in sys.modules.items() if name.startswith("engine")]
    for stage, functions in STAGES.items():
        for owner, name in functions:
            function = getattr(owner, name)
            wrapper = watches.timed(stage, function)
            for place in (owner, *modules):
                for alias, value in list(vars(place).items()):
                    if value is function:
                        setattr(place, alias, wrapper)
    return seconds


def profile(data: Path, out: Path) -> dict[str, Any]:
    """Run the engine three times and tell what each stage took.

    Returns
    -------
    dict
        ``"decade"``, ``"films"``, ``"pairs"``, and under ``"runs"``, for each of ``"dot"``,
        ``"gemm"`` and ``"from the store"``, the nanoseconds per pair of each stage.
    """
    inputs = (data / "embeddings" / "embedding").glob("plots_*.json")
    largest = max(inputs, key=lambda path: path.stat().st_size)
    decade = largest.stem.removeprefix("plots_").removesuffix("s")
    folder = out / "embeddings" / "embedding"
    shutil.rmtree(out, ignore_errors=True)
    folder.mkdir(parents=True)
    (folder / largest.name).symlink_to(largest.resolve())
    seconds = instrument()
    runs = {}
    films = pairs = 0
    for run in ("dot", "from the store", "gemm"):  # The store of the first serves the second.
        for stage in seconds:
            seconds[stage] = 0.0
        shutil.rmtree(out / "similarities", ignore_errors=True)
        faults = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
        begin = time.perf_counter()
        summary = engine.run(out, workers=1, kernel="gemm" if run == "gemm" else "dot")
        total = time.perf_counter() - begin
        faults = resource.getrusage(resource.RUSAGE_SELF).ru_minflt - faults
        if not summary.ok:
            raise SystemExit(f"the engine failed: {summary.decades[0].error}")
        films, pairs = summary.decades[0].n_films, summary.decades[0].n_pairs
        costs = {**seconds, REST: total - sum(seconds.values()), TOTAL: total}
        runs[run] = {stage: cost * 1e9 / pairs for stage, cost in costs.items()}
        runs[run][FAULTS] = 1000 * faults / pairs
    return {"decade": decade, "films": films, "pairs": pairs, "runs": runs}


if __name__ == "__main__":
    print(json.dumps(profile(Path(sys.argv[1]), Path(sys.argv[2]))))
