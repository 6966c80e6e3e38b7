"""Redis servers of our own, as people run them: encrypted, and as a cluster."""

import asyncio
import shutil
import socket
import subprocess
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

import pytest
from fastapi import FastAPI
from httpx2 import AsyncClient, Response
from redis.asyncio import Redis

from app.core.app_factory import create_app
from app.core.redis import gateway as redis
from app.core.redis.circuit_breaker import State
from app.models.user import User
from tests.fixtures.env import make_settings
from tests.fixtures.fastapi_app import MakeApp, client_for
from tests.fixtures.redis import PATIENCE_SECONDS
from tests.fixtures.server import free_port

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not shutil.which("redis-server"), reason="there is no redis-server here"),
]
HOST = "127.0.0.1"
PATIENCE = 500
ME = "/api/v1/users/me"
LIMIT = 3
Start = Callable[..., int]


@contextmanager
def redis_server(folder: Path, port: int, *options: str) -> Iterator[None]:
    """A server that keeps nothing, and accepts on ``port``."""
    command = ["redis-server", "--save", "", "--dir", str(folder), *options]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL) as process:
        try:
            asyncio.run(until_it_accepts(port))
            yield
        finally:
            process.terminate()


async def until_it_accepts(port: int) -> None:
    for _ in range(PATIENCE):
        try:
            _, writer = await asyncio.open_connection(HOST, port)
        except OSError:
            await asyncio.sleep(0.01)
        else:
            writer.close()
            return
    raise RuntimeError("redis-server did not start")


@pytest.fixture
def encrypted(tmp_path: Path) -> Iterator[tuple[int, Path]]:
    """The port of a server that speaks TLS alone, and its certificate, which nobody else has signed."""
    if not shutil.which("openssl"):
        pytest.skip("there is no openssl here")
    port, key, certificate = free_port(), tmp_path / "key.pem", tmp_path / "certificate.pem"
    subprocess.run(
        [
            *("openssl", "req", "-x509", "-nodes", "-newkey", "rsa:2048", "-days", "2"),
            *("-subj", "/CN=redis", "-addext", f"subjectAltName=IP:{HOST}"),
            *("-keyout", str(key), "-out", str(certificate)),
        ],
        check=True,
        capture_output=True,
    )
    options = ["--port", "0", "--tls-port", str(port), "--tls-auth-clients", "no"]
    files = ["--tls-cert-file", str(certificate), "--tls-key-file", str(key)]
    trust = ["--tls-ca-cert-file", str(certificate)]
    with redis_server(tmp_path, port, *options, *files, *trust):
        yield port, certificate


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[int]:
    """The port of a cluster of one node, which has every slot."""
    port = free_port_of_a_cluster()
    with redis_server(tmp_path, port, "--port", str(port), "--cluster-enabled", "yes"):
        asyncio.run(take_every_slot(port))
        yield port


def free_port_of_a_cluster() -> int:
    """One for which the port of the cluster's own talk, 10,000 above, exists and is free as well."""
    for _ in range(PATIENCE):
        port = 20_000 + free_port() % 30_000
        with socket.socket() as one, socket.socket() as other:
            try:
                one.bind((HOST, port))
                other.bind((HOST, port + 10_000))
            except OSError:
                continue
            return port
    raise RuntimeError("no two ports are free")


async def take_every_slot(port: int) -> None:
    client: Any  # redis-py's own method is not typed
    async with Redis(port=port) as client:
        await client.execute_command("CLUSTER ADDSLOTSRANGE", 0, 16_383)
        for _ in range(PATIENCE):
            if "'ok'" in str(await client.execute_command("CLUSTER INFO")):
                return
            await asyncio.sleep(0.01)
    raise RuntimeError("the cluster is not well")


@asynccontextmanager
async def client_of(app: FastAPI) -> AsyncIterator[AsyncClient]:
    async with AsyncExitStack() as stack:
        stack.push_async_callback(app.state.redis.aclose)
        yield await stack.enter_async_context(client_for(app))


async def burst(url: str, size: int) -> list[Response]:
    app = create_app(make_settings(redis_url=url, rate_limit_enabled=True))
    async with client_of(app) as client:
        return await asyncio.gather(*(client.get(ME) for _ in range(size)))


class TestEncrypted:
    async def test_cold_burst_is_counted_to_the_last(
        self, encrypted: tuple[int, Path], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        port, certificate = encrypted
        # So many handshakes on a busy machine must not look like a silent Redis.
        monkeypatch.setattr(redis, "DEADLINE_SECONDS", PATIENCE_SECONDS)
        monkeypatch.setattr(redis, "WAIT_SECONDS", PATIENCE_SECONDS)

        responses = await burst(f"rediss://{HOST}:{port}/0?ssl_ca_certs={certificate}", 60)

        assert {response.status_code for response in responses} == {401}
        assert all("X-RateLimit-Limit" in response.headers for response in responses)

    async def test_certificate_of_nobody_is_done_without(self, encrypted: tuple[int, Path]) -> None:
        port, _ = encrypted

        [response] = await burst(f"rediss://{HOST}:{port}/0", 1)

        assert response.status_code == 401
        assert "X-RateLimit-Limit" not in response.headers


class TestCluster:
    async def test_failed_logins_and_requests_are_counted(
        self, cluster: int, make_app: MakeApp, ada: User
    ) -> None:
        app = make_app(
            redis_url=f"redis://{HOST}:{cluster}",
            login_throttle_enabled=True,
            login_throttle_attempts=LIMIT,
            rate_limit_enabled=True,
            cache_enabled=True,
        )
        async with client_of(app) as client:
            form = {"username": ada.email, "password": "not the password"}
            seen = [await client.post("/auth/login", data=form) for _ in range(LIMIT + 1)]
            counted = await client.get(ME)

        assert [response.status_code for response in seen] == [401] * LIMIT + [429]
        assert "X-RateLimit-Limit" in counted.headers
        assert app.state.redis.breaker.state is State.CLOSED
        assert app.state.redis.failures.total == 0
