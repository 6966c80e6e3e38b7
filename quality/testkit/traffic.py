"""An open loop: so many requests a second, whether or not earlier ones were answered, and what came of each."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from time import perf_counter

from quality.testkit.client import Connection, Response

NO_ANSWER = (OSError, EOFError, TimeoutError)  # IncompleteReadError is an EOFError

KEPT_SECONDS = 4  # uvicorn hangs up on who was idle for 5

Ask = Callable[[Connection], Awaitable[Response]]


@dataclass(frozen=True)
class Seen:
    """One request. Times are those of ``time.perf_counter``; ``answer`` is ``None`` where none came."""

    at: float
    done: float
    response: Response | None

    @property
    def seconds(self) -> float:
        return self.done - self.at

    @property
    def status(self) -> int:
        """0 where no response came."""
        return 0 if self.response is None else self.response.status


class Burst:
    """Asks on a connection that is idle, else on a new one: nobody waits for somebody else's answer."""

    def __init__(self, port: int, token: str = "") -> None:
        self.port = port
        self.token = token
        self.seen: list[Seen] = []
        self._idle: list[tuple[float, Connection]] = []  # since when; the latest is the last

    async def ask(self, ask: Ask) -> Seen:
        at = perf_counter()
        connection = self._connection()
        response: Response | None = None
        try:
            response = await ask(connection)
        except NO_ANSWER:
            connection.close()
        seen = Seen(at, perf_counter(), response)
        self._idle.append((seen.done, connection))
        self.seen.append(seen)
        return seen

    async def get(self, target: str) -> Seen:
        return await self.ask(lambda connection: connection.get(target))

    def _connection(self) -> Connection:
        if self._idle and perf_counter() < self._idle[-1][0] + KEPT_SECONDS:
            return self._idle.pop()[1]
        self.close()  # the latest has been idle for too long, so all have
        return Connection(self.port, self.token)

    def close(self) -> None:
        """Hang up where nothing is under way."""
        while self._idle:
            self._idle.pop()[1].close()


@asynccontextmanager
async def steadily(rate: float, act: Callable[[], Awaitable[object]]) -> AsyncIterator[None]:
    """Do it so many times a second. At the end, all that was begun is waited for."""
    stopped = asyncio.Event()

    async def once() -> None:
        await act()

    async def keep_pace() -> None:
        due = perf_counter()
        async with asyncio.TaskGroup() as group:
            while not stopped.is_set():
                group.create_task(once())
                due += 1 / rate
                await asyncio.sleep(due - perf_counter())

    pace = asyncio.create_task(keep_pace())
    try:
        yield
    finally:
        stopped.set()
        await pace
