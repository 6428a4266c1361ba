"""A thousand kills at random moments: the long version of the kills in ``test_faults.py``.

``python tests/storm.py --kills 1000`` prints what was killed how often and what came of it, and
ends with exit status 1 if any promise was broken.
"""

import argparse
import random
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

from faults import LONG, TALL, WIDE, Films, Launcher, made_up
from kills import SCENES, goes_on, scene, series
from reference import chunks
from waiting import within

SHARES = dict(zip(SCENES, (0.2, 0.15, 0.15, 0.3, 0.1, 0.07), strict=True))
"""Part of all kills that each scene gets; what is left goes to single workers."""
ONE_WORKER = "one worker"


@dataclass
class Tally:
    """What came of the kills of one scene."""

    wanted: int
    at: Counter[str] = field(default_factory=Counter)
    """What the runs were at when they were killed."""
    completed: int = 0
    """Runs that ended by themselves and were compared with the notebook."""
    broken: list[str] = field(default_factory=list)
    """Promises that were not kept."""

    @property
    def kills(self) -> int:
        """Kills so far."""
        return self.at.total()


def main() -> int:
    """Kill, and print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--lanes", type=int, default=3, help="runs at a time")
    options = parser.parse_args()
    begin = time.monotonic()
    tallies = {name: Tally(round(options.kills * share)) for name, share in SHARES.items()}
    tallies[ONE_WORKER] = Tally(options.kills - sum(each.wanted for each in tallies.values()))
    with tempfile.TemporaryDirectory(prefix="storm-") as scratch:
        folder = Path(scratch)
        tall = made_up(folder / "tall", TALL, 16)
        wide = made_up(folder / "wide", WIDE, LONG)
        for name, tally in tallies.items():
            storm(name, tally, tall, wide, folder / name.replace(" ", "-"), options)
    print(table(tallies))
    minutes = (time.monotonic() - begin) / 60
    print(f"\n{sum(tally.kills for tally in tallies.values())} kills in {minutes:.1f} minutes")
    broken = [line for tally in tallies.values() for line in tally.broken]
    print("\n".join(broken) or "every promise was kept")
    return 1 if broken else 0


def storm(
    name: str, tally: Tally, tall: Films, wide: Films, folder: Path, options: argparse.Namespace
) -> None:
    """Kill runs of one scene until it has had its share."""
    play = one_worker(tall) if name == ONE_WORKER else whole_run(name, tall, wide, folder)

    def lane(number: int) -> None:
        rng = random.Random(f"{options.seed} {name} {number}")
        count = 0
        with Launcher() as launcher:
            while tally.kills < tally.wanted and len(tally.broken) < 10:
                count += 1
                try:
                    tally.at.update(play(launcher, folder / f"{number}-{count}", rng))
                    tally.completed += 1
                except AssertionError as error:
                    tally.broken.append(f"{name}: {error}")
                print(f"{name}: {tally.kills} of {tally.wanted}", end="\r", file=sys.stderr)

    with ThreadPoolExecutor(options.lanes) as threads:
        list(threads.map(lane, range(options.lanes)))
    print(file=sys.stderr)


def whole_run(
    name: str, tall: Films, wide: Films, folder: Path
) -> Callable[[Launcher, Path, random.Random], list[str]]:
    """Kill the whole process group, up to five times until the run is done."""
    with Launcher() as launcher:
        prepared = scene(name, launcher, tall, wide, folder)
    return lambda launcher, data, rng: series(prepared, launcher, data, rng, 5)


def one_worker(tall: Films) -> Callable[[Launcher, Path, random.Random], list[str]]:
    """Kill a single worker, at its start or when it has work."""

    def play(launcher: Launcher, data: Path, rng: random.Random) -> list[str]:
        def moment() -> None:
            if rng.random() < 0.7:
                within(lambda: chunks(data / "similarities.zarr"))
            time.sleep(rng.uniform(0.0, 0.2))

        return ["computing"] if goes_on(launcher, tall, data, moment) else []

    return play


def table(tallies: dict[str, Tally]) -> str:
    """Set the tallies in a Markdown table."""
    lines = [
        "| killed | kills | while reading | computing | exporting | compared | broken promises |",
        "|---|---|---|---|---|---|---|",
    ]
    for name, tally in tallies.items():
        cells = [
            name,
            tally.kills,
            *(tally.at[stage] for stage in ("reading", "computing", "exporting")),
            tally.completed,
            len(tally.broken),
        ]
        lines.append(f"| {' | '.join(map(str, cells))} |")
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
