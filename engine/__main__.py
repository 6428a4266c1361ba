"""``python -m engine``: the same as ``scripts/run.py``."""

import sys

from engine.cli import main

sys.exit(main())
