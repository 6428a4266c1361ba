"""A store behind a URL: zarr's fsspec store, made fit for unattended work.

What is added to it: whatever the libraries of a protocol raise (botocore, aiohttp) becomes an
`OSError` of one sentence, so that a lost connection is never taken for a damaged chunk; listings
are never remembered, since other machines write; and nothing is deleted by a pattern, since names
may hold ``*``.
"""

import asyncio
import errno
import re
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager, suppress
from typing import cast
from urllib.parse import unquote

from zarr.abc.store import ByteRequest, OffsetByteRequest
from zarr.core.buffer import Buffer, BufferPrototype
from zarr.storage import FsspecStore

from engine.errors import StoreError

_URL = re.compile(r"[A-Za-z][\w+.-]*://[^\s'\"]+")
_SECRET = re.compile(r"(?<=://)[^/@]*:[^/@]*(?=@)|(?<=[?&])[^=&]+=[^&]*")
_MISSING = (FileNotFoundError, IsADirectoryError, NotADirectoryError)
_AT_ONCE = 64
"""Deletions on their way at the same time."""


def masked(text: str) -> str:
    """Put an ellipsis for the passwords and query strings of URLs in a text.

    Examples
    --------
    >>> masked("sftp://me:secret@host/store.zarr")
    'sftp://…@host/store.zarr'
    """
    return _URL.sub(lambda url: _SECRET.sub("…", url[0]), text)


def checked(location: str) -> str:
    """Return where a store lies, as the engine takes it; a ``file://`` URL becomes a path.

    Raises
    ------
    StoreError
        For a URL that holds credentials, which would go into tasks and messages, and for one of
        a store that no other process can see.
    """
    protocol, is_url, rest = location.partition("://")
    if not is_url:
        return location
    if protocol in ("file", "local"):
        return unquote(rest)
    if protocol == "memory":
        raise StoreError(f"{location}: is seen by one process alone: choose another --store")
    if masked(location) != location:
        raise StoreError(
            f"{masked(location)}: a URL must not hold credentials; leave them out and set them "
            "in the environment, for instance AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"
        )
    return f"{protocol}://{rest.rstrip('/')}"


def open_remote(url: str) -> "RemoteStore":
    """Open the zarr store behind a URL; credentials and endpoint come from the environment.

    Raises
    ------
    StoreError
        When the protocol is not known, or what speaks it is not installed.
    """
    try:
        return cast(
            "RemoteStore",
            RemoteStore.from_url(url, storage_options={"use_listings_cache": False}),
        )
    except ImportError as error:
        raise StoreError(
            f'{url}: a URL needs more packages ({error}): pip install ".[remote]"'
        ) from None
    except (ValueError, TypeError) as error:
        raise StoreError(f"{url}: cannot be used as a store ({error})") from None


class RemoteStore(FsspecStore):
    """zarr's fsspec store with errors that a person can read."""

    @contextmanager
    def _told(self, *passed: type[OSError]) -> Iterator[None]:
        """Turn what is raised into a sentence, but for what says that a value is missing."""
        try:
            yield
        except passed:
            raise
        except Exception as error:
            number = getattr(error, "errno", None) or errno.EIO
            # Of some errors nothing but the kind says what is the matter.
            text = " ".join(str(error).split()).rstrip(".") or type(error).__name__
            raise OSError(
                number,
                f"{masked(text)}; check the URL, and endpoint and credentials in the environment",
                str(self.fs.unstrip_protocol(self.path)),
            ) from error

    async def get(
        self, key: str, prototype: BufferPrototype, byte_range: ByteRequest | None = None
    ) -> Buffer | None:
        """Read a value; None when it is missing."""
        # s3fs asks for the size of what it reads whole, which makes two requests of one.
        with self._told(*_MISSING):
            return await super().get(key, prototype, byte_range or OffsetByteRequest(0))

    async def set(self, key: str, value: Buffer, byte_range: tuple[int, int] | None = None) -> None:
        """Write a value, in one step where the protocol can."""
        with self._told():
            await super().set(key, value, byte_range)

    async def exists(self, key: str) -> bool:
        """Whether there is a value."""
        with self._told(*_MISSING):
            return await super().exists(key)

    async def delete(self, key: str) -> None:
        """Delete a value, if it is there."""
        await self._delete_files([f"{self.path}/{key}"])

    async def delete_dir(self, prefix: str) -> None:
        """Delete all values below a path."""
        with self._told():
            found = await self.fs._find(f"{self.path}/{prefix}", withdirs=False)
        await self._delete_files(found)

    async def _delete_files(self, paths: list[str]) -> None:
        async def delete(path: str) -> None:
            with suppress(*_MISSING):
                await self.fs._rm_file(path)

        with self._told():
            for start in range(0, len(paths), _AT_ONCE):
                await asyncio.gather(*map(delete, paths[start : start + _AT_ONCE]))

    async def list_prefix(self, prefix: str) -> AsyncIterator[str]:
        """List the keys that begin with a prefix."""
        with self._told():
            async for key in super().list_prefix(prefix):
                yield key

    async def list_dir(self, prefix: str) -> AsyncIterator[str]:
        """List what stands directly below a path."""
        with self._told():
            async for key in super().list_dir(prefix):
                yield key
