"""Idempotency-Key: what is sent again is done once. The ids are those of traps."""

import asyncio
import re
from collections.abc import Iterator
from datetime import timedelta

import pytest
from fastapi import FastAPI
from httpx2 import AsyncClient, Response
from sqlalchemy import event, func, select, update
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession

from app.api.v1.once import REPLAYED, get_once
from app.auth.sweep import sweep_idempotency_keys
from app.cli import calls
from app.db.session import SessionFactory
from app.db.types import utc_now
from app.models.idempotency_key import IdempotencyKey
from app.models.user import User
from app.repositories.idempotency_key import IdempotencyKeyRepository
from tests.fixtures.auth import headers_of
from tests.fixtures.authorization import NEVER_A_FIELD, served
from tests.fixtures.books import Book, app
from tests.fixtures.cache import statements
from tests.fixtures.db import is_postgres
from tests.fixtures.env import make_settings
from tests.fixtures.matrix import Document

__all__ = ["app", "statements"]  # the fixtures

BOOKS = "/api/v1/books"
KEYS = 50  # of each part of the slow test
# A response under one of these names would be a secret in the database.
SECRET = re.compile(f"{NEVER_A_FIELD.pattern}|token|api_?key", re.IGNORECASE)


async def create(
    client: AsyncClient, user: User, code: str, *keys: str, query: str = ""
) -> Response:
    headers = [*headers_of(user).items(), *(("Idempotency-Key", key) for key in keys)]
    return await client.post(
        f"{BOOKS}{query}", json={"title": "Dune", "code": code}, headers=headers
    )


async def books(db: AsyncSession) -> int:
    await db.rollback()
    return await db.scalar(select(func.count()).select_from(Book)) or 0


def names_in(document: Document, node: object, seen: frozenset[str] = frozenset()) -> Iterator[str]:
    """The name of every field of a schema and of those that it refers to."""
    if isinstance(node, list):
        for each in node:
            yield from names_in(document, each, seen)
    elif isinstance(node, dict):
        name = str(node.get("$ref", "")).rpartition("/")[2]
        if name and name not in seen:
            schema = document["components"]["schemas"][name]
            yield from names_in(document, schema, seen | {name})
        yield from node.get("properties", ())
        yield from names_in(document, [*node.values()], seen)


class TestReplay:
    async def test_second_request_gets_the_response_of_the_first_and_is_told(
        self, client: AsyncClient, db: AsyncSession, ada: User
    ) -> None:
        first, second = [await create(client, ada, "1", "k") for _ in range(2)]

        assert (first.status_code, second.status_code) == (201, 201)
        assert first.content == second.content
        assert "Idempotent-Replayed" not in first.headers
        assert second.headers["Idempotent-Replayed"] == "true"
        assert first.headers["ETag"] == second.headers["ETag"] == '"1"'
        assert await books(db) == 1

    def test_headers_about_the_key_are_in_the_document(self, app: FastAPI) -> None:
        responses = app.openapi()["paths"][BOOKS]["post"]["responses"]

        assert {"ETag", REPLAYED} <= responses["201"]["headers"].keys()
        assert "Retry-After" in responses["409"]["headers"]

    async def test_without_a_key_nothing_is_stored(
        self, client: AsyncClient, db: AsyncSession, ada: User
    ) -> None:
        responses = [await create(client, ada, "1") for _ in range(2)]

        assert [response.status_code for response in responses] == [201, 409]
        assert (await db.scalars(select(IdempotencyKey))).all() == []

    async def test_error_is_not_stored_and_may_be_tried_again(
        self, client: AsyncClient, db: AsyncSession, ada: User, grace: User
    ) -> None:
        await create(client, grace, "1")

        taken = [await create(client, ada, "1", "k") for _ in range(2)]

        assert [response.status_code for response in taken] == [409, 409]
        assert (await db.scalars(select(IdempotencyKey))).all() == []
        assert (await create(client, ada, "2", "k")).status_code == 201

    async def test_expired_key_is_a_new_one_and_is_swept(
        self, client: AsyncClient, db: AsyncSession, ada: User
    ) -> None:
        ago = utc_now() - timedelta(hours=24, seconds=1)
        for code in ("1", "2"):
            response = await create(client, ada, code, "k")
            assert (response.status_code, "Idempotent-Replayed" in response.headers) == (201, False)
            await db.execute(update(IdempotencyKey).values(created_at=ago))
            await db.commit()

        swept = await sweep_idempotency_keys(db, make_settings(), utc_now(), 10)
        await db.commit()

        assert (swept, await books(db)) == (1, 2)

    async def test_response_that_this_release_cannot_read_is_409(
        self, client: AsyncClient, db: AsyncSession, ada: User
    ) -> None:
        await create(client, ada, "1", "k")
        await db.execute(update(IdempotencyKey).values(response='{"title": "of before"}'))
        await db.commit()

        response = await create(client, ada, "1", "k")

        assert (response.status_code, await books(db)) == (409, 1)
        assert "Idempotent-Replayed" not in response.headers
        assert response.json()["error"]["message"].startswith("This request has succeeded")

    async def test_without_a_key_is_two_statements_keyed_five_and_a_replay_four(
        self, client: AsyncClient, ada: User, statements: list[str]
    ) -> None:
        lock = int(is_postgres())
        for code, keys, count in (("0", [], 2), ("1", ["k"], 4 + lock), ("1", ["k"], 3 + lock)):
            statements.clear()
            await create(client, ada, code, *keys)
            assert len(statements) == count, statements


