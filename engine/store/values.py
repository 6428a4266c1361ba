"""Keys and values: what the engine asks of a zarr store, in a folder or behind a URL.

A zarr store is no more than keys and values. The engine reads and writes them as bytes and proves
what it reads before it decodes it (`engine.store.encoding`), so that nothing that zarr's arrays
take from the environment, from files of settings or from their caller can change a value.
"""

from typing import TYPE_CHECKING, TypeAlias

from engine.store.local import LocalValues

if TYPE_CHECKING:
    from engine.store.remote import RemoteValues

Values: TypeAlias = "LocalValues | RemoteValues"
"""The values of a zarr store, each a run of bytes under a key.

Each method raises `OSError` when something cannot be known or done.
"""


def open_values(location: str) -> Values:
    """Open the values at a path or URL, which need not exist."""
    if "://" in location:
        # zarr takes a fifth of a second to import, and a folder needs none of it.
        from engine.store.remote import open_remote

        return open_remote(location)
    return LocalValues(location)
