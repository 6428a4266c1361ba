"""Made-up embeddings of the real shape: ``python -m engine.synthesize``.

The real embeddings (22,390 films, half a gigabyte) are not part of this repository. This writes
files of the same form, sizes and spread of similarities, so that the main job can be seen,
tested and timed without them. Films gather in clusters, as films of one genre do, and a decade
has the same ids under every approach.

The numbers depend on the options alone, not on the machine: they are made of PCG64's uniform
numbers with +, -, *, / and square roots, which IEEE 754 rounds the same way everywhere, and sums
are taken from left to right. Library functions (exp, a normal distribution) and BLAS, whose last
bits differ from CPU to CPU, are avoided.
"""

import argparse
import errno
import filecmp
import json
import math
import os
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path

import numpy as np
import orjson
from numpy.typing import NDArray

from engine.data_folder import DataFolder, DecadeName
from engine.disk import short_of_room
from engine.errors import EngineError
from engine.listing import check_root
from engine.options import Parser

_COUNTS = (117, 413, 1314, 1476, 1792, 1621, 1764, 2568, 3377, 6238, 1710)
FILMS = dict(zip(range(1910, 2020, 10), _COUNTS, strict=True))
DIMENSIONS = {"embedding": 1024, "custom_genres": 16}
SAMPLE_COMMAND = (
    "python scripts/synthesize.py --data data/sample --decade 1910 1920 1930"
    " --scale 0.4 --dimensions 64 --digits 5"
)
CLUSTERS = 12
BLOCK = 256  # films worked on at a time; the numbers do not depend on it


def generator(seed: int, decade: int, part: str) -> np.random.Generator:
    """Return the random generator of one part ("ids" or an approach) of one decade.

    Each part has a stream of its own, so a decade made alone equals the one of a full run.
    """
    stream = ("ids", *DIMENSIONS).index(part)
    return np.random.Generator(np.random.PCG64([seed, decade, stream]))


def synthesize_ids(n_films: int, rng: np.random.Generator) -> list[str]:
    """Return `n_films` different ids like Wikipedia's page numbers, most of them low, unsorted."""
    highest = max(37_000_000, 20 * n_films)
    ids: dict[str, None] = {}
    while len(ids) < n_films:
        ids[str(3000 + int(highest * rng.random() * rng.random()))] = None
    return list(ids)


def synthesize_vectors(
    approach: str, n_films: int, n_dimensions: int, rng: np.random.Generator
) -> NDArray[np.float64]:
    """Return unit vectors whose dot products spread like those of a real approach.

    A film is what all films have in common, plus a mixture of two of `CLUSTERS` centres, plus
    something of its own. How much of each was fitted by trial to the 5, 25, 50, 75 and 95 %
    quantiles of the pairs of a decade: the real ones for genres, and for e5-like vectors (64
    numbers or more) those that such models are known for.

    Parameters
    ----------
    approach : {"embedding", "custom_genres"}
        "embedding": e5-like, dot products about 0.69, 0.73, 0.75, 0.79, 0.85.
        "custom_genres": no negative number, dot products about 0.41, 0.65, 0.78, 0.87, 0.94.
    n_films, n_dimensions : int
        The shape of the result; at least 0 and 1.
    rng : numpy.random.Generator
        The source of every number; advanced.

    Returns
    -------
    ndarray of float64, shape (n_films, n_dimensions)

    Raises
    ------
    ValueError
        If `approach` is not one of the two.
    """
    if approach not in DIMENSIONS:
        raise ValueError(f"approach is {approach!r}, expected one of {', '.join(DIMENSIONS)}")
    # Squaring makes clusters of unequal size, as genres are.
    first = (CLUSTERS * np.square(rng.random(n_films))).astype(np.intp)
    second = (CLUSTERS * rng.random(n_films)).astype(np.intp)
    share = 0.5 + 0.5 * rng.random((n_films, 1))
    weight = rng.random((n_films, 1))
    common = rng.random(n_dimensions)
    centres = rng.random((CLUSTERS, n_dimensions))
    vectors = rng.random((n_films, n_dimensions))
    if approach == "custom_genres":
        common += 0.1
        centres = np.square(np.square(np.square(np.square(centres))))  # one or two genres stand out
        pull, own = 0.5 + 48 * np.square(np.square(weight)), np.full_like(weight, 1.2)
    else:
        signs = np.where(common < 0.5, -1.0, 1.0)
        centres = _centred(centres)
        pull, own = np.full_like(weight, 0.45), 0.3 + 0.3 * weight
    for start in range(0, n_films, BLOCK):
        films = slice(start, start + BLOCK)
        mixture = share[films] * centres[first[films]]
        mixture += (1 - share[films]) * centres[second[films]]
        mixture *= pull[films]
        if approach == "custom_genres":
            block = common + mixture + own[films] * np.square(vectors[films])
        else:
            # Centred rows are orthogonal to the common part, all ones until signs are given: the
            # common part alone sets the level of the similarities, at any number of dimensions.
            block = signs * (1 + mixture + own[films] * _centred(vectors[films]))
        vectors[films] = block / np.sqrt(_row_sums(np.square(block)))
    return vectors


