"""The version of the engine, which imports nothing else of it."""

__version__ = "1.0.0"
