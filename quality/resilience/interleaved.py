"""A load for two servers that differ in one thing: each request goes to both at the same moment.

What the machine does meanwhile hits both, so their difference is what the one thing costs.
"""

import asyncio
from dataclasses import dataclass
from random import Random
from time import perf_counter

from quality.testkit.client import Connection, Response
from quality.testkit.traffic import NO_ANSWER

CLIENTS = 8
# Clients that all pause for the same time go on asking in step.
PACE = Random(1)  # noqa: S311  no secret


@dataclass(frozen=True)
class Pair:
    """One request with both answers. ``at`` is a time of ``time.perf_counter``."""

    at: float
    on: Response
    off: Response


class Load:
    """So many requests by clients who wait for each response, and about ``pause`` seconds before the next one.

    Begins at once, as tasks of ``group``.
    """

    def __init__(
        self,
        group: asyncio.TaskGroup,
        requests: int,
        *,
        on: int,
        off: int,
        token: str,
        target: str,
        clients: int = CLIENTS,
        pause: float = 0,
    ) -> None:
        self.pairs: list[Pair] = []
        self._ports = (on, off)
        self._token = token
        self._target = target
        self._left = requests
        self._pause = pause
        self._changed = asyncio.Condition()
        self._clients = [group.create_task(self._client()) for _ in range(clients)]

    async def answered(self, number: int) -> None:
        """Wait for that many."""
        async with self._changed:
            await self._changed.wait_for(lambda: len(self.pairs) >= number)

    async def stop(self) -> None:
        """Let the clients end with the request they are at."""
        self._left = 0
        await asyncio.wait(self._clients)

    async def _client(self) -> None:
        on, off = (Connection(port, self._token) for port in self._ports)
        while self._take():
            at = perf_counter()
            pair = Pair(at, await ask(on, self._target), await ask(off, self._target))
            async with self._changed:
                self.pairs.append(pair)
                self._changed.notify_all()
            if self._pause:
                await asyncio.sleep(PACE.uniform(0, 2 * self._pause))
        on.close()
        off.close()

    def _take(self) -> bool:
        self._left -= 1
        return self._left >= 0


async def ask(connection: Connection, target: str) -> Response:
    """The response, or one with status 0 where none came."""
    started = perf_counter()
    try:
        return await connection.get(target)
    except NO_ANSWER:
        connection.close()
        return Response(0, [], b"", perf_counter() - started)
