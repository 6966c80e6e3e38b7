"""A PostgreSQL server of this run alone, so that it may be stopped, filled and broken."""

import asyncio
import os
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from time import perf_counter
from typing import Literal

import asyncpg

from quality.testkit.server import HOST, free_port

StopMode = Literal["fast", "immediate"]

ACCEPT_SECONDS = 20
POLL_SECONDS = 0.01
MAX_CONNECTIONS = 40
USER = "postgres"


class PostgresServer:
    """Trusts loopback and forgets everything at the end."""

    def __init__(self, folder: Path, programs: Path) -> None:
        self.port = free_port()
        self.url = f"postgresql://{USER}@{HOST}:{self.port}/postgres"
        self._data = folder / f"postgres-{self.port}"
        self._programs = programs

    async def create(self) -> None:
        self._data.mkdir()
        if is_root():
            shutil.chown(self._data, USER)
            self._data.parent.chmod(0o711)  # its own folder must be reachable for the other user
        await self._run("initdb", "--username", USER, "--auth", "trust", "--no-sync")

    async def start(self) -> None:
        """Return when it accepts connections."""
        settings = {
            "listen_addresses": HOST,
            "port": self.port,
            "max_connections": MAX_CONNECTIONS,
            "unix_socket_directories": "",
            "fsync": "off",
        }
        options = " ".join(f"-c {name}={value}" for name, value in settings.items())
        await self._control("start", "--log", str(self._data / "log"), "--options", options)

    async def stop(self, mode: StopMode = "fast") -> None:
        await self._control("stop", "--mode", mode)

    async def restart(self, mode: StopMode) -> None:
        await self._control("restart", "--mode", mode, "--log", str(self._data / "log"))

    async def connect(self) -> asyncpg.Connection:
        return await asyncpg.connect(self.url, timeout=ACCEPT_SECONDS)

    async def execute(self, statement: str) -> None:
        """One statement on a connection of its own."""
        connection = await self.connect()
        try:
            await connection.execute(statement)
        finally:
            await connection.close()

    async def until_accepting(self) -> float:
        """The moment, of ``time.perf_counter``, at which it first accepts a connection."""
        async with asyncio.timeout(ACCEPT_SECONDS):
            while True:
                try:
                    await (await self.connect()).close()
                except (OSError, asyncpg.PostgresError, asyncpg.InterfaceError):
                    await asyncio.sleep(POLL_SECONDS)
                else:
                    return perf_counter()

    async def _control(self, *arguments: str) -> None:
        await self._run("pg_ctl", "--wait", *arguments)

    async def _run(self, program: str, *arguments: str) -> None:
        """Raises ``RuntimeError`` with what the program said if it fails. PostgreSQL refuses to run as root."""
        as_user = ["runuser", "-u", USER, "--"] if is_root() else []
        said = self._data.with_suffix(".out")
        with said.open("wb") as file:
            process = await asyncio.create_subprocess_exec(
                *as_user, str(self._programs / program), "--pgdata", str(self._data), *arguments,
                cwd=self._data, stdout=file, stderr=file, stdin=asyncio.subprocess.DEVNULL,
            )  # fmt: skip
        if await process.wait():
            raise RuntimeError(f"{program} {' '.join(arguments)}: {said.read_text()}")


def is_root() -> bool:
    return hasattr(os, "getuid") and os.getuid() == 0


def find_programs() -> Path:
    """The folder of initdb and pg_ctl: that of the PATH, else the newest of Debian's."""
    if found := shutil.which("initdb"):
        return Path(found).resolve().parent
    debian = Path("/usr/lib/postgresql").glob("*/bin/initdb")
    if newest := max(debian, key=lambda path: int(path.parts[-3]), default=None):
        return newest.parent
    raise SystemExit(
        "PostgreSQL's initdb was not found, neither on the PATH nor below /usr/lib/postgresql: install the server."
    )


@asynccontextmanager
async def own_postgres(folder: Path) -> AsyncIterator[PostgresServer]:
    """A running, empty server below ``folder``, stopped at the end."""
    server = PostgresServer(folder, find_programs())
    await server.create()
    await server.start()
    try:
        yield server
    finally:
        with suppress(RuntimeError):  # a section that failed may have left it stopped
            await server.stop("immediate")
