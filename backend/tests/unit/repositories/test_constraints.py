"""The violated constraint is identified on every database."""

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio
from sqlalchemy import CheckConstraint, ForeignKey, MetaData, UniqueConstraint
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession
from sqlalchemy.orm import DeclarativeBase, InstrumentedAttribute, Mapped, mapped_column

from app.db.base import NAMING_CONVENTION
from app.repositories.constraints import violates_unique


class Base(DeclarativeBase):
    """A metadata of its own: the migrations know nothing of this table."""

    metadata = MetaData(naming_convention=NAMING_CONVENTION)


class Seat(Base):
    __tablename__ = "seats"
    __table_args__ = (UniqueConstraint("row", "place"), CheckConstraint("row > 0", name="row"))

    id: Mapped[int] = mapped_column(primary_key=True)
    indexed: Mapped[str] = mapped_column(unique=True, index=True)
    constrained: Mapped[str] = mapped_column(unique=True)
    row: Mapped[int]
    place: Mapped[int]
    beside: Mapped[int | None] = mapped_column(ForeignKey("seats.id"), unique=True)


FIRST = {"id": 1, "indexed": "a", "constrained": "a", "row": 1, "place": 1, "beside": 1}
SECOND = {"id": 2, "indexed": "b", "constrained": "b", "row": 2, "place": 2, "beside": 2}
RULES: dict[str, tuple[InstrumentedAttribute[object], ...]] = {
    "indexed": (Seat.indexed,),
    "constrained": (Seat.constrained,),
    "row and place": (Seat.place, Seat.row),
    "beside": (Seat.beside,),
}


@pytest_asyncio.fixture
async def session(engine: AsyncEngine) -> AsyncIterator[AsyncSession]:
    async with engine.begin() as connection:
        await connection.run_sync(Base.metadata.create_all)
    async with AsyncSession(engine) as session:
        yield session
    async with engine.begin() as connection:
        await connection.run_sync(Base.metadata.drop_all)


@pytest.mark.parametrize(
    ("changes", "broken"),
    [
        ({"indexed": "a"}, "indexed"),
        ({"constrained": "a"}, "constrained"),
        ({"row": 1, "place": 1}, "row and place"),
        ({"beside": 1}, "beside"),
        ({"beside": 3}, None),
        ({"row": -1}, None),
        ({"indexed": None}, None),
        ({"id": 1}, None),
    ],
)
async def test_violated_constraint_is_identified(
    session: AsyncSession, changes: dict[str, object], broken: str | None
) -> None:
    session.add(Seat(**FIRST))
    await session.flush()
    session.expunge_all()
    session.add(Seat(**SECOND | changes))

    with pytest.raises(IntegrityError) as caught:
        await session.flush()

    found = [name for name, columns in RULES.items() if violates_unique(caught.value, *columns)]
    assert found == ([broken] if broken else [])
