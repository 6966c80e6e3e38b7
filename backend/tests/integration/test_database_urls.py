"""DATABASE_URL reaches the server with one reading."""

import asyncio
from urllib.parse import quote

import pytest

from app.core.app_factory import create_app
from tests.fixtures.db import is_postgres
from tests.fixtures.env import make_settings
from tests.fixtures.fastapi_app import client_for
from tests.fixtures.faults import listening, silence

needs_postgres = pytest.mark.skipif(not is_postgres(), reason="DATABASE_URL is not PostgreSQL")

ASK_FOR_PASSWORD = b"R\x00\x00\x00\x08\x00\x00\x00\x03"  # AuthenticationCleartextPassword


async def ask_for_password(data: bytes, writer: asyncio.StreamWriter) -> None:
    if data.startswith(b"p"):
        writer.close()
    else:
        writer.write(ASK_FOR_PASSWORD)


async def ready(url: str, **changes: object) -> tuple[int, dict[str, str]]:
    app = create_app(make_settings(database_url=url, **changes))
    async with client_for(app) as client:
        response = await client.get("/api/v1/health/ready")
    await app.state.engine.dispose()
    return response.status_code, response.json()["checks"]


@pytest.mark.parametrize("password", ["pa#ss", "p@ss", "p/a?s:s", "p%41", "a+b", "[x ü", "ends%"])
async def test_password_is_decoded_once(password: str) -> None:
    async with listening(ask_for_password) as server:
        written = quote(password, safe="+[ :")
        await ready(f"postgresql://app:{written}@127.0.0.1:{server.port}/app?sslmode=disable")

    assert password.encode() in {data[5:-1] for data in server.received if data[:1] == b"p"}


@needs_postgres
@pytest.mark.parametrize(
    "query",
    [
        "ssl=prefer",
        "ssl=false",
        "sslmode=disable&connect_timeout=10&channel_binding=prefer&gssencmode=prefer",
        "application_name=web&keepalives=1&keepalives_idle=30&client_encoding=utf8",
        "target_session_attrs=read-write&options=-csearch_path%3Dpublic",
    ],
)
async def test_url_with_options_of_a_hosting_provider_connects(
    database_url: str, query: str
) -> None:
    assert await ready(f"{database_url}?{query}") == (200, {"db": "ok"})


@needs_postgres
async def test_second_host_is_tried_while_the_first_times_out(database_url: str) -> None:
    async with listening(silence) as server:
        before, at, rest = database_url.rpartition("@")
        url = f"{before}{at}" if at else "postgresql://"
        address, slash, name = rest.removeprefix("postgresql://").partition("/")
        url = f"{url}127.0.0.1:{server.port},{address}{slash}{name}"

        response = await ready(url, database_connect_timeout_seconds=0.6)

    assert server.connections
    assert response == (200, {"db": "ok"})


@needs_postgres
async def test_host_of_the_wrong_role_is_unavailable_and_no_error(database_url: str) -> None:
    response = await ready(f"{database_url}?target_session_attrs=standby")

    assert response == (503, {"db": "error"})
