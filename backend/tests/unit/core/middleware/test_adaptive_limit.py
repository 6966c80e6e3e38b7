"""The limit follows what a busy process finishes, and lets go when the event loop has time."""

import asyncio

import pytest
import pytest_asyncio

from app.core.middleware.adaptive_limit import LEAST, AdaptiveLimit
from app.core.runtime import loop_load
from app.core.runtime.loop_load import INTERVAL_SECONDS

MOST = 100
IDLE, BUSY = 0.5, 1.0  # the part of a processor that the event loop uses
PROMPT, LATE = 0.0001, 0.01  # seconds until the loop is at what it is asked for


class Process:
    """A process with clocks of its own, in the middle of its work."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now, self.used = 100.0, 0.0
        monkeypatch.setattr(loop_load, "monotonic", lambda: self.now)
        monkeypatch.setattr(loop_load, "thread_time", lambda: self.used)
        self.limit = AdaptiveLimit(MOST)

    async def request(self, lag: float = LATE, in_flight: int = MOST) -> None:
        """One that comes, and the moment in which the loop is at what it asks for."""
        self.limit.observe(in_flight)
        self.now += lag
        await asyncio.sleep(0)

    async def serve(self, rate: float, *, share: float = BUSY, lag: float = LATE) -> int:
        """The limit after an interval with so many responses a second."""
        await self.request(lag)
        self.limit.served = round(rate * INTERVAL_SECONDS)
        self.now += INTERVAL_SECONDS - 2 * lag
        self.used += share * INTERVAL_SECONDS
        await self.request(lag)
        return self.limit.value


@pytest_asyncio.fixture
async def process(monkeypatch: pytest.MonkeyPatch) -> Process:
    process = Process(monkeypatch)
    await process.request()  # the first interval begins
    return process


@pytest.mark.parametrize(("share", "lag"), [(BUSY, PROMPT), (IDLE, LATE), (BUSY, LATE)])
@pytest.mark.parametrize(("rate", "limit"), [(100, 50), (150, 75), (4, LEAST), (10_000, MOST)])
async def test_limit_follows_what_a_busy_process_finishes_in_time(
    process: Process, share: float, lag: float, rate: float, limit: int
) -> None:
    assert await process.serve(rate, share=share, lag=lag) == pytest.approx(limit, abs=2)


async def test_one_slow_interval_does_not_lower_the_limit(process: Process) -> None:
    limits = [await process.serve(rate) for rate in (100, 4, 4)]

    assert limits == [pytest.approx(50, abs=2), pytest.approx(50, abs=2), LEAST]


async def test_slow_work_that_leaves_the_loop_idle_is_not_limited(process: Process) -> None:
    assert await process.serve(4, share=IDLE, lag=PROMPT) == MOST


async def test_burst_does_not_lower_the_limit(process: Process) -> None:
    await process.request(PROMPT)

    assert await process.serve(4, share=IDLE) == MOST


async def test_limit_grows_by_a_tenth_when_the_load_ends(process: Process) -> None:
    await process.serve(100)

    values = [await process.serve(200, share=IDLE, lag=PROMPT) for _ in range(9)]

    assert values == sorted(values)
    assert values[0] == pytest.approx(54, abs=3)
    assert values[-1] == MOST


async def test_limit_is_reset_after_a_quiet_period(process: Process) -> None:
    await process.serve(100)
    process.now += 3 * INTERVAL_SECONDS
    process.limit.observe(MOST)

    assert process.limit.value == MOST


async def test_few_requests_are_not_measured(process: Process) -> None:
    for _ in range(3):
        process.now += INTERVAL_SECONDS
        await process.request(in_flight=LEAST - 1)

    assert process.limit.value == MOST


async def test_unmeasured_interval_is_ignored(process: Process) -> None:
    process.now += 10 * INTERVAL_SECONDS
    await process.request()

    assert process.limit.value == MOST


async def test_limit_below_the_minimum_is_unchanged(monkeypatch: pytest.MonkeyPatch) -> None:
    process = Process(monkeypatch)
    process.limit = AdaptiveLimit(5)
    await process.request()

    assert await process.serve(4) == 5


def test_closed_event_loop_is_not_waited_for(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    process = Process(monkeypatch)

    process.limit._load._is_measuring = True  # and that loop never called
    process.now += 10 * INTERVAL_SECONDS

    async def serve_again() -> int:
        await process.request()
        return await process.serve(100)

    assert asyncio.run(serve_again()) == pytest.approx(50, abs=2)
