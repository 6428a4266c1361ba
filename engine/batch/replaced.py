"""The outputs that a run replaces by those of another rule, and how to have them back."""

from collections.abc import Collection, Iterable, Iterator, Mapping

from engine.arguments import Arguments
from engine.batch.forecast import BYTES_PER_PAIR
from engine.data_folder import DecadeName
from engine.disk import size
from engine.errors import DamagedError, StoreError
from engine.legacy_json.finalize import is_there
from engine.store.record import Export, Record
from engine.store.source import Source
from engine.tables import count
from engine.triangle.rule import Rule


def exported_before(
    source: Source, names: Iterable[DecadeName]
) -> dict[DecadeName, tuple[Record, Export]]:
    """Look for the outputs of some decades that are there, as far as the store knows them."""
    found = {}
    for name in names:
        try:
            record = source.store.record(name)
            if record and record.export and is_there(source.folder.output(name), record.export):
                found[name] = record, record.export
        except (DamagedError, StoreError, OSError):
            continue  # Looking at the decade itself says what is the matter.
    return found


def replaced(
    before: Mapping[DecadeName, tuple[Record, Export]],
    names: Collection[DecadeName],
    source: Source,
    asked: Arguments,
) -> Iterator[str]:
    """Say which outputs of some decades are replaced, a sentence for each rule they are of."""
    by_rule: dict[Rule, list[DecadeName]] = {}
    for name in names:
        if name in before and (rule := before[name][1].rule) != asked.rule:
            by_rule.setdefault(rule, []).append(name)
    for rule, those in by_rule.items():
        n_bytes = sum(before[name][1].size for name in those)
        coming = ""
        if asked.rule.min_similarity is None:  # How many these are is not known.
            about = "about" if asked.rule.top_k is None else "at most"
            expected = sum(_bytes_by(asked.rule, *before[name]) for name in those)
            coming = f" ({about} {size(expected)})"
        one = len(those) == 1
        yield (
            f"{count(len(those), 'output')} of {rule} ({size(n_bytes)}) "
            f"{'is' if one else 'are'} replaced by {asked.rule}{coming}; the store has every pair: "
            f"to have {'it' if one else 'them'} back, run: {_command(source, asked, rule, those)}"
        )


def _bytes_by(rule: Rule, record: Record, export: Export) -> float:
    """Estimate the size of the output that a rule makes of the same films."""
    each = export.size / export.n_pairs if export.n_pairs else BYTES_PER_PAIR
    return rule.most(record.n_films) * each


def _command(source: Source, asked: Arguments, rule: Rule, names: list[DecadeName]) -> str:
    if len(names) == 1:
        return source.command(names[0], rule.words)
    approaches = ["--approach", *asked.approaches] if asked.approaches else []
    decades = ["--decade", *asked.decades] if asked.decades else []
    return source.command(None, [*approaches, *decades, *rule.words])
