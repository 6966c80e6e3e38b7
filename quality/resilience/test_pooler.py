"""A real PgBouncer between: every request is served, and a migrator leaves nothing behind."""

import asyncio
import os
import shutil
import socket
from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path
from urllib.parse import urlsplit

import asyncpg
import pytest
import pytest_asyncio
from httpx2 import AsyncClient

from app.core.app_factory import create_app
from app.models.user import User
from tests.fixtures.auth import headers_of
from tests.fixtures.db import is_postgres
from tests.fixtures.env import make_settings
from tests.fixtures.fastapi_app import client_for
from tests.fixtures.migrations import alembic_process

PGBOUNCER = shutil.which("pgbouncer") or "/usr/sbin/pgbouncer"
# It refuses to run as root.
AS_NOBODY = ("-u", "nobody") if hasattr(os, "getuid") and os.getuid() == 0 else ()
ROUNDS, AT_ONCE = 10, 20
PATIENCE = 200

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not is_postgres(), reason="DATABASE_URL is not PostgreSQL"),
    pytest.mark.skipif(not Path(PGBOUNCER).exists(), reason="pgbouncer is not installed"),
]

CONFIGURATION = """
[databases]
{database} = host={host} port={port} user={user}{password}
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = {listen}
unix_socket_dir =
auth_type = any
pool_mode = {mode}
default_pool_size = {size}
"""


@pytest_asyncio.fixture(params=["transaction", "session"])
async def pooled_url(
    request: pytest.FixtureRequest, database_url: str, tmp_path: Path
) -> AsyncIterator[str]:
    """The database of this run by way of a PgBouncer; in transaction mode with fewer servers than clients."""
    parts = urlsplit(database_url)
    database = parts.path.lstrip("/")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    ini = tmp_path / "pgbouncer.ini"
    ini.write_text(
        CONFIGURATION.format(
            database=database,
            host=parts.hostname,
            port=parts.port or 5432,
            user=parts.username or "postgres",
            password=f" password={parts.password}" if parts.password else "",
            listen=port,
            mode=request.param,
            size=3 if request.param == "transaction" else 20,
        )
    )
    with (tmp_path / "log").open("wb") as log:
        process = await asyncio.create_subprocess_exec(
            *(PGBOUNCER, "-q", *AS_NOBODY, str(ini)), stdout=log, stderr=log
        )
    await until_listening(port)
    yield f"postgresql://{parts.username or 'postgres'}@127.0.0.1:{port}/{database}"
    process.terminate()
    await process.wait()


async def until_listening(port: int) -> None:
    for _ in range(PATIENCE):
        try:
            _, writer = await asyncio.open_connection("127.0.0.1", port)
        except OSError:
            await asyncio.sleep(0.05)
        else:
            writer.close()
            return
    pytest.fail("pgbouncer did not start")


async def test_mixed_requests_are_all_served(pooled_url: str, ada: User, admin: User) -> None:
    app = create_app(
        make_settings(database_url=pooled_url, database_pooler="transaction", database_pool_size=8)
    )
    headers, of_admin = headers_of(ada), headers_of(admin)

    async def ask(client: AsyncClient, number: int) -> int:
        if number % 4 == 0:
            new = {"email": f"{number}@example.com", "password": "correct horse battery staple"}
            return (await client.post("/api/v1/users", json=new)).status_code
        if number % 4 == 1:
            page = await client.get(
                f"/api/v1/admin/users?limit={1 + number % 100}", headers=of_admin
            )
            assert page.is_error or page.json()["items"][0]["email"] == ada.email
            return page.status_code
        path = f"/api/v1/users/{ada.id if number % 4 == 2 else 'me'}"
        return (await client.get(path, headers=headers)).status_code

    seen: Counter[int] = Counter()
    async with client_for(app) as client:
        for first in range(0, ROUNDS * AT_ONCE, AT_ONCE):
            numbers = range(first, first + AT_ONCE)
            seen.update(await asyncio.gather(*(ask(client, number) for number in numbers)))
    await app.state.engine.dispose()

    assert seen == {200: 150, 201: 50}


@pytest.mark.parametrize(("pooler", "code"), [("transaction", 0), ("none", 1)])
async def test_a_migrator_works_or_is_refused_and_leaves_no_lock(
    pooled_url: str, database_url: str, pooler: str, code: int
) -> None:
    ended, said = await alembic_process(pooled_url, "upgrade", "head", DATABASE_POOLER=pooler)

    assert ended == code, said
    assert ("DATABASE_POOLER" in said) is bool(code)
    assert "Traceback" not in said
    database = await asyncpg.connect(database_url)
    locks = await database.fetchval(
        "SELECT count(*) FROM pg_locks JOIN pg_database d ON d.oid = database "
        "WHERE locktype = 'advisory' AND datname = current_database()"
    )
    await database.close()
    assert locks == 0
