"""On what it is measured: processor, memory, the kernels of the BLAS, versions, kind of disk."""

import os
import platform
from importlib import metadata
from importlib.util import find_spec
from pathlib import Path

import joblib
from measuring import THREADS
from threadpoolctl import threadpool_info

_MODULES = ("numpy", "zarr", "joblib", "orjson", "sklearn", "scipy", "pyarrow", "numba")


def machine(folder: Path) -> str:
    """Describe the machine, and on what a folder lies, in a few lines."""
    models = [line for line in _lines("cpuinfo") if line.startswith("model name")]
    processor = models[0].partition(": ")[2] if models else platform.machine()
    memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / 2**30
    blas = {
        f"{pool['internal_api']} {pool.get('version')}, kernels for {pool.get('architecture')}"
        for pool in threadpool_info()
        if pool["user_api"] == "blas"
    }
    # Variables that choose, for instance, the kernels of another kind of CPU.
    steering = [
        f"{name}={value}"
        for name, value in sorted(os.environ.items())
        if name.startswith(("OPENBLAS_", "MKL_", "BLIS_")) and name not in THREADS
    ]
    packages = [module.replace("sklearn", "scikit-learn") for module in filter(find_spec, _MODULES)]
    versions = [f"{name} {metadata.version(name)}" for name in packages]
    load = os.getloadavg()[0]
    return (
        f"machine: {processor}, {joblib.cpu_count()} CPUs usable, {memory:.0f} GiB of memory, "
        f"{platform.system()}; data on {_kind_of_folder(folder)}\n"
        f"BLAS: {'; '.join([*sorted(blas), *steering])}\n"
        f"with: Python {platform.python_version()}, {', '.join(versions)}\n"
        f"others' work before the start: load {load:.2f}"
        f"{' (not a quiet machine: expect noise)' if load > 0.5 else ''}"
    )


def _lines(name: str) -> list[str]:
    path = Path("/proc") / name
    return path.read_text().splitlines() if path.exists() else []


def _kind_of_folder(folder: Path) -> str:
    """Say on what a folder lies, for instance "a RAM disk (tmpfs)" or "a disk (ext4)"."""
    mounts = [line.split()[1:3] for line in _lines("mounts")]
    around = [(len(at), kind) for at, kind in mounts if folder.resolve().is_relative_to(at)]
    kind = max(around)[1] if around else "unknown"
    return f"a {'RAM disk' if kind in ('tmpfs', 'ramfs') else 'disk'} ({kind})"
