"""The outputs that a run replaces by those of another rule, and how to have them back."""

from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass

from engine.arguments import Arguments
from engine.batch.forecast import BYTES_PER_PAIR
from engine.data_folder import DecadeName
from engine.disk import size
from engine.errors import DamagedError, StoreError
from engine.legacy_json.finalize import is_there
from engine.store.record import Export
from engine.store.source import Source
from engine.tables import count
from engine.triangle.rule import Rule


@dataclass(frozen=True)
class OutputBefore:
    """An output that was there before a run."""

    export: Export
    n_films: int

    def bytes_by(self, rule: Rule) -> float:
        """Estimate the size of the output that a rule makes of the same films."""
        written = self.export.n_pairs
        return rule.most(self.n_films) * (self.export.size / written if written else BYTES_PER_PAIR)


@dataclass(frozen=True)
class OutputsBefore:
    """The outputs that were there before a run, as far as the store knows them."""

    source: Source
    asked: Arguments
    found: dict[DecadeName, OutputBefore]

    @classmethod
    def of(cls, source: Source, asked: Arguments, names: Iterable[DecadeName]) -> "OutputsBefore":
        """Look for the outputs of some decades."""
        found = {}
        for name in names:
            try:
                record = source.store.record(name)
                export = record.export if record else None
                there = is_there(source.folder.output(name), export)
            except (DamagedError, StoreError, OSError):
                continue  # Looking at the decade itself says what is the matter.
            if record and export and there:
                found[name] = OutputBefore(export, record.n_films)
        return cls(source, asked, found)

    def replaced(self, names: Collection[DecadeName]) -> Iterator[str]:
        """Say which outputs of some decades are replaced, a sentence for each rule they are of."""
        by_rule: dict[Rule, list[DecadeName]] = {}
        for name in names:
            if name in self.found and (rule := self.found[name].export.rule) != self.asked.rule:
                by_rule.setdefault(rule, []).append(name)
        for rule, those in by_rule.items():
            n_bytes = sum(self.found[name].export.size for name in those)
            one = len(those) == 1
            yield (
                f"{count(len(those), 'output')} of {rule} ({size(n_bytes)}) "
                f"{'is' if one else 'are'} replaced by {self.asked.rule}{self._coming(those)}; the "
                f"store has every pair: to have {'it' if one else 'them'} back, run: "
                f"{self._command(rule, those)}"
            )

    def _coming(self, names: Iterable[DecadeName]) -> str:
        rule = self.asked.rule
        if rule.min_similarity is not None:
            return ""  # How many these are is not known.
        n_bytes = sum(self.found[name].bytes_by(rule) for name in names)
        return f" ({'about' if rule.top_k is None else 'at most'} {size(n_bytes)})"

    def _command(self, rule: Rule, names: list[DecadeName]) -> str:
        if len(names) == 1:
            return self.source.command(names[0], rule.words)
        asked = self.asked
        approaches = ["--approach", *asked.approaches] if asked.approaches else []
        decades = ["--decade", *asked.decades] if asked.decades else []
        return self.source.command(None, [*approaches, *decades, *rule.words])
