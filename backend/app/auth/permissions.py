"""What an account may do, in words that routes ask for. Roles are rows (models/role.py), permissions are code."""

from collections.abc import Iterable
from enum import StrEnum
from typing import Any, Protocol
from uuid import UUID

from sqlalchemy import ColumnElement
from sqlalchemy.orm import InstrumentedAttribute


class Permission(StrEnum):
    """A new one is a line here. Every superuser has it, and each role that is given it."""

    USERS_READ = "users:read"
    USERS_WRITE = "users:write"
    USERS_DELETE = "users:delete"
    AUDIT_READ = "audit:read"


KNOWN = {permission.value: permission for permission in Permission}
EVERY = frozenset(Permission)


class Principal(Protocol):
    """Whoever asks: ``Caller`` is one."""

    @property
    def id(self) -> UUID: ...

    def may(self, *permissions: Permission) -> bool: ...


def as_words(permissions: Iterable[Permission]) -> str:
    """As a role stores them."""
    return " ".join(sorted(set(permissions)))


def from_words(words: str) -> frozenset[Permission]:
    """As ``as_words`` stored them. A word that this code does not know grants nothing: a rollback stays safe."""
    return frozenset(KNOWN[word] for word in words.split() if word in KNOWN)


def reach(
    caller: Principal, owner: InstrumentedAttribute[Any], *, everyones: Permission | None = None
) -> tuple[ColumnElement[bool], ...]:
    """The conditions that narrow a repository to what is the caller's own: none with the permission ``everyones``."""
    if everyones is not None and caller.may(everyones):
        return ()
    return (owner == caller.id,)
