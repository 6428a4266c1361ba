"""What people would use instead of the engine, each a short honest program of its own process.

    python scripts/benchmarking/contenders.py NAME FOLDER

Each reads FOLDER/embeddings/*/plots_*.json and writes FOLDER/similarities/*/similarities_*.json.
All but the notebook are what a good programmer writes who knows the library and has no time for
more; matrix products may use all CPUs. Two that took more time are in arrow.py and compiled.py.
"""

import itertools
import json
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
import orjson
from numpy.typing import NDArray


def decades(folder: Path) -> Iterator[tuple[Path, Path]]:
    """Yield the path of each input and of its output, whose folder is made."""
    for source in sorted(folder.glob("embeddings/*/plots_*.json")):
        name = source.name.replace("plots_", "similarities_")
        target = folder / "similarities" / source.parent.name / name
        target.parent.mkdir(parents=True, exist_ok=True)
        yield source, target


def read(source: Path) -> tuple[list[str], NDArray[np.float64]]:
    """Read the ids and vectors of a decade."""
    embeddings = orjson.loads(source.read_bytes())
    return list(embeddings), np.array(list(embeddings.values()))


def notebook(source: Path, target: Path) -> None:
    """The notebook's loop."""
    with open(source) as file:
        embeddings = {int(key): np.array(vector) for key, vector in json.load(file).items()}
    pairs = {}
    for a, b in itertools.combinations(embeddings, 2):
        pairs[f"{a}-{b}"] = embeddings[a] @ embeddings[b]
    with open(target, "w") as outfile:
        json.dump(pairs, outfile)


def one_product(source: Path, target: Path) -> None:
    """One matrix product, one dict, orjson."""
    ids, vectors = read(source)
    values = (vectors @ vectors.T)[np.triu_indices(len(ids), k=1)]
    keys = [f"{a}-{b}" for a, b in itertools.combinations(ids, 2)]
    target.write_bytes(orjson.dumps(dict(zip(keys, values.tolist(), strict=True))))


def scikit_learn(source: Path, target: Path) -> None:
    """Chunks of rows from scikit-learn, written as they come."""
    from sklearn.metrics import pairwise_distances_chunked

    ids, vectors = read(source)
    # The default of 1 GiB would take each of these decades whole.
    chunks = pairwise_distances_chunked(vectors, metric="cosine", n_jobs=-1, working_memory=128)
    rows = itertools.chain.from_iterable(chunks)
    write_rows(target, ids, (1 - row[i + 1 :] for i, row in enumerate(rows)))


def scipy_pdist(source: Path, target: Path) -> None:
    """The condensed distances of scipy, written row by row."""
    from scipy.spatial.distance import pdist

    ids, vectors = read(source)
    values = 1 - pdist(vectors, "cosine")
    write_rows(target, ids, np.split(values, np.cumsum(np.arange(len(ids) - 1, 0, -1))))


def write_rows(target: Path, ids: list[str], rows: Iterable[NDArray[np.float64]]) -> None:
    """Write the similarities of each film with all later ones, a row at a time.

    A dict of one row stays in the cache: with orjson that costs a quarter of one dict of all
    pairs, and of formatting each pair with an f-string.
    """
    with open(target, "wb") as file:
        file.write(b"{")
        for i, row in zip(range(len(ids) - 1), rows, strict=False):  # The last has no later one.
            keys = (f"{ids[i]}-{b}" for b in ids[i + 1 :])
            pairs = orjson.dumps(dict(zip(keys, row.tolist(), strict=True)))
            file.write(b"," * (i > 0) + pairs[1:-1])
        file.write(b"}")


CONTENDERS = {
    "notebook": notebook,
    "rewrite": one_product,
    "sklearn": scikit_learn,
    "scipy": scipy_pdist,
}

if __name__ == "__main__":
    for paths in decades(Path(sys.argv[2])):
        CONTENDERS[sys.argv[1]](*paths)
