"""The command line: parse, call the engine, print. ``scripts/run.py --help`` lists it."""

import argparse
import dataclasses
import io
import json
import math
import os
import sys
import traceback
from collections.abc import Sequence
from typing import NoReturn

import engine
from engine import native
from engine.terminal import TerminalProgress, status_table, summary_table
from engine.terminal.stopping import exit_deaf, stoppably
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
    add("--version", action="version", version=f"%(prog)s {engine.__version__}, {native.in_use()}")
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


def _year(text: str) -> str:
    year = text.removesuffix("s")
    if not year.isdecimal():
        raise argparse.ArgumentTypeError(f"{text!r} is not a year like 1990")
    return year


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
    options = parser().parse_args(arguments)
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
        print(summary_table(summary), flush=True)
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
    if options.json:
        text = json.dumps(dataclasses.asdict(found), indent=2, default=str)
    else:
        text = status_table(found)
    print(text, flush=True)
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
