"""What the documents promise for a Redis that fails, measured on a real one: ``make redis-faults``.

Puts a TCP proxy that refuses, hangs and flaps before the Redis of REDIS_URL (default redis://127.0.0.1:6379/9),
serves the application with uvicorn on SQLite in a temporary folder, and prints each figure beside its promise.
Takes about three minutes; ``--quick`` sends fewer requests and flaps for 12 seconds. Everything stays on loopback.
"""

import asyncio
import json
import os
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Iterable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from itertools import cycle
from pathlib import Path
from urllib.parse import urlencode, urlsplit, urlunsplit

ROOT = Path(__file__).resolve().parents[1]
HOST = "127.0.0.1"
REDIS_URL = os.environ.get("REDIS_URL") or f"redis://{HOST}:6379/9"
ACCOUNT = {"email": "faults@example.com", "password": "correct horse battery staple"}

QUICK = "--quick" in sys.argv
REQUESTS = 2_000 if QUICK else 10_000
FLAP_SECONDS = 12 if QUICK else 60
FLAP_EVERY = 3
CLIENTS = 8
LIMIT, PARALLEL = 100, 200
BEFORE_OPEN_SECONDS = 0.5
PATIENCE_SECONDS = 20
NEVER = 1_000_000

ADDED_P99_MS = 5.0
# A machine that does other things tells no latency to a few milliseconds: --quick looks for the gross.
QUICK_P99_MS = 50.0
SLOWEST_ADDED_MS = 1_000.0 if QUICK else 250.0
BACK_SECONDS = 6.0


