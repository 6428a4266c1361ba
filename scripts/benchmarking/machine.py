"""On what it is measured: processor, memory, disk, the kernels of the BLAS, versions, commits."""

import os
import platform
import re
import subprocess
import sys
from contextlib import suppress
from importlib import metadata
from importlib.util import find_spec
from pathlib import Path

import joblib
from threadpoolctl import threadpool_info

_MODULES = ("numpy", "zarr", "joblib", "orjson", "sklearn", "scipy", "pyarrow", "numba")


def describe_machine(folder: Path) -> str:
    """Describe the machine, and on what a folder lies, in a few lines."""
    cpus = Path("/proc/cpuinfo")
    models = re.findall(r"model name\s*: (.*)", cpus.read_text() if cpus.exists() else "")
    memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / 2**30
    disk = _output("stat", "--file-system", "--format", "%T", str(folder)) or "an unknown disk"
    blas = {
        f"{pool['internal_api']} {pool.get('version')}, kernels for {pool.get('architecture')}"
        for pool in threadpool_info()
        if pool["user_api"] == "blas"
    }
    packages = [module.replace("sklearn", "scikit-learn") for module in filter(find_spec, _MODULES)]
    versions = [f"{name} {metadata.version(name)}" for name in packages]
    load = os.getloadavg()[0]
    return (
        f"machine: {(models or [platform.machine()])[0]}, {joblib.cpu_count()} CPUs usable, "
        f"{memory:.0f} GiB of memory, {platform.system()}; data on {disk}\n"
        f"BLAS: {'; '.join(sorted(blas))}\n"
        f"with: Python {platform.python_version()}, {', '.join(versions)}\n"
        f"others' work before the start: load {load:.2f}"
        f"{' (not a quiet machine: expect noise)' if load > 0.5 else ''}"
    )


def describe_engine(label: str, root: Path) -> str:
    """Say what the engine of a checkout says of itself, and the commit it is from."""
    version = _output(sys.executable, str(root / "scripts" / "run.py"), "--version")
    commit = _output("git", "-C", str(root), "describe", "--always", "--dirty")
    facts = [*version.splitlines(), commit and f"commit {commit}"]
    return f"{label}: {', '.join(filter(None, facts))}"


def _output(*command: str) -> str:
    with suppress(OSError):  # There is no such program.
        return subprocess.run(command, capture_output=True, text=True).stdout.strip()
    return ""
