"""Similarities of every pair of films: parallel, resumable, exact to the byte."""

from engine.batch import DecadeSummary, Summary, run
from engine.errors import EngineError
from engine.progress import Progress

__version__ = "1.0.0"

__all__ = ["DecadeSummary", "EngineError", "Progress", "Summary", "__version__", "run"]
