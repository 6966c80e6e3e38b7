"""Where TLS is asked for, nothing is said to a store in clear: not a password, not a command."""

import asyncio
from pathlib import Path

import pytest

from app.core.app_factory import create_app
from tests.fixtures.auth import PASSWORD
from tests.fixtures.env import make_settings
from tests.fixtures.fastapi_app import client_for
from tests.fixtures.faults import listening

SSL_REQUEST = b"\x00\x00\x00\x08\x04\xd2\x16\x2f"  # PostgreSQL: is TLS spoken here?
HANDSHAKE = b"\x16\x03"  # how a TLS client begins
SECRET = "password-of-the-store"
ACCOUNT = {"email": "ada@example.com", "password": PASSWORD}


async def refuse_tls(data: bytes, writer: asyncio.StreamWriter) -> None:
    writer.write(b"N" if data == SSL_REQUEST else b"E")


async def response_in_clear(data: bytes, writer: asyncio.StreamWriter) -> None:
    writer.write(b"+OK\r\n" * 10)


@pytest.mark.parametrize("option", ["sslmode=require", "ssl=require", "ssl=true"])
async def test_postgresql_without_tls_is_unavailable_and_receives_no_secret(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, option: str
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))  # where the driver looks for a root certificate
    async with listening(refuse_tls) as server:
        url = f"postgresql://app:{SECRET}@127.0.0.1:{server.port}/app?{option}"
        app = create_app(make_settings(database_url=url))
        async with client_for(app) as client:
            response = await client.post("/api/v1/users", json=ACCOUNT)
        await app.state.engine.dispose()

    assert response.status_code == 503
    assert set(server.received) == {SSL_REQUEST}


async def test_redis_without_tls_is_skipped_and_receives_no_secret() -> None:
    async with listening(response_in_clear) as server:
        url = f"rediss://:{SECRET}@127.0.0.1:{server.port}/0"
        app = create_app(make_settings(redis_url=url, rate_limit_enabled=True))
        async with client_for(app) as client:
            response = await client.get("/api/v1/users/me")
        await app.state.redis.aclose()

    assert response.status_code == 401
    assert server.received
    assert all(data.startswith(HANDSHAKE) for data in server.received)
    assert SECRET.encode() not in b"".join(server.received)
