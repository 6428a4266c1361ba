"""The way into the engine from a clone: one sentence where a Python or a package is missing.

Without them the engine cannot be imported, and so cannot say so itself.
"""

import importlib
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
NEEDED = ("joblib", "numpy", "orjson", "zarr", "tqdm", "google_crc32c", "threadpoolctl")
"""What setup.cfg requires, under the names by which it is imported."""


def entrance(module: str, function: str = "main") -> Any:
    """Import a function of the engine of this clone.

    Raises
    ------
    SystemExit
        With a sentence for a person.
    """
    if sys.version_info < (3, 11):  # noqa: UP036
        version = ".".join(map(str, sys.version_info[:2]))
        sys.exit(f"error: Python 3.11 or newer is needed, and this is {version}")
    # Looked for, not tried: what the engine imports when it is needed may come late.
    if missing := [name for name in NEEDED if find_spec(name) is None]:
        there = f"{sys.executable} -m pip install {ROOT}"
        sys.exit(f"error: {', '.join(missing)} not installed; to install, run: {there}")
    sys.path.insert(0, str(ROOT))
    return getattr(importlib.import_module(module), function)
