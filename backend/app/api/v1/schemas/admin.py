"""Requests and responses about the accounts of others."""

from typing import Annotated, Literal, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from app.api.v1.schemas.page import PageQuery
from app.api.v1.schemas.role import GivenRole
from app.api.v1.schemas.user import UserPublic
from app.models.user import EMAIL_MAX_LENGTH


def flag(sent: object) -> object:
    """The flag that a query parameter spells, in the one form that it has; ``sent`` where it is none."""
    return {"true": True, "false": False}.get(sent, sent) if isinstance(sent, str) else sent


OnlyTrue = Annotated[Literal[True], BeforeValidator(flag)]
OnlyFalse = Annotated[Literal[False], BeforeValidator(flag)]
Prefix = Annotated[str, Field(min_length=1, max_length=EMAIL_MAX_LENGTH, pattern=r"^[\x21-\x7e]+$")]


class UserAdmin(UserPublic):
    """An account as an admin sees it."""

    role: str | None


class UserQuery(PageQuery):
    """Only what an index serves: ``email_prefix`` with the orders by ``email``, one other filter with those by ``created``.

    Two filters at once read every row that one of them finds: 1,000 blocks a page among a million accounts. A flag finds
    the few; the first page of everybody else would read all of the few, if they are the oldest.
    """

    sort: Literal["created", "-created", "email", "-email"] | None = Field(
        None, description="`email` if there is an `email_prefix`, else `created`."
    )
    email_prefix: Prefix | None = None
    is_active: OnlyFalse | None = Field(None, description="Who was deactivated.")
    is_superuser: OnlyTrue | None = Field(None, description="Who is an admin.")
    role: GivenRole | None = None

    @property
    def order(self) -> str:
        """The order asked for, or the one that fits the filters."""
        return self.sort or ("email" if self.email_prefix else "created")

    @model_validator(mode="after")
    def _is_indexed(self) -> Self:
        by_email = self.order.endswith("email")
        if self.email_prefix and not by_email:
            raise ValueError("email_prefix is for sort=email or sort=-email")
        flags = [
            each for each in (self.is_active, self.is_superuser, self.role) if each is not None
        ]
        if len(flags) > (0 if by_email else 1):
            raise ValueError(
                "one of is_active, is_superuser, role, for sort=created or sort=-created"
            )
        return self


class UserActivation(BaseModel):
    model_config = ConfigDict(extra="forbid")

    is_active: Annotated[bool, Field(strict=True)] = True


class UserAccess(BaseModel):
    model_config = ConfigDict(extra="forbid")

    is_superuser: Annotated[bool, Field(strict=True)]
    role: GivenRole | None
