"""Repositories run queries and flush; they never commit and do not know HTTP."""

from collections.abc import Collection, Mapping, Sequence
from typing import Any, Generic, TypeVar
from uuid import UUID

from sqlalchemy import ColumnElement, Select, inspect, select
from sqlalchemy.ext.asyncio import AsyncSession

from app.db.autocommit import read_rows
from app.models.mixins import IdMixin
from app.repositories.pages import Page, Sort

ModelT = TypeVar("ModelT", bound=IdMixin)

MAX_LIST = 100


def changed_rows(result: Any) -> int:
    """How many rows an INSERT, UPDATE or DELETE has met; SQLAlchemy types its result without."""
    count: int = result.rowcount
    return count


def named_column(model: type[IdMixin], name: str) -> ColumnElement[Any]:
    """The column of the table behind an attribute, by the name of the attribute; it is read faster than the attribute."""
    column: ColumnElement[Any] = inspect(model).columns[name]
    return column if column.key == name else column.label(name)


def cursor_behind(rows: Sequence[Any], sort: Sort, limit: int) -> str | None:
    """The cursor of what follows the first ``limit`` rows; ``None`` where there is nothing."""
    return sort.cursor_of(rows[limit - 1]) if len(rows) > limit else None


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

    async def page(
        self,
        sort: Sort,
        *where: ColumnElement[bool],
        limit: int,
        after: str | None = None,
        fields: Collection[str] = (),
    ) -> Page[Any]:
        """At most ``limit`` (1 to 100) rows for which ``where`` holds, those behind the cursor ``after``.

        With ``fields``, such as ``NotePublic.model_fields``, each is a dictionary of these columns and no object that can
        be changed, in two thirds of the time. Raises ``KeyError`` for a field that is no column, and
        ``ValidationFailed`` for a cursor that is not of this ``sort``.
        """
        limit = min(max(limit, 1), MAX_LIST)
        query = self.base_query().where(*where).order_by(*sort.order_by).limit(limit + 1)
        if after is not None:
            query = query.where(sort.behind(after))
        if not fields:
            rows = (await self.session.scalars(query)).all()
            return Page(rows[:limit], cursor_behind(rows, sort, limit))
        names = dict.fromkeys((*fields, sort.column.key, sort.key.key))
        columns = (named_column(self.model, name) for name in names)
        read = await read_rows(self.session, query.with_only_columns(*columns))
        items = [dict(zip(fields, row, strict=False)) for row in read[:limit]]
        return Page(items, cursor_behind(read, sort, limit))

    async def change(self, row: ModelT, changes: Mapping[str, Any]) -> ModelT:
        """Set these columns of ``row`` now; what is as it was costs no statement.

        Raises ``sqlalchemy.orm.exc.StaleDataError``, a 409, where a row with a version was changed meanwhile.
        """
        for name, value in changes.items():
            setattr(row, name, value)
        await self.session.flush()
        return row

    async def add(self, row: ModelT) -> ModelT:
        """Insert ``row`` now. Raises ``sqlalchemy.exc.IntegrityError`` when a constraint says no."""
        self.session.add(row)
        await self.session.flush()
        return row

    async def delete(self, row: ModelT) -> None:
        """Delete ``row`` now. Raises ``sqlalchemy.exc.IntegrityError`` when another row needs it."""
        await self.session.delete(row)
        await self.session.flush()
