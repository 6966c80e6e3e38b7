"""A cache of bytes. Losing an entry is never an error; switched off, it loses every one."""

from collections.abc import Callable, Sequence
from typing import Protocol

Dump = Callable[[], bytes]
"""Makes the bytes, only for a cache that keeps them."""


class Cache(Protocol):
    """Keys are made by one function for each kind of thing, so that reader and writer agree."""

    async def get(self, key: str) -> bytes | None:
        """The stored value, or ``None``: never stored, expired, deleted, or not to be trusted."""

    async def get_many(self, keys: Sequence[str]) -> Sequence[bytes | None]:
        """What ``get`` returns for each of them, in one round trip."""

    async def fill(self, key: str, dump: Dump, ttl_seconds: int | None = None) -> None:
        """Store what was just read from the source, unless ``key`` was deleted meanwhile.

        For ``ttl_seconds``, or the default where that is ``None``. What has no whole second to live is not stored.
        """

    async def delete(self, key: str) -> None:
        """Invalidate ``key``. Call it after the transaction that changed the source has committed."""


class NullCache:
    """Stores nothing."""

    async def get(self, key: str) -> bytes | None:
        return None

    async def get_many(self, keys: Sequence[str]) -> Sequence[bytes | None]:
        return [None] * len(keys)

    async def fill(self, key: str, dump: Dump, ttl_seconds: int | None = None) -> None:
        """Do nothing."""

    async def delete(self, key: str) -> None:
        """Do nothing."""
