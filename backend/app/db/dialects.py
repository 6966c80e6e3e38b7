"""What has no common ancestor in SQLAlchemy: each database has its own."""

from pkgutil import resolve_name
from typing import Any


def insert_of(dialect: str) -> Any:
    """The INSERT of this database, with its ON CONFLICT.

    The other database's dialect would be imported for nothing, and takes a megabyte.
    """
    return resolve_name(f"sqlalchemy.dialects.{dialect}:insert")
