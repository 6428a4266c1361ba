"""What a caller asks for, read once: the arguments that the command line and Python share.

Text and numbers are taken alike, numpy's numbers too, so that the command line, a notebook and a
script that reads its environment come through the same door, and what is wrong is said there.
"""

import math
import re
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass
from numbers import Real
from operator import index
from typing import Any, SupportsFloat, SupportsIndex, TypeAlias, TypeVar

from engine.errors import shown
from engine.triangle.kernel import KERNELS, KernelName
from engine.triangle.rule import EVERY_PAIR, Rule

Names: TypeAlias = str | Iterable[str]
"""One name, or several."""
Year: TypeAlias = str | SupportsIndex
"""First year of a decade: ``"1990"``, ``"1990s"`` or ``1990``."""
Years: TypeAlias = Year | Iterable[Year]
"""One year, or several."""
Count: TypeAlias = str | SupportsIndex
"""A positive integer or its text, or ``"all"``."""
Number: TypeAlias = str | SupportsFloat
"""A number, or its text."""

_T = TypeVar("_T")

_MOST = 10**18
"""More than there can be films, and what a record, which is JSON, can hold."""


@dataclass(frozen=True)
class Arguments:
    """What is asked for, in one form; None stands for what is usual."""

    approaches: tuple[str, ...] | None = None
    """Only these; None: all."""
    decades: tuple[str, ...] | None = None
    """Only these, as ``("1990", "2000")``; None: all."""
    workers: int | None = None
    """None: one for each CPU."""
    kernel: KernelName | None = None
    """None: what the store has."""
    normalize: bool | None = None
    """None: as the store has it."""
    rule: Rule = EVERY_PAIR
    """Which pairs are exported."""
    compute: bool = True
    export: bool = True
    restart: bool = False
    wait_for_workers: float | None = None
    """Seconds; None: a few."""


def read_arguments(
    *,
    approaches: Names | None = None,
    decades: Years | None = None,
    workers: Count | None = None,
    kernel: str | None = None,
    normalize: bool | None = None,
    min_similarity: Number | None = None,
    top_percent: Number | None = None,
    top_k: Count | None = None,
    compute: bool = True,
    export: bool = True,
    restart: bool = False,
    wait_for_workers: Number | None = None,
) -> Arguments:
    """Bring arguments into one form.

    Parameters
    ----------
    approaches, decades
        One or several; not none at all, which would be taken for all.
    workers
        A positive integer, or ``"all"``.
    kernel
        One of `KERNELS`.
    normalize, compute, export, restart
        True or False, nothing that merely counts as such: the text ``"0"`` would count as True,
        and delete what is computed.
    min_similarity, top_percent, top_k
        As for `read_rule`.
    wait_for_workers
        A number of seconds.

    Raises
    ------
    ValueError
        When one is not what it should be, the text names it; or when nothing is left to do.
    """
    flags = {"compute": compute, "export": export, "restart": restart}
    for name, value in flags.items():
        flags[name] = _named(name, _flag, value)
    if not (flags["compute"] or flags["export"]):
        raise ValueError("there is nothing to do without compute and without export")
    if flags["restart"] and not flags["compute"]:
        raise ValueError("restart forgets what an export without compute would need")
    return Arguments(
        approaches=_read("approaches", lambda value: _several(value, approach), approaches),
        decades=_read("decades", lambda value: _several(value, year), decades),
        workers=_read("workers", worker_count, workers),
        kernel=_read("kernel", kernel_name, kernel),
        normalize=_read("normalize", _flag, normalize),
        rule=read_rule(min_similarity, top_percent, top_k),
        wait_for_workers=_read("wait_for_workers", seconds, wait_for_workers),
        **flags,
    )


def read_rule(min_similarity: object, top_percent: object, top_k: object) -> Rule:
    """Read which pairs are wanted.

    Parameters
    ----------
    min_similarity
        A finite number.
    top_percent
        A number between 0 and 100. Neither is among them: for every pair there is no rule.
    top_k
        A positive integer.

    Raises
    ------
    ValueError
        When one is not what it should be, or more than one is given.
    """
    given = [value for value in (min_similarity, top_percent, top_k) if value is not None]
    if len(given) > 1:
        raise ValueError("of min_similarity, top_percent and top_k only one can be given")
    return Rule(
        _read("min_similarity", number, min_similarity),
        _read("top_percent", percent, top_percent),
        _read("top_k", lambda value: min(whole_number(value), _MOST), top_k),
    )


