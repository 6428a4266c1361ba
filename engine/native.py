"""The native part: three small modules in C, for those who have them.

They stand at the top level, not within `engine`, so that a clone beside an installed engine finds
the ones that ``pip install`` built. Without them, everything is done in Python and numpy: the same
bytes, slower.
"""

import importlib
import os
import struct
from types import ModuleType

FORBID = "SIMILARITIES_ENGINE_PURE_PYTHON"
"""Environment variable that, set to anything, has everything done in Python and numpy."""
INTERFACE = 1
"""Of the modules that this engine can call; an older build may lie beside a newer clone."""


def _module(name: str) -> ModuleType | None:
    if os.environ.get(FORBID):
        return None
    try:
        module = importlib.import_module(name)
    except ImportError:
        return None  # Not built, or for another machine.
    return module if module.INTERFACE == INTERFACE else None


dot = _module("_similarities_dot")
"""Dot products of many pairs, `engine/triangle/dot.c`."""
numbers = _module("_similarities_numbers")
"""Lists of numbers in JSON as float64, `engine/embeddings/numbers.c`."""
text = _module("_similarities_text")
"""Text of many pairs, `engine/legacy_json/text.c`."""


def powers_of_ten() -> bytes:
    """Make the table that `numbers` and `text` need: the first 128 bits of 10^k, rounded up.

    Two words each, for k from -292 to 324, so that `text` can write every float.
    """
    table = []
    for k in range(-292, 325):
        ten = 10 ** abs(k)
        if k < 0:
            first = -(-(1 << (127 + ten.bit_length())) // ten)
        else:
            shift = 128 - ten.bit_length()
            first = ten << shift if shift >= 0 else -(-ten >> -shift)
        table += [first >> 64, first & (2**64 - 1)]
    return struct.pack(f"={len(table)}Q", *table)


def in_use() -> str:
    """Say which way this process goes, for instance ``"native (AVX-512)"`` or ``"Python"``."""
    if dot and dot.LANES:
        what = {16: "AVX2", 32: "AVX-512"}[dot.LANES]
    elif text:
        what = "text"
    else:
        return "Python"
    return f"native ({what})"
