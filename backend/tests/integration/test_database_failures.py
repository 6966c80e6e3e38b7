"""The database goes away, stays silent or is busy: a 503 envelope within 3 s, and it heals by itself."""

import asyncio
import socket
from pathlib import Path

import asyncpg
import pytest
import pytest_asyncio
from httpx2 import AsyncClient
from sqlalchemy import text

from app.core.app_factory import create_app
from app.models.user import User
from tests.fixtures.auth import headers_of
from tests.fixtures.database_failures import (
    ME,
    Connect,
    assert_heals,
    assert_unavailable,
    end_sessions,
)
from tests.fixtures.db import is_postgres
from tests.fixtures.env import make_settings
from tests.fixtures.faults import FaultProxy
from tests.fixtures.timing import timed

READY = "/api/v1/health/ready"
LIVE = "/api/v1/health/live"

needs_postgres = pytest.mark.skipif(not is_postgres(), reason="DATABASE_URL is not PostgreSQL")


@pytest.fixture
def refusing_url() -> str:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return f"postgresql://app@127.0.0.1:{probe.getsockname()[1]}/app"


def new_user(number: int = 0) -> dict[str, str]:
    return {"email": f"ada{number}@example.com", "password": "correct horse battery staple"}


class TestWithoutDatabase:
    async def test_application_starts_and_only_the_database_routes_fail(
        self, connect: Connect
    ) -> None:
        client = await connect(None)

        assert (await client.get(LIVE)).status_code == 200
        await assert_unavailable(client.post("/api/v1/users", json=new_user()))

    async def test_readiness_reports_the_missing_database(self, connect: Connect) -> None:
        client = await connect(None)

        response = await client.get(READY)

        assert response.status_code == 503
        assert response.json() == {"status": "error", "checks": {"db": "error"}}

    async def test_missing_sqlite_folder_is_unavailable(
        self, connect: Connect, tmp_path: Path
    ) -> None:
        client = await connect(f"sqlite:///{tmp_path.as_posix()}/missing/app.db")

        await assert_unavailable(client.post("/api/v1/users", json=new_user()))


class TestUnreachableDatabase:
    async def test_refused_connection_is_unavailable(
        self, connect: Connect, refusing_url: str
    ) -> None:
        client = await connect(refusing_url)

        await assert_unavailable(client.post("/api/v1/users", json=new_user()))
        assert (await client.get(READY)).status_code == 503

    async def test_unknown_host_is_unavailable(self, connect: Connect) -> None:
        client = await connect("postgresql://app@host.invalid/app")

        await assert_unavailable(client.post("/api/v1/users", json=new_user()))

    @pytest.mark.slow
    async def test_silent_server_is_unavailable(self, connect: Connect, silent_url: str) -> None:
        client = await connect(silent_url)

        await assert_unavailable(client.post("/api/v1/users", json=new_user()))


@needs_postgres
class TestFailingPostgres:
    @pytest_asyncio.fixture
    async def client(
        self, connect: Connect, database_proxy: FaultProxy, database_url: str
    ) -> AsyncClient:
        return await connect(database_proxy.url, database_pool_size=5)

    async def test_restart_costs_no_request_after_it(
        self, client: AsyncClient, ada: User, database_proxy: FaultProxy
    ) -> None:
        assert (await client.get(ME, headers=headers_of(ada))).status_code == 200

        database_proxy.mode = "refuse"
        database_proxy.cut()
        await assert_unavailable(client.get(ME, headers=headers_of(ada)))
        database_proxy.mode = "pass"

        assert (await client.get(ME, headers=headers_of(ada))).status_code == 200

    async def test_terminated_connections_cost_no_request(
        self, client: AsyncClient, ada: User, database_url: str
    ) -> None:
        await asyncio.gather(*(client.get(ME, headers=headers_of(ada)) for _ in range(5)))

        await end_sessions(database_url)
        await asyncio.sleep(0.1)
        responses = await asyncio.gather(
            *(client.get(ME, headers=headers_of(ada)) for _ in range(5))
        )

        assert {response.status_code for response in responses} == {200}

    async def test_timeout_in_a_session_is_unavailable_and_recovers(
        self, client: AsyncClient, ada: User, database_proxy: FaultProxy
    ) -> None:
        assert (await client.get(ME, headers=headers_of(ada))).status_code == 200

        database_proxy.mode = "silent"
        await assert_unavailable(client.get(ME, headers=headers_of(ada)))
        database_proxy.mode = "pass"

        await assert_heals(client, ada)

    async def test_application_started_before_the_database_recovers(
        self, client: AsyncClient, ada: User, database_proxy: FaultProxy
    ) -> None:
        database_proxy.mode = "refuse"
        await assert_unavailable(client.get(ME, headers=headers_of(ada)))

        database_proxy.mode = "pass"

        await assert_heals(client, ada)

    async def test_readiness_follows_the_database_within_two_seconds(
        self, client: AsyncClient, database_proxy: FaultProxy
    ) -> None:
        assert (await client.get(READY)).status_code == 200

        database_proxy.mode = "silent"
        await asyncio.sleep(1.0)
        lost, seconds = await timed(client.get(READY))
        database_proxy.mode = "pass"
        await asyncio.sleep(1.0)
        back = await client.get(READY)

        assert (lost.status_code, back.status_code) == (503, 200)
        assert seconds < 1.5

    async def test_slow_statement_is_unavailable(self, client: AsyncClient) -> None:
        await assert_unavailable(client.get("/sleep"))

    async def test_exhausted_pool_is_unavailable_and_leaves_liveness_alone(
        self, client: AsyncClient
    ) -> None:
        slow = [asyncio.create_task(client.get("/sleep?seconds=2.4")) for _ in range(5)]
        await asyncio.sleep(0.2)

        waiting = asyncio.create_task(timed(client.get("/sleep?seconds=0")))
        _, live_seconds = await timed(client.get(LIVE))
        response, seconds = await waiting
        await asyncio.gather(*slow)

        assert response.status_code == 503
        assert seconds < 2.5
        assert live_seconds < 0.5

    async def test_waiting_for_a_lock_is_unavailable(
        self, client: AsyncClient, ada: User, database_url: str
    ) -> None:
        holder = await asyncpg.connect(database_url)
        async with holder.transaction():
            await holder.execute("LOCK TABLE users IN ACCESS EXCLUSIVE MODE")
            await assert_unavailable(client.get(ME, headers=headers_of(ada)))
        await holder.close()

        assert (await client.get(ME, headers=headers_of(ada))).status_code == 200

    async def test_cancelled_request_releases_its_connection(
        self, connect: Connect, database_url: str, ada: User
    ) -> None:
        client = await connect(database_url, database_pool_size=1)
        for _ in range(5):
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(client.get("/sleep"), 0.1)

        assert (await client.get(ME, headers=headers_of(ada))).status_code == 200

    async def test_every_connection_has_its_time_limits(
        self, connect: Connect, database_url: str
    ) -> None:
        app = create_app(make_settings(database_url=database_url))
        async with app.state.engine.connect() as connection:
            shown = [
                (await connection.execute(text(f"SHOW {name}"))).scalar_one()
                for name in (
                    "statement_timeout",
                    "lock_timeout",
                    "idle_in_transaction_session_timeout",
                )
            ]
        await app.state.engine.dispose()

        assert shown == ["2500ms", "2s", "10s"]
