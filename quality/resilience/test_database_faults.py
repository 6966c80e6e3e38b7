"""Rare faults of PostgreSQL: a 503 envelope within 3 s, and the application heals by itself."""

import asyncio
import socket
from collections.abc import Awaitable, Callable
from uuid import UUID

import asyncpg
import pytest
import pytest_asyncio
from fastapi import FastAPI
from httpx2 import AsyncClient, Response
from sqlalchemy import text

from app.db.session import DbSession
from app.db.types import uuid7
from app.models.user import User
from tests.fixtures.auth import headers_of
from tests.fixtures.database_failures import (
    ME,
    Connect,
    assert_heals,
    assert_unavailable,
    end_sessions,
    first_that_is_not,
    read_me,
)
from tests.fixtures.faults import FaultProxy
from tests.fixtures.timing import timed
from tests.integration.test_database_failures import LIVE, READY, needs_postgres, new_user


def app_of(client: AsyncClient) -> FastAPI:
    app: FastAPI = client._transport.app  # type: ignore[attr-defined]  # what ``connect`` has given it
    return app


def register(client: AsyncClient, user: User) -> Awaitable[Response]:
    return client.post("/api/v1/users", json=new_user(1))


class TestUnreachableDatabase:

    @pytest.mark.slow
    async def test_silent_server_makes_readiness_fail_in_a_second_and_leaves_liveness_alone(
        self, connect: Connect, silent_url: str
    ) -> None:
        client = await connect(silent_url)

        ready = asyncio.create_task(timed(client.get(READY)))
        await asyncio.sleep(0.1)
        _, live_seconds = await timed(client.get(LIVE))
        response, ready_seconds = await ready

        assert response.json() == {"status": "error", "checks": {"db": "error"}}
        assert live_seconds < 0.5
        assert ready_seconds < 1.5

    @pytest.mark.slow
    async def test_more_requests_than_connections_are_unavailable_in_time(
        self, connect: Connect, silent_url: str
    ) -> None:
        client = await connect(silent_url, database_pool_size=2)
        headers = headers_of(uuid7())

        await asyncio.gather(
            *(assert_unavailable(client.get(ME, headers=headers)) for _ in range(8))
        )


