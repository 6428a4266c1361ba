"""Keys and values: what the engine asks of a zarr store, in a folder or behind a URL.

A zarr store is no more than keys and values. The engine reads and writes them as bytes and proves
what it reads before it decodes it (`engine.store.encoding`), so that nothing that zarr's arrays
take from the environment, from files of settings or from their caller can change a value.
"""

from collections.abc import Iterable, Mapping
from typing import Any, Protocol


class Values(Protocol):
    """The values of a zarr store, each a run of bytes under a key.

    Each method raises `OSError` when something cannot be known or done.
    """

    def get(self, key: str) -> bytes | None:
        """Read a value; None when there is none."""

    def get_many(self, keys: Iterable[str]) -> list[bytes | None]:
        """Read values; None for each that is not there."""

    def size(self, key: str) -> int | None:
        """Bytes of a value, 0 when there is none; None where it costs a request."""

    def set_many(self, values: Mapping[str, Any]) -> None:
        """Write values, bytes or arrays of bytes, each in one step."""

    def set_durably(self, key: str, value: bytes) -> None:
        """Write a value in one step, and only when it has reached the disk."""

    def delete(self, key: str) -> None:
        """Delete a value, if it is there."""

    def delete_dir(self, prefix: str) -> None:
        """Delete all values below a path."""

    def list_dir(self, prefix: str, *, hidden: bool = False) -> list[str]:
        """List what stands directly below a path; hidden names (``.…``) only if asked for."""


def open_values(location: str) -> Values:
    """Open the values at a path or URL, which need not exist."""
    if "://" in location:
        # zarr takes a fifth of a second to import, and a folder needs none of it.
        from engine.store.remote import open_remote

        return open_remote(location)
    from engine.store.local import LocalValues

    return LocalValues(location)
