"""Shows that no answer meets another caller: many users, many abandoned requests, both caches on.

Starts a real server on loopback, on the Redis of REDIS_URL (default redis://127.0.0.1:6379/9) and the database of
DATABASE_URL (its name must end in _test), or on SQLite in a temporary folder. Ends with code 1 on a violation.

    PYTHONPATH=backend .venv/bin/python scripts/cache_crosstalk.py --requests 100000
"""

import argparse
import asyncio
import json
import os
import random
import socket
import subprocess
import sys
import tempfile
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit
from uuid import UUID, uuid4

from redis.asyncio import Redis
from redis.exceptions import RedisError
from sqlalchemy import delete

from app.auth.jwt import create_access_token
from app.core.config import Settings
from app.db.session import build_engine, build_session_factory
from app.models.user import User
from app.repositories.user import UserRepository

ROOT = Path(__file__).resolve().parents[1]
HOST = "127.0.0.1"
LOOPBACK = {HOST, "localhost", "::1", None}
USERS = 50
ABANDONED = 0.2
PATIENCE_SECONDS = 20
# Short, so that a run sees thousands of fills and not only hits.
VARIABLES = {
    "APP_ENV": "test",
    "LOG_LEVEL": "WARNING",
    "CACHE_ENABLED": "true",
    "CACHE_DEFAULT_TTL_SECONDS": "1",
    "AUTH_USER_CACHE_ENABLED": "true",
    "AUTH_USER_CACHE_TTL_SECONDS": "1",
    "DRAIN_SECONDS": "0",
}


@dataclass
class Account:
    id: UUID
    token: str


@dataclass
class Tally:
    """What happened. ``violations`` holds the first few in words."""

    left: int
    counts: Counter[str] = field(default_factory=Counter)
    violations: list[str] = field(default_factory=list)

    def take(self) -> bool:
        self.left -= 1
        return self.left >= 0


class Connection:
    """One kept-alive connection; abandoning a request ends it, the next request opens another."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    async def send(self, path: str, token: str) -> asyncio.StreamReader:
        if self._streams is None:
            self._streams = await asyncio.open_connection(HOST, self._port)
        reader, writer = self._streams
        head = f"GET {path} HTTP/1.1\r\nHost: {HOST}\r\nAuthorization: Bearer {token}\r\n\r\n"
        writer.write(head.encode())
        return reader

    async def get(self, path: str, token: str) -> tuple[int, bytes]:
        reader = await self.send(path, token)
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").lower()
        length = head.partition("content-length: ")[2].partition("\r\n")[0]
        return int(head.split(" ", 2)[1]), await reader.readexactly(int(length))

    def abandon(self) -> None:
        if self._streams is not None:
            self._streams[1].transport.abort()
            self._streams = None


async def user(
    port: int, me: Account, everybody: list[Account], admin: Account, tally: Tally
) -> None:
    """One user's requests in a row, with some by the admin on the same connection."""
    connection = Connection(port)
    dice = random.Random(me.id.int)  # noqa: S311  dice, not secrets
    while tally.take():
        other = dice.choice([account for account in everybody if account is not me])
        path, token, status, shown = dice.choices(
            [
                ("/api/v1/users/me", me.token, 200, me.id),
                (f"/api/v1/users/{me.id}", me.token, 200, me.id),
                (f"/api/v1/users/{other.id}", admin.token, 200, other.id),
                (f"/api/v1/users/{other.id}", me.token, 403, None),
            ],
            weights=(40, 30, 15, 15),
        )[0]
        if dice.random() < ABANDONED:
            await connection.send(path, token)
            await asyncio.sleep(dice.uniform(0, 0.03))
            connection.abandon()
            tally.counts["abandoned"] += 1
            continue
        answered, body = await connection.get(path, token)
        tally.counts[f"answered {answered}"] += 1
        judge(tally, f"{path} of {me.id}", (answered, body), status, shown)
    connection.abandon()


def judge(
    tally: Tally, request: str, answer: tuple[int, bytes], status: int, shown: UUID | None
) -> None:
    answered, body = answer
    if answered != status:
        tally.violations.append(f"{request}: {answered} instead of {status}")
    elif shown is not None and json.loads(body)["id"] != str(shown):
        tally.violations.append(f"{request}: shows {json.loads(body)['id']}")


async def create_accounts(settings: Settings, run: str) -> list[Account]:
    """``USERS`` accounts and an admin, who is the last."""
    engine = build_engine(settings)
    assert engine is not None  # noqa: S101  the URL is given
    async with build_session_factory(engine).begin() as session:
        users = UserRepository(session)
        created = [
            await users.create(f"{run}-{n}@example.com", "nobody logs in", is_superuser=n == USERS)
            for n in range(USERS + 1)
        ]
    await engine.dispose()
    return [Account(row.id, create_access_token(row.id, settings=settings)) for row in created]


