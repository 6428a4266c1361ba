"""Make up embeddings: ``python -m engine.synthesize``, in a clone without installing it."""

import sys
from os.path import dirname

sys.path.insert(0, dirname(__file__))  # Python leaves it out with -P.

from entrance import entrance

if __name__ == "__main__":
    sys.exit(entrance("engine.synthesize")())
