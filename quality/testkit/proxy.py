"""A TCP proxy that fails on demand, between the application and one of its services."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace

from quality.testkit.server import HOST, free_port
from tests.fixtures import faults

GARBAGE = b"\x00\xffnot what you expected\r\n" * 4


@dataclass(frozen=True)
class Fault:
    """What becomes of the bytes. By default nothing does."""

    silent: bool = False
    delay: float = 0.0
    garbage: bytes | None = None
    cut_after: int | None = None
    reply: Callable[[bytes], bytes] | None = None
    farewell: bytes | None = None


class FaultProxy(faults.FaultProxy):
    """Forwards until it is told otherwise. Each fault acts on open connections too; ``forward`` ends it.

    ``asked`` counts the messages of clients: their round trips, where each waits for its response.
    """

    def __init__(self, url: str, default_port: int) -> None:
        super().__init__(url, default_port)
        self.port = free_port()
        self._server: asyncio.Server | None = None
        self._fault = Fault()
        self.asked = 0

    async def forward(self) -> None:
        """Well again: a fault's connections are cut, so that the next ones are clean."""
        await self.refuse()
        self._fault = Fault()
        self._server = await asyncio.start_server(self.handle, HOST, self.port)

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

    def hang(self) -> None:
        """Accept, read, and say nothing."""
        self._fault = replace(self._fault, silent=True)

    def delay(self, seconds: float) -> None:
        """Hold each response back for so long."""
        self._fault = replace(self._fault, delay=seconds)

    def garble(self) -> None:
        """Answer with bytes of no protocol."""
        self._fault = replace(self._fault, garbage=GARBAGE)

    def cut_after(self, size: int) -> None:
        """Send so many bytes of each response, then end the connection."""
        self._fault = replace(self._fault, cut_after=size)

    def reply_with(self, reply: Callable[[bytes], bytes]) -> None:
        """Answer what arrives in the place of the service, which hears nothing of it."""
        self._fault = replace(self._fault, reply=reply)

    def turn_away(self, farewell: bytes) -> None:
        """Tell everybody so much and hang up, those too who were connected."""
        self._fault = replace(self._fault, farewell=farewell)
        self.cut()

    async def handle(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self._fault.farewell is None:
            await super().handle(reader, writer)
        else:
            writer.write(self._fault.farewell)
            writer.close()

    async def ask(
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
        except faults.CUT:
            pass
        service.close()

    async def respond(self, service: asyncio.StreamReader, client: asyncio.StreamWriter) -> None:
        try:
            while data := await service.read(65_536):
                await asyncio.sleep(self._fault.delay)
                if self._fault.silent:
                    continue
                if self._fault.garbage is not None:
                    data = self._fault.garbage
                client.write(data[: self._fault.cut_after])
                if self._fault.cut_after is not None:
                    break
        except faults.CUT:
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
