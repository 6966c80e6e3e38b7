"""Workers on several hosts share the table, and one of them is cut off in the middle of its jobs: none lost, none twice.

A host is a network namespace of Linux, which only root can make; elsewhere this says that it was not run.
"""

import asyncio
import os
import shutil
import sys
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

from app.db.session import build_engine
from quality.resilience.jobs import SETTINGS, ask_for, numbers, until_done
from quality.resilience.run import Run
from quality.testkit.server import ROOT, variables
from quality.testkit.services import settings_of, throwaway_database

HOSTS = 3
WORK_SECONDS = 3  # before one is cut off
CUT_SECONDS = 40  # longer than its lease
POSTGRES_PORT = 5432


@dataclass
class Host:
    """One end of its cable is in the namespace, the other one here."""

    number: int

    @property
    def name(self) -> str:
        return f"jobs{self.number}"

    @property
    def cable(self) -> str:
        return f"vjobs{self.number}"

    @property
    def gateway(self) -> str:
        return f"10.213.{self.number}.1"

    async def plug(self, state: str) -> None:
        await ip("link", "set", self.cable, state)


async def measure(run: Run) -> None:
    if shutil.which("ip") is None or not hasattr(os, "geteuid") or os.geteuid() != 0:
        print("   not run: needs ip(8) and root")
        return
    jobs = run.size(10_000, 1_000)
    async with throwaway_database("chaos_hosts") as url, AsyncExitStack() as stack:
        engine = build_engine(settings_of(variables(url)))
        assert engine is not None  # noqa: S101  the URL is given
        await ask_for(engine, jobs)
        hosts = [await stack.enter_async_context(host(number)) for number in range(HOSTS)]
        for each in hosts:
            await stack.enter_async_context(worker(run.folder, each, url))
        await asyncio.sleep(WORK_SECONDS)
        await hosts[0].plug("down")
        await asyncio.sleep(CUT_SECONDS)
        await hosts[0].plug("up")
        left = await until_done(engine)
        written = await numbers(engine)
        await engine.dispose()
    name = f"{HOSTS} hosts, one cut off for {CUT_SECONDS} s"
    run.report.exactly(f"{name}: lost of {jobs:,}", 0, jobs - len(written))
    run.report.exactly(f"{name}: done twice", 0, written.total() - len(written))
    run.report.exactly(f"{name}: dead, or never done", [], left)


async def ip(*arguments: str) -> None:
    """Run ip(8). Raises ``RuntimeError`` with what it says."""
    process = await asyncio.create_subprocess_exec("ip", *arguments, stderr=asyncio.subprocess.PIPE)
    _, said = await process.communicate()
    if process.returncode:
        raise RuntimeError(f"ip {' '.join(arguments)}: {said.decode()}")


@asynccontextmanager
async def host(number: int) -> AsyncIterator[Host]:
    """A namespace whose one cable leads here, where its database seems to be."""
    made = Host(number)
    await ip("netns", "add", made.name)
    try:
        await ip(
            "link", "add", made.cable, "type", "veth", "peer", "name", "eth0", "netns", made.name
        )
        await ip("addr", "add", f"{made.gateway}/24", "dev", made.cable)
        await made.plug("up")
        inside = ("-n", made.name)
        await ip(*inside, "addr", "add", f"10.213.{number}.2/24", "dev", "eth0")
        await ip(*inside, "link", "set", "eth0", "up")
        yield made
    finally:
        await ip("netns", "del", made.name)


@asynccontextmanager
async def worker(folder: Path, on: Host, url: str) -> AsyncIterator[None]:
    """A worker process on a host, and the way from there to the database."""
    parts = urlsplit(url)
    address, port = parts.hostname, parts.port or POSTGRES_PORT

    async def connect(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        upstream = await asyncio.open_connection(address, port)
        await asyncio.gather(pump(reader, upstream[1]), pump(upstream[0], writer))

    server = await asyncio.start_server(connect, on.gateway, 0)
    there = f"{on.gateway}:{server.sockets[0].getsockname()[1]}"
    netloc = f"{parts.netloc.rpartition('@')[0]}@{there}"
    environment = {
        **variables(urlunsplit(parts._replace(netloc=netloc)), **SETTINGS),
        "PYTHONPATH": f"{ROOT / 'backend'}{os.pathsep}{ROOT}",
    }
    with (folder / "workers.log").open("ab") as log:
        process = await asyncio.create_subprocess_exec(
            *(
                "ip",
                "netns",
                "exec",
                on.name,
                sys.executable,
                "-m",
                "quality.resilience.job_worker",
            ),
            env=environment,
            stdout=log,
            stderr=log,
        )
    try:
        yield
    finally:
        process.terminate()
        await process.wait()
        server.close()


async def pump(source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
    try:
        while data := await source.read(65_536):
            sink.write(data)
            await sink.drain()
    except OSError:
        pass
    finally:
        sink.close()
