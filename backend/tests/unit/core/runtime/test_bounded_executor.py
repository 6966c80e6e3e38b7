"""Slow work beside the event loop: the loop goes on, the queue has an end, a place that is left is free."""

import asyncio
import threading
from collections.abc import AsyncIterator, Callable

import pytest
import pytest_asyncio

from app.core.context import request_id_var
from app.core.errors import ServiceUnavailable
from app.core.runtime.bounded_executor import BoundedExecutor
from tests.fixtures.hashing import PATIENCE_SECONDS, occupied

QUEUE_SIZE = 2


@pytest_asyncio.fixture
async def executor() -> AsyncIterator[BoundedExecutor]:
    executor = BoundedExecutor("test", QUEUE_SIZE)
    yield executor
    executor.close()


class TestRun:
    async def test_result_is_returned(self, executor: BoundedExecutor) -> None:
        assert await executor.run(divmod, 7, 2) == (3, 1)

    async def test_keyword_arguments_are_passed(self, executor: BoundedExecutor) -> None:
        assert await executor.run(sorted, "bac", reverse=True) == ["c", "b", "a"]

    async def test_exception_of_the_function_is_raised(self, executor: BoundedExecutor) -> None:
        with pytest.raises(ZeroDivisionError):
            await executor.run(divmod, 1, 0)

    async def test_function_runs_in_a_dedicated_thread(self, executor: BoundedExecutor) -> None:
        thread = await executor.run(threading.current_thread)

        assert thread.name.startswith("test_")

    async def test_event_loop_ticks_while_a_function_is_slow(
        self, executor: BoundedExecutor
    ) -> None:
        ticked = threading.Event()
        asyncio.get_running_loop().call_later(0.01, ticked.set)

        # On the event loop, nobody could set what the function waits for.
        assert await executor.run(ticked.wait, PATIENCE_SECONDS)

    async def test_shared_pool_of_the_process_stays_free(self, executor: BoundedExecutor) -> None:
        async with occupied(executor, executor.workers + QUEUE_SIZE):
            thread = await asyncio.wait_for(
                asyncio.to_thread(threading.current_thread), PATIENCE_SECONDS
            )

        assert not thread.name.startswith("test_")


class TestFullQueue:
    async def test_call_beyond_the_queue_is_rejected_at_once(
        self, executor: BoundedExecutor
    ) -> None:
        async with occupied(executor, executor.workers + QUEUE_SIZE) as tasks:
            with pytest.raises(ServiceUnavailable) as raised:
                await asyncio.wait_for(executor.run(int), PATIENCE_SECONDS)

            assert not any(task.done() for task in tasks)

        assert raised.value.status == 503
        assert int(raised.value.headers["Retry-After"]) >= 1

    async def test_accepted_calls_are_finished(self, executor: BoundedExecutor) -> None:
        async with occupied(executor, executor.workers + QUEUE_SIZE) as tasks:
            pass

        assert [task.result() for task in tasks] == [True] * (executor.workers + QUEUE_SIZE)

    async def test_place_is_released_after_the_call(self, executor: BoundedExecutor) -> None:
        async with occupied(executor, executor.workers + QUEUE_SIZE):
            pass

        assert await executor.run(int) == 0

    async def test_place_is_released_after_a_failure(self, executor: BoundedExecutor) -> None:
        for _ in range(executor.workers + QUEUE_SIZE + 1):
            with pytest.raises(ZeroDivisionError):
                await executor.run(divmod, 1, 0)


class TestCancellation:
    async def test_cancelled_waiter_releases_its_place_and_is_never_run(
        self, executor: BoundedExecutor
    ) -> None:
        done: list[str] = []
        work: Callable[[str], None] = done.append
        async with occupied(executor, executor.workers + QUEUE_SIZE - 1):
            leaves = asyncio.create_task(executor.run(work, "leaves"))
            await asyncio.sleep(0)
            with pytest.raises(ServiceUnavailable):
                await executor.run(work, "refused")

            leaves.cancel()
            with pytest.raises(asyncio.CancelledError):
                await leaves
            stays = asyncio.create_task(executor.run(work, "stays"))
            await asyncio.sleep(0)

        await stays
        assert done == ["stays"]

    async def test_many_cancelled_waiters_leak_nothing(self, executor: BoundedExecutor) -> None:
        async with occupied(executor, executor.workers):
            for _ in range(100):
                leaves = asyncio.create_task(executor.run(int))
                await asyncio.sleep(0)
                leaves.cancel()
                with pytest.raises(asyncio.CancelledError):
                    await leaves

        results = [executor.run(int) for _ in range(executor.workers + QUEUE_SIZE)]
        assert await asyncio.gather(*results) == [0] * len(results)


class TestClose:
    async def test_waiting_call_is_dropped(self) -> None:
        executor = BoundedExecutor("test", QUEUE_SIZE)
        done: list[str] = []
        async with occupied(executor, executor.workers):
            waits = asyncio.create_task(executor.run(done.append, "never"))
            await asyncio.sleep(0)

            executor.close()

            with pytest.raises(asyncio.CancelledError):
                await waits
        assert done == []

    async def test_executor_runs_again_after_close(self) -> None:
        executor = BoundedExecutor("test", QUEUE_SIZE)
        executor.close()

        assert await executor.run(int) == 0
        executor.close()


async def test_thread_has_the_context_of_its_request(executor: BoundedExecutor) -> None:
    token = request_id_var.set("the-id")

    seen = await executor.run(request_id_var.get)
    request_id_var.reset(token)

    assert seen == "the-id"
