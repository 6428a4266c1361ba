"""The command line: call the engine as the options say, and print what comes of it."""

import argparse
import contextlib
import dataclasses
import errno
import io
import json
import os
import stat
import sys
import traceback
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import engine
from engine import terminal
from engine.terminal.stopping import ignore_stops, stoppable

if TYPE_CHECKING:
    from engine.terminal import TerminalProgress


def main(
    arguments: Sequence[str] | None = None, leave: Callable[[int], object] = lambda status: None
) -> int:
    """Run the command line.

    Parameters
    ----------
    arguments
        Without the name of the program; those of the process by default.
    leave
        Called with the exit status when all is done and said, and no signal can change it any more.

    Returns
    -------
    int
        The exit status.
    """
    _open_closed_streams()
    progress: TerminalProgress | None = None
    with stoppable(lambda: _farewell(progress)):
        # With the answer to Ctrl-C in place, as this takes a third of a second.
        from engine.options import parse

        options = parse(arguments)
        if isinstance(sys.stdout, io.TextIOWrapper):
            # As stderr does: names may be anything.
            sys.stdout.reconfigure(errors="backslashreplace")
        progress = terminal.TerminalProgress(quiet=options.quiet, verbose=options.verbose)
        status = _guarded(options, progress)
        ignore_stops()
        leave(status)
    return status


def command() -> None:
    """Run the command line in a process of its own, which ends with it."""
    # Not by way of Python's own end: all is written, and a signal that comes then, or a thread that
    # takes its time, would make a failure of it.
    main(leave=os._exit)


def _open_closed_streams() -> None:
    """Speak into the void where a standard stream was closed (``2>&-``), not into a data file.

    The number of a closed stream would go to the next file that is opened.
    """
    for descriptor in range(3):
        try:
            os.fstat(descriptor)
        except OSError:
            os.open(os.devnull, os.O_RDWR)
    sys.stdout = sys.stdout or open(os.devnull, "w")  # noqa: SIM115
    sys.stderr = sys.stderr or open(os.devnull, "w")  # noqa: SIM115


def _guarded(options: argparse.Namespace, progress: "TerminalProgress") -> int:
    """Turn what goes wrong into one line."""
    try:
        return _run(options, progress)
    except engine.EngineError as error:
        progress.error(str(error), traceback.format_exc())
    except OSError as error:
        path = f"{error.filename}: " if error.filename else ""
        progress.error(f"{path}{error.strerror or error}", traceback.format_exc())
    except Exception as error:  # A mistake of the engine's own, in one line, too.
        progress.error(
            f"unexpected {type(error).__name__}: {error}; --verbose shows where",
            traceback.format_exc(),
        )
    return 1


def _run(options: argparse.Namespace, progress: "TerminalProgress") -> int:
    if options.status:
        found = engine.status(options.data, **_asked(options))
        if options.json:
            _print(json.dumps(dataclasses.asdict(found), indent=2, default=str))
        else:
            _print(str(found))
        return 0
    if options.verify:
        return _verify(options, progress)
    summary = engine.run(
        options.data,
        **_asked(options),
        dask=options.dask,
        wait_for_workers=options.wait_for_workers,
        progress=progress,
    )
    if not options.quiet:
        _print(str(summary))
    return 0 if summary.ok else 1


def _asked(options: argparse.Namespace) -> dict[str, Any]:
    """What a run is asked for, and what `--status` tells of such a run."""
    return {
        "store": options.store,
        "workers": options.workers,
        "approaches": options.approach,
        "decades": options.decade,
        "kernel": options.kernel,
        "normalize": options.normalize,
        "min_similarity": options.min_similarity,
        "top_percent": options.top_percent,
        "top_k": options.top_k,
        "compute": not options.export_only,
        "export": not options.compute_only,
        "restart": options.restart,
    }


def _print(text: str) -> None:
    """Print what was found or done; whoever asked for it may have gone away meanwhile."""
    try:
        print(text, flush=True)
    except OSError as error:
        # A terminal that was closed fails as a broken disk does, and is a device.
        closed = error.errno == errno.EIO and stat.S_ISCHR(os.fstat(sys.stdout.fileno()).st_mode)
        if not (closed or isinstance(error, BrokenPipeError)):
            error.filename = "standard output"
            raise
        # What is left in the buffer must not be an error again at the end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _verify(options: argparse.Namespace, progress: "TerminalProgress") -> int:
    problems = engine.verify(
        options.data,
        store=options.store,
        workers=options.workers,
        approaches=options.approach,
        decades=options.decade,
        progress=progress,
    )
    if problems:
        return 1
    if not options.quiet:
        _print("every chunk matches its checksum, and every output the store")
    return 0


def _farewell(progress: "TerminalProgress | None") -> str:
    if progress is None:
        return "interrupted before anything was done; the same command starts again"
    # The signal may have come while it was writing; whoever read that may be gone.
    with contextlib.suppress(RuntimeError, OSError):
        progress.close()
    if "computing" not in progress.total:
        return "interrupted before anything was computed; the same command resumes"
    done, total = progress.done["computing"], progress.total["computing"]
    return (
        f"interrupted: {100 * done // max(1, total)} % of {total:,} pairs stored; "
        "the same command resumes"
    )
