"""Where things lie: the layout of the data folder, and the names of what is in it.

``DATA/embeddings/{approach}/plots_{decade}s.json`` goes in and
``DATA/similarities/{approach}/similarities_{decade}s.json`` comes out. Nothing else in the
engine puts paths together, so nothing else can put one together wrongly.
"""

import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path

from engine.errors import EngineError, shown

_INPUT_NAME = re.compile(r"plots_([0-9]{1,9})s\.json")
LONGEST_NAME = 100
"""Bytes in the name of an approach."""


@dataclass(frozen=True, order=True)
class DecadeName:
    """One decade under one approach: the unit that is read, stored and exported."""

    approach: str
    """Name of the folder of the approach, for instance ``"embedding"``."""
    decade: str
    """First year of the decade, for instance ``"2000"``."""

    @property
    def group(self) -> str:
        """Path of the decade's group in the store."""
        return f"{self.approach}/{self.decade}"

    def __str__(self) -> str:
        return f"{self.approach} {self.decade}s"


@dataclass(frozen=True)
class DataFolder:
    """The root of inputs and outputs."""

    root: Path

    @property
    def embeddings(self) -> Path:
        """Folder of the inputs."""
        return self.root / "embeddings"

    @property
    def similarities(self) -> Path:
        """Folder of the outputs."""
        return self.root / "similarities"

    @property
    def default_store(self) -> Path:
        """Where the zarr store lies unless the user says otherwise."""
        return self.root / "similarities.zarr"

    def input(self, name: DecadeName) -> Path:
        """Path of the embeddings of a decade."""
        return self.embeddings / name.approach / f"plots_{name.decade}s.json"

    def output(self, name: DecadeName) -> Path:
        """Path of the legacy JSON of a decade."""
        return self.similarities / name.approach / f"similarities_{name.decade}s.json"


def can_be_approach(name: str) -> bool:
    """Whether a store, a path and a terminal survive a name."""
    return (
        name.isprintable()
        and 0 < len(name.encode()) <= LONGEST_NAME
        and not name.startswith((".", "__"))  # Hidden; reserved by zarr.
        and name.lower() != "zarr.json"
        and "/" not in name
        and "\\" not in name
    )


def can_be_decade(approach: str, decade: str) -> bool:
    """Whether a group of a store can be that of a decade of this engine."""
    return can_be_approach(approach) and decade_of(f"plots_{decade}s.json") is not None


def decade_of(file_name: str) -> str | None:
    """The decade whose embeddings a file of this name holds, if it is the name of an input."""
    match = _INPUT_NAME.fullmatch(file_name)
    return match and match[1]


def select(
    names: Collection[DecadeName],
    approaches: Sequence[str] | None,
    decades: Sequence[str] | None,
) -> list[DecadeName]:
    """Keep the decades that the user asked for; `None` asks for all.

    Raises
    ------
    EngineError
        When an approach or a decade was asked for that no name has.
    """
    known = {
        "approach": {name.approach for name in names},
        "decade": {name.decade for name in names},
    }
    for kind, wanted in (("approach", approaches), ("decade", decades)):
        for word in wanted or ():
            if word not in known[kind]:
                there = ", ".join(sorted(known[kind])) or "none"
                raise EngineError(
                    f"there is no {kind} {shown(word)!r}; found: {there}; check --{kind} and --data"
                )
    selected = [
        name
        for name in names
        if (not approaches or name.approach in approaches)
        and (not decades or name.decade in decades)
    ]
    if not selected:
        raise EngineError(
            f"no decade {' or '.join(map(shown, decades or ()))} in "
            f"{' and '.join(map(shown, approaches or ()))}; check --approach and --decade"
        )
    return selected