class TestKey:
    async def test_i3_key_with_another_request_is_422(
        self, client: AsyncClient, db: AsyncSession, ada: User
    ) -> None:
        await create(client, ada, "1", "k")

        for other in (
            await create(client, ada, "2", "k"),
            await create(client, ada, "1", "k", query="?a=1"),
        ):
            assert other.status_code == 422
            [error] = other.json()["error"]["details"]["errors"]
            assert (error["loc"], error["type"]) == (["header", "Idempotency-Key"], "key_reused")
            assert error["msg"] == "The key came with another request"
        assert await books(db) == 1

    async def test_i3_key_of_another_account_is_another_key(
        self, client: AsyncClient, db: AsyncSession, ada: User, grace: User
    ) -> None:
        responses = [
            await create(client, user, code, "k") for user, code in ((ada, "1"), (grace, "2"))
        ]

        assert [response.status_code for response in responses] == [201, 201]
        assert await books(db) == 2

    async def test_i3_key_that_is_none_is_rejected(self, client: AsyncClient, ada: User) -> None:
        for keys, status in (
            (("",), 422), (("a b",), 422), (("a" * 65,), 422), (("a", "a"), 400),
        ):  # fmt: skip
            assert (await create(client, ada, "1", *keys)).status_code == status, keys

    async def test_i3_no_route_stores_a_secret(self, app: FastAPI) -> None:
        routes = [
            route for route, context in served(app).items() if get_once in calls(context.dependant)
        ]

        assert routes
        document = app.openapi()
        for route in routes:
            operation = document["paths"][route.path][route.method.lower()]
            of_success = [v for status, v in operation["responses"].items() if status < "3"]
            names = {*names_in(document, [operation["requestBody"], of_success])}
            assert names
            assert [name for name in names if SECRET.search(name)] == [], route

    def test_i3_secret_is_found_at_any_depth(self, app: FastAPI) -> None:
        document = app.openapi()
        tokens = {"$ref": "#/components/schemas/Tokens"}
        nested = {"properties": {"login": {"anyOf": [{"items": tokens}, {"type": "null"}]}}}

        found = {name for name in names_in(document, nested) if SECRET.search(name)}

        assert found == {"access_token", "refresh_token", "token_type"}


