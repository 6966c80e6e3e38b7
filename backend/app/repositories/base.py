"""Repositories run queries and flush; they never commit and do not know HTTP."""

from collections.abc import Sequence
from typing import Generic, TypeVar
from uuid import UUID

from sqlalchemy import ColumnElement, Select, select
from sqlalchemy.ext.asyncio import AsyncSession

from app.models.mixins import IdMixin

ModelT = TypeVar("ModelT", bound=IdMixin)

MAX_LIST = 100


class BaseRepository(Generic[ModelT]):
    """The queries that every model has. A subclass names its ``model`` and adds its own.

    A model without questions of its own needs no subclass: ``BaseRepository(db, Note, Note.owner_id == caller.id)``.
    ``only`` narrows every question: a row for which it does not hold is not there.
    """

    model: type[ModelT]

    def __init__(
        self, session: AsyncSession, model: type[ModelT] | None = None, *only: ColumnElement[bool]
    ) -> None:
        self.session = session
        self.model = model or self.model
        self.only = only

    def base_query(self) -> Select[ModelT]:
        """The query that every other one starts from."""
        return select(self.model).where(*self.only)

    async def get_by_id(self, row_id: UUID) -> ModelT | None:
        """The row with this key, or ``None``."""
        return await self.session.scalar(self.base_query().where(self.model.id == row_id))

    async def list(self, *, limit: int = MAX_LIST, after: UUID | None = None) -> Sequence[ModelT]:
        """At most ``limit`` (1 to 100) rows in the order they were made, those behind ``after``."""
        query = self.base_query().order_by(self.model.id).limit(min(max(limit, 1), MAX_LIST))
        if after is not None:
            query = query.where(self.model.id > after)
        return (await self.session.scalars(query)).all()

    async def add(self, row: ModelT) -> ModelT:
        """Insert ``row`` now. Raises ``sqlalchemy.exc.IntegrityError`` when a constraint says no."""
        self.session.add(row)
        await self.session.flush()
        return row

    async def delete(self, row: ModelT) -> None:
        """Delete ``row`` now. Raises ``sqlalchemy.exc.IntegrityError`` when another row needs it."""
        await self.session.delete(row)
        await self.session.flush()
