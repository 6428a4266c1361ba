"""Asking the store from Python: ``engine.open`` and the decades that it gives.

Nothing here writes or waits for a lock, so a store can be asked while a run is at work on it.
"""

import os
from collections.abc import Callable, Iterator, Mapping
from typing import NoReturn, TypeVar, cast, overload

from engine.arguments import Year, year
from engine.arguments import approach as approach_name
from engine.data_folder import DecadeName, can_be_decade
from engine.errors import NotComputedError, NotFoundError, StoreError, shown
from engine.listing import list_inputs
from engine.query.decade import HEAD, Decade
from engine.store.source import Source, open_source
from engine.tables import Table, as_html, as_text, count

_T = TypeVar("_T")


def open(  # noqa: A001
    data: str | os.PathLike[str] = "data", *, store: str | os.PathLike[str] | None = None
) -> "Similarities":
    """Open the similarities that runs have computed so far.

    Parameters
    ----------
    data
        Root of input and output, as for `run`.
    store
        Path or URL of the zarr store; ``similarities.zarr`` in `data` by default.

    Returns
    -------
    Similarities
        One `Decade` for each approach and decade.

    Raises
    ------
    EngineError
        When `data` is a file, or a part of the data and not its root.
    NotComputedError
        When there is no store.
    StoreError
        When there is something that is not a store this version can read.

    Examples
    --------
    >>> import engine
    >>> similarities = engine.open("data/sample")  # doctest: +SKIP
    >>> similarities  # doctest: +SKIP
    <6 decades of similarities in data/sample/similarities.zarr>
    >>> films = similarities["embedding", 1920]  # doctest: +SKIP
    >>> films  # doctest: +SKIP
    <embedding 1920s: 165 films, 13,530 pairs>
    >>> films.ids[:3]  # doctest: +SKIP
    ['15108870', '19828391', '6465902']
    >>> films["15108870", "6465902"]  # doctest: +SKIP
    0.7489006...
    >>> films.similar_to("15108870", k=2)  # doctest: +SKIP
    [('20489406', 0.8705253...), ('1837043', 0.8484685...)]
    """
    return Similarities(open_source(data, store))


class Similarities(Mapping[tuple[str, Year], Decade]):
    """The decades of a store: ``similarities["embedding", "2000"]`` is a `Decade`.

    Iterating gives the (approach, decade) of those whose films a run has at least read. Made by
    `open`.
    """

    def __init__(self, source: Source) -> None:
        self._source = source

    def __getitem__(self, key: tuple[str, Year]) -> Decade:
        if not isinstance(key, tuple) or len(key) != 2:
            raise TypeError(f"{key!r} is not an approach and a decade")
        return self.decade(*key)

    def __contains__(self, key: object) -> bool:
        try:
            self[cast("tuple[str, str]", key)]
        except (NotComputedError, NotFoundError, TypeError):
            return False
        return True

    @overload
    def get(self, key: object, /) -> Decade | None: ...
    @overload
    def get(self, key: object, /, default: Decade | _T) -> Decade | _T: ...
    def get(self, key: object, /, default: object = None) -> object:
        """Open one decade, or give `default` where ``key in similarities`` is false."""
        known = cast("tuple[str, Year]", key)
        return self[known] if known in self else default  # noqa: SIM401

    def __eq__(self, other: object) -> bool:
        # Decades, which a mapping would compare, are opened anew each time.
        if not isinstance(other, Similarities):
            return NotImplemented
        return self._source.absolute() == other._source.absolute()

    def __hash__(self) -> int:
        return hash(self._source.absolute())

    def __iter__(self) -> Iterator[tuple[str, Year]]:
        for name in self._source.store.names():
            try:
                begun = self._source.record(name) is not None
            except StoreError:
                begun = True  # Damaged, which opening it says; the others are not.
            if begun:
                yield name.approach, name.decade

    def __len__(self) -> int:
        return sum(1 for _ in self)

    def __repr__(self) -> str:
        return f"<{count(len(self), 'decade')} of similarities in {self._source.store.location}>"

    def __str__(self) -> str:
        return as_text([Table(HEAD, self._table_rows())])

    def _repr_html_(self) -> str:
        return as_html([Table(HEAD, self._table_rows())])

    def _table_rows(self) -> list[tuple[str, ...]]:
        rows = []
        for approach, decade in self:
            try:
                rows.append(self.decade(approach, decade).table_row())
            except StoreError:  # Opening it says more; the others can be asked.
                rows.append((shown(approach), f"{decade}s", "", "", "damaged"))
        return rows

    def __reduce__(self) -> tuple[Callable[..., "Similarities"], tuple[str, str]]:
        return _open_again, self._source.absolute()

    def names(self) -> list[DecadeName]:
        """Name the decades, at least one.

        Raises
        ------
        NotComputedError
            When no run has read any.
        """
        names = [DecadeName(approach, year(decade)) for approach, decade in self]
        if not names:
            source = self._source
            raise NotComputedError(
                f"{source.store.location}: nothing is computed yet; {source.remedy()}"
            )
        return names

    def decade(self, approach: str, decade: Year) -> Decade:
        """Open one decade; open once and ask often, as it takes ten milliseconds.

        Parameters
        ----------
        approach
            For instance ``"embedding"``.
        decade
            Its first year: ``"2000"``, ``2000`` or ``"2000s"``.

        Raises
        ------
        NotComputedError
            When it has an input that no run has read yet.
        NotFoundError
            When there is no such decade.
        StoreError
            When what the store holds of it is damaged.
        """
        source = self._source
        try:
            name = DecadeName(approach_name(approach), year(decade))
        except ValueError:  # What `engine.arguments` says of a name that nothing can have.
            self._refuse(DecadeName(str(approach), str(decade)))
        # What zarr makes of a name that is no group's is not our business.
        record = source.record(name) if can_be_decade(name.approach, name.decade) else None
        if record is None:
            self._refuse(name)
        return Decade(source, source.store.open(name, record))

    def _refuse(self, name: DecadeName) -> NoReturn:
        location = self._source.store.location
        known = set(self._source.store.names()) | set(list_inputs(self._source.folder).names)
        if name in known:
            raise NotComputedError(
                f"{location}: nothing of {name} is computed yet; {self._source.remedy(name)}"
            )
        there = ", ".join(map(str, sorted(known))) or "none"
        raise NotFoundError(f"{location}: there is no decade {shown(str(name))}; found: {there}")


def _open_again(data: str, store: str) -> Similarities:
    """Open the store where pickled similarities have landed."""
    return open(data, store=store)
