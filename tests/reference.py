"""What must come out: the notebook's own loop and the text of ``json.dump``, and nothing cleverer.

Every expected value of these tests comes from here or from Python itself, never from the engine.
"""

import itertools
import json
import math
import os
import stat
from collections.abc import Mapping, Sequence
from contextlib import suppress
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

Embeddings = Mapping[str, Sequence[float]]
Stamp = tuple[int, int, int]


def film_id(key: str) -> str:
    """The notebook wrote `int(key)`; a key that is no integer, which stopped it, is kept."""
    try:
        return str(int(key))
    except ValueError:
        return key


def notebook(path: Path, min_similarity: float | None = None, **rule: float) -> bytes:
    """The output of one decade, as the notebook wrote it, or what a rule keeps of it."""
    return _notebook(path.read_text(encoding="utf-8"), min_similarity, **rule)


@lru_cache(64)  # Many tests have the same films.
def _notebook(text: str, min_similarity: float | None, **rule: float) -> bytes:
    ids, similarities = _similarities(text)
    if min_similarity is not None:
        similarities = {pair: x for pair, x in similarities.items() if x >= min_similarity}
    if "top_percent" in rule:
        similarities = strongest(similarities, rule["top_percent"])
    if "top_k" in rule:
        similarities = among_best(similarities, ids, int(rule["top_k"]))
    # The text of json.dump, as test_end_to_end.py sees, in a tenth of the time.
    return json.dumps(similarities).encode("ascii")


@lru_cache(16)  # And some of them several rules for these.
def _similarities(text: str) -> tuple[list[str], dict[str, float]]:
    """The notebook's own loop."""
    embeddings = {film_id(key): np.array(vector) for key, vector in json.loads(text).items()}
    similarities = {}
    with np.errstate(all="ignore"):
        for a, b in itertools.combinations(embeddings, 2):
            similarities[f"{a}-{b}"] = embeddings[a] @ embeddings[b]
    return list(embeddings), similarities


def strongest(similarities: dict[str, float], per_cent: float) -> dict[str, float]:
    """The pairs above the percentile that numpy finds among all numbers."""
    numbers = [x for x in similarities.values() if not math.isnan(x)]
    with np.errstate(all="ignore"):
        threshold = np.quantile(numbers, (100 - per_cent) / 100) if numbers else math.nan
    return {pair: x for pair, x in similarities.items() if x > threshold}


def among_best(similarities: dict[str, float], ids: list[str], k: int) -> dict[str, float]:
    """The pairs among the k best of either film, by sorting those of each; ties by file order."""
    own: dict[str, list[str]] = {film: [] for film in ids}
    for film, other in itertools.combinations(ids, 2):  # So those of each are in file order.
        pair = f"{film}-{other}"
        if not math.isnan(similarities.get(pair, math.nan)):
            own[film].append(pair)
            own[other].append(pair)
    kept = set()
    for pairs in own.values():
        kept.update(sorted(pairs, key=lambda pair: -similarities[pair])[:k])
    return {pair: x for pair, x in similarities.items() if pair in kept}


def films(n: int, d: int = 2, seed: int = 0) -> dict[str, list[float]]:
    """Made-up embeddings: `n` unit vectors of `d` numbers, under ids in no order."""
    random = np.random.default_rng((n, d, seed))
    ids = random.permutation(100 * n)[:n] + 1
    vectors = random.standard_normal((n, d))
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    return {str(film): vector for film, vector in zip(ids, vectors.tolist(), strict=True)}


def write_embeddings(path: Path, embeddings: Embeddings, **form: Any) -> Path:
    """Write an embeddings file with ``json.dumps``; `form` is for it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(embeddings, **form), encoding="utf-8")
    return path


def put(root: Path, approach: str, decade: str, embeddings: Embeddings, **form: Any) -> Path:
    """Write the input of a decade where it belongs."""
    path = root / "embeddings" / approach / f"plots_{decade}s.json"
    return write_embeddings(path, embeddings, **form)


def output_path(root: Path, approach: str, decade: str) -> Path:
    """Where the output of a decade belongs."""
    return root / "similarities" / approach / f"similarities_{decade}s.json"


def expected(root: Path, min_similarity: float | None = None, **rule: float) -> dict[str, bytes]:
    """What the output folder must hold, judged by the inputs."""
    return {
        f"{path.parent.name}/{path.name.replace('plots', 'similarities')}": notebook(
            path, min_similarity, **rule
        )
        for path in (root / "embeddings").glob("*/plots_*s.json")
    }


def outputs(root: Path) -> dict[str, bytes]:
    """All that the output folder does hold, hidden and unfinished files as well."""
    folder = root / "similarities"
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }


def stamps(folder: Path) -> dict[str, Stamp]:
    """What changes when a file is written: its identity, size and time stamp."""
    stamps = {}
    for where, _, names in os.walk(folder):  # Which a run at work may change meanwhile.
        for path in (Path(where, name) for name in names):
            with suppress(FileNotFoundError):
                found = path.stat()
                if stat.S_ISREG(found.st_mode):
                    name = str(path.relative_to(folder))
                    stamps[name] = (found.st_ino, found.st_size, found.st_mtime_ns)
    return stamps


def chunks(store: Path) -> dict[str, Stamp]:
    """Tell apart the chunks of similarities that are finished: the checksums beside them say so.

    A chunk written again is another file.
    """
    finished = set()
    for row in store.glob("*/*/checksums/c/*/0"):
        with suppress(FileNotFoundError):  # It may be deleted meanwhile.
            *entries, _ = np.frombuffer(row.read_bytes()[:-4], "<u8").tolist()
            place = row.parent.as_posix().replace("/checksums/c/", "/similarities/c/")
            finished |= {f"{place}/{column}" for column, entry in enumerate(entries) if entry}
    return {name: stamp for name, stamp in stamps(store).items() if str(store / name) in finished}


def assert_near(text: bytes, reference: bytes, tolerance: float) -> None:
    """The form of ``json.dump``, the same keys in the same order, and values this near."""
    found, wanted = json.loads(text), json.loads(reference)
    assert json.dumps(found).encode("ascii") == text
    assert list(found) == list(wanted)
    differences = np.abs(np.array(list(found.values())) - np.array(list(wanted.values())))
    assert differences.max(initial=0.0) <= tolerance
