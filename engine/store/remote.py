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
from collections.abc import Callable, Coroutine, Iterable, Mapping
from contextlib import suppress
from functools import cache
from typing import Any, TypeVar

import numpy as np
from zarr.abc.store import OffsetByteRequest
from zarr.buffer import cpu
from zarr.storage import FsspecStore

from engine.errors import StoreError
from engine.store.location import masked

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


def open_remote(url: str) -> "RemoteValues":
    """Open the zarr store behind a URL; credentials and endpoint come from the environment.

    Raises
    ------
    StoreError
        When the protocol is not known, or what speaks it is not installed.
    """
    try:
        store = FsspecStore.from_url(url, storage_options={"use_listings_cache": False})
    except ImportError as error:
        raise StoreError(
            f'{url}: a URL needs more packages ({error}): pip install ".[remote]"'
        ) from None
    except (ValueError, TypeError) as error:
        raise StoreError(f"{url}: cannot be used as a store ({error})") from None
    return RemoteValues(store)


class RemoteValues:
    """The values of a store behind a URL; see `engine.store.values.Values`."""

    def __init__(self, store: FsspecStore) -> None:
        self._store = store

    def get(self, key: str) -> bytes | None:
        """Read a value; None when there is none."""
        return self.get_many([key])[0]

    def get_many(self, keys: Iterable[str]) -> list[bytes | None]:
        """Read values, some at a time; None for each that is not there."""

        async def read(key: str) -> bytes | None:
            # s3fs asks for the size of what it reads whole, which makes two requests of one.
            found = await self._store.get(key, cpu.buffer_prototype, OffsetByteRequest(0))
            return None if found is None else found.to_bytes()

        return self._for_each(read, keys)

    def size(self, key: str) -> int | None:
        """None: it would cost a request."""
        return None

    def set_many(self, values: Mapping[str, Any]) -> None:
        """Write values, some at a time, each in one step where the protocol can."""

        async def write(value: tuple[str, Any]) -> None:
            content = np.frombuffer(value[1], np.uint8)
            await self._store.set(value[0], cpu.Buffer.from_array_like(content))

        self._for_each(write, values.items())

    def set_durably(self, key: str, value: bytes) -> None:
        """Write a value in one step; when it is kept is for what is behind the URL to say."""
        self.set_many({key: value})

    def delete(self, key: str) -> None:
        """Delete a value, if it is there."""
        self._delete_files([f"{self._store.path}/{key}"])

    def delete_dir(self, prefix: str) -> None:
        """Delete all values below a path."""
        found = self._store.fs._find(f"{self._store.path}/{prefix}", withdirs=False)
        self._delete_files(_wait(self._answer(found, LISTING_SECONDS)))

    def _delete_files(self, paths: Iterable[str]) -> None:
        async def delete(path: str) -> None:
            with suppress(FileNotFoundError, IsADirectoryError, NotADirectoryError):
                await self._store.fs._rm_file(path)

        self._for_each(delete, paths)

    def list_dir(self, prefix: str, *, hidden: bool = False) -> list[str]:
        """List what stands directly below a path; hidden names (``.…``) only if asked for."""

        async def names() -> list[str]:
            return [name async for name in self._store.list_dir(prefix)]

        found = _wait(self._answer(names(), LISTING_SECONDS))
        return sorted(name for name in found if hidden or not name.startswith("."))

    def _for_each(
        self, ask: Callable[[_S], Coroutine[Any, Any, _T]], arguments: Iterable[_S]
    ) -> list[_T]:
        """Ask one question of each argument, some at a time, and wait for the answers."""

        async def answers() -> list[_T]:
            waiting, found = list(arguments), []
            while waiting:
                questions = map(ask, waiting[:_AT_ONCE])
                found += await asyncio.gather(
                    *(self._answer(question, ANSWER_SECONDS) for question in questions)
                )
                del waiting[:_AT_ONCE]
            return found

        return _wait(answers())

    async def _answer(self, question: Coroutine[Any, Any, _T], seconds: float) -> _T:
        """Wait for one answer, and turn what is raised into a sentence."""
        try:
            async with asyncio.timeout(seconds):
                return await question
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
            str(self._store.fs.unstrip_protocol(self._store.path)),
        )
