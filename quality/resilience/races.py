"""Q-13: many write the same thing at the same moment: one succeeds, everybody else is told, and no change is lost."""

import asyncio
import sys
from collections import Counter
from contextlib import suppress
from functools import partial
from random import Random

import asyncpg
from sqlalchemy import select
from sqlalchemy.orm.exc import StaleDataError

from app.auth.password import needs_rehash
from app.db.session import build_engine, build_session_factory
from app.models.user import User
from app.repositories.user import UserRepository
from quality.resilience.login_flood import log_in
from quality.resilience.run import Run
from quality.testkit.client import Connection, Response
from quality.testkit.server import PATIENCE_SECONDS, Server, serving, variables
from quality.testkit.services import (
    PASSWORD,
    Account,
    create_accounts,
    settings_of,
    throwaway_database,
)
from tests.fixtures.locks import waiting_sessions
from tests.fixtures.until import until

CLIENTS = 50
COMMANDS = 3
OK = 200
LOGINS = 3
ADMINS = 3
HALF = 0.5
GOODBYES = (
    ("PATCH", "", b'{"is_active": false}'),
    ("PUT", "/access", b'{"is_superuser": false, "role": null}'),
    ("DELETE", "", b""),
)
EXPECTED = {200, 204, 401, 403, 404, 409}
USERS = "/api/v1/users"
ADMIN = "/api/v1/admin/users"
ROUNDS = 5  # of bcrypt, one more than those of the accounts that exist: each login renews a hash
# Every client hashes at once, and that is not what is looked at here.
ENVIRONMENT = {
    "PASSWORD_HASH_ROUNDS": str(ROUNDS),
    "PASSWORD_HASH_QUEUE_SIZE": str(2 * CLIENTS),
    "DATABASE_POOL_TIMEOUT_SECONDS": "30",
    "DATABASE_LOCK_TIMEOUT_SECONDS": "30",
    "DATABASE_STATEMENT_TIMEOUT_SECONDS": "30",
}


async def measure(run: Run) -> None:
    async with throwaway_database("chaos_races") as url:
        environment = variables(url, **ENVIRONMENT)
        async with serving(run.folder, environment, "--workers", "2") as server:
            await duplicate_creates(run, server, url)
            await beside_the_command_line(run, server, url, environment)
            await edits(run, server, url)
            await admins_who_go(run, server, url)


async def duplicate_creates(run: Run, server: Server, url: str) -> None:
    """Each address is registered by everybody at once."""
    addresses = [f"{number}@example.com" for number in range(run.size(100, 15))]
    connections = [Connection(server.port) for _ in range(CLIENTS)]
    outcomes = [await at_once(connections, address) for address in addresses]
    for connection in connections:
        connection.close()
    odd = [outcome for outcome in outcomes if outcome != {201: 1, 409: CLIENTS - 1}]
    name = f"{len(addresses)} addresses, each registered {CLIENTS} times at once"
    run.report.exactly(f"{name}: other than one 201 and else 409", [], odd)
    database = await asyncpg.connect(url)
    rows = await database.fetchval("SELECT count(*) FROM users")
    await database.close()
    run.report.exactly(f"{name}: accounts", len(addresses), rows)


async def at_once(connections: list[Connection], address: str) -> Counter[int]:
    new = {"email": address, "password": PASSWORD}
    responses = await asyncio.gather(*(one.post_json(USERS, new) for one in connections))
    return Counter(response.status for response in responses)


async def beside_the_command_line(
    run: Run, server: Server, url: str, environment: dict[str, str]
) -> None:
    """``create-superuser`` several times and the API, all for one address, all let go at the same moment."""
    connections = [Connection(server.port) for _ in range(COMMANDS)]
    gate, watcher = await asyncpg.connect(url), await asyncpg.connect(url)
    async with gate.transaction():
        await gate.execute("LOCK TABLE users IN SHARE MODE")  # read, but do not write
        creates = asyncio.create_task(at_once(connections, "admin@example.com"))
        commands = [
            asyncio.create_task(create_superuser(environment, "admin@example.com"))
            for _ in range(COMMANDS)
        ]
        await until(partial(all_wait, watcher), PATIENCE_SECONDS)
    responses, codes = await creates, Counter(await asyncio.gather(*commands))
    await asyncio.gather(gate.close(), watcher.close())
    for connection in connections:
        connection.close()
    name = f"create-superuser {COMMANDS} times and the API {COMMANDS} times at once"
    run.report.exactly(f"{name}: successes", 1, responses[201] + codes[0])
    run.report.exactly(f"{name}: clear refusals", 2 * COMMANDS - 1, responses[409] + codes[1])


