"""The command line: parse, call the engine, print. ``scripts/run.py --help`` lists it."""

import argparse
import contextlib
import dataclasses
import io
import json
import math
import os
import sys
import traceback
from collections.abc import Callable, Sequence

import engine
from engine.terminal import TerminalProgress, status_table, summary_table
from engine.terminal.stopping import ignore_stops, stoppable
from engine.triangle.kernel import KERNELS

_DEFAULT_DATA = "data"


def parser() -> argparse.ArgumentParser:
    """Build the parser of the command line."""
    parser = argparse.ArgumentParser(
        description="Compute the similarity of every pair of films and write it as JSON. "
        "The same command again goes on after an interruption.",
        epilog="Exit status: 0 all done; 1 something failed; 2 wrong usage; 130 interrupted "
        "(143 by SIGTERM).",
    )
    add = parser.add_argument
    add(
        "--data",
        metavar="DIR",
        default=_DEFAULT_DATA,
        help="root of input and output (default: %(default)s)",
    )
    add("--store", metavar="PATH_OR_URL", help="the zarr store (default: DIR/similarities.zarr)")
    add(
        "--workers",
        metavar="N",
        type=_positive,
        help="worker processes (default: the CPUs available)",
    )
    add(
        "--dask",
        metavar="ADDRESS",
        help="compute on the Dask cluster of this scheduler, for instance tcp://scheduler:8786",
    )
    add(
        "--wait-for-workers",
        metavar="SECONDS",
        type=_seconds,
        help="with --dask: wait so long for its first worker (default: 5)",
    )
    add(
        "--approach",
        metavar="NAME",
        nargs="+",
        help="only these (default: every folder in DIR/embeddings)",
    )
    add(
        "--decade",
        metavar="YEAR",
        nargs="+",
        type=_year,
        help="only these (default: every plots_YEARs.json there)",
    )
    add(
        "--kernel",
        choices=KERNELS,
        default="dot",
        help="dot: bit for bit the notebook's value; gemm: faster, within 2e-15 of it "
        "(default: %(default)s)",
    )
    add("--normalize", action="store_true", help="scale every vector to unit length first")
    only = parser.add_mutually_exclusive_group()
    only.add_argument("--compute-only", action="store_true", help="fill the store, write no JSON")
    only.add_argument(
        "--export-only",
        action="store_true",
        help="write JSON from a finished store, compute nothing",
    )
    only.add_argument(
        "--status", action="store_true", help="say what is done and what is left, change nothing"
    )
    only.add_argument(
        "--verify",
        action="store_true",
        help="hold every chunk against its checksum and every output against the store, "
        "change nothing",
    )
    add("--json", action="store_true", help="with --status: print JSON, for scripts")
    add(
        "--min-similarity",
        metavar="X",
        type=_number,
        help="export only the pairs at or above X (default: every pair)",
    )
    add(
        "--restart",
        action="store_true",
        help="forget what the store holds for the selected decades",
    )
    loud = parser.add_mutually_exclusive_group()
    loud.add_argument("--quiet", action="store_true", help="print errors only")
    loud.add_argument("--verbose", action="store_true", help="print tracebacks, too")
    add("--version", action="version", version=f"%(prog)s {engine.__version__}")
    return parser


def _positive(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number from 1 on")
    return int(text)


def _number(text: str) -> float:
    try:
        number = float(text)
    except ValueError:
        number = math.nan
    if math.isnan(number):
        raise argparse.ArgumentTypeError(f"{text!r} is not a number")
    return number


def _seconds(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = math.nan
    if not 0 <= seconds < math.inf:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of seconds")
    return seconds


def _year(text: str) -> str:
    year = text.removesuffix("s")
    if not year.isdecimal():
        raise argparse.ArgumentTypeError(f"{text!r} is not a year like 1990")
    return year


_INEFFECTIVE = {
    "status": ("workers", "dask", "wait_for_workers", "restart"),
    "verify": ("dask", "wait_for_workers", "kernel", "normalize", "min_similarity", "restart"),
    "export_only": ("dask", "wait_for_workers", "restart"),
    "compute_only": ("min_similarity",),
}
"""What would have no effect beside each of these."""


def _check(parser: argparse.ArgumentParser, options: argparse.Namespace) -> None:
    """Refuse options that would have no effect."""
    if options.json and not options.status:
        parser.error("--json requires --status")
    if options.wait_for_workers is not None and options.dask is None:
        parser.error("--wait-for-workers requires --dask")
    for mode, names in _INEFFECTIVE.items():
        for name in names:
            if getattr(options, mode) and getattr(options, name) != parser.get_default(name):
                option, other = (f"--{word.replace('_', '-')}" for word in (name, mode))
                parser.error(f"{option} has no effect with {other}: leave it out")


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
    words = parser()
    options = words.parse_args(arguments)
    _check(words, options)
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # As stderr does: names may be anything.
    progress = TerminalProgress(quiet=options.quiet, verbose=options.verbose)
    with stoppable(lambda: _farewell(progress)):
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


def _guarded(options: argparse.Namespace, progress: TerminalProgress) -> int:
    """Turn what goes wrong into one line."""
    try:
        return _run(options, progress)
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
        wait_for_workers=options.wait_for_workers,
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
        _print(summary_table(summary))
    return 0 if summary.ok else 1


def _print(text: str) -> None:
    """Print what was found or done; whoever asked for it may have gone away meanwhile."""
    try:
        print(text, flush=True)
    except BrokenPipeError:
        # What is left in the buffer must not be an error again at the end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except OSError as error:
        error.filename = "standard output"
        raise


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
    if options.json:
        text = json.dumps(dataclasses.asdict(found), indent=2, default=str)
    else:
        text = status_table(found)
    _print(text)
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
        _print("every chunk matches its checksum, and every output the store")
    return 0


def _farewell(progress: TerminalProgress) -> str:
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
