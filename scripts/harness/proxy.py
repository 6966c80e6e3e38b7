"""A TCP proxy that fails on demand, between the application and one of its services."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from urllib.parse import urlsplit, urlunsplit

from scripts.harness.server import HOST, free_port

GARBAGE = b"\x00\xffnot what you expected\r\n" * 4


class FaultProxy:
    """Forwards until it is told otherwise. Each fault acts on open connections too; ``forward`` ends it."""

    def __init__(self, url: str, default_port: int) -> None:
        self._parts = urlsplit(url)
        self._target = (self._parts.hostname or HOST, self._parts.port or default_port)
        self.port = free_port()
        self._server: asyncio.Server | None = None
        self._open: set[asyncio.StreamWriter] = set()
        self._silent = False
        self._delay = 0.0
        self._spoil: bytes | None = None
        self._cut_after: int | None = None

    @property
    def url(self) -> str:
        """The URL of the service, by way of this proxy."""
        credentials = "".join(self._parts.netloc.rpartition("@")[:2])
        return urlunsplit(self._parts._replace(netloc=f"{credentials}{HOST}:{self.port}"))

    async def forward(self) -> None:
        """Well again: a fault's connections are cut, so that the next ones are clean."""
        await self.refuse()
        self._silent, self._delay, self._spoil, self._cut_after = False, 0.0, None, None
        self._server = await asyncio.start_server(self._handle, HOST, self.port)

    async def refuse(self) -> None:
        """Nothing listens, and what was open is reset."""
        if self._server is not None:
            self._server.close()
            self._server = None
        self.cut()
        await asyncio.sleep(0)

    def cut(self) -> None:
        """Reset every open connection; new ones are welcome."""
        for writer in self._open:
            writer.transport.abort()

    def hang(self) -> None:
        """Accept, read, and say nothing."""
        self._silent = True

    def delay(self, seconds: float) -> None:
        """Hold each answer back for so long."""
        self._delay = seconds

    def garble(self) -> None:
        """Answer with bytes of no protocol."""
        self._spoil = GARBAGE

    def cut_after(self, size: int) -> None:
        """Send so many bytes of each answer, then reset the connection."""
        self._cut_after = size

    async def _handle(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            back_reader, back = await asyncio.open_connection(*self._target)
        except OSError:
            writer.transport.abort()
            return
        self._open |= {writer, back}
        await asyncio.gather(
            self._pump(reader, back, answers=False), self._pump(back_reader, writer, answers=True)
        )
        self._open -= {writer, back}

    async def _pump(
        self, source: asyncio.StreamReader, sink: asyncio.StreamWriter, *, answers: bool
    ) -> None:
        try:
            while data := await source.read(65_536):
                if answers and self._delay:
                    await asyncio.sleep(self._delay)
                if self._silent:
                    continue
                if answers and self._spoil is not None:
                    data = self._spoil
                if answers and self._cut_after is not None:
                    sink.write(data[: self._cut_after])
                    await sink.drain()
                    break
                sink.write(data)
        except OSError:
            pass  # cut
        sink.close()


@asynccontextmanager
async def fault_proxy(url: str, default_port: int) -> AsyncIterator[FaultProxy]:
    """A forwarding proxy before the service of ``url``."""
    proxy = FaultProxy(url, default_port)
    await proxy.forward()
    try:
        yield proxy
    finally:
        await proxy.refuse()
