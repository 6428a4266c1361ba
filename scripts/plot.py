"""Draw pictures from the store: ``python -m engine.plot``, in a clone without installing it."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from engine.plot import main

if __name__ == "__main__":
    sys.exit(main())
