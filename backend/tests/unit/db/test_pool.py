"""Connections are given in order of arrival."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine
from sqlalchemy.util.concurrency import greenlet_spawn

from app.db.pool import FairPool, FairQueue


@pytest_asyncio.fixture
async def engine(tmp_path: Path) -> AsyncIterator[AsyncEngine]:
    """One connection, for which nobody waits longer than a second."""
    engine = create_async_engine(
        f"sqlite+aiosqlite:///{tmp_path}/pool.db",
        poolclass=FairPool,
        pool_size=1,
        max_overflow=0,
        pool_timeout=1,
    )
    yield engine
    await engine.dispose()


async def settle() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


async def test_newcomer_does_not_overtake_a_waiter() -> None:
    served = []
    queue: FairQueue[str] = FairQueue(maxsize=1)

    async def ask(name: str) -> None:
        connection = await greenlet_spawn(queue.get, True, 1)
        served.append(name)
        queue.put_nowait(connection)

    async with asyncio.TaskGroup() as tasks:
        for name in ("first", "second", "third"):
            tasks.create_task(ask(name))
        await settle()
        queue.put_nowait("the only connection")  # those who wait have not run since
        await ask("newcomer")

    assert served == ["first", "second", "third", "newcomer"]


async def test_cancelled_waiter_passes_its_connection_on(
    engine: AsyncEngine,
) -> None:
    async def ask() -> None:
        async with engine.connect():
            pass

    held = await engine.connect()
    gone, waiting = asyncio.create_task(ask()), asyncio.create_task(ask())
    await settle()
    await held.close()
    gone.cancel()

    await asyncio.wait_for(waiting, 0.5)
    with pytest.raises(asyncio.CancelledError):
        await gone


async def test_cancelled_waiter_is_skipped(engine: AsyncEngine) -> None:
    async def ask() -> None:
        async with engine.connect():
            pass

    async with engine.connect():
        gone, waiting = asyncio.create_task(ask()), asyncio.create_task(ask())
        await settle()
        gone.cancel()
        await settle()

    await asyncio.wait_for(waiting, 0.5)


async def test_waiter_waits_no_longer_than_the_limit(engine: AsyncEngine) -> None:
    async with engine.connect():
        with pytest.raises(PoolTimeout):
            async with engine.connect():
                pass

    async with engine.connect():
        pass
