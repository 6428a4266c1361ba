"""Compute the similarities of all pairs of films and write them as JSON: the main job."""

import os
import shutil
import signal
import sys
from multiprocessing import forkserver, resource_tracker, util
from pathlib import Path
from types import FrameType
from typing import NoReturn

STOPS = (signal.SIGINT, signal.SIGTERM)


def stop(number: int, frame: FrameType | None) -> NoReturn:
    """Leave before the command line has taken over: the imports take half a second."""
    os.write(2, b"interrupted before anything was done; the same command starts again\n")
    shutil.rmtree(util.get_temp_dir(), ignore_errors=True)
    os._exit(128 + number)


def start_fork_server() -> bool:
    """Have another process import what workers need, while this one does, to fork them from.

    Returns
    -------
    bool
        False where workers cannot be forked.
    """
    # With one CPU there is one worker, this process. Elsewhere than on Linux, libraries of the
    # system may not bear a fork.
    if sys.platform != "linux" or os.cpu_count() == 1:
        return False
    # A process with threads is not to be forked, and BLAS is to have one in any case.
    os.environ["OPENBLAS_NUM_THREADS"] = "1"
    # Python would look into the current folder, where a file may be called like a library.
    os.environ["PYTHONSAFEPATH"] = "1"
    # Not `engine`: where it looks may be another one.
    forkserver.set_forkserver_preload(
        ["google_crc32c", "joblib", "orjson", "threadpoolctl", "zarr"]
    )
    try:
        signal.pthread_sigmask(signal.SIG_BLOCK, STOPS)  # There are a folder, and a name for it.
        # By this the next run knows the server's folder, should this process be killed.
        Path(util.get_temp_dir(), str(os.getpid())).touch()
        # Ctrl-C reaches the server and its workers, too; what comes of it is decided here. (Python
        # starts this other one beforehand, and lets signals through afterwards.)
        resource_tracker.ensure_running()
        signal.pthread_sigmask(signal.SIG_BLOCK, STOPS)
        forkserver.ensure_running()
    except OSError:
        return False  # No place for its socket.
    finally:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, STOPS)
    return True


if __name__ == "__main__":
    for each in STOPS:
        signal.signal(each, stop)
    forking = start_fork_server()
    sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))

    from engine.cli import command
    from engine.pool import fork_workers

    if forking:
        fork_workers()
    command()
