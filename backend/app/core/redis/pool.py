"""The connections to Redis: redis-py's pool, which trusts none of them after a failure and shares one TLS context.

Relies on redis-py 8.1: ``ConnectionPool`` makes each connection by ``make_connection`` and opens it by
``ensure_connection``; an ``SSLConnection`` has a lazy ``ssl_context``. Besides it only ``pipelining.py`` looks inside
redis-py.
"""

import asyncio
import socket
from typing import Any

from redis.asyncio import ConnectionPool, SSLConnection
from redis.asyncio.connection import AbstractConnection, RedisSSLContext
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import RedisError, ResponseError

# A quiet connection is checked after 30 s and given up 15 s later, so a firewall neither drops it nor hides its end.
# macOS has another name for the first option; a platform without one of them keeps its own figure.
KEEPALIVE = {
    getattr(socket, name): value
    for name, value in {
        "TCP_KEEPIDLE" if hasattr(socket, "TCP_KEEPIDLE") else "TCP_KEEPALIVE": 30,
        "TCP_KEEPINTVL": 5,
        "TCP_KEEPCNT": 3,
    }.items()
    if hasattr(socket, name)
}


class TrustedPool(ConnectionPool):
    """After ``distrust`` no connection that was open then is used again; each is opened again when it is next needed."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self._trusted: set[AbstractConnection] = set()
        self._tls: RedisSSLContext | None = None
        self._tls_lock = asyncio.Lock()

    def distrust(self) -> None:
        """Something went wrong on one connection, so the others may be dead, or in the middle of a reply, as well."""
        self._trusted.clear()

    def make_connection(self) -> AbstractConnection:
        connection: AbstractConnection = super().make_connection()  # type: ignore[no-untyped-call]  # redis-py's own
        if isinstance(connection, SSLConnection):
            self._tls = connection.ssl_context = self._tls or connection.ssl_context
        return connection

    async def ensure_connection(self, connection: AbstractConnection) -> None:
        """Connect, unless connected and trusted. An error reply to the handshake is a failure to connect."""
        if connection not in self._trusted:
            await connection.disconnect(nowait=True)
            self._trusted.add(connection)
        try:
            await super().ensure_connection(connection)
        except ResponseError as exc:
            raise RedisConnectionError("the handshake was rejected") from exc

    async def prepare(self) -> None:
        """Read the certificates once, in a thread: 20 ms and more, which would stop the event loop for everybody."""
        if not issubclass(self.connection_class, SSLConnection) or self._tls_is_ready():
            return
        async with self._tls_lock:
            if self._tls is None:
                self.make_connection()  # connects to nothing yet
            if self._tls is not None and not self._tls_is_ready():
                await asyncio.to_thread(self._tls.get)

    def _tls_is_ready(self) -> bool:
        return self._tls is not None and self._tls.context is not None


def accepts(url: str) -> bool:
    """Whether redis-py can read every option of ``url``. Connects to nothing."""
    try:
        ConnectionPool.from_url(url).make_connection()  # type: ignore[no-untyped-call]  # redis-py's own
    except (RedisError, TypeError, ValueError):
        return False
    return True
