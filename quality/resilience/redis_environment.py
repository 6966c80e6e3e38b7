"""Where Redis fails: a server with rate limit and caches, one without, and a proxy before Redis."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from time import perf_counter

from redis.asyncio import Redis

from app.core.cache.redis import PREFIX
from app.models.user import user_key
from quality.resilience.interleaved import CLIENTS, Load, Pair
from quality.resilience.run import Run
from quality.testkit.client import Connection
from quality.testkit.prober import Prober, probing
from quality.testkit.proxy import FaultProxy, fault_proxy
from quality.testkit.server import Server, modules_on, serving, variables
from quality.testkit.services import REDIS_URL, Account, create_accounts, throwaway_database

REDIS_PORT = 6379
ASK_AGAIN_SECONDS = 0.02
WRITTEN_SECONDS = 0.2
PATIENCE_SECONDS = 15


@dataclass
class Environment:
    run: Run
    proxy: FaultProxy
    redis: Redis  # not by way of the proxy
    on: Server
    off: Server
    account: Account
    prober: Prober

    @property
    def target(self) -> str:
        """What asks the rate limit, the cache of callers and the cache of what is read."""
        return f"/api/v1/users/{self.account.id}"

    def load(
        self, group: asyncio.TaskGroup, requests: int, clients: int = CLIENTS, pause: float = 0
    ) -> Load:
        return Load(
            group,
            requests,
            on=self.on.port,
            off=self.off.port,
            token=self.account.token,
            target=self.target,
            clients=clients,
            pause=pause,
        )

    async def requests(self, number: int) -> list[Pair]:
        """So many, with nothing happening meanwhile."""
        async with asyncio.TaskGroup() as group:
            load = self.load(group, number)
        return load.pairs

    async def records(self) -> int:
        """How often the circuit breaker has logged a change. What the server logs now, it writes a little later."""
        await asyncio.sleep(WRITTEN_SECONDS)
        text = self.on.text
        return text.count('"dependency_degraded"') + text.count('"dependency_recovered"')

    async def seconds_until_used(self) -> float:
        """How long it takes until a response is counted and what is read is cached again."""
        started = perf_counter()
        cached = f"{PREFIX}test:{user_key(self.account.id)}"
        await self.redis.delete(cached)
        connection = Connection(self.on.port, self.account.token)
        while perf_counter() < started + PATIENCE_SECONDS:
            response = await connection.get(self.target)
            if response.header("x-ratelimit-limit") and await self.redis.exists(cached):
                break
            await asyncio.sleep(ASK_AGAIN_SECONDS)
        connection.close()
        return perf_counter() - started


@asynccontextmanager
async def redis_environment(run: Run, *options: str, **changes: str) -> AsyncIterator[Environment]:
    """``options`` are those of uvicorn, ``changes`` those of the environment, both for both servers."""
    async with (
        throwaway_database("chaos_redis") as url,
        fault_proxy(REDIS_URL, REDIS_PORT) as proxy,
        Redis.from_url(REDIS_URL) as redis,
    ):
        [account] = await create_accounts(url, "ada@example.com")
        async with (
            serving(run.folder, variables(url, **changes), *options) as off,
            serving(run.folder, variables(url, **changes, **modules_on(proxy.url)), *options) as on,
            probing(run.folder, on.port) as prober,
        ):
            yield Environment(run, proxy, redis, on, off, account, prober)
