"""Where a store lies: a path or a URL, and what of it may be shown."""

import re
from urllib.parse import unquote

from engine.errors import StoreError

_URL = re.compile(r"[A-Za-z][\w+.-]*://[^\s'\"]+")
_SECRET = re.compile(r"(?<=://)[^/@]*:[^/@]*(?=@)|(?<=[?&])[^=&]+=[^&]*")


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
