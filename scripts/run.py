"""Compute the similarities of all pairs of films and write them as JSON: the main job."""

import sys
from os.path import dirname

sys.path.insert(0, dirname(__file__))  # Python leaves it out with -P.

from entrance import entrance

if __name__ == "__main__":
    entrance("engine.cli", "command")()
