"""What a server holds: what its process says of itself, and what can be seen from outside."""

import os
from pathlib import Path

import asyncpg
from redis.asyncio import Redis

from quality.testkit.client import Connection
from quality.testkit.server import ROOT, Server
from quality.testkit.services import REDIS_URL

WATCHED = "quality.resilience.instrumented:app"
PATH = "/__held__"
CLIENT_NAME = f"chaos-{os.getpid()}"
NAMED_REDIS_URL = f"{REDIS_URL}?client_name={CLIENT_NAME}"
CONNECTIONS = ("database connections", "Redis connections")

Held = dict[str, int]


def in_reach() -> dict[str, str]:
    """What a server's environment needs for the application ``WATCHED``."""
    return {"PYTHONPATH": os.pathsep.join((str(ROOT / "backend"), str(ROOT)))}


async def said(port: int) -> Held:
    """What the process behind ``port`` says that it holds: see watched.py."""
    connection = Connection(port)
    response = await connection.get(PATH)
    connection.close()
    found: Held = response.json()
    return found


async def held(server: Server, url: str) -> Held:
    """What the process says that it holds, and what can be seen from outside."""
    found = await said(server.port)
    del found["dropped"]
    found["database connections"], found["transactions"] = await database_sessions(url)
    found["Redis connections"] = await redis_connections()
    if (open_files := descriptors(server.process.pid)) is not None:
        found["other descriptors"] = open_files - sum(found[thing] for thing in CONNECTIONS)
    return found


def descriptors(pid: int) -> int | None:
    """How many files and sockets a process has open; ``None`` where there is no /proc to tell."""
    folder = Path(f"/proc/{pid}/fd")
    return len(list(folder.iterdir())) if folder.exists() else None


async def database_sessions(url: str) -> tuple[int, int]:
    """How many sessions the server has, and how many of them are in the middle of something."""
    database = await asyncpg.connect(url)
    row = await database.fetchrow(
        "SELECT count(*) AS open, count(*) FILTER (WHERE state <> 'idle') AS busy FROM pg_stat_activity"
        " WHERE datname = current_database() AND pid <> pg_backend_pid()"
    )
    await database.close()
    return row["open"], row["busy"]


async def redis_connections() -> int:
    async with Redis.from_url(REDIS_URL) as redis:
        clients = await redis.client_list()
    return sum(client["name"] == CLIENT_NAME for client in clients)
