"""The lines that stand on a terminal while a run works, as functions of its width."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import zip_longest

from engine.disk import size
from engine.errors import shown
from engine.triangle.blocks import ROW_BLOCK_CELLS

_EIGHTHS = " ▏▎▍▌▋▊▉"
_LEAST_BAR = 8
"""Columns; for less, what stands beside it is left out."""


@dataclass
class Stage:
    """A part of the work, and how far it has come."""

    name: str
    total: int
    done: int
    unit: str
    """``"B"`` or ``"pairs"``."""
    begun: float
    """When, by a clock of the caller."""
    before: int
    """What was done before it began."""

    @property
    def per_cent(self) -> int:
        """Rounded down: 100 % is said of what is whole, and only of that."""
        return 100 * self.done // self.total if self.total else 100

    def left(self, now: float) -> float:
        """Seconds left at the rate so far; 0 when it is done, or no rate is known yet."""
        if self.done == self.before:
            return 0.0
        return (now - self.begun) * (self.total - self.done) / (self.done - self.before)


def joined(stages: Iterable[Stage]) -> list[Stage]:
    """Make one of computing and exporting where these are the same work, pair by pair."""
    # Of what was done before, as all computing is when an output alone is missing, there is no bar.
    found = {stage.name: stage for stage in stages if stage.before < stage.total or not stage.total}
    first, second = found.get("computing"), found.get("exporting")
    if first and second and _same(first, second):
        slower = min(first, second, key=lambda stage: stage.done)
        found["computing"] = replace(slower, name="computing and exporting")
        del found["exporting"]
    return list(found.values())


def _same(first: Stage, second: Stage) -> bool:
    # They are told of a row-block one after the other. An output that failed falls behind for good.
    near = abs(first.done - second.done) <= max(ROW_BLOCK_CELLS, first.total // 20)
    return near and (first.total, first.before) == (second.total, second.before)


def bar(stage: Stage, width: int, *, blocks: bool = True) -> str:
    """Draw a stage in at most `width` columns.

    Parameters
    ----------
    stage
        How far it has come.
    width
        Columns there are.
    blocks
        Whether the terminal can write eighths of a block; number signs where not.
    """
    label = f"{stage.name:<9} {stage.per_cent:3d}% |"
    beside = f"| {_amount(stage.done, stage.unit)} of {_amount(stage.total, stage.unit)}"
    beside += "" if stage.unit == "B" else f" {stage.unit}"
    room = width - len(label) - len(beside)
    if room < _LEAST_BAR:
        beside, room = "|", width - len(label) - 1
    if room < 1:
        return label.rstrip(" |")[:width]
    eighths = 8 * room * stage.done // stage.total if stage.total else 8 * room
    full, rest = divmod(eighths, 8)
    filled = "█" * full + (_EIGHTHS[rest] if rest else "") if blocks else "#" * full
    return f"{label}{filled:<{room}}{beside}"


def heading(at: tuple[str, int, int] | None, elapsed: float, left: float, width: int) -> str:
    """Say how many decades are finished, the one at work, and the time, as far as there is room.

    Parameters
    ----------
    at
        The decade at work, how many are finished, and how many there are; None: not known.
    elapsed, left
        Seconds; 0 left: not known, or nothing.
    width
        Columns there are.
    """
    times = f"{_interval(elapsed)} elapsed"
    ahead = f"{_interval(left)} left" if left else ""
    both = ", ".join(filter(None, [times, ahead]))
    choices = [both, ahead or times]
    if at:
        name, finished, total = at
        done = f"{finished} of {total} decades"
        choices = [
            *([f"{done}, at {shown(name, 40)}; {both}"] if finished < total else []),
            f"{done}; {both}",
            f"{done}; {ahead}" if ahead else done,
            *choices,
        ]
    return next((line for line in choices if len(line) <= width), choices[-1][:width])


def standing(at: tuple[str, int, int] | None, stages: Sequence[Stage], now: float) -> str:
    """How far each stage that is not done has come, in a line of a file; empty when all are."""
    unfinished = [stage for stage in joined(stages) if stage.done < stage.total]
    if not unfinished:
        return ""
    parts = []
    for stage, following in zip_longest(unfinished, unfinished[1:]):
        # A total that two have in common is written once.
        same = following and (stage.total, stage.unit) == (following.total, following.unit)
        of = "" if same else f" of {stage.total:,} {stage.unit}"
        parts.append(f"{stage.name} {stage.per_cent} %{of}")
    words = [", ".join(parts)]
    if at:
        words.append(f"{at[1]} of {at[2]} decades")
    if left := max(stage.left(now) for stage in unfinished):
        words.append(f"{_interval(left)} left")
    return "; ".join(words)


def _interval(seconds: float) -> str:
    from tqdm import tqdm  # It takes longer to import than most of the engine; here it is wanted.

    return str(tqdm.format_interval(seconds))


def _amount(n: int, unit: str) -> str:
    from tqdm import tqdm

    return size(n) if unit == "B" else f"{n}" if n < 1000 else str(tqdm.format_sizeof(n))
