"""The real application on a free port of loopback, as production starts it: a process, a socket, a log file."""

import asyncio
import json
import os
import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
HOST = "127.0.0.1"
PATIENCE_SECONDS = 20
STOP_SECONDS = 45


@dataclass
class Server:
    """A running server. ``process`` is the parent where there are several workers."""

    port: int
    process: asyncio.subprocess.Process
    log: Path

    @property
    def text(self) -> str:
        """All that the server has written so far."""
        return self.log.read_text(encoding="utf-8", errors="replace")

    def records(self) -> Iterator[dict[str, Any]]:
        """Its log records. Raises ``ValueError`` for a line that is no JSON."""
        return (json.loads(line) for line in self.text.splitlines())

    def events(self, message: str) -> list[dict[str, Any]]:
        return [record for record in self.records() if record["message"] == message]


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        return int(probe.getsockname()[1])


def variables(database_url: str, **changes: str) -> dict[str, str]:
    """The environment of a server: that of the image, nothing of the caller's but PATH, cheap hashes, no drain time."""
    return {
        "PATH": os.environ.get("PATH", ""),
        "MALLOC_ARENA_MAX": "1",
        "PYTHONPATH": str(ROOT / "backend"),
        "APP_ENV": "test",
        "DATABASE_URL": database_url,
        "PASSWORD_HASH_ROUNDS": "4",
        "DRAIN_SECONDS": "0",
        **changes,
    }


def modules_on(redis_url: str, requests: int = 1_000_000) -> dict[str, str]:
    """Rate limit, cache and the cache of callers on, with room for so many requests."""
    return {
        "REDIS_URL": redis_url,
        "RATE_LIMIT_ENABLED": "true",
        "RATE_LIMIT_REQUESTS": str(requests),
        "CACHE_ENABLED": "true",
        "AUTH_USER_CACHE_ENABLED": "true",
    }


def alembic(environment: dict[str, str], *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run Alembic. Raises ``CalledProcessError`` with its output if it fails."""
    command = [sys.executable, "-m", "alembic", "-c", str(ROOT / "backend" / "alembic.ini")]
    return subprocess.run(
        [*command, *arguments], env=environment, check=True, capture_output=True, text=True
    )


def uvicorn(port: int, *options: str, app: str = "app.main:app") -> list[str]:
    """The start command of the image, on a port of loopback."""
    command = [sys.executable, "-m", "uvicorn", app, "--host", HOST, "--port", str(port)]
    return [*command, "--http", "httptools", "--no-access-log", "--no-server-header", *options]


@asynccontextmanager
async def serving(
    folder: Path,
    environment: dict[str, str],
    *options: str,
    app: str = "app.main:app",
    shell: str = "",
    port: int | None = None,
) -> AsyncIterator[Server]:
    """A server that answers, on a free port if none is given, and that is stopped and waited for at the end.

    ``shell`` is a line that starts it in a world of its own: ``ulimit -n 64; exec "$@"``.
    """
    port = port or free_port()
    log = folder / f"{port}.log"
    command = uvicorn(port, *options, app=app)
    if shell:
        command = ["sh", "-c", shell, "sh", *command]
    with log.open("wb") as file:
        process = await asyncio.create_subprocess_exec(*command, env=environment, stdout=file)
    server = Server(port, process, log)
    try:
        await until_up(server)
        yield server
    finally:
        await stop(process)


async def until_up(server: Server) -> None:
    """Return when the port accepts. Raises ``RuntimeError`` with the log if that takes too long."""
    for _ in range(PATIENCE_SECONDS * 100):
        try:
            _, writer = await asyncio.open_connection(HOST, server.port)
        except OSError:
            if server.process.returncode is not None:
                break
            await asyncio.sleep(0.01)
        else:
            writer.close()
            return
    raise RuntimeError(f"the server did not start:\n{server.text}")


async def stop(process: asyncio.subprocess.Process) -> int:
    """End a process that this run has started, gently and then not; its exit code."""
    if process.returncode is None:
        process.terminate()
        try:
            return await asyncio.wait_for(process.wait(), STOP_SECONDS)
        except TimeoutError:
            process.kill()
    return await process.wait()
