"""Clients that hold a connection and give as little for it as they can, from several addresses at once."""

import asyncio
import random
import socket
import struct
import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from quality.testkit.server import HOST

ADDRESSES = [f"127.0.0.{number}" for number in range(2, 12)]
TICK_SECONDS = 0.5
PATIENCE_SECONDS = 60
# The buffers of a real network, into which a response of 175 KB does not fit. Those of loopback hold megabytes.
SEGMENT_BYTES = 1_400
RECEIVE_BYTES = 4_096
RESET_ON_CLOSE = struct.pack("ii", 1, 0)

HEAD = f"GET /health HTTP/1.1\r\nHost: {HOST}\r\n".encode()
BODY = f"POST /users HTTP/1.1\r\nHost: {HOST}\r\nContent-Length: 1000\r\n\r\n{{".encode()
LARGE = f"GET /docs/assets/swagger-ui.css HTTP/1.1\r\nHost: {HOST}\r\n\r\n".encode()


@dataclass(frozen=True)
class Kind:
    """What is sent at once, and what again and again. Only who asks for a response may get one."""

    name: str
    opening: bytes = b""
    trickle: bytes = b""
    asks: bool = False


KINDS = (
    Kind("silent"),
    Kind("half a head, byte by byte", HEAD + b"X-Slow: ", b"a"),
    Kind("half a body, then silent", BODY),
    Kind("a response that is not read", LARGE, asks=True),
)


@dataclass
class SlowClients:
    """``held`` says for each kind how long its connections lived, ``answered`` how many got a response unasked."""

    port: int
    held: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))
    answered: int = 0

    async def attack(self, count: int, seconds: float) -> None:
        """Keep so many connections open for so long: who is thrown out comes again. Ends with the last of them."""
        until = time.monotonic() + seconds
        async with asyncio.TaskGroup() as group:
            for number in range(count):
                kind = KINDS[number % len(KINDS)]
                address = ADDRESSES[number // len(KINDS) % len(ADDRESSES)]
                group.create_task(self._come_again(kind, address, until))

    async def _come_again(self, kind: Kind, address: str, until: float) -> None:
        while time.monotonic() < until:
            await asyncio.sleep(TICK_SECONDS * random.random())  # noqa: S311  not all at once
            with slow_socket(address) as connection:
                await asyncio.get_running_loop().sock_connect(connection, (HOST, self.port))
                await self._hold(connection, kind)

    async def _hold(self, connection: socket.socket, kind: Kind) -> None:
        """Until the other side ends it, or for a minute."""
        started = time.monotonic()
        connection.send(kind.opening)
        while not has_ended(connection, kind.trickle):
            await asyncio.sleep(TICK_SECONDS)
            if time.monotonic() - started > PATIENCE_SECONDS:
                break
            self.answered += not kind.asks and has_response(connection)
        self.held[kind.name].append(time.monotonic() - started)


@contextmanager
def slow_socket(address: str) -> Iterator[socket.socket]:
    """A socket of this address that takes little at a time."""
    with socket.socket() as connection:
        connection.setblocking(False)
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVE_BYTES)
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_MAXSEG, SEGMENT_BYTES)
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET_ON_CLOSE)
        connection.bind((address, 0))
        yield connection


def has_ended(connection: socket.socket, trickle: bytes) -> bool:
    """Whether the other side has closed or reset it, after one more trickle."""
    try:
        if trickle:
            connection.send(trickle)
        closed = connection.recv(1, socket.MSG_PEEK) == b""
    except BlockingIOError:
        closed = False
    except OSError:
        return True
    # A reset does not show in what can be read as long as there is something to read.
    return closed or connection.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR) != 0


def has_response(connection: socket.socket) -> bool:
    try:
        return bool(connection.recv(1, socket.MSG_PEEK))
    except OSError:
        return False
