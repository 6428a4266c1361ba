"""The command line: call the engine as the options say, and print what comes of it."""

import argparse
import dataclasses
import io
import json
import os
import sys
import traceback
from collections.abc import Sequence
from typing import NoReturn

import engine
from engine.options import parse, parser
from engine.terminal import TerminalProgress
from engine.terminal.stopping import exit_deaf, stoppably


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line.

    Parameters
    ----------
    arguments
        Without the name of the program; those of the process by default.

    Returns
    -------
    int
        The exit status.
    """
    _open_closed_streams()
    options = parse(arguments)
    if options.json and not options.status:
        parser().error("--json goes with --status")
    if options.restart and (options.export_only or options.status or options.verify):
        parser().error("--restart goes with a run that computes")
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # As stderr does: names may be anything.
    progress = TerminalProgress(quiet=options.quiet, verbose=options.verbose)
    return stoppably(lambda: _guarded(options, progress), lambda: _farewell(progress))


def command() -> NoReturn:
    """Run the command line in a process of its own, which ends with it."""
    exit_deaf(main())


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


def _guarded(options: argparse.Namespace, progress: TerminalProgress) -> int:
    """Turn what goes wrong into one line."""
    try:
        return _run(options, progress)
    except BrokenPipeError:
        # Whoever read the table went away; what was done is done.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except engine.EngineError as error:
        progress.error(str(error), traceback.format_exc())
    except OSError as error:
        place = f"{error.filename}: " if error.filename else ""
        progress.error(f"{place}{error.strerror or error}", traceback.format_exc())
    except Exception as error:
        progress.error(
            f"unexpected {type(error).__name__}: {error}; --verbose shows where",
            traceback.format_exc(),
        )
    return 1


def _run(options: argparse.Namespace, progress: TerminalProgress) -> int:
    if options.status:
        return _status(options)
    if options.verify:
        return _verify(options, progress)
    summary = engine.run(
        options.data,
        store=options.store,
        workers=options.workers,
        dask=options.dask,
        approaches=options.approach,
        decades=options.decade,
        kernel=options.kernel,
        normalize=options.normalize,
        min_similarity=options.min_similarity,
        compute=not options.export_only,
        export=not options.compute_only,
        restart=options.restart,
        progress=progress,
    )
    if not options.quiet:
        print(summary, flush=True)
    return 0 if summary.ok else 1


def _status(options: argparse.Namespace) -> int:
    found = engine.status(
        options.data,
        store=options.store,
        approaches=options.approach,
        decades=options.decade,
        kernel=options.kernel,
        normalize=options.normalize,
        min_similarity=options.min_similarity,
    )
    as_json = json.dumps(dataclasses.asdict(found), indent=2, default=str) if options.json else ""
    print(as_json or found, flush=True)
    return 0


def _verify(options: argparse.Namespace, progress: TerminalProgress) -> int:
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
        print("every chunk matches its checksum, and every output the store")
    return 0


def _farewell(progress: TerminalProgress) -> str:
    progress.close()
    if "computing" not in progress.total:
        return "interrupted before anything was computed; the same command resumes"
    done, total = progress.done["computing"], progress.total["computing"]
    return (
        f"interrupted: {100 * done // max(1, total)} % of {total:,} pairs stored; "
        "the same command resumes"
    )
