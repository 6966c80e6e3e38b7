"""Drafted migrations: the same on every database, about the tables of this application alone."""

import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Literal

from sqlalchemy import Column, DefaultClause, MetaData, TypeDecorator, cast, literal_column, select
from sqlalchemy.dialects import postgresql
from sqlalchemy.sql.elements import False_, True_
from sqlalchemy.sql.functions import now
from sqlalchemy.types import JSON, Text, TypeEngine

from alembic.autogenerate.api import AutogenContext
from alembic.ddl.postgresql import PostgresqlImpl
from alembic.runtime.migration import MigrationContext

# As SQLite renders these defaults, PostgreSQL would reject a boolean.
PORTABLE: dict[type, str] = {now: "sa.func.now()", True_: "sa.true()", False_: "sa.false()"}
MADE = re.compile(r"""(?:create_table\(|rename_table\(\s*["']\w+["'],)\s*["'](\w+)["']""")


def include_name(metadata: MetaData, versions: Path) -> Callable[..., bool]:
    """Which tables of a database are compared with ``metadata``: Alembic's ``include_name``.

    Those of the models, and those that a file in ``versions`` has made or renamed, so that the table of a deleted
    model is dropped. A table of anybody else is left alone: an extension's (PostGIS), or another application's.
    """
    files = versions.glob("*.py")
    ours = {name for file in files for name in MADE.findall(file.read_text(encoding="utf-8"))}
    ours |= {table.name for table in metadata.tables.values()}

    def is_ours(name: str | None, kind: str, parents: Mapping[str, str | None]) -> bool:
        return kind != "table" or name in ours

    return is_ours


def render_item(kind: str, item: object, context: AutogenContext) -> str | Literal[False]:
    """A draft means the same on every database, and imports nothing of the application."""
    if isinstance(item, DefaultClause):
        return PORTABLE.get(type(item.arg), False)
    return render_type(item, context) if isinstance(item, TypeEngine) else False


def render_type(item: TypeEngine[Any], context: AutogenContext) -> str | Literal[False]:
    """Our own types as what they store, and types of PostgreSQL as Alembic renders them there."""
    if isinstance(item, TypeDecorator):
        stored = item.impl_instance
        return f"sa.{stored!r}" if type(stored).__module__ == "sqlalchemy.sql.sqltypes" else False
    if not type(item).__module__.startswith("sqlalchemy.dialects.postgresql"):
        return False
    context.imports.add("from sqlalchemy.dialects import postgresql")
    dialect = postgresql.dialect()  # type: ignore[no-untyped-call]  # SQLAlchemy's own gap
    impl = PostgresqlImpl(dialect, None, True, None, None, {})
    return impl.render_type(item, context) or f"postgresql.{item!r}"


def compare_server_default(  # noqa: PLR0917  Alembic calls it
    context: MigrationContext,
    inspected: Column[Any],
    column: Column[Any],
    inspected_default: str | None,
    default: object,
    rendered_default: str | None,
) -> bool | None:
    """Whether a default of ``json`` differs, compared as text: PostgreSQL has no ``=`` for the type.

    An empty text on SQLite is the same, which Alembic does not see. ``None`` leaves everything else to it.
    """
    if rendered_default == "" and (inspected_default or "").strip("()") == "''":
        return False
    if context.dialect.name != "postgresql" or not has_json(inspected.type):
        return None
    if inspected_default is None or rendered_default is None:
        return inspected_default != rendered_default
    is_bare = isinstance(default, DefaultClause) and isinstance(default.arg, str)
    wanted = f"'{rendered_default.strip(chr(39))}'" if is_bare else rendered_default
    both = [
        cast(cast(literal_column(each), inspected.type), Text)
        for each in (inspected_default, wanted)
    ]
    assert context.connection is not None  # noqa: S101  autogenerate is never offline
    return not context.connection.scalar(select(both[0] == both[1]))


def has_json(kind: TypeEngine[Any]) -> bool:
    """Whether it is ``json`` or an array of it. ``jsonb`` can be compared."""
    element = getattr(kind, "item_type", kind)
    return isinstance(element, JSON) and not isinstance(element, postgresql.JSONB)
