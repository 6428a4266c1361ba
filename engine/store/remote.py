"""A store behind a URL: zarr's fsspec store, made fit for unattended work.

What is added to it: whatever the libraries of a protocol raise (botocore, aiohttp) becomes an
`OSError` of one sentence, so that a lost connection is never taken for a damaged chunk; no answer
is waited for without end; listings are never remembered, since other machines write; and nothing is
deleted by a pattern, since names may hold ``*``.
"""

import asyncio
import errno
import os
import threading
from collections.abc import AsyncIterator, Callable, Coroutine, Iterable, Mapping
from contextlib import asynccontextmanager, suppress
from functools import cache
from typing import Any, TypeVar, cast

import numpy as np
from zarr.abc.buffer import Buffer, BufferPrototype
from zarr.abc.store import ByteRequest, OffsetByteRequest
from zarr.buffer import cpu
from zarr.storage import FsspecStore

from engine.errors import StoreError
from engine.store.location import masked

_MISSING = (FileNotFoundError, IsADirectoryError, NotADirectoryError)
_AT_ONCE = 64
"""Requests on their way at the same time."""
ANSWER_SECONDS = 60
"""How long a value may take on its way; what takes the call may never answer it."""
LISTING_SECONDS = 600
"""How long a listing may take."""
_S = TypeVar("_S")
_T = TypeVar("_T")


@cache
def _loop(process: int) -> asyncio.AbstractEventLoop:
    """Start the loop of a process; one that was forked needs its own."""
    loop = asyncio.new_event_loop()
    threading.Thread(target=loop.run_forever, name="store", daemon=True).start()
    return loop


def _wait(coroutine: Coroutine[Any, Any, _T]) -> _T:
    # In a thread of its own: a notebook has a loop running in its main thread already.
    return asyncio.run_coroutine_threadsafe(coroutine, _loop(os.getpid())).result()


async def _gathered(
    function: Callable[[_S], Coroutine[Any, Any, _T]], arguments: Iterable[_S]
) -> list[_T]:
    waiting, found = list(arguments), []
    while waiting:
        found += await asyncio.gather(*map(function, waiting[:_AT_ONCE]))
        del waiting[:_AT_ONCE]
    return found


async def _collected(names: AsyncIterator[str]) -> list[str]:
    return [name async for name in names]


def open_remote(url: str) -> "RemoteValues":
    """Open the zarr store behind a URL; credentials and endpoint come from the environment.

    Raises
    ------
    StoreError
        When the protocol is not known, or what speaks it is not installed.
    """
    try:
        store = RemoteStore.from_url(url, storage_options={"use_listings_cache": False})
    except ImportError as error:
        raise StoreError(
            f'{url}: a URL needs more packages ({error}): pip install ".[remote]"'
        ) from None
    except (ValueError, TypeError) as error:
        raise StoreError(f"{url}: cannot be used as a store ({error})") from None
    return RemoteValues(cast("RemoteStore", store))


class RemoteValues:
    """The values of a store behind a URL; see `engine.store.values.Values`."""

    def __init__(self, store: "RemoteStore") -> None:
        self._store = store

    def get(self, key: str) -> bytes | None:
        """Read a value; None when there is none."""
        return self.get_many([key])[0]

    def get_many(self, keys: Iterable[str]) -> list[bytes | None]:
        """Read values, some at a time; None for each that is not there."""

        async def read(key: str) -> bytes | None:
            found = await self._store.get(key, cpu.buffer_prototype)
            return None if found is None else found.to_bytes()

        return _wait(_gathered(read, keys))

    def size(self, key: str) -> int | None:
        """None: it would cost a request."""
        return None

    def set_many(self, values: Mapping[str, Any]) -> None:
        """Write values, some at a time, each in one step where the protocol can."""

        async def write(value: tuple[str, Any]) -> None:
            content = np.frombuffer(value[1], np.uint8)
            await self._store.set(value[0], cpu.Buffer.from_array_like(content))

        _wait(_gathered(write, values.items()))

    def set_durably(self, key: str, value: bytes) -> None:
        """Write a value in one step; when it is kept is for what is behind the URL to say."""
        self.set_many({key: value})

    def delete(self, key: str) -> None:
        """Delete a value, if it is there."""
        _wait(self._store.delete(key))

    def delete_dir(self, prefix: str) -> None:
        """Delete all values below a path."""
        _wait(self._store.delete_dir(prefix))

    def list_dir(self, prefix: str, *, hidden: bool = False) -> list[str]:
        """List what stands directly below a path; hidden names (``.…``) only if asked for."""
        found = _wait(_collected(self._store.list_dir(prefix)))
        return sorted(name for name in found if hidden or not name.startswith("."))


class RemoteStore(FsspecStore):
    """zarr's fsspec store with errors that a person can read."""

    @asynccontextmanager
    async def _answered(
        self, *passed: type[OSError], seconds: float | None = None
    ) -> AsyncIterator[None]:
        """Turn what is raised into a sentence, but for what says that a value is missing."""
        seconds = seconds or ANSWER_SECONDS
        try:
            async with asyncio.timeout(seconds):
                yield
        except passed:
            raise
        except TimeoutError as error:
            raise self._error(errno.ETIMEDOUT, f"no answer within {seconds} s") from error
        except Exception as error:  # Each protocol's library raises what it likes.
            number = getattr(error, "errno", None) or errno.EIO
            # Of some errors nothing but the kind says what is the matter.
            text = " ".join(str(error).split()).rstrip(".") or type(error).__name__
            raise self._error(number, text) from error

    def _error(self, number: int, text: str) -> OSError:
        return OSError(
            number,
            f"{masked(text)}; check the URL, and endpoint and credentials in the environment",
            str(self.fs.unstrip_protocol(self.path)),
        )

    async def get(
        self, key: str, prototype: BufferPrototype, byte_range: ByteRequest | None = None
    ) -> Buffer | None:
        """Read a value; None when it is missing."""
        # s3fs asks for the size of what it reads whole, which makes two requests of one.
        async with self._answered(*_MISSING):
            return await super().get(key, prototype, byte_range or OffsetByteRequest(0))

    async def set(self, key: str, value: Buffer, byte_range: tuple[int, int] | None = None) -> None:
        """Write a value, in one step where the protocol can."""
        async with self._answered():
            await super().set(key, value, byte_range)

    async def exists(self, key: str) -> bool:
        """Whether there is a value."""
        async with self._answered(*_MISSING):
            return await super().exists(key)

    async def delete(self, key: str) -> None:
        """Delete a value, if it is there."""
        await self._delete_files([f"{self.path}/{key}"])

    async def delete_dir(self, prefix: str) -> None:
        """Delete all values below a path."""
        async with self._answered(seconds=LISTING_SECONDS):
            found = await self.fs._find(f"{self.path}/{prefix}", withdirs=False)
        await self._delete_files(found)

    async def _delete_files(self, paths: list[str]) -> None:
        async def delete(path: str) -> None:
            with suppress(*_MISSING):
                await self.fs._rm_file(path)

        for start in range(0, len(paths), _AT_ONCE):
            async with self._answered():
                await asyncio.gather(*map(delete, paths[start : start + _AT_ONCE]))

    async def list_dir(self, prefix: str) -> AsyncIterator[str]:
        """List what stands directly below a path."""
        async with self._answered(seconds=LISTING_SECONDS):
            async for key in super().list_dir(prefix):
                yield key
