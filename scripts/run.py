"""Compute the similarities of all pairs of films and write them as JSON: the main job."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from engine.cli import command

if __name__ == "__main__":
    command()
