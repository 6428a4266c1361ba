"""Compute the similarities of all pairs of films and write them as JSON: the main job."""

from entrance import entrance

if __name__ == "__main__":
    entrance("engine.cli", "command")()
