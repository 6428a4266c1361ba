"""``python -m engine``: the command line of ``scripts/run.py``."""

from engine.cli import command

command()