class TestRace:
    async def test_i1_duplicates_in_flight_are_done_once(
        self, client: AsyncClient, db: AsyncSession, ada: User
    ) -> None:
        for round_ in range(10):
            responses = await asyncio.gather(
                *(create(client, ada, f"{round_}", f"k{round_}") for _ in range(8))
            )

            assert {response.status_code for response in responses} <= {201, 409}
            made = [r for r in responses if "Idempotent-Replayed" not in r.headers and r.is_success]
            assert len(made) == 1
            for response in responses:
                if response.status_code == 409:
                    assert response.headers["Retry-After"] == "1"
        assert await books(db) == 10

    async def test_key_without_a_response_is_in_flight(
        self, client: AsyncClient, db: AsyncSession, ada: User
    ) -> None:
        await create(client, ada, "1", "k")
        await db.execute(update(IdempotencyKey).values(response=None))
        await db.commit()

        response = await create(client, ada, "1", "k")

        assert (response.status_code, response.headers["Retry-After"]) == (409, "1")
        assert response.json()["error"]["message"] == "A request with this key is in flight"

    async def test_m1_key_that_another_transaction_locks_is_409_at_once(
        self, client: AsyncClient, session_factory: SessionFactory, ada: User
    ) -> None:
        if not is_postgres():
            pytest.skip("SQLite has one writer, for whom the duplicate waits")
        async with session_factory.begin() as other:
            assert await IdempotencyKeyRepository(other, ada.id).lock("k")
            response = await asyncio.wait_for(create(client, ada, "1", "k"), timeout=1)

        assert (response.status_code, response.headers["Retry-After"]) == (409, "1")
        assert (await create(client, ada, "1", "k")).status_code == 201

    @pytest.mark.slow
    @pytest.mark.parametrize("part", range(4))
    async def test_i1_twenty_at_once_of_which_one_in_five_fails_are_done_once(
        self, client: AsyncClient, db: AsyncSession, engine: AsyncEngine, ada: User, part: int
    ) -> None:
        """Fails behind the work: the key must not stay without it, nor it without the key."""
        stored = 0

        def fail(connection: object, cursor: object, statement: str, *rest: object) -> None:
            nonlocal stored
            if statement.startswith("UPDATE idempotency_keys"):
                stored += 1
                if stored % 5 == 1:
                    raise RuntimeError("the process is gone")

        event.listen(engine.sync_engine, "before_cursor_execute", fail)
        try:
            for number in range(KEYS):
                code = f"{part}.{number}"
                responses = [
                    *await asyncio.gather(*(create(client, ada, code, code) for _ in range(20))),
                    *[await create(client, ada, code, code) for _ in range(2)],
                ]

                assert {r.status_code for r in responses} <= {201, 409, 500, 503}
                made = [r for r in responses if r.is_success and not r.headers.get(REPLAYED)]
                assert len(made) == 1, number
                taken = [r for r in responses if "This code is taken" in r.text]
                assert taken == []
        finally:
            event.remove(engine.sync_engine, "before_cursor_execute", fail)

        assert stored > KEYS
        assert await books(db) == KEYS

    async def test_i2_loser_does_not_take_the_row_of_the_winner_for_a_conflict(
        self, client: AsyncClient, ada: User
    ) -> None:
        for round_ in range(5):
            code = f"{round_}"
            responses = [await create(client, ada, code, code)]
            responses += await asyncio.gather(*(create(client, ada, code, code) for _ in range(4)))

            assert {r.json().get("error", {}).get("message") for r in responses} <= {
                None,
                "A request with this key is in flight",
            }
            assert {r.status_code for r in responses} <= {201, 409}

    async def test_i1_failure_at_each_statement_leaves_neither_work_nor_key(
        self, client: AsyncClient, db: AsyncSession, engine: AsyncEngine, ada: User
    ) -> None:
        left = 0

        def fail(connection: object, cursor: object, statement: str, *rest: object) -> None:
            nonlocal left
            if "idempotency" in statement or "books_of_test" in statement:
                left -= 1
                if left == 0:
                    raise RuntimeError("the process is gone")

        event.listen(engine.sync_engine, "before_cursor_execute", fail)
        for statement in (1, 2, 3):
            left = statement
            assert (await create(client, ada, "1", "k")).status_code in {500, 503}
        event.remove(engine.sync_engine, "before_cursor_execute", fail)

        assert (await books(db), (await db.scalars(select(IdempotencyKey))).all()) == (0, [])
        assert (await create(client, ada, "1", "k")).status_code == 201