def approach(value: object) -> str:
    """Read the name of an approach; whether there is such a one is for the folders to say."""
    if not isinstance(value, str):
        raise _not(value, "the name of an approach, which is text")
    return str(value)


def year(value: object) -> str:
    """Read the first year of a decade, ``"1990"`` of 1990, ``"1990"`` or ``"1990s"``."""
    text = value if isinstance(value, str) else str(_integer(value, "a year like 1990"))
    if not re.fullmatch("[0-9]{1,9}s?", text):
        raise _not(value, "a year like 1990")
    return text.removesuffix("s")


def worker_count(value: object) -> int | None:
    """Read a number of workers; None, as many as there are CPUs, of ``"all"``."""
    if isinstance(value, str) and value == "all":
        return None
    return whole_number(value, "a positive integer or all")


def whole_number(value: object, expected: str = "a positive integer", least: int = 1) -> int:
    """Read a number of things, no fewer than `least`."""
    if isinstance(value, str):
        found = int(value) if re.fullmatch("[0-9]{1,100}", value) else -1
    else:
        found = _integer(value, expected)
    if found < least:
        raise _not(value, expected)
    return found


def kernel_name(value: object) -> KernelName:
    """Read the name of a kernel."""
    for name in KERNELS:
        if isinstance(value, str) and value == name:
            return name
    raise _not(value, f"one of {', '.join(KERNELS)}")


def number(value: object) -> float:
    """Read a finite number; it has no sign when it is zero."""
    plain = _plain(value)
    found = math.nan
    if not isinstance(plain, bool) and isinstance(plain, (str, Real)):
        with suppress(ValueError, OverflowError):  # No number, or an integer too large for float.
            found = float(plain)
    if not math.isfinite(found):
        raise _not(value, "a finite number")
    return found + 0.0


def seconds(value: object) -> float:
    """Read a time to wait."""
    found = number(value)
    if found < 0:
        raise _not(value, "a number of seconds")
    return found


def percent(value: object) -> float:
    """Read how many of a hundred, more than none of them and fewer than all."""
    found = number(value)
    if not 0 < found < 100:
        raise _not(value, "a percentage between 0 and 100")
    return found


def _flag(value: object) -> bool:
    plain = _plain(value)
    if not isinstance(plain, bool):
        raise _not(value, "True or False")
    return plain


def _several(value: object, read: Callable[[object], str]) -> tuple[str, ...]:
    """Read one or several, each once; bytes are one, as their parts are numbers."""
    plain = _plain(value)
    parts: Iterable[object] = [plain]
    if isinstance(plain, Iterable) and not isinstance(plain, (str, bytes, bytearray)):
        parts = plain
    found = tuple(dict.fromkeys(map(read, parts)))
    if not found:
        raise ValueError("nothing is selected; leave it out to select all")
    return found


def _read(name: str, read: Callable[[Any], _T], value: object) -> _T | None:
    """Read what was given, and name it in what is wrong with it."""
    return None if value is None else _named(name, read, value)


def _named(name: str, read: Callable[[Any], _T], value: object) -> _T:
    try:
        return read(value)
    except ValueError as error:  # What a reader above says; it does not know the name.
        raise ValueError(f"{name}: {error}") from None


def _integer(value: object, expected: str) -> int:
    plain = _plain(value)
    if isinstance(plain, bool) or not isinstance(plain, SupportsIndex):
        raise _not(value, expected)
    try:
        return index(plain)
    except TypeError:  # An array of numpy's has the method, and may have no such value.
        raise _not(value, expected) from None


def _plain(value: object) -> object:
    """The Python value of a scalar of numpy's, or of the like, of which nothing else is known."""
    item = getattr(value, "item", None)
    return item() if callable(item) and getattr(value, "ndim", None) == 0 else value


def _not(value: object, expected: str) -> ValueError:
    return ValueError(f"{shown(repr(value))} is not {expected}")
