"""A TCP proxy that fails on demand, between the application and one of its services."""

import asyncio
import socket
import struct
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from urllib.parse import urlsplit, urlunsplit

from quality.testkit.server import HOST, free_port

GARBAGE = b"\x00\xffnot what you expected\r\n" * 4
# What a closed socket still has to say is thrown away: the kernel sends RST in place of FIN. POSIX and Windows differ in the type.
AT_ONCE = struct.pack("hh" if sys.platform == "win32" else "ii", 1, 0)

# What it is to write to a connection that was cut meanwhile; uvloop says it with a RuntimeError.
CUT = (OSError, RuntimeError)


@dataclass(frozen=True)
class Fault:
    """What becomes of the bytes. By default nothing does."""

    silent: bool = False
    delay: float = 0.0
    spoil: bytes | None = None
    cut_after: int | None = None
    reply: Callable[[bytes], bytes] | None = None
    farewell: bytes | None = None


class FaultProxy:
    """Forwards until it is told otherwise. Each fault acts on open connections too; ``forward`` ends it.

    ``asked`` counts the messages of clients: their round trips, where each waits for its answer.
    """

    def __init__(self, url: str, default_port: int) -> None:
        self._parts = urlsplit(url)
        self._target = (self._parts.hostname or HOST, self._parts.port or default_port)
        self.port = free_port()
        self._server: asyncio.Server | None = None
        self._open: set[asyncio.StreamWriter] = set()
        self._fault = Fault()
        self.asked = 0

    @property
    def url(self) -> str:
        """The URL of the service, by way of this proxy."""
        return self.url_as(HOST)

    def url_as(self, host: str) -> str:
        """The same, with another name for this machine."""
        credentials = "".join(self._parts.netloc.rpartition("@")[:2])
        return urlunsplit(self._parts._replace(netloc=f"{credentials}{host}:{self.port}"))

    async def forward(self) -> None:
        """Well again: a fault's connections are cut, so that the next ones are clean."""
        await self.refuse()
        self._fault = Fault()
        self._server = await asyncio.start_server(self._handle, HOST, self.port)

    async def refuse(self) -> None:
        """Nothing listens, and what was open is ended."""
        self._stop_listening()
        self.cut()
        await asyncio.sleep(0)

    async def refuse_by_reset(self) -> None:
        """Nothing listens, and what was open is reset, whatever is under way on it."""
        self._stop_listening()
        self.reset()
        await asyncio.sleep(0)

    def _stop_listening(self) -> None:
        if self._server is not None:
            self._server.close()
            self._server = None

    def cut(self) -> None:
        """End every open connection as a server does that stops: with FIN, where it has read all. New ones are welcome."""
        for writer in self._open:
            writer.transport.abort()

    def reset(self) -> None:
        """End every open connection as a crash or a firewall does: with RST, always. New ones are welcome."""
        for writer in self._open:
            if writer.is_closing():
                continue
            connection = writer.get_extra_info("socket")
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, AT_ONCE)
        self.cut()

    def hang(self) -> None:
        """Accept, read, and say nothing."""
        self._fault = replace(self._fault, silent=True)

    def delay(self, seconds: float) -> None:
        """Hold each answer back for so long."""
        self._fault = replace(self._fault, delay=seconds)

    def garble(self) -> None:
        """Answer with bytes of no protocol."""
        self._fault = replace(self._fault, spoil=GARBAGE)

    def cut_after(self, size: int) -> None:
        """Send so many bytes of each answer, then end the connection."""
        self._fault = replace(self._fault, cut_after=size)

    def reply_with(self, reply: Callable[[bytes], bytes]) -> None:
        """Answer what arrives in the place of the service, which hears nothing of it."""
        self._fault = replace(self._fault, reply=reply)

    def turn_away(self, farewell: bytes) -> None:
        """Tell everybody so much and hang up, those too who were connected."""
        self._fault = replace(self._fault, farewell=farewell)
        self.cut()

    async def _handle(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self._fault.farewell is not None:
            writer.write(self._fault.farewell)
            writer.close()
            return
        try:
            back_reader, back = await asyncio.open_connection(*self._target)
        except OSError:
            writer.transport.abort()
            return
        self._open |= {writer, back}
        await asyncio.gather(self._ask(reader, back, writer), self._response(back_reader, writer))
        self._open -= {writer, back}

    async def _ask(
        self,
        client: asyncio.StreamReader,
        service: asyncio.StreamWriter,
        responses: asyncio.StreamWriter,
    ) -> None:
        try:
            while data := await client.read(65_536):
                self.asked += 1
                if self._fault.silent:
                    continue
                if self._fault.reply is not None:
                    responses.write(self._fault.reply(data))
                else:
                    service.write(data)
        except CUT:
            pass
        service.close()

    async def _response(self, service: asyncio.StreamReader, client: asyncio.StreamWriter) -> None:
        try:
            while data := await service.read(65_536):
                await asyncio.sleep(self._fault.delay)
                if self._fault.silent:
                    continue
                if self._fault.spoil is not None:
                    data = self._fault.spoil
                client.write(data[: self._fault.cut_after])
                if self._fault.cut_after is not None:
                    break
        except CUT:
            pass
        client.close()


@asynccontextmanager
async def fault_proxy(url: str, default_port: int) -> AsyncIterator[FaultProxy]:
    """A forwarding proxy before the service of ``url``."""
    proxy = FaultProxy(url, default_port)
    await proxy.forward()
    try:
        yield proxy
    finally:
        await proxy.refuse()
