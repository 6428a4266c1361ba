"""Compute the similarities of all pairs of films and write them as JSON: the main job."""

import os
import signal
import sys
from types import FrameType
from typing import NoReturn

STOPS = (signal.SIGINT, signal.SIGTERM)
server_folder = ""


def stop(number: int, frame: FrameType | None) -> NoReturn:
    """Leave before the command line has taken over: the imports take half a second."""
    os.write(2, b"interrupted before anything was done; the same command starts again\n")
    if server_folder:
        import shutil

        shutil.rmtree(server_folder, ignore_errors=True)
    os._exit(128 + number)


def start_fork_server() -> bool:
    """Have another process import what workers need, while this one does, to fork them from.

    Returns
    -------
    bool
        False where workers cannot be forked, or there is no use in it.
    """
    # Elsewhere than on Linux, libraries of the system may not bear a fork. With one CPU there is
    # one worker, this process.
    if sys.platform != "linux" or len(os.sched_getaffinity(0)) == 1:
        return False
    global server_folder
    from multiprocessing import forkserver, resource_tracker, util

    # A process with threads is not to be forked, and BLAS is to have one in any case.
    os.environ["OPENBLAS_NUM_THREADS"] = "1"
    # Python would look into the current folder, where a file may be called like a library.
    os.environ["PYTHONSAFEPATH"] = "1"
    # Not `engine`: where it looks may be another one.
    forkserver.set_forkserver_preload(["google_crc32c", "joblib", "orjson", "threadpoolctl"])
    try:
        for stream in range(3):
            os.fstat(stream)  # The number of a closed one would be given to the server's socket.
        # No stop comes between the making of the server's folder and the knowledge of its name.
        signal.pthread_sigmask(signal.SIG_BLOCK, STOPS)
        server_folder = util.get_temp_dir()
        # By this another run knows whose it was, should this process be killed.
        with open(f"{server_folder}/similarities-{os.getpid()}", "w"):
            pass
        # Ctrl-C reaches the server and its workers, too; what comes of it is decided here. (Python
        # starts this other one beforehand, and lets signals through afterwards.)
        resource_tracker.ensure_running()
        signal.pthread_sigmask(signal.SIG_BLOCK, STOPS)
        forkserver.ensure_running()
    except OSError:
        return False  # A stream is closed, or there is no place for the socket.
    finally:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, STOPS)
    return True


if __name__ == "__main__":
    for each in STOPS:
        signal.signal(each, stop)
    forking = start_fork_server()
    sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))

    from engine.cli import command
    from engine.work.pool import fork_workers

    if forking:
        fork_workers()
    command()
