"""Make a page from the store: ``python -m engine.report``, in a clone without installing it."""

import sys

from entrance import entrance

if __name__ == "__main__":
    sys.exit(entrance("engine.report")())
