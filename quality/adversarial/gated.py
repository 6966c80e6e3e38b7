"""Redis behind a gate that keeps one command back, so that it comes as late as an attack wants it."""

import asyncio

from quality.testkit.proxy import FaultProxy

PIECE = 65_536
REDIS_PORT = 6379
ARRIVAL_SECONDS = 0.2
PATIENCE_SECONDS = 5


class GatedRedis(FaultProxy):
    """Forwards, but for the ``SET`` of one key: it waits at the gate, even when its client has given up."""

    def __init__(self, url: str) -> None:
        super().__init__(url, REDIS_PORT)
        self._key = b""
        self._caught = asyncio.Event()
        self._gate = asyncio.Event()

    def hold(self, key: str) -> None:
        self._key, self._caught, self._gate = key.encode(), asyncio.Event(), asyncio.Event()

    async def caught(self) -> None:
        """Return when it stands at the gate. Raises ``TimeoutError`` if it never comes."""
        await asyncio.wait_for(self._caught.wait(), PATIENCE_SECONDS)

    async def release(self) -> None:
        """Let it through; return when Redis has had it."""
        self._gate.set()
        await asyncio.sleep(ARRIVAL_SECONDS)

    async def ask(
        self,
        client: asyncio.StreamReader,
        service: asyncio.StreamWriter,
        responses: asyncio.StreamWriter,
    ) -> None:
        try:
            while data := await client.read(PIECE):
                if self._key and self._key in data and b"\r\nSET\r\n" in data:
                    self._caught.set()
                    await self._gate.wait()
                service.write(data)
        except OSError:
            pass  # cut
        service.close()
