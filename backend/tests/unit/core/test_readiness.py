"""Readiness results are shared, also by an application that is started twice."""

import asyncio

from app.core.readiness import Checks, SharedChecks


def test_crowd_shares_one_result_on_every_loop() -> None:
    checks, ran = SharedChecks(), 0

    async def run() -> Checks:
        nonlocal ran
        ran += 1
        await asyncio.sleep(0)
        return {"db": "ok"}

    async def life() -> list[Checks]:
        checks._fresh_until = 0
        return await asyncio.gather(*(checks.get(run) for _ in range(10)))

    answers = [*asyncio.run(life()), *asyncio.run(life())]

    assert answers == [{"db": "ok"}] * 20
    assert ran == 2
