"""Repositories on a real database: flushed and not committed."""

import asyncio
from uuid import UUID

import pytest
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncSession

from app.core.errors import Conflict
from app.db.session import SessionFactory
from app.db.types import uuid7
from app.models.user import User
from app.repositories.base import MAX_LIST, BaseRepository
from app.repositories.user import UserRepository


@pytest.fixture
def users(db: AsyncSession) -> UserRepository:
    return UserRepository(db)


async def test_create_gives_an_ordinary_active_account(users: UserRepository) -> None:
    user = await users.create("ada@example.com", "hash")

    assert (user.is_active, user.is_superuser) == (True, False)
    assert isinstance(user.id, UUID)


async def test_create_flushes_and_does_not_commit(
    users: UserRepository, session_factory: SessionFactory
) -> None:
    user = await users.create("ada@example.com", "hash")

    assert await users.get_by_id(user.id) is user
    await users.session.rollback()
    async with session_factory() as other:
        assert await UserRepository(other).get_by_id(user.id) is None


async def test_create_raises_conflict_for_a_taken_address(users: UserRepository) -> None:
    await users.create("ada@example.com", "hash")

    with pytest.raises(Conflict, match="already registered"):
        await users.create("ada@example.com", "other hash")


async def test_other_violated_constraint_is_not_a_conflict(users: UserRepository) -> None:
    with pytest.raises(IntegrityError):
        await users.create("ada@example.com", None)  # type: ignore[arg-type]  # the broken rule


async def test_get_by_email_finds_the_account_or_none(users: UserRepository) -> None:
    user = await users.create("ada@example.com", "hash")

    assert await users.get_by_email("ada@example.com") is user
    assert await users.get_by_email("grace@example.com") is None


async def test_get_by_id_finds_the_account_or_none(users: UserRepository) -> None:
    assert await users.get_by_id(uuid7()) is None


async def test_list_is_in_the_order_of_creation_and_pages_by_the_last_key(
    users: UserRepository,
) -> None:
    made = []
    for number in range(5):
        made.append(await users.create(f"user{number}@example.com", "hash"))
        await asyncio.sleep(0.002)  # the key grows with each millisecond

    first = await users.list(limit=2)
    rest = await users.list(after=first[-1].id)

    assert [*first, *rest] == made


@pytest.mark.parametrize(
    ("limit", "count"),
    [(-1, 1), (0, 1), (1, 1), (MAX_LIST + 1, MAX_LIST), (10**30, MAX_LIST)],
)
async def test_list_is_bounded(users: UserRepository, limit: int, count: int) -> None:
    users.session.add_all(
        [User(email=f"{n}@example.com", hashed_password="-") for n in range(MAX_LIST + 1)]
    )
    await users.session.flush()

    assert len(await users.list(limit=limit)) == count


@pytest.mark.parametrize("active", [True, False])
async def test_set_active_changes_the_account(users: UserRepository, active: bool) -> None:
    user = await users.create("ada@example.com", "hash")

    changed = await users.set_active(user.id, active)

    assert changed is user
    assert user.is_active is active


async def test_set_active_of_an_unknown_id_is_none(users: UserRepository) -> None:
    assert await users.set_active(uuid7(), True) is None


async def test_times_are_aware_in_utc_and_updated_at_moves(
    users: UserRepository, session_factory: SessionFactory
) -> None:
    created = await users.create("ada@example.com", "hash")
    await users.session.commit()
    await asyncio.sleep(0.002)
    await users.set_active(created.id, False)
    await users.session.commit()

    async with session_factory() as other:
        user = await UserRepository(other).get_by_id(created.id)

    assert user is not None
    assert user.created_at.utcoffset() is not None
    assert user.created_at == created.created_at
    assert user.updated_at > user.created_at


async def test_row_inserted_by_hand_gets_the_defaults_of_the_schema(db: AsyncSession) -> None:
    statement = User.__table__.insert().values(  # type: ignore[attr-defined]  # a Table at run time
        id=uuid7(), email="by-hand@example.com", hashed_password="hash"
    )
    await db.execute(statement)

    user = await UserRepository(db).get_by_email("by-hand@example.com")

    assert user is not None
    assert user.created_at.utcoffset() is not None


async def test_delete_flushes_and_does_not_commit(
    users: UserRepository, session_factory: SessionFactory
) -> None:
    user_id = (await users.create("ada@example.com", "hash")).id
    await users.session.commit()

    await users.delete(await users.session.get_one(User, user_id))

    assert await users.get_by_id(user_id) is None
    await users.session.rollback()
    async with session_factory() as other:
        assert await UserRepository(other).get_by_id(user_id) is not None


async def test_repository_with_conditions_finds_no_other_row(users: UserRepository) -> None:
    ada, grace = [await users.create(f"{name}@example.com", "hash") for name in ("ada", "grace")]

    hers = BaseRepository(users.session, User, User.id == grace.id)

    assert await hers.get_by_id(grace.id) is grace
    assert await hers.get_by_id(ada.id) is None
    assert await hers.list() == [grace]


async def test_repository_needs_a_model(users: UserRepository) -> None:
    with pytest.raises(AttributeError, match="model"):
        BaseRepository(users.session)