async def create_superuser(environment: dict[str, str], address: str) -> int:
    """The exit code of the command. What it has to say is one sentence."""
    command = await asyncio.create_subprocess_exec(
        *[sys.executable, "-m", "app.cli", "create-superuser", "--email", address],
        "--password-stdin",
        env=environment,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.PIPE,
    )
    _, said = await command.communicate(f"{PASSWORD}\n".encode())
    if len(said.splitlines()) > 1:
        raise RuntimeError(said.decode())
    return command.returncode or 0


async def all_wait(database: asyncpg.Connection) -> bool:
    return await waiting_sessions(database) == 2 * COMMANDS


async def edits(run: Run, server: Server, url: str) -> None:
    """Each account is deactivated while logins of its owner renew its hash: both changes must be there at the end."""
    addresses = [f"edited-{number}@example.com" for number in range(run.size(200, 20))]
    accounts = await create_accounts(url, *addresses)
    let_in: set[str] = set()
    engine = build_engine(settings_of(variables(url)))
    factory = build_session_factory(engine)

    async def deactivate(account: Account) -> None:
        """As a client does that is told 409: again, because the renewed hash is another version."""
        with suppress(StaleDataError):
            async with factory.begin() as session:
                await UserRepository(session).set_active(account.id, False)
            return
        await deactivate(account)

    async def log_in_once(account: Account) -> None:
        connection = Connection(server.port)
        if (await log_in(connection, account.email, PASSWORD)).status == OK:
            let_in.add(account.email)
        connection.close()

    async def edit(account: Account) -> None:
        await asyncio.gather(*(log_in_once(account) for _ in range(LOGINS)), deactivate(account))

    for account in accounts:
        await edit(account)
    async with factory() as session:
        users = (await session.scalars(select(User).where(User.email.in_(addresses)))).all()
    if engine is not None:
        await engine.dispose()
    name = f"{len(users)} accounts deactivated while {LOGINS} logins renew the hash"
    run.report.exactly(f"{name}: deactivations lost", 0, sum(user.is_active for user in users))
    renewed = [user for user in users if user.email in let_in]
    lost = sum(needs_rehash(user.hashed_password, rounds=ROUNDS) for user in renewed)
    run.report.exactly(f"{name}: renewals lost of {len(renewed)}", 0, lost)


async def admins_who_go(run: Run, server: Server, url: str) -> None:
    """Three admins deactivate, demote and delete one another at once, round after round: one of them stays."""
    rounds = run.size(500, 30)
    connections = [Connection(server.port) for _ in range(ADMINS)]
    seeded = Random(11)  # noqa: S311  chooses what is tried, no secret
    watcher = await asyncpg.connect(url)
    without, odd = 0, Counter[int]()
    for round_ in range(rounds):
        await watcher.execute("DELETE FROM users")
        addresses = [f"admin-{round_}-{number}@example.com" for number in range(ADMINS)]
        admins = await create_accounts(url, *addresses, is_superuser=True)
        targets = admins[1:] + admins[:1] if seeded.random() < HALF else admins
        responses = await asyncio.gather(
            *(
                goodbye(connection, by, to, seeded.choice(GOODBYES))
                for connection, by, to in zip(connections, admins, targets, strict=True)
            )
        )
        odd.update(response.status for response in responses if response.status not in EXPECTED)
        without += not await watcher.fetchval(
            "SELECT count(*) FROM users WHERE is_superuser AND is_active"
        )
    await watcher.close()
    for connection in connections:
        connection.close()
    name = f"{rounds} rounds of {ADMINS} admins who go at once"
    run.report.exactly(f"{name}: rounds without an admin", 0, without)
    run.report.exactly(f"{name}: other responses than successes and refusals", {}, dict(odd))


async def goodbye(
    connection: Connection, by: Account, to: Account, how: tuple[str, str, bytes]
) -> Response:
    method, path, body = how
    connection.token = by.token
    headers = [("Content-Type", "application/json")] if body else []
    return await connection.request(method, f"{ADMIN}/{to.id}{path}", headers, body)
