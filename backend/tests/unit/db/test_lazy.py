"""A relationship is loaded because a query asks for it, and never on access: ``lazy="raise"``."""

from uuid import UUID

import pytest
from sqlalchemy import ForeignKey, inspect, select
from sqlalchemy.exc import InvalidRequestError
from sqlalchemy.ext.asyncio import AsyncEngine
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column, relationship, selectinload

from app.db.base import Base
from app.db.session import SessionFactory
from app.models.mixins import IdMixin


class OwnBase(DeclarativeBase):
    """Separate metadata, whose tables the fixtures of the suite do not create."""


class Shelf(IdMixin, OwnBase):
    __tablename__ = "shelves"

    books: Mapped[list["Book"]] = relationship(lazy="raise")


class Book(IdMixin, OwnBase):
    __tablename__ = "books"

    shelf_id: Mapped[UUID] = mapped_column(ForeignKey(Shelf.id))


def test_every_relationship_of_the_models_is_loaded_by_queries_only() -> None:
    silent = [
        str(relation)
        for mapper in Base.registry.mappers
        for relation in inspect(mapper).relationships
        if relation.lazy not in {"raise", "raise_on_sql", "write_only", "noload"}
    ]

    assert silent == []


async def test_lazy_access_is_rejected_and_an_explicit_query_works(
    engine: AsyncEngine, session_factory: SessionFactory
) -> None:
    async with engine.begin() as connection:
        await connection.run_sync(OwnBase.metadata.create_all)
    async with session_factory.begin() as session:
        session.add(Shelf())

    async with session_factory() as session:
        bare = (await session.scalars(select(Shelf))).one()
        with pytest.raises(InvalidRequestError, match="lazy='raise'"):
            _ = bare.books
        session.expunge_all()
        asked = (await session.scalars(select(Shelf).options(selectinload(Shelf.books)))).one()
        assert asked.books == []
    async with engine.begin() as connection:
        await connection.run_sync(OwnBase.metadata.drop_all)
