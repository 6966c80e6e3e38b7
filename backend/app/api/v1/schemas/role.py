"""Requests and responses about roles and permissions."""

from typing import Annotated, Self

from pydantic import BaseModel, ConfigDict, Field

from app.auth.permissions import Permission, from_words
from app.models.role import ADMIN, NAME_MAX_LENGTH, Role

NAME = r"^[a-z][a-z0-9_-]*$"


def not_admin(name: str) -> str:
    """Raises ``ValueError`` for the name that superusers have by themselves."""
    if name == ADMIN:
        raise ValueError("must not be the role that superusers have")
    return name


class RoleChange(BaseModel):
    model_config = ConfigDict(extra="forbid")

    permissions: Annotated[list[Permission], Field(max_length=100)]


class RolePublic(BaseModel):
    name: str
    permissions: list[Permission]

    @classmethod
    def of(cls, role: Role) -> Self:
        return cls(name=role.name, permissions=sorted(from_words(role.permissions)))


class Roles(BaseModel):
    items: list[RolePublic] = Field(description="By name, at most 100.")


class Permissions(BaseModel):
    """What the current user may do."""

    role: str | None = Field(description="`admin` for a superuser.")
    permissions: list[Permission]


GivenRole = Annotated[str, Field(max_length=NAME_MAX_LENGTH, pattern=NAME)]
