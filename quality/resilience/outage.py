"""The database goes away under load and comes back: only 503 meanwhile, and then everything heals by itself."""

import asyncio
import math
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass
from time import perf_counter

from quality.resilience.database_environment import READ, SUCCESS, UNAVAILABLE, Callers, Environment
from quality.testkit.prober import READY, Probe
from quality.testkit.report import Report
from quality.testkit.traffic import Seen, steadily

BEFORE_SECONDS, AFTER_SECONDS = 1.0, 3.0
REFUSAL_SECONDS = 3.0
FIRST_SUCCESS_SECONDS = 1.0
READINESS_SECONDS = 2.0

Begin = Callable[[], Awaitable[None]]
End = Callable[[], Awaitable[float]]
"""Returns the moment from which the database accepts connections again."""


@dataclass(frozen=True)
class Outage:
    name: str
    lost: float
    back: float
    seen: list[Seen]
    ready: list[Probe]
    created: list[str]  # the ids of accounts whose creation was acknowledged


async def outage(
    environment: Environment, name: str, begin: Begin, end: End, *, hold_seconds: float = 0
) -> Outage:
    """The database is away for ``hold_seconds``, and as long as ``end`` needs to bring it back."""
    callers = Callers(environment)
    async with steadily(environment.rate, callers.act):
        await asyncio.sleep(BEFORE_SECONDS)
        lost = perf_counter()
        await begin()
        await asyncio.sleep(hold_seconds)
        back = await end()
        await asyncio.sleep(AFTER_SECONDS)
    ready = environment.prober.probes(READY, lost)
    return Outage(name, lost, back, callers.seen, ready, callers.created())


class Assertion:
    """``slack_seconds`` is what a request took at worst while nothing was broken: that is the machine's."""

    def __init__(self, report: Report, slack_seconds: float) -> None:
        self.report = report
        self._slack = slack_seconds

    def outage(self, seen: Outage) -> None:
        """Answers meanwhile, and how soon all is well again."""
        self.refusals(seen.name, seen.seen)
        first = first_after(seen.back, (one for one in seen.seen if one.status in SUCCESS))
        self.within(f"{seen.name}, is back: first success", FIRST_SUCCESS_SECONDS, first)
        ready = first_after(seen.back, (one for one in seen.ready if one.status == READ))
        self.within(f"{seen.name}, is back: readiness 200", READINESS_SECONDS, ready)

    def loss(self, seen: Outage) -> None:
        """For an outage that lasts long enough to be noticed."""
        noticed = first_after(seen.lost, (one for one in seen.ready if one.status == UNAVAILABLE))
        self.within(f"{seen.name}: readiness 503", READINESS_SECONDS, noticed)

    def refusals(self, name: str, seen: list[Seen], seconds: float = REFUSAL_SECONDS) -> None:
        """Who was not served got a 503 envelope, in time. Nobody refused means that nothing was broken."""
        refused = [one for one in seen if is_refusal(one)]
        odd = [one.status for one in seen if one.status not in SUCCESS and not is_refusal(one)]
        self.report.row(
            f"{name}: {len(seen):,} requests",
            "success or 503",
            f"{len(refused):,} refused, {len(odd)} odd{f' {set(odd)}' if odd else ''}",
            kept=not odd and bool(refused),
        )
        slowest = max((one.seconds for one in refused), default=math.inf)
        self.within(f"{name}: slowest 503", seconds, slowest)

    def within(self, name: str, limit: float, seconds: float) -> None:
        kept, idle = seconds <= limit + self._slack, f"{self._slack:.2f} s"
        self.report.row(name, f"<= {limit:g} s", f"{seconds:.2f} s", kept=kept, baseline=idle)


async def nothing() -> None:
    """A way to begin: it is already so, or ``end`` does both."""


def is_refusal(one: Seen) -> bool:
    """A 503 as the contract has it: envelope, request id, Retry-After."""
    response = one.response
    if response is None or response.status != UNAVAILABLE:
        return False
    error = response.json().get("error", {})
    return (
        error.get("code") == "service_unavailable"
        and error.get("request_id") == response.header("x-request-id")
        and response.header("retry-after") is not None
    )


def first_after(moment: float, ends: Iterable[Seen | Probe]) -> float:
    """How many seconds after ``moment`` the first of these ended."""
    return min((one.done for one in ends if one.done >= moment), default=math.inf) - moment