async def delete_accounts(settings: Settings, accounts: list[Account]) -> None:
    engine = build_engine(settings)
    assert engine is not None  # noqa: S101  the URL is given
    async with build_session_factory(engine).begin() as session:
        ids = [account.id for account in accounts]
        await session.execute(delete(User).where(User.id.in_(ids)))
    await engine.dispose()


async def hits(redis: Redis) -> int:
    return int((await redis.info("stats"))["keyspace_hits"])


def start(environment: dict[str, str], log: Path) -> tuple[int, subprocess.Popen[bytes]]:
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        port = probe.getsockname()[1]
    command = [sys.executable, "-m", "uvicorn", "app.main:app", "--host", HOST, "--port", str(port)]
    command += ["--http", "httptools", "--no-access-log", "--no-server-header"]
    with log.open("wb") as output:
        return port, subprocess.Popen(command, env=environment, stdout=output)


async def until_up(port: int, server: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + PATIENCE_SECONDS
    while True:
        try:
            _, writer = await asyncio.open_connection(HOST, port)
        except OSError:
            if server.poll() is not None or time.monotonic() > deadline:
                sys.exit("The server did not start: its output is above.")
            await asyncio.sleep(0.05)
        else:
            writer.close()
            return


async def measure(port: int, accounts: list[Account], requests: int, seconds: float) -> Tally:
    tally = Tally(requests)
    *users, admin = accounts
    async with asyncio.timeout(seconds), asyncio.TaskGroup() as group:
        for me in users:
            group.create_task(user(port, me, users, admin, tally))
    return tally


async def run(environment: dict[str, str], log: Path, requests: int, seconds: float) -> int:
    redis = Redis.from_url(environment["REDIS_URL"])
    try:
        before = await hits(redis)
    except (RedisError, OSError):
        sys.exit(f"No Redis answers at {environment['REDIS_URL']}.")
    settings = Settings.model_validate(
        {"app_env": "test", "database_url": environment["DATABASE_URL"]}
    )
    accounts = await create_accounts(settings, f"crosstalk-{uuid4()}")
    port, server = start(environment, log)
    try:
        await until_up(port, server)
        began = time.monotonic()
        tally = await measure(port, accounts, requests, seconds)
        took = time.monotonic() - began
    finally:
        server.terminate()
        server.wait(PATIENCE_SECONDS)
        await delete_accounts(settings, accounts)
    found = await hits(redis) - before
    await redis.aclose()
    return report(tally, requests, took, found, log)


def report(tally: Tally, requests: int, took: float, found: int, log: Path) -> int:
    opened = log.read_text().count('"dependency_degraded"')
    print(
        f"{requests:,} requests by {USERS} users in {took:.1f} s ({requests / took:,.0f} a second)"
    )
    for name, count in sorted(tally.counts.items()):
        print(f"  {name:14} {count:8,}")
    print(f"  cache hits     {found:8,}")
    print(f"  breaker opened {opened:8,}")
    print(f"  violations     {len(tally.violations):8,}")
    for violation in tally.violations[:10]:
        print(f"    {violation}")
    if not found:
        print("The cache was never hit: this run shows nothing.")
    return int(bool(tally.violations) or not found)


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--requests", type=int, default=100_000)
    parser.add_argument("--seconds", type=float, default=600, help="give up after this long")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        log = Path(folder, "server.log")
        environment = {
            **os.environ,
            **VARIABLES,
            "REDIS_URL": os.environ.get("REDIS_URL") or f"redis://{HOST}:6379/9",
            "DATABASE_URL": os.environ.get("DATABASE_URL")
            or f"sqlite:///{Path(folder, 'crosstalk_test.db').as_posix()}",
            "PYTHONPATH": str(ROOT / "backend"),
        }
        if not Path(urlsplit(environment["DATABASE_URL"]).path).stem.endswith("_test"):
            sys.exit("This writes accounts: the name of its database must end in _test.")
        if (
            not {urlsplit(environment[name]).hostname for name in ("REDIS_URL", "DATABASE_URL")}
            <= LOOPBACK
        ):
            sys.exit("This floods its services: they must be on loopback.")
        alembic = ["-m", "alembic", "-c", str(ROOT / "backend" / "alembic.ini"), "upgrade", "head"]
        subprocess.run([sys.executable, *alembic], env=environment, check=True, capture_output=True)
        try:
            return asyncio.run(run(environment, log, options.requests, options.seconds))
        except TimeoutError:
            sys.exit(f"Not done within {options.seconds:g} s.")


if __name__ == "__main__":
    sys.exit(main())
