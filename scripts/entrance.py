"""The way into the engine from a clone: one sentence where a Python or a package is missing.

Without them the engine cannot be imported, and so cannot say so itself.
"""

import importlib
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]


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
    sys.path.insert(0, str(ROOT))
    try:
        return getattr(importlib.import_module(module), function)
    except ModuleNotFoundError as error:
        sys.exit(f"error: {error.name} is not installed: {sys.executable} -m pip install {ROOT}")
