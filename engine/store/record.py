"""What the store knows of a decade beside its arrays: what they were made from, and the output.

The record is the metadata of the decade's group. Chunks and rows of checksums are bound to its
*identity*, which follows from the content of the input and the settings alone: the input, read
again, gives the same identity, and all that was computed from it counts as before.
"""

import dataclasses
import hashlib
import re
from dataclasses import dataclass
from typing import Any, get_type_hints

import orjson

from engine.errors import DamagedError, OldFormatError, StoreError
from engine.store import metadata
from engine.triangle.blocks import Grid
from engine.triangle.kernel import KERNELS, KernelName
from engine.triangle.rule import Rule

FORMAT = 2
"""Version of what the engine writes; a store of a higher version is left alone."""
_SHA256 = re.compile("[0-9a-f]{64}")


@dataclass(frozen=True)
class Export:
    """What the record says of the decade's JSON file, to tell whether it is still there."""

    size: int
    """Bytes."""
    mtime_ns: int
    """Time stamp of the file, nanoseconds."""
    rule: Rule
    """Which pairs are in the file."""
    n_pairs: int
    """How many they are."""

    def content(self) -> dict[str, float | None]:
        """Write it as the record holds it."""
        # In the order in which it was always written: a record is compared byte for byte.
        content = {"size": self.size, "mtime_ns": self.mtime_ns, "min_similarity": None}
        return {**content, "n_pairs": self.n_pairs, **_rule_content(self.rule)}


@dataclass(frozen=True)
class Record:
    """What a decade's group was made from."""

    group: str
    """Path of the decade's group, ``{approach}/{decade}``."""
    n_films: int
    n_dimensions: int
    input_sha256: str
    """Of the bytes of the embeddings file."""
    ids_sha256: str
    """Of the bytes of the chunk of ids."""
    vectors_sha256: str
    """Of the vectors: little-endian float64, film by film."""
    kernel: KernelName
    normalize: bool
    machine: str
    """BLAS and CPU kind that began the similarities; another may round differently."""
    begun: str
    """When the vectors were stored, ISO 8601, UTC."""
    n_off_norm: int
    """Vectors whose norm is off 1 by more than 1e-3, as read."""
    norm_min: float
    norm_max: float
    export: Export | None = None
    format: int = FORMAT

    @property
    def grid(self) -> Grid:
        """Geometry of the decade's triangle."""
        return Grid(self.n_films)

    @property
    def identity(self) -> str:
        """Fingerprint of the similarities: the same as long as none of them can differ."""
        return identity(self.group, self.input_sha256, self.kernel, self.normalize)

    def output_identity(self, rule: Rule, content: str = "") -> str:
        """Fingerprint of the output that a rule makes of these values.

        Parameters
        ----------
        rule
            Which pairs are in the output.
        content
            Fingerprint of all similarities of the decade, where the rule compares them.
        """
        given = {"min_similarity": None, **_rule_content(rule)}
        # JSON has no infinity.
        rules = {name: repr(value) for name, value in given.items()}
        return _digest({"values": self.identity, **rules, **({"of": content} if content else {})})

    def metadata(self) -> bytes:
        """Metadata of the group, which hold the record and its SHA-256."""
        content = dataclasses.asdict(self)
        content["export"] = self.export and self.export.content()
        return metadata.group({"record": content, "sha256": _digest(content)})


def identity(group: str, input_sha256: str, kernel: KernelName, normalize: bool) -> str:
    """Fingerprint (64 hexadecimal digits) of the similarities that an input gives in a group."""
    content = [FORMAT, group, input_sha256, kernel, normalize]
    return hashlib.sha256(orjson.dumps(content)).hexdigest()


def parse_record(found: bytes, group: str) -> Record:
    """Read the record of a group from the metadata of the group.

    Raises
    ------
    DamagedError
        When it is not, byte for byte, what this format writes for this group.
    OldFormatError
        When it is a record of an older format.
    StoreError
        When it is a record of a newer format.
    """
    content = record_content(found)
    if content is None:
        raise DamagedError("the record of its group is damaged")
    if content.get("format", 1) == 1:
        raise OldFormatError("was stored in format 1, which does not prove where a chunk belongs")
    if type(number := content["format"]) is int and number > FORMAT:
        raise StoreError(
            f"{group}: was written in format {number}, and this version of the engine knows format "
            f"{FORMAT}; nothing was changed: use a newer version or another --store"
        )
    record = _record(content)
    if record is None or record.metadata() != found:
        raise DamagedError("the record of its group is damaged")
    if record.group != group:
        raise DamagedError("the record of its group is that of another decade")
    return record


def record_content(found: bytes) -> dict[str, Any] | None:
    """Read what the metadata of a group have as a record, of any format, if its digest is right."""
    try:
        attributes = orjson.loads(found)["attributes"]
        content, digest = attributes["record"], attributes["sha256"]
    except (ValueError, TypeError, KeyError):  # No JSON, or JSON of another form.
        return None
    return content if isinstance(content, dict) and digest == _digest(content) else None


def _record(content: dict[str, Any]) -> Record | None:
    if (export := content.get("export")) is not None:
        content = {**content, "export": _export(export)}
    if not _fits(Record, content):
        return None
    record = Record(**content)
    plausible = (
        record.format == FORMAT
        and record.n_films >= 0
        and record.n_dimensions >= 0
        and record.kernel in KERNELS
        and all(
            _SHA256.fullmatch(digest)
            for digest in (record.input_sha256, record.ids_sha256, record.vectors_sha256)
        )
    )
    return record if plausible else None


def _rule_content(rule: Rule) -> dict[str, float]:
    """Write what is given of a rule."""
    given = dataclasses.asdict(rule)
    return {name: value for name, value in given.items() if value is not None}


def _export(content: object) -> Export | None:
    if not isinstance(content, dict):
        return None
    names = {field.name for field in dataclasses.fields(Rule)}
    rule = {name: content.get(name) for name in names}
    rest = {name: value for name, value in content.items() if name not in names}
    if not _fits(Rule, rule):
        return None
    rest["rule"] = Rule(**rule)
    return Export(**rest) if _fits(Export, rest) else None


def _fits(kind: type[Record] | type[Export] | type[Rule], content: dict[str, Any]) -> bool:
    """Whether a value has all fields of a dataclass and no other, each of its type."""
    types = _TYPES[kind]
    return content.keys() == types.keys() and all(
        # A bool is an int to isinstance.
        isinstance(content[name], type_) and (isinstance(content[name], bool) == (type_ is bool))
        for name, type_ in types.items()
    )


def _types(kind: type[Any]) -> dict[str, Any]:
    """The types of the fields, each as `isinstance` takes it."""
    types = get_type_hints(kind)
    types.update(kernel=str) if "kernel" in types else None
    return types


_TYPES = {kind: _types(kind) for kind in (Record, Export, Rule)}


def _digest(content: dict[str, Any]) -> str:
    """SHA-256 of a value as JSON, as a hex digest."""
    return hashlib.sha256(orjson.dumps(content, option=orjson.OPT_SORT_KEYS)).hexdigest()
