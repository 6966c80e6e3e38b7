"""Rules of every table: what a deletion does to the rows that need the row, and how fast it finds them."""

from collections.abc import Iterator

import pytest
from sqlalchemy import Column, ForeignKey, Index, MetaData, Table, Uuid

import app.models  # noqa: F401  each table
from app.db.base import Base


def problems(metadata: MetaData) -> Iterator[str]:
    """Foreign keys without ``ondelete``, and those whose columns no index begins with."""
    for table in metadata.tables.values():
        begins = [list(index.columns.keys()) for index in table.indexes]
        begins.append(list(table.primary_key.columns.keys()))
        for constraint in table.foreign_key_constraints:
            columns = constraint.column_keys
            if constraint.ondelete is None:
                yield f"{table.name}.{columns[0]} has no ondelete"
            if not any(index[: len(columns)] == columns for index in begins):
                yield f"{table.name}.{columns[0]} has no index"


def test_foreign_keys_have_ondelete_and_an_index() -> None:
    assert list(problems(Base.metadata)) == []


@pytest.mark.parametrize(
    ("options", "indexed", "found"),
    [
        ({"ondelete": "CASCADE"}, ["owner", "id"], []),
        ({"ondelete": "CASCADE"}, ["id", "owner"], ["notes.owner has no index"]),
        ({}, ["owner"], ["notes.owner has no ondelete"]),
    ],
)
def test_foreign_key_without_them_is_found(
    options: dict[str, str], indexed: list[str], found: list[str]
) -> None:
    metadata = MetaData()
    Table("users", metadata, Column("id", Uuid, primary_key=True))
    owner = Column("owner", Uuid, ForeignKey("users.id", **options))  # type: ignore[arg-type]  # names of options
    notes = Table("notes", metadata, Column("id", Uuid, primary_key=True), owner)
    Index(None, *(notes.c[name] for name in indexed))

    assert list(problems(metadata)) == found
