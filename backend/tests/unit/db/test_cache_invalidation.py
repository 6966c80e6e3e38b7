"""Cached keys are forgotten after the commit that changed their row: not before, not without, not too few."""

import asyncio
from collections.abc import Awaitable, Callable
from uuid import UUID

import pytest
from sqlalchemy import delete, event, update
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession

from app.db.cache_invalidation import mark_dirty
from app.db.session import SessionFactory, build_session_factory
from app.models.user import User, caller_key, user_key
from app.repositories.user import UserRepository


class Forgotten:
    """The cache's ``delete``: notes each key, and whether the change could be seen by then."""

    def __init__(self) -> None:
        self.keys: list[str] = []
        self.look: Callable[[], Awaitable[object]] | None = None
        self.seen: list[object] = []

    async def __call__(self, key: str) -> None:
        await asyncio.sleep(0)
        if self.look:
            self.seen.append(await self.look())
        self.keys.append(key)

    def clear(self) -> None:
        self.keys.clear()


@pytest.fixture
def forgotten() -> Forgotten:
    return Forgotten()


@pytest.fixture
def sessions(engine: AsyncEngine, database_url: str, forgotten: Forgotten) -> SessionFactory:
    return build_session_factory(engine, forgotten)


def keys_of(*users: User | UUID) -> list[str]:
    ids = [user if isinstance(user, UUID) else user.id for user in users]
    return sorted(key for user_id in ids for key in (user_key(user_id), caller_key(user_id)))


async def is_active(factory: SessionFactory, user_id: UUID) -> bool:
    async with factory() as session:
        user = await UserRepository(session).get_by_id(user_id)
        assert user is not None
        return user.is_active


async def update_attribute(session: AsyncSession, user_id: UUID) -> None:
    user = await session.get_one(User, user_id)
    user.email = "new@example.com"


async def delete_row(session: AsyncSession, user_id: UUID) -> None:
    await session.delete(await session.get_one(User, user_id))


async def deactivate(session: AsyncSession, user_id: UUID) -> None:
    await UserRepository(session).set_active(user_id, False)


async def repeat_what_is_already_so(session: AsyncSession, user_id: UUID) -> None:
    await UserRepository(session).set_active(user_id, True)


async def update_by_statement(session: AsyncSession, user_id: UUID) -> None:
    user = await session.get_one(User, user_id)
    await session.execute(update(User).where(User.id == user_id).values(is_active=False))
    mark_dirty(session, user)


async def delete_by_statement(session: AsyncSession, user_id: UUID) -> None:
    user = await session.get_one(User, user_id)
    mark_dirty(session, user)
    await session.execute(delete(User).where(User.id == user_id))


Change = Callable[[AsyncSession, UUID], Awaitable[None]]

CHANGES = [
    update_attribute, delete_row, deactivate, repeat_what_is_already_so, update_by_statement,
    delete_by_statement,
]  # fmt: skip


@pytest.mark.parametrize("change", CHANGES, ids=lambda change: change.__name__)
class TestChange:
    async def test_change_is_invalidated_after_the_commit(
        self, sessions: SessionFactory, forgotten: Forgotten, ada: User, change: Change
    ) -> None:
        async with sessions() as session:
            await change(session, ada.id)
            await session.flush()
            assert forgotten.keys == []

            await session.commit()
            assert sorted(forgotten.keys) == keys_of(ada)

        assert sorted(forgotten.keys) == keys_of(ada)

    async def test_change_is_invalidated_after_a_begin_block(
        self, sessions: SessionFactory, forgotten: Forgotten, ada: User, change: Change
    ) -> None:
        async with sessions.begin() as session:
            await change(session, ada.id)

        assert sorted(forgotten.keys) == keys_of(ada)

    async def test_change_is_not_invalidated_after_a_rollback(
        self, sessions: SessionFactory, forgotten: Forgotten, ada: User, change: Change
    ) -> None:
        async with sessions() as session:
            await change(session, ada.id)
            await session.flush()
            await session.rollback()
            await session.commit()

        assert forgotten.keys == []

    async def test_change_is_not_invalidated_without_a_commit(
        self, sessions: SessionFactory, forgotten: Forgotten, ada: User, change: Change
    ) -> None:
        async with sessions() as session:
            await change(session, ada.id)
            await session.flush()

        assert forgotten.keys == []

    async def test_commit_works_without_a_cache(
        self, session_factory: SessionFactory, ada: User, change: Change
    ) -> None:
        async with session_factory() as session:
            await change(session, ada.id)
            await session.commit()


