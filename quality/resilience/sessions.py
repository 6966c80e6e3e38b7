"""I-01, I-05, I-09 over sockets: two processes serve, many ask at once, and what has ended stays ended."""

import asyncio
from collections import Counter
from typing import Any

from quality.resilience.run import Run
from quality.testkit.client import Connection, Response
from quality.testkit.server import serving, variables
from quality.testkit.services import PASSWORD, Account, create_accounts, throwaway_database

WORKERS, CLIENTS = 2, 50
OK, NO_CONTENT, UNAUTHORIZED = 200, 204, 401
ME, REFRESH = "/api/v1/users/me", "/api/v1/auth/refresh"
EVERYWHERE = "/api/v1/auth/logout-everywhere"
PATIENT = {
    "MAX_CONCURRENT_REQUESTS": "0",
    "SESSIONS_PER_ACCOUNT": "1000",
    "DATABASE_POOL_TIMEOUT_SECONDS": "60",
    "DATABASE_LOCK_TIMEOUT_SECONDS": "30",
    "DATABASE_STATEMENT_TIMEOUT_SECONDS": "30",
}
AFTER = 100  # requests with each token whose session has ended


async def measure(run: Run) -> None:
    async with throwaway_database("chaos_sessions") as url:
        [account] = await create_accounts(url, "ada@example.com")
        # Everybody asks at once, and overload is not what is looked at here.
        environment = variables(url, **PATIENT)
        async with serving(run.folder, environment, "--workers", str(WORKERS)) as server:
            connections = [Connection(server.port) for _ in range(CLIENTS)]
            await parallel_uses(run, connections, account)
            await after_logout(run, connections, account)
            await refresh_against_the_end(run, connections, account)
            for connection in connections:
                connection.close()


async def log_in(connection: Connection, account: Account) -> dict[str, Any]:
    credentials = {"email": account.email, "password": PASSWORD}
    tokens: dict[str, Any] = (await connection.post_json("/api/v1/auth/login", credentials)).json()
    return tokens


async def renew(connection: Connection, token: str) -> Response:
    return await connection.post_json(REFRESH, {"refresh_token": token})


async def send(connection: Connection, method: str, target: str, token: str) -> int:
    authorization = ("Authorization", f"Bearer {token}")
    return (await connection.request(method, target, [authorization])).status


async def parallel_uses(run: Run, connections: list[Connection], account: Account) -> None:
    """Each round, everybody uses the token of the round before."""
    token = (await log_in(connections[0], account))["refresh_token"]
    odd, rounds, statuses = 0, run.size(200, 10), Counter[int]()
    for _ in range(rounds):
        responses = await asyncio.gather(*(renew(one, token) for one in connections))
        following = {
            response.json()["refresh_token"] for response in responses if response.status == OK
        }
        statuses.update(response.status for response in responses)
        odd += len(following) - 1
        token = following.pop()
    name = f"{rounds} rounds of {CLIENTS} uses of one refresh token"
    print(f"   {dict(statuses)}")
    odd += statuses.total() - statuses[OK]
    run.report.exactly(f"{name}: other than 200 with the same next token", 0, odd)


async def after_logout(run: Run, connections: list[Connection], account: Account) -> None:
    """On both processes, since each connection belongs to one of them."""
    accepted, logouts = Counter[int](), run.size(100, 10)
    for number in range(logouts):
        token = (await log_in(connections[0], account))["access_token"]
        for connection in connections:
            assert await send(connection, "GET", ME, token) == OK  # noqa: S101  warm everywhere
        ended = await send(connections[number % CLIENTS], "POST", "/api/v1/auth/logout", token)
        assert ended == NO_CONTENT  # noqa: S101  from here on it counts
        for _ in range(AFTER // CLIENTS):
            accepted.update(
                await asyncio.gather(*(send(one, "GET", ME, token) for one in connections))
            )
    print(f"   {dict(accepted)}")
    run.report.exactly(
        f"{accepted.total():,} requests after a logout: other than 401",
        0,
        accepted.total() - accepted[UNAUTHORIZED],
    )


async def refresh_against_the_end(
    run: Run, connections: list[Connection], account: Account
) -> None:
    """Two refreshes while the account ends all its sessions: nothing of before is left."""
    alive, races = 0, run.size(300, 20)
    first, second, third = connections[:3]
    for _ in range(races):
        tokens = await log_in(first, account)
        *renewed, _ = await asyncio.gather(
            renew(first, tokens["refresh_token"]),
            renew(second, tokens["refresh_token"]),
            send(third, "POST", EVERYWHERE, tokens["access_token"]),
        )
        for response in renewed:
            if response.status == OK:
                token = response.json()["access_token"]
                alive += await send(second, "GET", ME, token) != UNAUTHORIZED
    run.report.exactly(
        f"{races} refreshes against logout-everywhere: sessions of before that live", 0, alive
    )
