"""Load in a closed loop: wrk where it is installed, else a client of our own on httptools and uvloop.

The second one costs more than wrk, so its absolute figures are lower; the ratios are what to read.
"""

import asyncio
import shutil
import time
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import cast

import httptools
import uvloop

from quality.testkit.client import Headers, message
from quality.testkit.report import percentile
from quality.testkit.server import HOST

SCRIPT = Path(__file__).with_name("wrk.lua")


@dataclass(frozen=True)
class Request:
    """What is sent again and again."""

    method: str
    target: str
    headers: Headers = ()
    body: str = ""


@dataclass(frozen=True)
class Load:
    """One slice of load: how many requests in how long. ``failed`` are answers of 400 and more, and none at all."""

    requests: int
    seconds: float
    p50_ms: float
    p99_ms: float
    failed: int

    @property
    def per_second(self) -> float:
        return self.requests / self.seconds


async def load(port: int, request: Request, clients: int, seconds: float) -> Load:
    """``clients`` connections, each sends its next request when it has the last response."""
    if wrk := shutil.which("wrk"):
        return await _wrk(wrk, port, request, clients, seconds)
    return await _own(port, request, clients, seconds)


async def _wrk(wrk: str, port: int, request: Request, clients: int, seconds: float) -> Load:
    command = [wrk, "-t1", f"-c{clients}", f"-d{max(1, round(seconds))}s", "--timeout", "30s"]
    for name, value in request.headers:
        command += ["-H", f"{name}: {value}"]
    command += ["-s", str(SCRIPT), f"http://{HOST}:{port}{request.target}"]
    command += ["--", request.method, request.body]
    process = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.PIPE)
    output, _ = await process.communicate()
    figures = output.decode().partition("FIGURES ")[2].split()
    requests, micros, p50, p99, failed = (float(figure) for figure in figures)
    return Load(int(requests), micros / 1e6, p50 / 1e3, p99 / 1e3, int(failed))


class _Client(asyncio.Protocol):
    def __init__(self, raw: bytes, until: float, taken: list[float], done: asyncio.Future[None]):
        self.raw, self.until, self.taken, self.done = raw, until, taken, done
        self.failed = 0
        self.parser = httptools.HttpResponseParser(self)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)  # uvloop's does not inherit from it
        self._send()

    def _send(self) -> None:
        self.sent = time.perf_counter()
        self.transport.write(self.raw)

    def data_received(self, data: bytes) -> None:
        self.parser.feed_data(data)

    def on_message_complete(self) -> None:
        now = time.perf_counter()
        self.taken.append((now - self.sent) * 1000)
        self.failed += self.parser.get_status_code() >= 400  # noqa: PLR2004  what failed means
        self.parser = httptools.HttpResponseParser(self)
        if now < self.until:
            self._send()
        else:
            self.transport.close()

    def connection_lost(self, exc: Exception | None) -> None:
        self.failed += exc is not None
        if not self.done.done():
            self.done.set_result(None)


async def _own(port: int, request: Request, clients: int, seconds: float) -> Load:
    body = request.body.encode()
    raw = message(request.method, request.target, request.headers, body)
    return await asyncio.to_thread(_in_uvloop, port, raw, clients, seconds)


def _in_uvloop(port: int, raw: bytes, clients: int, seconds: float) -> Load:
    async def run() -> Load:
        loop, taken, started = asyncio.get_running_loop(), list[float](), time.perf_counter()

        async def one() -> int:
            done: asyncio.Future[None] = loop.create_future()
            client = _Client(raw, started + seconds, taken, done)
            await loop.create_connection(lambda: client, HOST, port)
            await done
            return client.failed

        failed = sum(await asyncio.gather(*(one() for _ in range(clients))))
        took = time.perf_counter() - started
        return Load(len(taken), took, median(taken), percentile(taken, 99), failed)

    return uvloop.run(run())
