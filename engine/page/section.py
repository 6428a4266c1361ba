"""What the page shows of one decade, asked of the store: figures, pictures and nearest films."""

import io
from dataclasses import dataclass

import matplotlib
import numpy as np
from numpy.typing import NDArray
from PIL import Image  # comes with matplotlib

from engine.data_folder import DecadeName
from engine.query.decade import Decade
from engine.query.overview import (
    Distribution,
    colour_range,
    mean_by_pixel,
    measure,
    order_films,
)

NEAREST = 10
"""Films beside each film."""
PIXELS = 400
"""Most rows and columns of a heat map, so that its size does not grow with the films."""
_COLOURS = 64
_TRANSPARENT = _COLOURS
"""What is not computed shows the hatching below: no colour, so that it needs none to be told."""


@dataclass(frozen=True)
class HeatMap:
    """A matrix of similarities whose films are in order, as a picture."""

    png: bytes
    low: float
    high: float
    """The similarities that the first and the last colour stand for, and all beyond them."""
    together: int
    """How many films share a row of pixels."""


@dataclass(frozen=True)
class Section:
    """One decade on the page."""

    ids: list[str]
    distribution: Distribution
    described: dict[str, float]
    """As `Decade.describe`, of the pairs that are computed."""
    order: NDArray[np.intp]
    """(n_films,): which film stands at which place of the heat map."""
    heat_map: HeatMap | None
    """None where there is no pair to draw."""
    places: NDArray[np.intp]
    similarities: NDArray[np.float64]
    """The nearest films of each and how similar they are, both (n_films, up to `NEAREST`), as from
    `Decade.nearest`."""

    @property
    def name(self) -> DecadeName:
        """The approach and the decade."""
        return self.distribution.name


def section_of(films: Decade) -> Section:
    """Read of a decade what the page shows, from the pairs that are computed.

    Raises
    ------
    StoreError
        As for a pair.
    """
    distribution = measure(films)
    order, heat_map = np.arange(len(films)), None
    if distribution.n_counted:
        together = -(-len(films) // PIXELS)
        order = order_films(films.vectors, together)
        heat_map = _drawn(mean_by_pixel(films, order, together), together)
    places, similarities = films.nearest(NEAREST, partial=True)
    return Section(
        films.ids,
        distribution,
        films.describe(partial=True),
        order,
        heat_map,
        places,
        similarities,
    )


def _drawn(image: NDArray[np.float64], together: int) -> HeatMap:
    low, high = colour_range(image)
    known = np.isfinite(image)
    colours = np.full(image.shape, _TRANSPARENT, dtype=np.uint8)
    parts = (image[known] - low) / (high - low)
    colours[known] = np.clip(parts * _COLOURS, 0, _COLOURS - 1).astype(np.uint8)
    return HeatMap(as_png(colours), low, high, together)


def as_png(colours: NDArray[np.uint8]) -> bytes:
    """Make a picture of indices of colours, from dark for 0 to light, so that grey tells them."""
    palette = matplotlib.colormaps["viridis"](np.linspace(0, 1, _COLOURS))[:, :3]
    picture = Image.fromarray(colours)
    picture.putpalette([*np.rint(255 * palette).astype(int).ravel().tolist(), 0, 0, 0])
    content = io.BytesIO()
    picture.save(content, "png", optimize=True, transparency=_TRANSPARENT)
    return content.getvalue()


def ramp() -> bytes:
    """Make a picture of all colours, from left to right."""
    return as_png(np.arange(_COLOURS, dtype=np.uint8)[None, :])
