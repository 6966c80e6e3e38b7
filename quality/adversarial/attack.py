"""An attack: a test whose variants fail each for itself, and which the catalogue lists under its number."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import wraps

import pytest

from quality.adversarial.context import Context

Run = Callable[[Context], Awaitable[None]]


@dataclass(frozen=True)
class Attack:
    """``expected`` is for the catalogue; ``modules`` asks for rate limit, caches and Redis, ``live`` for a server of its own.

    ``slow`` is left out by ``--quick``. ``may_log`` is a pattern for the messages of the errors that it is meant to cause
    in the log; every other error there, and every traceback, is a failure.
    """

    id: str
    what: str
    expected: str
    modules: bool = False
    live: bool = False
    slow: bool = False
    may_log: str = ""


def attack(
    id_: str,
    what: str,
    expected: str,
    *,
    modules: bool = False,
    live: bool = False,
    slow: bool = False,
    may_log: str = "",
) -> Callable[[Run], Run]:
    """Make a test of what is tried: it fails with the variants that got through, or for what the server shows afterwards."""
    described = Attack(id_, what, expected, modules, live, slow, may_log)

    def decorate(run: Run) -> Run:
        @wraps(run)
        async def test(context: Context) -> None:
            with context.noted("between the variants"):
                await run(context)
            await context.postconditions(described.may_log)
            failures = context.stats.failures
            assert context.stats.variants, "nothing was tried"  # noqa: S101  pytest's
            if failures:
                pytest.fail("\n".join(failures), pytrace=False)

        return pytest.mark.attack(described)(test)

    return decorate