def write_embeddings(
    path: Path, ids: Iterable[str], vectors: NDArray[np.float64], *, overwrite: bool = False
) -> None:
    """Write one JSON object, id to list of numbers, in the form of the real files.

    The separators are `json.dump`'s; numbers have the shortest text that reads back as the same
    float64. The file appears under its name when it is whole; one that holds the same bytes
    already is left alone.

    Parameters
    ----------
    path : Path
        The file; its folders are made.
    ids : iterable of str
        One id a row of `vectors`, all different.
    vectors : ndarray of float64, shape (films, numbers)
        Finite numbers.
    overwrite : bool
        Replace a file that holds something else.

    Raises
    ------
    FileExistsError
        If `path` holds something else and `overwrite` is false.
    OSError
        If the file cannot be written.
    ValueError
        If there are more ids than rows, or fewer.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    try:
        with open(partial, "wb") as file:
            separator = b"{"
            for film, vector in zip(ids, np.ascontiguousarray(vectors), strict=True):
                numbers = orjson.dumps(vector, option=orjson.OPT_SERIALIZE_NUMPY)
                key = json.dumps(film).encode()
                file.write(separator + key + b": " + numbers.replace(b",", b", "))
                separator = b", "
            file.write(b"}" if separator == b", " else b"{}")
        if not path.exists() or (overwrite and not filecmp.cmp(partial, path, shallow=False)):
            os.replace(partial, path)
        elif not filecmp.cmp(partial, path, shallow=False):
            reason = "holds other embeddings; give another --data, or --overwrite to replace them"
            raise FileExistsError(errno.EEXIST, reason, str(path))
    finally:
        partial.unlink(missing_ok=True)


def main(arguments: Sequence[str] | None = None) -> int:
    """Parse the command line, write the files, and return the exit status."""
    parser = _parser()
    options = parser.parse_args(arguments)
    if not 0 < options.scale < math.inf:
        parser.error("argument --scale: must be above 0 and finite")
    if options.dimensions and "embedding" not in options.approach:
        parser.error("argument --dimensions: is for embedding; custom_genres always has 16")
    files = list(_files(options))
    new = [(path.parent, n * d) for path, _, _, n, d in files if not path.exists()]
    try:
        check_root(DataFolder(options.data))
        # A number takes a little more than this.
        short = short_of_room((folder, n * ((options.digits or 16) + 4)) for folder, n in new)
        if short:
            raise EngineError(f"{short}; make room, or give a smaller --scale")
    except EngineError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    # Files that exist come first: if one is somebody's real data, nothing has been added to it.
    for path, approach, decade, n_films, n_dimensions in sorted(
        files, key=lambda file: not file[0].exists()
    ):
        try:
            ids = synthesize_ids(n_films, generator(options.seed, decade, "ids"))
            rng = generator(options.seed, decade, approach)
            vectors = synthesize_vectors(approach, n_films, n_dimensions, rng)
            if options.digits:
                np.round(vectors, options.digits, out=vectors)
            write_embeddings(path, ids, vectors, overwrite=options.overwrite)
        except OSError as error:
            print(f"error: {path}: {error.strerror}", file=sys.stderr)
            return 1
        except KeyboardInterrupt:
            print("interrupted; the files named above are whole", file=sys.stderr)
            return 130
        size = path.stat().st_size
        print(f"{path}: {n_films:,} films of {n_dimensions} numbers, {size:,} bytes", flush=True)
    return 0


def _files(options: argparse.Namespace) -> Iterator[tuple[Path, str, int, int, int]]:
    """List what is to be written: path, approach, decade, films, and numbers of each."""
    for approach in DIMENSIONS:
        for decade in FILMS:
            if approach in options.approach and decade in options.decade:
                n_films, n_dimensions = options.films, DIMENSIONS[approach]
                if n_films is None:
                    n_films = max(2, round(options.scale * FILMS[decade]))
                if approach == "embedding" and options.dimensions:
                    n_dimensions = options.dimensions
                name = DecadeName(approach, str(decade))
                yield DataFolder(options.data).input(name), approach, decade, n_films, n_dimensions


def _parser() -> Parser:
    parser = Parser(
        prog="python -m engine.synthesize",
        allow_abbrev=False,
        description="Write made-up embeddings: DATA/embeddings/{approach}/plots_{decade}s.json.",
        epilog=f"The sample of this repository was made by: {SAMPLE_COMMAND}",
    )
    add = parser.add_argument
    scale = parser.add_mutually_exclusive_group().add_argument
    add("--data", type=Path, default=Path("data"), metavar="DIR", help="root (default: data)")
    text = "part of the real number of films, at least 2 a decade (default: 1)"
    scale("--scale", type=float, default=1.0, metavar="PART", help=text)
    scale("--films", type=_at_least(0), metavar="N", help="films in every decade, exactly")
    text = "only these, of 1910 1920 ... 2010 (default: all)"
    add("--decade", type=int, nargs="+", choices=FILMS, default=FILMS, metavar="YEAR", help=text)
    text = f"only these, of {' '.join(DIMENSIONS)} (default: both)"
    add("--approach", nargs="+", choices=DIMENSIONS, default=DIMENSIONS, metavar="NAME", help=text)
    text = "numbers a film in embedding (default: 1024); custom_genres always has 16"
    add("--dimensions", type=_at_least(1), metavar="N", help=text)
    text = "round to N decimals, 1 to 16 (default: keep all)"
    add("--digits", type=int, choices=range(1, 17), metavar="N", help=text)
    add("--seed", type=_at_least(0), default=0, metavar="N", help="of all numbers (default: 0)")
    add("--overwrite", action="store_true", help="replace files that hold something else")
    return parser


def _at_least(lowest: int) -> Callable[[str], int]:
    def integer(text: str) -> int:
        if int(text) < lowest:
            raise argparse.ArgumentTypeError(f"must be at least {lowest}")
        return int(text)

    return integer


def _row_sums(rows: NDArray[np.float64]) -> NDArray[np.float64]:
    # A running sum has one order; that of np.sum is the implementation's business.
    sums: NDArray[np.float64] = np.cumsum(rows, axis=1)[:, -1:]
    return sums


def _centred(rows: NDArray[np.float64]) -> NDArray[np.float64]:
    # Uniform numbers with mean 0 in every row and variance 1.
    centred: NDArray[np.float64] = (rows - _row_sums(rows) / rows.shape[1]) * math.sqrt(12)
    return centred


if __name__ == "__main__":
    sys.exit(main())
