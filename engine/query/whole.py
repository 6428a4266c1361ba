"""Questions to a whole decade: its matrix, its strong pairs, all nearest films, its distribution.

Each is answered row-block by row-block, so that memory is that of the answer and of a row-block.
"""

import importlib
import logging
import os
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from engine.arguments import Count, Number, number, read_rule, whole_number
from engine.query.chunks import StoredPairs
from engine.triangle.quantiles import Read, describe, quantiles
from engine.triangle.selection import Pairs, kept_pairs, nearest

_logger = logging.getLogger("engine")


class WholeDecade(StoredPairs):
    """The pairs of one decade, all of them asked at once."""

    def matrix_bytes(self, dtype: DTypeLike = np.float64) -> int:
        """Bytes that `matrix` takes in memory for its result; it needs a few MB more to make it."""
        return self._grid.n_films**2 * np.dtype(dtype).itemsize

    def matrix(
        self,
        out: NDArray[Any] | None = None,
        dtype: DTypeLike | None = None,
        *,
        partial: bool = False,
    ) -> NDArray[Any]:
        """Read all similarities as one symmetric matrix.

        Parameters
        ----------
        out
            Where to put them, (len(self), len(self)), of floats; for instance a `numpy.memmap`. A
            new array by default, of `matrix_bytes` bytes.
        dtype
            Of the new array, for instance ``numpy.float32``; float64 by default.
        partial
            Leave NaN where a similarity is not computed yet, rather than refuse.

        Returns
        -------
        NDArray
            `out`, (len(self), len(self)), in the order of `ids`; NaN on the diagonal.

        Raises
        ------
        MemoryError
            When the machine has less memory than the new array takes; nothing was read.
        NotComputedError, StoreError
            As for a pair.
        ValueError
            When `out` or `dtype` cannot hold the matrix.
        """
        present = self._present(partial)
        n = self._grid.n_films
        if out is None:
            out = self._new_matrix(np.dtype(np.float64 if dtype is None else dtype))
        elif not (isinstance(out, np.ndarray) and out.flags.writeable):
            raise ValueError("out is not an array of numpy that can be written")
        elif dtype is not None and out.dtype != np.dtype(dtype):
            raise ValueError(f"out has numbers of {out.dtype}, and dtype is {np.dtype(dtype)}")
        if out.shape != (n, n) or not np.issubdtype(out.dtype, np.floating):
            raise ValueError(
                f"the matrix needs ({n}, {n}) floats, which have a NaN; it cannot be put into "
                f"{out.shape} numbers of {out.dtype}"
            )
        out.fill(np.nan)
        for block in self._row_blocks(present):
            for chunk, values in block:
                upper = out[chunk.start : chunk.stop, chunk.left : chunk.right]
                lower = out[chunk.left : chunk.right, chunk.start : chunk.stop]
                if chunk.left >= chunk.stop:
                    upper[:], lower[:] = values, values.T
                else:  # Some cells are no pairs, and may be those of other pairs turned round.
                    first, second = np.ogrid[chunk.start : chunk.stop, chunk.left : chunk.right]
                    i, j = np.nonzero(first < second)
                    upper[i, j] = lower[j, i] = values[i, j]
        return out

    def _new_matrix(self, dtype: np.dtype[Any]) -> NDArray[Any]:
        n, size = self._grid.n_films, self.matrix_bytes(dtype)
        memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
        what = f"{self.name}: a matrix of {n:,} x {n:,} {dtype} takes {size / 1e9:,.2f} GB"
        _logger.info(what)
        if size <= memory:
            try:
                return np.empty((n, n), dtype)
            except MemoryError:  # What this process may have is less than what there is.
                pass
        raise MemoryError(
            f"{what}, and this machine has {memory / 1e9:,.2f} GB in all; ask for dtype=float32, "
            "give a numpy.memmap as out, or ask pairs() or nearest() instead"
        )

    def pairs(
        self,
        *,
        min_similarity: Number | None = None,
        top_percent: Number | None = None,
        top_k: Count | None = None,
    ) -> Pairs:
        """Find the strong pairs; at most one rule, without any all pairs.

        Parameters
        ----------
        min_similarity
            Those at or above.
        top_percent
            The strongest so many per cent: those above the quantile ``1 - top_percent / 100`` of
            all pairs. ``25`` are exactly those above the ``75%`` of `pandas.Series.describe`;
            pairs that are as similar as the quantile itself are left out.
        top_k
            Those among the `top_k` best of either film, ties by file order.

        Returns
        -------
        Pairs
            Places of their films in `ids` and similarities, in the order of the JSON. They take 24
            bytes a pair, and as much again while they are put together; all pairs are read once,
            and before that once for `top_k` and twice for `top_percent`.

        Raises
        ------
        NotComputedError, StoreError
            As for a pair.
        ValueError
            When a rule is not what it should be, or there are two.

        Examples
        --------
        >>> films = engine.open("data/sample")["embedding", 1920]  # doctest: +SKIP
        >>> i, j, values = films.pairs(min_similarity=0.93)  # doctest: +SKIP
        >>> [(films.ids[a], films.ids[b]) for a, b in zip(i, j)]  # doctest: +SKIP
        [('9659787', '14016947'), ('427476', '9678195'), ('5798548', '7538851')]
        """
        rule = read_rule(min_similarity, top_percent, top_k)
        selection = rule.selection(lambda: self._rows(self._present(False)), self._grid.n_films)
        none = Pairs(np.empty(0, np.intp), np.empty(0, np.intp), np.empty(0))
        kept = (kept_pairs(selection, rows) for rows in self._rows(self._present(False)))
        return Pairs(*map(np.concatenate, zip(none, *kept, strict=True)))

    def nearest(
        self, k: Count = 10, *, partial: bool = False
    ) -> tuple[NDArray[np.intp], NDArray[np.float64]]:
        """Find the films most similar to each film, in one reading of all pairs.

        Parameters
        ----------
        k
            How many.
        partial
            Choose from what is computed so far, rather than refuse while some is missing.

        Returns
        -------
        tuple[NDArray[np.intp], NDArray[np.float64]]
            Places in `ids`, and similarities, both (len(self), min(k, len(self) - 1)); best first,
            equal ones in file order. Where a film has fewer, the place is -1 and the similarity
            NaN; of a finished decade of finite similarities each film has all.

        Raises
        ------
        NotComputedError, StoreError
            As for a pair.
        ValueError
            When `k` is not a positive integer.

        Examples
        --------
        >>> films = engine.open("data/sample")["embedding", 1920]  # doctest: +SKIP
        >>> places, values = films.nearest(2)  # doctest: +SKIP
        >>> [films.ids[place] for place in places[0]]  # doctest: +SKIP
        ['20489406', '1837043']
        """
        return nearest(self._rows(self._present(partial)), self._grid.n_films, whole_number(k))

    def quantile(self, part: float) -> float:
        """Find the similarity below which a part of all pairs lies.

        Parameters
        ----------
        part
            From 0 to 1; 0.75 is the 75th percentile.

        Returns
        -------
        float
            To the bit what `numpy.quantile` gives for all pairs at once, by linear interpolation;
            found in two readings and a few MB. A similarity that is NaN is left out, as pandas
            does; without a pair it is NaN.

        Raises
        ------
        NotComputedError, StoreError
            As for a pair.
        ValueError
            When `part` is not from 0 to 1.
        """
        if not 0 <= number(part) <= 1:
            raise ValueError(f"a quantile is from 0 to 1, not {part}")
        return quantiles(self._known(False), [number(part)])[0]

    def describe(self, *, partial: bool = False) -> dict[str, float]:
        """Describe the similarities of all pairs as `pandas.Series.describe` does.

        Parameters
        ----------
        partial
            Describe what is computed so far, rather than refuse while some is missing.

        Returns
        -------
        dict[str, float]
            ``count``, ``mean``, ``std``, ``min``, ``25%``, ``50%``, ``75%`` and ``max``; quantiles
            as `quantile` has them, mean and std within rounding of those of pandas.

        Raises
        ------
        NotComputedError, StoreError
            As for a pair.
        """
        return describe(self._known(partial))

    def _known(self, partial: bool) -> Read:
        # Of the same pairs in each reading, also while a run adds more.
        present = self._present(partial)
        return lambda: (rows.known for rows in self._rows(present))

    def to_frame(self, **rule: Any) -> Any:
        """Make a `pandas.DataFrame` of strong pairs.

        Parameters
        ----------
        **rule
            As for `pairs`.

        Returns
        -------
        pandas.DataFrame
            ``film``, ``other_film`` (ids, as categories in file order) and ``similarity``, in the
            order of the JSON.

        Raises
        ------
        ImportError
            When pandas is not installed.
        """
        pandas = _imported("pandas", "to_frame()")
        i, j, values = self.pairs(**rule)
        films = [pandas.Categorical.from_codes(codes, self._stored.ids) for codes in (i, j)]
        return pandas.DataFrame({"film": films[0], "other_film": films[1], "similarity": values})

    def to_networkx(self, **rule: Any) -> Any:
        """Make a `networkx.Graph` of strong pairs.

        Parameters
        ----------
        **rule
            As for `pairs`.

        Returns
        -------
        networkx.Graph
            Ids of all films as nodes, in file order; pairs as edges, in the order of the JSON, with
            the similarity as ``weight``. It takes some 300 bytes an edge.

        Raises
        ------
        ImportError
            When networkx is not installed.
        """
        graph = _imported("networkx", "to_networkx()").Graph()
        ids = np.array(self._stored.ids, dtype=object)
        graph.add_nodes_from(ids)
        i, j, values = self.pairs(**rule)
        graph.add_weighted_edges_from(zip(ids[i], ids[j], values.tolist(), strict=True))
        return graph


def _imported(package: str, method: str) -> Any:
    """Import a package that only one method needs."""
    try:
        return importlib.import_module(package)
    except ModuleNotFoundError as error:
        raise ImportError(f"{method} needs {error.name}: pip install {package}") from None
