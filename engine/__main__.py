"""``python -m engine``: the same as ``scripts/run.py``."""

from engine.cli import command

command()
