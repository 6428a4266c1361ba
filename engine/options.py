"""The options of the command line: their help, and what is said of those that do not exist.

Nothing is done here; `engine.cli` does what the options ask for.
"""

import argparse
import difflib
import re
import shutil
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NoReturn, TypeVar

from engine import native
from engine.arguments import number, percent, seconds, whole_number, worker_count, year
from engine.errors import shown
from engine.triangle.kernel import KERNELS
from engine.version import __version__

_T = TypeVar("_T")

_DESCRIPTION = """\
Compute the similarity of every pair of films and write it as JSON. The same
command again goes on after an interruption."""

_EPILOG = """\
Examples:
  similarities-engine -d data/sample -w 2    everything there, with two workers
  similarities-engine --decade 1990 2000     two decades, of every approach
  similarities-engine --status               what a run would do

Exit status:
  0    all done
  1    something failed
  2    wrong usage
  130  interrupted (143: by SIGTERM)"""

_MEANT = {
    "--restart": ("--force", "--overwrite", "--clean", "--fresh", "--reset"),
    "--status": ("--dry-run", "--dryrun", "-n", "--list", "--check", "--plan"),
    "--workers": ("--jobs", "-j", "--n-jobs", "--threads", "--cpus", "--cores", "--processes"),
    "--data": ("--input", "-i", "--dir", "--folder", "--path", "--output", "-o", "--out"),
    "--min-similarity": ("--threshold", "--min", "--minimum", "--cutoff"),
    "--top-percent": ("--percentile", "--percent", "--quantile", "--top"),
    "--top-k": ("--k", "-k", "--neighbors", "--neighbours", "--nearest"),
    "--decade": ("--year", "--years", "--decades"),
    "--approach": ("--name", "--model", "--approaches"),
    "--compute-only": ("--no-export", "--no-json"),
    "--export-only": ("--no-compute",),
    "--quiet": ("--silent", "--no-progress"),
    "--verbose": ("--debug", "--traceback"),
}
"""What other programs call an option, under its name here."""
_NEEDLESS = ("--resume", "--continue")


class Parser(argparse.ArgumentParser):
    """Says what is wrong in two lines, not under a list of all options."""

    def error(self, message: str) -> NoReturn:
        """End with status 2."""
        usage = f"usage: {self.prog} [options]; --help lists them"
        self.exit(2, f"{usage}\n{self.prog}: error: {message}\n")


def parser() -> argparse.ArgumentParser:
    """Build the parser of the command line."""
    width = min(80, shutil.get_terminal_size().columns)
    parser = Parser(
        # Whichever door it came through.
        prog="similarities-engine",
        usage="%(prog)s [options]",
        description=_DESCRIPTION,
        epilog=_EPILOG,
        formatter_class=lambda prog: argparse.RawDescriptionHelpFormatter(
            prog, max_help_position=24, width=width
        ),
        # Short for another option today, it may be an option of its own tomorrow.
        allow_abbrev=False,
        add_help=False,
    )
    what = parser.add_argument_group("What")
    what.add_argument(
        "--approach",
        metavar="NAME",
        nargs="+",
        action="extend",
        help="only these; may be repeated (default: every folder in DIR/embeddings)",
    )
    what.add_argument(
        "--decade",
        metavar="YEAR",
        nargs="+",
        action="extend",
        type=_typed(year),
        help="only these; may be repeated (default: every plots_YEARs.json there)",
    )
    rule = what.add_mutually_exclusive_group()
    rule.add_argument(
        "--min-similarity",
        metavar="X",
        type=_typed(number),
        help="export only the pairs at or above X (default: every pair)",
    )
    rule.add_argument(
        "--top-percent",
        metavar="P",
        type=_typed(percent),
        help="export only the strongest P per cent of each decade (default: every pair)",
    )
    rule.add_argument(
        "--top-k",
        metavar="K",
        type=_typed(whole_number),
        help="export only the pairs among the K best of either film (default: every pair)",
    )
    what.add_argument(
        "--restart",
        action="store_true",
        help="forget what the store holds for the selected decades",
    )
    where = parser.add_argument_group("Where")
    where.add_argument(
        "-d",
        "--data",
        metavar="DIR",
        default="data",
        help="root of input and output (default: %(default)s)",
    )
    where.add_argument(
        "--store", metavar="PATH_OR_URL", help="the zarr store (default: DIR/similarities.zarr)"
    )
    how = parser.add_argument_group("How")
    how.add_argument(
        "-w",
        "--workers",
        metavar="N",
        type=_typed(worker_count),
        help="worker processes, or all: one per CPU (default: the CPUs available)",
    )
    how.add_argument(
        "--dask",
        metavar="ADDRESS",
        help="compute on the Dask cluster of this scheduler, for instance tcp://scheduler:8786",
    )
    how.add_argument(
        "--wait-for-workers",
        metavar="SECONDS",
        type=_typed(seconds),
        help="with --dask: wait so long for its first worker (default: 5)",
    )
    how.add_argument(
        "--kernel",
        choices=KERNELS,
        help="; ".join(f"{name}: {what}" for name, what in KERNELS.items())
        + " (default: what the store has; dot for what is new)",
    )
    how.add_argument(
        "--normalize",
        action="store_true",
        default=None,
        help="scale every vector to unit length first (default: as the store has it)",
    )
    loud = how.add_mutually_exclusive_group()
    loud.add_argument("-q", "--quiet", action="store_true", help="print errors only")
    loud.add_argument("-v", "--verbose", action="store_true", help="print tracebacks, too")
    instead = parser.add_argument_group("Instead of a whole run")
    only = instead.add_mutually_exclusive_group()
    only.add_argument("--compute-only", action="store_true", help="fill the store, write no JSON")
    only.add_argument(
        "--export-only",
        action="store_true",
        help="write JSON from a finished store, compute nothing",
    )
    instead.add_argument(
        "--status", action="store_true", help="say what is done and what is left, change nothing"
    )
    only.add_argument(
        "--verify",
        action="store_true",
        help="check every chunk's checksum and every output against the store, change nothing",
    )
    instead.add_argument(
        "--json", action="store_true", help="with --status: print JSON, for scripts"
    )
    instead.add_argument(
        "--version",
        action="version",
        version=f"%(prog)s {__version__}, {native.in_use()}",
        help="print the version and end",
    )
    instead.add_argument("-h", "--help", action="help", help="print this help and end")
    return parser


