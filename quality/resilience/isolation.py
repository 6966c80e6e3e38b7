"""No response reaches another caller: many users, a fifth of the requests abandoned, both caches on: Q-22.

The entries live for a second, so that a run sees thousands of fills and not only hits.
"""

import asyncio
import random
from collections import Counter
from dataclasses import dataclass, field

import asyncpg

from quality.resilience.run import Run
from quality.testkit.client import Connection, Response, message
from quality.testkit.server import modules_on, serving, variables
from quality.testkit.services import REDIS_URL, Account, create_accounts, throwaway_database

USERS = 50
ABANDONED = 0.2
ABANDONED_WITHIN_SECONDS = 0.03
OK, FORBIDDEN, UNAVAILABLE = 200, 403, 503
UNAVAILABLE_SHARE, READ_SHARE = 0.01, 0.9
FEW = 10
SHORT_LIVED = {
    "CACHE_DEFAULT_TTL_SECONDS": "1",
    "AUTH_USER_CACHE_TTL_SECONDS": "1",
}


@dataclass(frozen=True)
class Question:
    """A request, with the status that it must get and the account that its response must show.

    ``reads`` is how many rows it takes without a cache: that of the caller, and that of the response.
    """

    target: str
    caller: Account
    reads: int
    status: int
    shown: Account | None

    def violation(self, response: Response) -> str:
        """What is wrong with the response, or nothing."""
        if response.status == UNAVAILABLE:
            return ""  # a busy machine: nobody's data was shown
        if response.status != self.status:
            return f"{self.target} of {self.caller.id}: {response.status} instead of {self.status}"
        if self.shown is not None and response.json()["id"] != str(self.shown.id):
            return f"{self.target} of {self.caller.id}: shows {response.json()['id']}"
        return ""


@dataclass
class Stats:
    left: int
    reads: int = 0
    counts: Counter[str] = field(default_factory=Counter)
    violations: list[str] = field(default_factory=list)

    def take(self) -> bool:
        self.left -= 1
        return self.left >= 0


async def measure(run: Run) -> None:
    requests = run.size(100_000, 4_000)
    stats = Stats(requests)
    addresses = [f"{number}@example.com" for number in range(USERS)]
    async with throwaway_database("chaos_crosstalk") as url:
        users = await create_accounts(url, *addresses)
        [admin] = await create_accounts(url, "admin@example.com", is_superuser=True)
        environment = variables(url, **(modules_on(REDIS_URL) | SHORT_LIVED))
        before = await rows_read(url)
        async with serving(run.folder, environment) as server:
            async with asyncio.TaskGroup() as group:
                for me in users:
                    group.create_task(user(server.port, me, users, admin, stats))
            stats.counts["breaker opened"] = server.text.count('"dependency_degraded"')
        read = await rows_read(url) - before
    check(run, requests, stats, read)


async def user(port: int, me: Account, users: list[Account], admin: Account, stats: Stats) -> None:
    """One user's requests in a row, with some by the admin among them."""
    connection = Connection(port)
    rng = random.Random(me.id.int)  # noqa: S311  seeded, no secret
    others = [account for account in users if account is not me]
    while stats.take():
        question = draw(rng, me, rng.choice(others), admin)
        connection.token = question.caller.token
        if rng.random() < ABANDONED:
            await abandon(connection, question, rng.uniform(0, ABANDONED_WITHIN_SECONDS))
            stats.counts["abandoned"] += 1
            continue
        response = await connection.get(question.target)
        stats.counts[f"answered {response.status}"] += 1
        stats.reads += question.reads
        if violation := question.violation(response):
            stats.violations.append(violation)
    connection.close()


def draw(rng: random.Random, me: Account, other: Account, admin: Account) -> Question:
    """Ask for oneself in two ways, as the admin for somebody, or for what is forbidden."""
    mine, theirs = (f"/api/v1/users/{account.id}" for account in (me, other))
    questions = [
        Question("/api/v1/users/me", me, 1, OK, me),
        Question(mine, me, 2, OK, me),
        Question(theirs, admin, 2, OK, other),
        Question(theirs, me, 1, FORBIDDEN, None),
    ]
    return rng.choices(questions, weights=(40, 30, 15, 15))[0]


async def abandon(connection: Connection, question: Question, after_seconds: float) -> None:
    """Hang up at some moment of the request. The next one opens another connection."""
    await connection.send(message("GET", question.target, token=question.caller.token))
    await asyncio.sleep(after_seconds)
    connection.close()


async def rows_read(url: str) -> int:
    """How often somebody has looked into the table. A session counts when it ends, if not before."""
    connection = await asyncpg.connect(url)
    scans = "SELECT seq_scan + idx_scan FROM pg_stat_user_tables WHERE relname = 'users'"
    read = int(await connection.fetchval(scans))
    await connection.close()
    return read


def check(run: Run, requests: int, stats: Stats, read: int) -> None:
    for violation in stats.violations[:FEW]:
        print(violation)
    name = f"{requests:,} requests by {USERS} users"
    counts = ", ".join(f"{count:,} {what}" for what, count in sorted(stats.counts.items()))
    run.report.exactly(f"{name}: wrong account or status", 0, len(stats.violations))
    refused = stats.counts[f"answered {UNAVAILABLE}"]
    run.report.at_most(f"{name}: refused with 503", UNAVAILABLE_SHARE * requests, refused)
    # Else the caches were hardly used, and this has shown nothing.
    most = int(stats.reads * READ_SHARE)
    run.report.at_most(f"{name}: rows read of {stats.reads:,} asked for", most, read)
    print(f"   {counts}")