class Proxy:
    """Forwards to Redis. ``refuse`` closes the port; ``hang`` accepts, reads and says nothing."""

    def __init__(self) -> None:
        target = urlsplit(REDIS_URL)
        self.target = (target.hostname or HOST, target.port or 6379)
        self.port = free_port()
        self.hanging = False
        self.server: asyncio.Server | None = None
        self.writers: set[asyncio.StreamWriter] = set()

    @property
    def url(self) -> str:
        parts = urlsplit(REDIS_URL)
        credentials = "".join(parts.netloc.rpartition("@")[:2])
        return urlunsplit(parts._replace(netloc=f"{credentials}{HOST}:{self.port}"))

    async def forward(self) -> None:
        await self.refuse()
        self.hanging = False
        self.server = await asyncio.start_server(self.handle, HOST, self.port)

    async def hang(self) -> None:
        await self.forward()
        self.hanging = True

    async def refuse(self) -> None:
        if self.server is not None:
            self.server.close()
            self.server = None
        for writer in self.writers:
            writer.transport.abort()
        await asyncio.sleep(0)

    async def handle(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there, back = await asyncio.open_connection(*self.target)
        self.writers |= {writer, back}
        await asyncio.gather(self.pump(reader, back), self.pump(there, writer))
        self.writers -= {writer, back}

    async def pump(self, source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
        try:
            while data := await source.read(65_536):
                if not self.hanging:
                    sink.write(data)
        except OSError:
            pass  # cut
        sink.close()


@dataclass
class Answer:
    status: int
    seconds: float
    limited: bool  # carries the headers of the rate limit: Redis was used
    body: bytes


class Client:
    """One kept-alive connection."""

    def __init__(self, port: int, token: str = "") -> None:
        self.port = port
        self.authorization = f"Authorization: Bearer {token}\r\n" if token else ""
        self.streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    async def connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        if self.streams is None:
            self.streams = await asyncio.open_connection(HOST, self.port)
        return self.streams

    async def request(self, method: str, path: str, body: str = "", kind: str = "") -> Answer:
        reader, writer = await self.connect()
        head = f"{method} {path} HTTP/1.1\r\nHost: {HOST}\r\n{self.authorization}"
        if body:
            head += f"Content-Type: application/{kind}\r\nContent-Length: {len(body)}\r\n"
        started = time.perf_counter()
        writer.write(f"{head}\r\n{body}".encode())
        received = (await reader.readuntil(b"\r\n\r\n")).lower()
        length = int(received.partition(b"content-length: ")[2].split(b"\r\n")[0] or 0)
        content = await reader.readexactly(length)
        seconds = time.perf_counter() - started
        return Answer(int(received.split()[1]), seconds, b"x-ratelimit-limit" in received, content)

    async def me(self) -> Answer:
        return await self.request("GET", "/api/v1/users/me")

    def close(self) -> None:
        if self.streams is not None:
            self.streams[1].transport.abort()


@dataclass
class Report:
    """Prints as it goes, and remembers whether a promise was missed."""

    missed: bool = False

    def figure(self, name: str, measured: float, limit: float, unit: str = "") -> None:
        self.line(name, f"{measured:.1f} {unit}", f"at most {limit:g} {unit}", measured <= limit)

    def exactly(self, name: str, measured: int, promised: int) -> None:
        self.line(name, str(measured), str(promised), measured == promised)

    def line(self, name: str, measured: str, promised: str, kept: bool) -> None:
        self.missed |= not kept
        verdict = "" if kept else "  MISSED"
        print(f"{name:52} {measured:>12}   promised: {promised}{verdict}", flush=True)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        return int(probe.getsockname()[1])


def environment(folder: Path, **changes: str) -> dict[str, str]:
    return {
        "PATH": os.environ.get("PATH", ""),
        "PYTHONPATH": str(ROOT / "backend"),
        "APP_ENV": "test",
        "DATABASE_URL": f"sqlite:///{folder / 'faults_test.db'}",
        "PASSWORD_HASH_ROUNDS": "4",
        "DRAIN_SECONDS": "0",
        **changes,
    }


def modules_on(url: str, limit: int = NEVER) -> dict[str, str]:
    return {
        "REDIS_URL": url,
        "RATE_LIMIT_ENABLED": "true",
        "RATE_LIMIT_REQUESTS": str(limit),
        "CACHE_ENABLED": "true",
    }


@asynccontextmanager
async def serving(folder: Path, **changes: str) -> AsyncIterator[tuple[int, Path]]:
    """The port and the log of a running server."""
    port = free_port()
    log = folder / f"{port}.log"
    command = [sys.executable, "-m", "uvicorn", "app.main:app", "--port", str(port)]
    command += ["--http", "httptools", "--no-access-log", "--no-server-header"]
    with log.open("wb") as file:
        process = await asyncio.create_subprocess_exec(
            *command, env=environment(folder, **changes), stdout=file
        )
    try:
        async with asyncio.timeout(PATIENCE_SECONDS):
            while True:
                try:
                    await Client(port).request("GET", "/health")
                    break
                except OSError:
                    await asyncio.sleep(0.05)
        yield port, log
    finally:
        process.terminate()
        await process.wait()


async def sign_in(port: int) -> str:
    client = Client(port)
    await client.request("POST", "/api/v1/users", json.dumps(ACCOUNT), "json")
    form = urlencode({"username": ACCOUNT["email"], "password": ACCOUNT["password"]})
    answer = await client.request("POST", "/auth/login", form, "x-www-form-urlencoded")
    client.close()
    return str(json.loads(answer.body)["access_token"])


async def load(port: int, token: str, requests: int) -> list[tuple[float, Answer]]:
    """Send so many requests over ``CLIENTS`` connections; each answer with the time when it was sent."""
    started = time.perf_counter()
    seen: list[tuple[float, Answer]] = []

    async def one() -> None:
        client = Client(port, token)
        for _ in range(requests // CLIENTS):
            sent = time.perf_counter() - started
            seen.append((sent, await client.me()))
        client.close()

    await asyncio.gather(*(one() for _ in range(CLIENTS)))
    return seen


def p99_ms(answers: Iterable[Answer]) -> float:
    return statistics.quantiles((answer.seconds * 1_000 for answer in answers), n=100)[98]


def slowest_ms(answers: Iterable[Answer]) -> float:
    return max(answer.seconds for answer in answers) * 1_000


def server_errors(answers: Iterable[Answer]) -> int:
    return sum(answer.status >= 500 for answer in answers)  # noqa: PLR2004  that is what 5xx means


def transitions(log: Path) -> int:
    text = log.read_text()
    return text.count('"dependency_degraded"') + text.count('"dependency_recovered"')


async def measure_back(port: int, token: str) -> float:
    client, started = Client(port, token), time.perf_counter()
    while time.perf_counter() - started < 2 * BACK_SECONDS:
        if (await client.me()).limited:
            break
        await asyncio.sleep(0.02)
    client.close()
    return time.perf_counter() - started


async def flap(proxy: Proxy, port: int, token: str) -> list[Answer]:
    """Change Redis every three seconds under load: refuses, is back, hangs, is back."""
    load_until = time.perf_counter() + FLAP_SECONDS
    seen: list[Answer] = []

    async def one() -> None:
        client = Client(port, token)
        while time.perf_counter() < load_until:
            seen.append(await client.me())
            await asyncio.sleep(0.01)
        client.close()

    async def change() -> None:
        for step in cycle((proxy.refuse, proxy.forward, proxy.hang, proxy.forward)):
            if time.perf_counter() >= load_until:
                return
            await step()
            await asyncio.sleep(FLAP_EVERY)

    await asyncio.gather(change(), *(one() for _ in range(CLIENTS)))
    return seen


async def faults(report: Report, folder: Path, proxy: Proxy) -> None:
    """The first line of each phase is its workload; what follows is compared with the modules off."""
    async with serving(folder) as (port, _):
        token = await sign_in(port)
        await load(port, token, REQUESTS // 5)
        off = [answer for _, answer in await load(port, token, REQUESTS // 2)]
    base_p99, base_slowest = p99_ms(off), slowest_ms(off)
    print(f"modules off: p99 {base_p99:.1f} ms, slowest {base_slowest:.1f} ms")

    async with serving(folder, **modules_on(proxy.url)) as (port, log):
        await load(port, token, REQUESTS // 5)
        on = [answer for _, answer in await load(port, token, REQUESTS // 2)]
        ratio = statistics.median(a.seconds for a in on) / statistics.median(a.seconds for a in off)
        print(f"modules on, Redis well: p99 {p99_ms(on):.1f} ms, median {ratio:.2f} times that off")
        report.exactly("healthy: answers without headers", sum(not a.limited for a in on), 0)

        await proxy.refuse()
        refused = [answer for _, answer in await load(port, token, REQUESTS)]
        report.exactly(f"refused: 5xx in {len(refused):,} requests", server_errors(refused), 0)
        report.figure(
            "refused: added p99",
            p99_ms(refused) - base_p99,
            QUICK_P99_MS if QUICK else ADDED_P99_MS,
            "ms",
        )
        report.exactly("refused: transitions logged", transitions(log), 1)
        await proxy.forward()
        report.figure("refused, then back: used again", await measure_back(port, token), 6, "s")

        await proxy.hang()
        hung = await load(port, token, REQUESTS)
        every = [answer for _, answer in hung]
        once_open = [answer for sent, answer in hung if sent > BEFORE_OPEN_SECONDS]
        added = slowest_ms(every) - base_slowest
        report.exactly(f"hangs: 5xx in {len(every):,} requests", server_errors(every), 0)
        report.figure("hangs: slowest request, added", added, SLOWEST_ADDED_MS, "ms")
        report.figure(
            "hangs: added p99 once open",
            p99_ms(once_open) - base_p99,
            QUICK_P99_MS if QUICK else ADDED_P99_MS,
            "ms",
        )
        await proxy.forward()
        report.figure("hung, then back: used again", await measure_back(port, token), 6, "s")

        before = transitions(log)
        flapping = await flap(proxy, port, token)
        count, changes = transitions(log) - before, FLAP_SECONDS // FLAP_EVERY
        name = f"flaps for {FLAP_SECONDS} s: 5xx in {len(flapping):,} requests"
        report.exactly(name, server_errors(flapping), 0)
        kept = 1 <= count <= changes
        report.line("flaps: transitions logged", str(count), f"1 to {changes}", kept)
        added = slowest_ms(flapping) - base_slowest
        report.figure("flaps: slowest request, added", added, SLOWEST_ADDED_MS, "ms")


async def shared_count(report: Report, folder: Path, proxy: Proxy) -> None:
    """Two processes, a cold pool each, and 200 requests at once from one address."""
    await proxy.forward()
    async with AsyncExitStack() as stack:
        variables = modules_on(proxy.url, LIMIT)
        # A window of its own makes a count of its own, whatever ran before.
        variables["RATE_LIMIT_WINDOW_SECONDS"] = str(60 + os.getpid() % 3_000)
        ports = [
            (await stack.enter_async_context(serving(folder, **variables)))[0] for _ in range(2)
        ]
        clients = [Client(ports[number % 2]) for number in range(PARALLEL)]
        await asyncio.gather(*(client.connect() for client in clients))
        answers = await asyncio.gather(*(client.me() for client in clients))
        for client in clients:
            client.close()
    admitted = sum(answer.status == 401 for answer in answers)  # noqa: PLR2004  no token was sent
    refused = sum(answer.status == 429 for answer in answers)  # noqa: PLR2004
    report.exactly(f"{PARALLEL} at once, two processes: admitted", admitted, LIMIT)
    report.exactly(f"{PARALLEL} at once, two processes: refused", refused, PARALLEL - LIMIT)


async def measure(folder: Path) -> int:
    report, proxy = Report(), Proxy()
    await proxy.forward()
    await faults(report, folder, proxy)
    await shared_count(report, folder, proxy)
    await proxy.refuse()
    return int(report.missed)


def main() -> int:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        alembic = ["-m", "alembic", "-c", str(ROOT / "backend" / "alembic.ini"), "upgrade", "head"]
        command, variables = [sys.executable, *alembic], environment(folder)
        subprocess.run(command, env=variables, check=True, capture_output=True)
        return asyncio.run(measure(folder))


if __name__ == "__main__":
    sys.exit(main())
