"""The films of all decades and their nearest, as the JSON that the page's script reads.

A list of ids that several decades share, as a decade does under two approaches, stands there once.
Arrays are the base64 of little-endian integers, a quarter of their text: places as uint16, or
uint32 where there are more films than that counts; similarities as int16, times a power of ten.
"""

import base64
import json
import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from engine.page.section import Section

_LARGEST = 2**15 - 1
_NOT_FINITE = -(2**15)
"""Stands for a similarity that is too large for a float64."""


def payload(sections: Sequence[Section], titles: Mapping[str, str]) -> str:
    """Set what the script needs, fit to stand inside of an HTML element ``script``."""
    lists: dict[tuple[str, ...], int] = {}
    content = {
        "decades": [_decade(each, lists) for each in sections],
        "ids": list(lists),
        "titles": {film: titles[film] for ids in lists for film in ids if film in titles},
    }
    # In ASCII no character ends a line or turns the direction of writing; nothing ends the element.
    return json.dumps(content, separators=(",", ":")).replace("<", "\\u003c")


def _decade(section: Section, lists: dict[tuple[str, ...], int]) -> dict[str, Any]:
    n, k = section.places.shape
    places = section.places.astype(np.intp)
    # No film is its own neighbour, so its own place says that there is none.
    own = np.broadcast_to(np.arange(n)[:, None], (n, k))
    places = np.where(places < 0, own, places)
    decimals, values = _rounded(section.similarities)
    return {
        "approach": section.name.approach,
        "decade": f"{section.name.decade}s",
        "ids": lists.setdefault(tuple(section.ids), len(lists)),
        "k": k,
        "places": _base64(places, _unsigned(n)),
        "values": _base64(values, "<i2"),
        "decimals": decimals,
        "order": _base64(section.order, _unsigned(n)),
    }


def _rounded(values: NDArray[np.float64]) -> tuple[int, NDArray[np.float64]]:
    """Round to so many decimals that the largest has at least four digits; those, as integers."""
    known = values[np.isfinite(values)]
    largest = float(np.abs(known).max(initial=0.0))
    # Of numbers like 1e-320 a power of ten that is a float64 makes what it can.
    decimals = min(math.floor(math.log10(_LARGEST) - math.log10(largest)), 300) if largest else 4
    scaled = np.rint(values * 10.0**decimals)
    return decimals, np.where(np.isfinite(scaled), scaled, _NOT_FINITE)


def _unsigned(n_films: int) -> str:
    return "<u2" if n_films <= 2**16 else "<u4"


def _base64(numbers: NDArray[Any], dtype: DTypeLike) -> str:
    return base64.b64encode(numbers.astype(dtype).tobytes()).decode("ascii")
