"""A current user who is deleted between authentication and a change gets one response, whatever the change was."""

import logging
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio
from fastapi import FastAPI
from httpx2 import AsyncClient
from sqlalchemy import Column, ForeignKey, MetaData, Table, Uuid, delete, insert
from sqlalchemy.ext.asyncio import AsyncEngine

from app.auth.dependencies import CurrentUser
from app.db.session import DbSession, SessionFactory
from app.db.types import uuid7
from app.models.user import User
from tests.fixtures.auth import headers_of

NOTES = Table("notes_of_test", MetaData(), Column("owner", Uuid, ForeignKey(User.id)))


@pytest_asyncio.fixture
async def app(
    app: FastAPI, session_factory: SessionFactory, engine: AsyncEngine
) -> AsyncIterator[FastAPI]:
    """Two of its endpoints delete their caller, as another request does it, and then change something of theirs."""
    async with engine.begin() as connection:
        await connection.run_sync(NOTES.create)

    async def delete_caller(caller: CurrentUser) -> None:
        async with session_factory.begin() as another_request:
            await another_request.execute(delete(User).where(User.id == caller.id))

    @app.post("/rename")
    async def rename(caller: CurrentUser, db: DbSession) -> None:
        user = await db.get_one(User, caller.id)
        await db.commit()
        await delete_caller(caller)
        user.email = "new@example.com"

    @app.post("/note")
    async def note(caller: CurrentUser, db: DbSession) -> None:
        await delete_caller(caller)
        await db.execute(insert(NOTES).values(owner=caller.id))

    @app.post("/note-of-nobody")
    async def note_of_nobody(caller: CurrentUser, db: DbSession) -> None:
        await db.execute(insert(NOTES).values(owner=uuid7()))

    yield app
    async with engine.begin() as connection:
        await connection.run_sync(NOTES.drop)


@pytest.mark.parametrize("change", ["rename", "note"])
async def test_response_is_that_of_the_next_request(
    client: AsyncClient, ada: User, caplog: pytest.LogCaptureFixture, change: str
) -> None:
    with caplog.at_level(logging.WARNING):
        response = await client.post(f"/{change}", headers=headers_of(ada))
    after = await client.get("/api/v1/users/me", headers=headers_of(ada))

    assert response.status_code == after.status_code == 401
    assert response.headers["WWW-Authenticate"] == after.headers["WWW-Authenticate"]
    assert response.json()["error"]["message"] == after.json()["error"]["message"]
    assert [(record.levelname, record.message) for record in caplog.records] == [
        ("WARNING", "authn_account_gone")
    ]


async def test_existing_caller_gets_a_conflict(client: AsyncClient, ada: User) -> None:
    response = await client.post("/note-of-nobody", headers=headers_of(ada))

    assert response.status_code == 409
