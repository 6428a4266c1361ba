"""Dependencies point one way: a file of the engine imports what stands below it, and no circle."""

import ast
from functools import cache
from graphlib import TopologicalSorter
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
LAYERS = [
    {"errors", "version", "native", "disk", "tables"},
    {"triangle", "embeddings", "data_folder", "listing", "arguments"},
    {"store"},
    {"legacy_json", "progress"},
    {"work"},
    {"batch", "query"},
    {"terminal", "pictures", "page"},
    {"calls"},
    {"__init__"},
    {"options"},
    {"cli", "plot", "report", "synthesize"},
    {"__main__"},
]
"""From the bottom: each may import of its own layer, and of those before it in the list."""
RANKS = {part: rank for rank, parts in enumerate(LAYERS) for part in parts}
FILES = {
    ".".join(path.relative_to(ROOT).with_suffix("").parts): path
    for path in sorted(ROOT.glob("engine/**/*.py"))
}


@cache
def imported(path: Path) -> set[str]:
    """The files of the engine that a file imports, at its head or later; not those of its types."""
    nodes = list(ast.walk(ast.parse(path.read_text())))
    types = {
        id(inner)
        for node in nodes
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"
        for inner in ast.walk(node)
    }
    found = set()
    for node in nodes:
        if isinstance(node, ast.ImportFrom) and id(node) not in types:
            module = node.module or ""
            found |= {f"{module}.{alias.name}" for alias in node.names} | {module}
        if isinstance(node, ast.Import) and id(node) not in types:
            found |= {alias.name for alias in node.names}
    return {name for each in found for name in (each, f"{each}.__init__") if name in FILES}


def part(name: str) -> str:
    return name.split(".")[1]


def test_a_file_imports_no_layer_above_its_own() -> None:
    assert len(FILES) > 80
    above = {
        (name, other)
        for name, path in FILES.items()
        for other in imported(path)
        # A package is named on the way to what is in it.
        if RANKS[part(other)] > RANKS[part(name)] and other != "engine.__init__"
    }
    assert above == set()


def test_no_import_comes_back_to_where_it_began() -> None:
    graph = {
        name: {other for other in imported(path) if not other.endswith("__init__")}
        for name, path in FILES.items()
        if not name.endswith("__init__")
    }
    TopologicalSorter(graph).prepare()