def store_parser(
    module: str, description: str, data_help: str, decade_help: str
) -> argparse.ArgumentParser:
    """Build the parser of another command, which shows what is in a store."""
    parser = Parser(prog=f"python -m {module}", allow_abbrev=False, description=description)
    add = parser.add_argument
    add(
        "--data",
        metavar="DIR",
        default="data",
        help=f"root of the data; {data_help} (default: %(default)s)",
    )
    add("--store", metavar="PATH_OR_URL", help="the zarr store (default: DIR/similarities.zarr)")
    add("--approach", metavar="NAME", nargs="+", help="only these (default: all)")
    add("--decade", metavar="YEAR", nargs="+", type=lambda x: x.removesuffix("s"), help=decade_help)
    return parser


def parse(words: Sequence[str] | None = None) -> argparse.Namespace:
    """Parse the words of a command, those of the process by default.

    Raises
    ------
    SystemExit
        For wrong usage, with status 2, and after ``--help`` and ``--version``.
    """
    built = parser()
    options, unknown = built.parse_known_args(_joined(sys.argv[1:] if words is None else words))
    if unknown:
        built.error(_unknown(unknown[0], built))
    _check(built, options)
    return options


_RULE = ("min_similarity", "top_percent", "top_k")
_INEFFECTIVE = {
    "status": ("verify", "dask", "wait_for_workers", "quiet"),
    "verify": ("dask", "wait_for_workers", "kernel", "normalize", *_RULE, "restart"),
    "export_only": ("dask", "wait_for_workers", "restart"),
    "compute_only": _RULE,
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


def _joined(words: Sequence[str]) -> list[str]:
    """Join a negative number to its option, because argparse takes -1e-5 for an option itself."""
    joined: list[str] = []
    for word in words:
        if joined and joined[-1] == "--min-similarity" and re.match(r"-[0-9.i]", word):
            joined[-1] += f"={word}"
        else:
            joined.append(word)
    return joined


def _unknown(word: str, built: argparse.ArgumentParser) -> str:
    """Say of a word that is no option's what to type instead."""
    if not word.startswith("-"):
        option = "--data" if Path(word).is_dir() else "--approach"
        option = "--decade" if re.fullmatch("[0-9]{4}s?", word) else option
        return f"{shown(word)} stands without an option; type {option} {shown(word)}"
    option = word.split("=")[0] if word.startswith("--") else word[:2]
    sentence = f"there is no option {shown(option)}"
    if option in _NEEDLESS:
        return f"{sentence}; a run always resumes: leave it out"
    for name, others in _MEANT.items():
        if option in others:
            return f"{sentence}; type {name}"
    known = re.findall("--[a-z-]+", built.format_help())
    begun = [name for name in known if len(option) > 2 and name.startswith(option)]
    if near := begun or difflib.get_close_matches(option, known, n=1, cutoff=0.7):
        return f"{sentence}; did you mean {near[0]}?"
    return sentence


def _typed(read: Callable[[object], _T]) -> Callable[[str], _T]:
    """Let argparse say what is wrong with an argument in the words of `engine.arguments`."""

    def typed(text: str) -> _T:
        try:
            return read(text)
        except ValueError as error:  # What `engine.arguments` says of a word.
            raise argparse.ArgumentTypeError(str(error)) from None

    return typed
