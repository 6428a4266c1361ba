"""The BLAS of this process: its kind, and how many threads it uses."""

import os
from contextlib import AbstractContextManager
from functools import cache

import numpy as np
from threadpoolctl import ThreadpoolController


@cache
def _controller() -> ThreadpoolController:
    return ThreadpoolController()  # Looks through all libraries of the process: once is enough.


def one_blas_thread() -> AbstractContextManager[object]:
    """Limit BLAS to one thread for a while; more would change the last bits of a product."""
    limit: AbstractContextManager[object] = _controller().limit(limits=1, user_api="blas")
    return limit


def machine() -> str:
    """Name what the last bits of a dot product depend on: the BLAS and the CPU kind it uses."""
    names = {
        f"{pool['internal_api']} {pool.get('version') or '?'} {pool.get('architecture') or '?'}"
        for pool in _controller().info()
        if pool["user_api"] == "blas"
    }
    return ", ".join(sorted(names)) or f"numpy {np.__version__} {os.uname().machine}"
