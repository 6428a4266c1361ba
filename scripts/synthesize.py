"""Make up embeddings: ``python -m engine.synthesize``, in a clone without installing it."""

import sys

from entrance import entrance

if __name__ == "__main__":
    sys.exit(entrance("engine.synthesize")())
