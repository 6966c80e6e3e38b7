"""The decorator catches failures of Redis, and nothing else."""

import asyncio

import pytest

from app.core.redis.fail_open import fail_open
from app.core.redis.unavailable import RedisUnavailable


class Shop:
    @fail_open
    async def ask(self, response: str | BaseException) -> str:
        """Documented."""
        if isinstance(response, BaseException):
            raise response
        return response


async def test_result_is_returned() -> None:
    assert await Shop().ask("yes") == "yes"


async def test_declared_result_is_returned_without_redis() -> None:
    assert await Shop().ask(RedisUnavailable()) is None


@pytest.mark.parametrize("error", [RuntimeError, asyncio.CancelledError])
async def test_other_exceptions_are_raised(error: type[BaseException]) -> None:
    with pytest.raises(error):
        await Shop().ask(error())


def test_method_keeps_its_name_and_its_documentation() -> None:
    assert Shop.ask.__name__ == "ask"
    assert Shop.ask.__doc__ == "Documented."
