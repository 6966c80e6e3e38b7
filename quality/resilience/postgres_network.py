"""What is between the application and PostgreSQL fails: it refuses, is silent or slow."""

from time import perf_counter

from quality.resilience.database_environment import (
    Environment,
    at_once,
    database_environment,
    measure_idle,
)
from quality.resilience.liveness import check_liveness
from quality.resilience.outage import Assertion, Begin, End, outage
from quality.resilience.run import Run
from quality.testkit.postgres import PostgresServer
from quality.testkit.prober import LIVE
from quality.testkit.proxy import FaultProxy, fault_proxy
from quality.testkit.server import variables
from quality.testkit.services import Account

AWAY_SECONDS = 4  # longer than the promises: 3 s for a 503, 2 s for readiness
SLOW_SECONDS = 3
POOL_SIZE = 10
POOL_REFUSAL_SECONDS = 2.5


async def network(run: Run, postgres: PostgresServer, account: Account) -> None:
    async with (
        fault_proxy(postgres.url, postgres.port) as proxy,
        database_environment(run, account, variables(proxy.url)) as environment,
    ):
        idle = await measure_idle(environment, "PostgreSQL in reach")
        started, check = perf_counter(), Assertion(run.report, idle.slowest_seconds)
        for name, begin in faults(run, proxy).items():
            seen = await outage(environment, name, begin, healed(proxy), hold_seconds=AWAY_SECONDS)
            check.loss(seen)
            check.outage(seen)
        await exhausted_pool(environment, proxy, check)
        probes = environment.prober.probes(LIVE, started)
        check_liveness(run, "PostgreSQL is out of reach", probes, idle.live)


def faults(run: Run, proxy: FaultProxy) -> dict[str, Begin]:
    async def hang() -> None:
        proxy.hang()

    async def delay() -> None:
        proxy.delay(SLOW_SECONDS)

    silent: dict[str, Begin] = {"PostgreSQL is silent": hang}
    if run.quick:
        return silent
    return {
        "PostgreSQL refuses": proxy.refuse,
        **silent,
        f"PostgreSQL takes {SLOW_SECONDS} s": delay,
    }


def healed(proxy: FaultProxy) -> End:
    async def mend() -> float:
        await proxy.forward()
        return perf_counter()

    return mend


async def exhausted_pool(environment: Environment, proxy: FaultProxy, check: Assertion) -> None:
    """Every connection is held by somebody who waits for a response; twice as many wait for a connection."""
    await at_once(environment, POOL_SIZE)
    proxy.hang()
    seen = await at_once(environment, 3 * POOL_SIZE)
    await proxy.forward()
    name = f"{3 * POOL_SIZE} at once on {POOL_SIZE} silent connections"
    check.refusals(name, seen)
    waited = sorted(one.seconds for one in seen)[2 * POOL_SIZE - 1]
    check.within(f"{name}: those who waited for one", POOL_REFUSAL_SECONDS, waited)
