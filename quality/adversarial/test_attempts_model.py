"""Login attempts at random, beside a model of the rules."""

import asyncio
import random
from collections import Counter, defaultdict

import pytest

from app.core.rate_limit import redis_attempts
from app.core.rate_limit.sliding_window import BUCKETS
from app.core.redis.gateway import RedisGateway
from tests.fixtures.redis import Clock
from tests.unit.core.rate_limit.test_attempts import WINDOW, fail, limiter_on, succeed

SLICE = WINDOW // BUCKETS


class TestCounts:

    @pytest.mark.parametrize(
        ("one", "other"),
        [
            (("a", "b:c"), ("a:b", "c")),
            (("a', 'b", "c"), ("a", "b', 'c")),
            (("a", "b"), ("b", "a")),
        ],
    )
    async def test_no_two_pairs_share_a_name(
        self, gateway: RedisGateway, one: tuple[str, str], other: tuple[str, str]
    ) -> None:
        limiter = limiter_on(gateway, limit=1)
        await fail(limiter, *one)

        assert await fail(limiter, *other) == 0

    async def test_burst_gets_no_further_than_a_queue(self, gateway: RedisGateway) -> None:
        limiter = limiter_on(gateway, limit=7)

        waits = await asyncio.gather(*(fail(limiter) for _ in range(200)))

        assert waits.count(0) == 7


class Model:
    """The same rules in Python, with every failure remembered for itself."""

    def __init__(self, limit: int, looseness: int) -> None:
        self.limits = {"pair": limit, "subject": limit * looseness, "source": limit * looseness}
        self.failures: dict[tuple[str, ...], list[int]] = defaultdict(list)

    def counts(self, subject: str, source: str) -> list[tuple[str, ...]]:
        return [("pair", subject, source), ("subject", subject), ("source", source)]

    def full(self, subject: str, source: str, since: int) -> list[str]:
        """Which counts hold as many failures as they may, or more, after ``since``."""
        return [
            count[0]
            for count in self.counts(subject, source)
            if sum(time > since for time in self.failures[count]) >= self.limits[count[0]]
        ]

    def failed(self, subject: str, source: str, now: int) -> None:
        for count in self.counts(subject, source):
            self.failures[count].append(now)

    def succeeded(self, subject: str, source: str) -> None:
        self.failures["pair", subject, source].clear()


class TestAgainstAModel:
    @pytest.mark.parametrize("seed", range(4))
    async def test_no_interval_holds_more_and_who_waits_as_told_may_try(
        self, gateway: RedisGateway, clock: Clock, monkeypatch: pytest.MonkeyPatch, seed: int
    ) -> None:
        monkeypatch.setattr(redis_attempts, "AGGREGATE_FACTOR", 2)
        rng = random.Random(seed)
        limit = rng.randint(1, 4)
        limiter, model = limiter_on(gateway, limit), Model(limit, looseness=2)
        refused_by = Counter[str]()

        for _ in range(300):
            who = rng.choice("abc"), rng.choice("xyz")
            if rng.random() < 0.1 and not model.full(*who, clock.now - WINDOW - SLICE):
                await succeed(limiter, *who)
                model.succeeded(*who)
            elif wait := await fail(limiter, *who):
                full = model.full(*who, clock.now - WINDOW - SLICE)
                assert full
                refused_by.update(full)
                await clock.set(clock.now + wait * 1_000)
                assert await fail(limiter, *who) == 0
                model.failed(*who, clock.now)
            else:
                assert not model.full(*who, clock.now - WINDOW)
                model.failed(*who, clock.now)
            await clock.set(clock.now + rng.choice((0, 1, 40, 500, 3_000)))

        assert min(refused_by[kind] for kind in model.limits) > 5
