"""On what it is measured: processor, memory, the kernels of the BLAS, versions, kind of disk."""

import os
import platform
from importlib import metadata, util
from pathlib import Path

import joblib
from measuring import THREADS
from threadpoolctl import threadpool_info

_PACKAGES = ("numpy", "zarr", "joblib", "orjson", "scikit-learn", "scipy", "pyarrow", "numba")
_MODULES = {"scikit-learn": "sklearn"}


def machine(folder: Path) -> str:
    """Describe the machine, and on what a folder lies, in a few lines."""
    processors = [line for line in _lines("cpuinfo") if line.startswith("model name")]
    processor = processors[0].partition(":")[2].strip() if processors else platform.machine()
    memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / 2**30
    blas = {
        f"{pool['internal_api']} {pool.get('version')}, kernels for {pool.get('architecture')}"
        for pool in threadpool_info()
        if pool["user_api"] == "blas"
    }
    # Variables that choose, for instance, the kernels of another kind of CPU.
    steering = [
        f"; {name}={value}"
        for name, value in sorted(os.environ.items())
        if name.startswith(("OPENBLAS_", "MKL_", "BLIS_")) and name not in THREADS
    ]
    packages = [
        f"{name} {metadata.version(name)}"
        for name in _PACKAGES
        if util.find_spec(_MODULES.get(name, name))
    ]
    load = os.getloadavg()[0]
    return (
        f"machine: {processor}, {joblib.cpu_count()} CPUs usable, {memory:.0f} GiB of memory, "
        f"{platform.system()}; data on {_kind_of_folder(folder)}\n"
        f"BLAS: {'; '.join(sorted(blas))}{''.join(steering)}\n"
        f"with: Python {platform.python_version()}, {', '.join(packages)}\n"
        f"others' work before the start: load {load:.2f}"
        f"{' (not a quiet machine: expect noise)' if load > 0.5 else ''}"
    )


def _lines(name: str) -> list[str]:
    path = Path("/proc") / name
    return path.read_text().splitlines() if path.exists() else []


def _kind_of_folder(folder: Path) -> str:
    """Say on what a folder lies, for instance "a RAM disk (tmpfs)" or "a disk (ext4)"."""
    folder, best, kind = folder.resolve(), "", "unknown"
    for _, point, file_system, *_ in map(str.split, _lines("mounts")):
        if folder.is_relative_to(point) and len(point) >= len(best):
            best, kind = point, file_system
    return f"a {'RAM disk' if kind in ('tmpfs', 'ramfs') else 'disk'} ({kind})"
