"""Plain annotations of a model have the same column type on every database."""

import enum
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta, timezone
from uuid import UUID

import pytest_asyncio
from sqlalchemy import MetaData, func, insert, select, text
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from app.db.base import NAMING_CONVENTION, Base
from app.db.session import SessionFactory
from app.models.mixins import IdMixin, TimestampMixin
from app.models.user import User

NOON = datetime(2026, 1, 5, 12, tzinfo=timezone(timedelta(hours=2)))


class Kind(enum.Enum):
    ROUND_TRIP = "round-trip"
    ONE_WAY = "one-way"


class OwnBase(DeclarativeBase):
    """Separate metadata, whose tables the fixtures of the suite do not create."""

    metadata = MetaData(naming_convention=NAMING_CONVENTION)
    type_annotation_map = Base.type_annotation_map


class Trip(IdMixin, TimestampMixin, OwnBase):
    __tablename__ = "trips"

    starts: Mapped[datetime]
    ends: Mapped[datetime | None]
    kind: Mapped[Kind] = mapped_column(default=Kind.ONE_WAY)


@pytest_asyncio.fixture
async def trips(
    engine: AsyncEngine, session_factory: SessionFactory
) -> AsyncIterator[AsyncSession]:
    """A session beside a table of trips."""
    async with engine.begin() as connection:
        await connection.run_sync(OwnBase.metadata.create_all)
    async with session_factory() as session:
        yield session
    async with engine.begin() as connection:
        await connection.run_sync(OwnBase.metadata.drop_all)


async def test_datetime_is_stored_in_utc_and_read_aware(trips: AsyncSession) -> None:
    trips.add(Trip(starts=NOON))
    await trips.commit()
    trips.expunge_all()

    found = (await trips.scalars(select(Trip))).one()

    assert (found.starts, found.starts.tzinfo, found.ends) == (NOON, UTC, None)


async def test_enumeration_is_kept_as_the_text_of_its_value(trips: AsyncSession) -> None:
    trips.add(Trip(starts=NOON, kind=Kind.ROUND_TRIP))
    await trips.commit()
    trips.expunge_all()

    assert await trips.scalar(text("SELECT kind FROM trips")) == "round-trip"
    assert (await trips.scalars(select(Trip))).one().kind is Kind.ROUND_TRIP


async def test_enumeration_leaves_no_type_behind(trips: AsyncSession, engine: AsyncEngine) -> None:
    async with engine.begin() as connection:
        await connection.run_sync(OwnBase.metadata.drop_all)
        await connection.run_sync(OwnBase.metadata.create_all)

    assert Trip.__table__.c.kind.type.length == 32  # type: ignore[attr-defined]  # an Enum


async def test_duration_beside_a_column_of_times_is_a_duration(trips: AsyncSession) -> None:
    trips.add(Trip(starts=NOON))
    await trips.commit()

    day = timedelta(days=1)
    found = (
        await trips.execute(
            select(
                Trip.starts + day,
                Trip.starts - day,
                (Trip.created_at + day < func.now()).label("is over"),
                (Trip.created_at - day < func.now()).label("has begun"),
            )
        )
    ).one()

    assert tuple(found) == (NOON + day, NOON - day, False, True)


async def test_several_rows_in_one_statement_have_keys_and_times(db: AsyncSession) -> None:
    rows = [{"email": f"{name}@example.com", "hashed_password": "-"} for name in ("ada", "grace")]

    await db.execute(insert(User).values(rows))
    await db.commit()

    made = (await db.scalars(select(User))).all()
    assert len({user.id for user in made}) == 2
    assert all(isinstance(user.id, UUID) for user in made)
    assert all(user.updated_at.tzinfo is UTC for user in made)
