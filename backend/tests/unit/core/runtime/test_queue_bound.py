"""The bound of a queue follows the waits of those before."""

import pytest

from app.core.runtime.queue_bound import QueueBound
from tests.fixtures.timing import Clock

SECONDS = 0.25


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def bound(clock: Clock) -> QueueBound:
    """Of a queue in which a place lasts 10 ms."""
    bound = QueueBound(clock)
    for _ in range(20):
        for ahead in range(20):
            bound.left(ahead, (ahead + 1) * 0.01)
    return bound


def test_queue_without_a_measurement_is_unbounded(clock: Clock) -> None:
    assert not QueueBound(clock).exceeded(1_000, SECONDS)


def test_first_waiter_is_always_admitted(bound: QueueBound) -> None:
    for _ in range(100):
        bound.left(0, 60)

    assert not bound.exceeded(0, SECONDS)


@pytest.mark.parametrize(("ahead", "exceeded"), [(24, False), (26, True)])
def test_standing_queue_is_bounded_by_the_longest_wait(
    bound: QueueBound, clock: Clock, ahead: int, exceeded: bool
) -> None:
    bound.exceeded(0, SECONDS)
    clock.now += SECONDS

    assert bound.exceeded(ahead, SECONDS) is exceeded


@pytest.mark.parametrize(("ahead", "exceeded"), [(98, False), (102, True)])
def test_burst_may_queue_four_times_as_long(bound: QueueBound, ahead: int, exceeded: bool) -> None:
    bound.exceeded(0, SECONDS)

    assert bound.exceeded(ahead, SECONDS) is exceeded


def test_emptied_queue_counts_as_a_burst(bound: QueueBound, clock: Clock) -> None:
    bound.exceeded(0, SECONDS)
    clock.now += SECONDS
    bound.exceeded(0, SECONDS)

    assert not bound.exceeded(98, SECONDS)


def test_bound_follows_a_faster_queue(bound: QueueBound, clock: Clock) -> None:
    bound.exceeded(0, SECONDS)
    clock.now += SECONDS
    for _ in range(25):
        bound.left(20, 0.02)

    assert not bound.exceeded(100, SECONDS)


def test_queue_empty_for_a_second_is_reset(bound: QueueBound, clock: Clock) -> None:
    clock.now += 1.1
    bound.exceeded(0, SECONDS)

    assert not bound.exceeded(1_000, SECONDS)