class TestInvalidation:
    async def test_invalidation_comes_after_the_change_is_visible(
        self, sessions: SessionFactory, forgotten: Forgotten, ada: User
    ) -> None:
        forgotten.look = lambda: is_active(sessions, ada.id)

        async with sessions() as session:
            await deactivate(session, ada.id)
            await session.commit()

        assert forgotten.seen == [False, False]

    async def test_invalidation_holds_no_connection(
        self, engine: AsyncEngine, sessions: SessionFactory, forgotten: Forgotten, ada: User
    ) -> None:
        async def connections_in_use() -> int:
            return int(engine.pool.checkedout())  # type: ignore[attr-defined]

        forgotten.look = connections_in_use

        async with sessions() as session:
            await deactivate(session, ada.id)
            await session.commit()

        assert forgotten.seen == [0, 0]

    async def test_insert_and_read_invalidate_nothing(
        self, sessions: SessionFactory, forgotten: Forgotten, ada: User
    ) -> None:
        async with sessions() as session:
            await UserRepository(session).create("new@example.com", "hash")
            await UserRepository(session).get_by_id(ada.id)
            await session.commit()

        assert forgotten.keys == []

    async def test_transaction_invalidates_its_own_changes_once(
        self, sessions: SessionFactory, forgotten: Forgotten, ada: User, grace: User
    ) -> None:
        async with sessions() as session:
            await deactivate(session, ada.id)
            await session.commit()
            forgotten.clear()
            await deactivate(session, grace.id)
            await session.commit()
            assert sorted(forgotten.keys) == keys_of(grace)
            await session.commit()

        assert sorted(forgotten.keys) == keys_of(grace)

    async def test_row_changed_twice_is_invalidated_once(
        self, sessions: SessionFactory, forgotten: Forgotten, ada: User
    ) -> None:
        async with sessions.begin() as session:
            for active in (False, True, False):
                await UserRepository(session).set_active(ada.id, active)

        assert sorted(forgotten.keys) == keys_of(ada)

    async def test_session_that_expires_at_commit_invalidates(
        self, engine: AsyncEngine, sessions: SessionFactory, forgotten: Forgotten, ada: User
    ) -> None:
        sessions.configure(expire_on_commit=True)

        async with sessions() as session:
            user = await session.get_one(User, ada.id)
            await session.commit()
            user.is_active = False
            await session.commit()

        assert sorted(forgotten.keys) == keys_of(ada)

    async def test_cancelled_writer_still_invalidates(
        self, sessions: SessionFactory, forgotten: Forgotten, ada: User
    ) -> None:
        reached = asyncio.Event()

        async def linger() -> None:
            reached.set()
            await asyncio.sleep(0.05)

        forgotten.look = linger

        async def write() -> None:
            async with sessions() as session:
                await deactivate(session, ada.id)
                await session.commit()

        task = asyncio.create_task(write())
        await reached.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

        assert sorted(forgotten.keys) == keys_of(ada)


class TestSavepoint:
    async def test_released_savepoint_invalidates_nothing_before_the_commit(
        self, sessions: SessionFactory, forgotten: Forgotten, ada: User
    ) -> None:
        async with sessions() as session:
            async with session.begin_nested():
                await deactivate(session, ada.id)
            assert forgotten.keys == []

            await session.commit()

        assert sorted(forgotten.keys) == keys_of(ada)

    async def test_released_savepoint_invalidates_nothing_after_a_rollback(
        self, sessions: SessionFactory, forgotten: Forgotten, ada: User
    ) -> None:
        async with sessions() as session:
            async with session.begin_nested():
                await deactivate(session, ada.id)
            await session.rollback()
            await session.commit()

        assert forgotten.keys == []

    async def test_savepoint_rollback_keeps_other_changes(
        self, sessions: SessionFactory, forgotten: Forgotten, ada: User, grace: User
    ) -> None:
        async with sessions() as session:
            await deactivate(session, ada.id)
            savepoint = await session.begin_nested()
            await deactivate(session, grace.id)
            await savepoint.rollback()
            await session.commit()

        assert set(keys_of(ada)) <= set(forgotten.keys) <= set(keys_of(ada, grace))

    async def test_nested_savepoint_waits_for_the_commit(
        self, sessions: SessionFactory, forgotten: Forgotten, ada: User, grace: User
    ) -> None:
        async with sessions() as session:
            async with session.begin_nested():
                await deactivate(session, grace.id)
                async with session.begin_nested():
                    await deactivate(session, ada.id)
                assert forgotten.keys == []
            assert forgotten.keys == []
            await session.commit()

        assert sorted(forgotten.keys) == keys_of(ada, grace)


class TestFailingCommit:
    async def test_failing_commit_invalidates_nothing(
        self, sessions: SessionFactory, forgotten: Forgotten, ada: User
    ) -> None:
        def refuse(*arguments: object) -> None:
            raise RuntimeError("the commit was refused")

        async with sessions() as session:
            await deactivate(session, ada.id)
            connection = await session.connection()
            event.listen(connection.sync_connection, "commit", refuse)
            with pytest.raises(RuntimeError):
                await session.commit()
            event.remove(connection.sync_connection, "commit", refuse)
            await session.rollback()
            await session.commit()

        assert forgotten.keys == []
        assert await is_active(sessions, ada.id)
