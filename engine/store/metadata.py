"""The metadata of the store, ``zarr.json`` by ``zarr.json``, as the zarr v3 specification has them.

They follow from a decade's size alone and are written byte for byte the same, so that any other
byte that is found is damage, and is mended by writing them again.

https://zarr-specs.readthedocs.io/en/latest/v3/core/index.html
"""

from typing import Any

import orjson

from engine.triangle.blocks import Grid

_VECTORS_CHUNK_BYTES = 2**21


def vectors_chunk(n_dimensions: int, n_films: int) -> int:
    """Number of films whose vectors stand in one chunk."""
    return max(1, min(n_films, _VECTORS_CHUNK_BYTES // (8 * max(1, n_dimensions))))


def group(attributes: dict[str, Any]) -> bytes:
    """Metadata of a group."""
    return _text({"attributes": attributes, "zarr_format": 3, "node_type": "group"})


def arrays(n_films: int, n_dimensions: int) -> dict[str, bytes]:
    """Metadata of the arrays of a decade, by the name of the array."""
    n, d, grid = n_films, n_dimensions, Grid(n_films)
    films = vectors_chunk(d, n)
    columns = grid.n_columns + 1
    return {
        "vectors": _array("float64", ("film", "number"), (n, d), (films, max(1, d)), "NaN"),
        "similarities": _array(
            "float64", ("film", "other_film"), (n, n), (grid.height, grid.width), "NaN"
        ),
        "checksums": _array(
            "uint64", ("row_block", "chunk"), (grid.n_row_blocks, columns), (1, columns), 0
        ),
        "ids": _array("string", ("film",), (n,), (max(1, n),), ""),
    }


def _array(
    data_type: str,
    dimension_names: tuple[str, ...],
    shape: tuple[int, ...],
    chunk_shape: tuple[int, ...],
    fill_value: str | int,
) -> bytes:
    as_bytes: dict[str, Any] = (
        {"name": "vlen-utf8", "configuration": {}}
        if data_type == "string"
        else {"name": "bytes", "configuration": {"endian": "little"}}
    )
    return _text(
        {
            "shape": shape,
            "data_type": data_type,
            "chunk_grid": {"name": "regular", "configuration": {"chunk_shape": chunk_shape}},
            "chunk_key_encoding": {"name": "default", "configuration": {"separator": "/"}},
            "fill_value": fill_value,
            "codecs": [as_bytes, {"name": "crc32c"}],
            "attributes": {},
            "dimension_names": dimension_names,
            "zarr_format": 3,
            "node_type": "array",
            "storage_transformers": [],
        }
    )


def _text(document: dict[str, Any]) -> bytes:
    return orjson.dumps(document, option=orjson.OPT_INDENT_2)