@needs_postgres
class TestFailingPostgres:
    @pytest_asyncio.fixture
    async def client(
        self, connect: Connect, database_proxy: FaultProxy, database_url: str
    ) -> AsyncClient:
        return await connect(database_proxy.url, database_pool_size=5)

    @pytest.mark.parametrize("request_it", [read_me, register], ids=["read", "write"])
    async def test_a_goodbye_whose_end_has_not_arrived_is_unavailable_and_heals(
        self,
        client: AsyncClient,
        ada: User,
        database_proxy: FaultProxy,
        database_url: str,
        request_it: Callable[[AsyncClient, User], Awaitable[Response]],
    ) -> None:
        database_proxy.mode = "keep"
        assert (await client.get(ME, headers=headers_of(ada))).status_code == 200

        await end_sessions(database_url)
        await asyncio.sleep(0.1)
        await assert_unavailable(request_it(client, ada))

        await assert_heals(client, ada)

    @pytest.mark.slow
    async def test_idle_connections_that_a_firewall_has_forgotten_cost_one_request_in_all(
        self, client: AsyncClient, ada: User, database_proxy: FaultProxy
    ) -> None:
        sleeping = (client.get("/sleep?seconds=0.3") for _ in range(5))
        assert {response.status_code for response in await asyncio.gather(*sleeping)} == {200}

        database_proxy.forget()
        responses = [await client.get(ME, headers=headers_of(ada)) for _ in range(8)]

        assert [response.status_code for response in responses].count(503) == 1
        assert responses[-1].status_code == 200

    async def test_a_server_that_became_read_only_is_left_for_its_successor(
        self, client: AsyncClient, database_url: str
    ) -> None:
        admin = await asyncpg.connect(database_url)
        database = await admin.fetchval("SELECT quote_ident(current_database())")
        await admin.execute(f"ALTER DATABASE {database} SET default_transaction_read_only = on")
        await assert_unavailable(register(client, User()))
        await admin.execute("SET default_transaction_read_only = off")
        await admin.execute(f"ALTER DATABASE {database} RESET default_transaction_read_only")
        await admin.close()

        assert (await register(client, User())).status_code == 201

    async def test_the_kernel_looks_after_idle_connections(self, client: AsyncClient) -> None:
        async with app_of(client).state.engine.connect() as connection:
            driver = (await connection.get_raw_connection()).driver_connection
            peer = driver._transport.get_extra_info("socket")
            shown = await connection.scalar(text("SHOW tcp_keepalives_idle"))

        assert peer.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE) == 1
        assert shown == "60"

    async def test_many_requests_during_a_silence_are_unavailable_in_time(
        self, client: AsyncClient, ada: User, database_proxy: FaultProxy
    ) -> None:
        await asyncio.gather(*(client.get(ME, headers=headers_of(ada)) for _ in range(5)))

        database_proxy.mode = "silent"
        waves = []
        for _ in range(8):  # every request starts at another moment of the others' timeouts
            waves += [
                asyncio.create_task(assert_unavailable(client.get(ME, headers=headers_of(ada))))
                for _ in range(4)
            ]
            await asyncio.sleep(0.4)
        await asyncio.gather(*waves)
        database_proxy.mode = "pass"

        await assert_heals(client, ada)

    @pytest.mark.slow
    async def test_who_has_waited_for_a_connection_does_not_wait_as_long_for_a_new_one(
        self, connect: Connect, ada: User, database_proxy: FaultProxy, database_url: str
    ) -> None:
        client = await connect(database_proxy.url, database_pool_size=1)
        assert (await client.get(ME, headers=headers_of(ada))).status_code == 200

        database_proxy.mode = "silent"
        gives_up = asyncio.create_task(client.get(ME, headers=headers_of(ada)))
        await asyncio.sleep(0.1)
        waiting = asyncio.create_task(assert_unavailable(client.get(ME, headers=headers_of(ada))))
        await asyncio.sleep(1.5)
        gives_up.cancel()

        await waiting

    @pytest.mark.slow
    async def test_silence_just_after_a_check_fails_readiness_within_two_seconds(
        self, client: AsyncClient, database_proxy: FaultProxy
    ) -> None:
        assert (await client.get(READY)).status_code == 200

        database_proxy.mode = "silent"
        response, seconds = await timed(first_that_is_not(200, lambda: client.get(READY)))

        assert response.status_code == 503
        assert seconds < 2.0

    @pytest.mark.parametrize(
        "isolation",
        ["READ COMMITTED", "REPEATABLE READ"],
        ids=["deadlock", "no order in which both could be"],
    )
    async def test_of_two_transactions_in_each_others_way_one_is_kept_whole_and_one_is_unavailable(
        self,
        client: AsyncClient,
        ada: User,
        grace: User,
        database_url: str,
        isolation: str,
    ) -> None:
        app = app_of(client)
        both_have_begun = asyncio.Barrier(2)
        crosswise = isolation == "READ COMMITTED"
        rename = text("UPDATE users SET email = :me || email WHERE id = :id")

        @app.get("/rename")
        async def rename_both(db: DbSession, me: str, first: UUID, last: UUID) -> None:
            await db.execute(text(f"SET TRANSACTION ISOLATION LEVEL {isolation}"))
            await db.execute(text("SELECT count(*) FROM users"))
            if crosswise:
                await db.execute(rename, {"me": me, "id": first})
            await both_have_begun.wait()
            if not crosswise:
                await db.execute(rename, {"me": me, "id": first})
            await db.execute(rename, {"me": me, "id": last})

        users = [ada, grace]
        orders = {"x": users, "y": users[::-1] if crosswise else users}
        requests = [
            client.get(f"/rename?me={me}&first={first.id}&last={last.id}")
            for me, (first, last) in orders.items()
        ]
        responses = dict(zip(orders, await asyncio.gather(*requests), strict=True))

        [winner] = [me for me, response in responses.items() if response.status_code == 200]
        [refused] = [response for me, response in responses.items() if me != winner]
        assert (refused.status_code, refused.headers["Retry-After"]) == (503, "1")
        database = await asyncpg.connect(database_url)
        emails = await database.fetch("SELECT email FROM users")
        await database.close()
        assert {row["email"] for row in emails} == {winner + ada.email, winner + grace.email}

    async def test_a_migration_that_changes_a_column_is_unavailable_once_and_heals(
        self, client: AsyncClient, database_url: str
    ) -> None:
        app = app_of(client)

        @app.get("/parcels")
        async def parcels(db: DbSession) -> list[object]:
            return list(await db.scalars(text("SELECT weight FROM parcels")))

        migrator = await asyncpg.connect(database_url)
        await migrator.execute("CREATE TABLE parcels (weight integer)")
        try:
            before = await client.get("/parcels")
            await migrator.execute("ALTER TABLE parcels ALTER weight TYPE bigint")
            await assert_unavailable(client.get("/parcels"))
            after = await client.get("/parcels")
        finally:
            await migrator.execute("DROP TABLE parcels")
            await migrator.close()

        assert before.status_code == after.status_code == 200


@needs_postgres
@pytest.mark.parametrize(
    "state",
    ["08006", "53100", "53300", "57014", "57P01", "57P02", "57P03", "25006", "40001", "40P01", "55P03"],
)  # fmt: skip
async def test_every_state_that_may_pass_is_unavailable(
    connect: Connect, database_url: str, state: str
) -> None:
    client = await connect(database_url)
    app = app_of(client)

    @app.get("/raise")
    async def raise_state(db: DbSession) -> None:
        await db.execute(
            text(f"DO $$ BEGIN RAISE EXCEPTION 'no' USING ERRCODE = '{state}'; END $$")
        )

    await assert_unavailable(client.get("/raise"))
