"""Requests and responses about the current user's account."""

from datetime import datetime
from typing import Annotated
from uuid import UUID

from pydantic import AliasPath, BaseModel, ConfigDict, Field

from app.api.v1.schemas.user import Email, Password
from app.auth.links import TOKEN_LENGTH
from app.core.http.fields import SafeStr
from app.core.settings.auth import PASSWORD_FLOOR

LinkToken = Annotated[SafeStr, Field(max_length=4 * TOKEN_LENGTH, repr=False)]
NewPassword = Annotated[Password, Field(min_length=PASSWORD_FLOOR)]


class Account(BaseModel):
    """What only its owner is told of an account."""

    id: UUID
    email: str
    email_verified: bool
    pending_email: str | None = Field(
        description="The address that was asked for and is not confirmed yet."
    )
    has_password: bool


class Event(BaseModel):
    """Something that was done to the account: an entry of the audit log."""

    model_config = ConfigDict(from_attributes=True)

    id: UUID
    action: str
    at: datetime
    source: str | None = Field(
        None,
        validation_alias=AliasPath("details", "source"),
        description="The address that it was done from, where it is known.",
    )
    session_id: UUID | None = Field(None, validation_alias=AliasPath("details", "session_id"))


class AddressOf(BaseModel):
    model_config = ConfigDict(extra="forbid")

    email: Email


class UsedLink(BaseModel):
    model_config = ConfigDict(extra="forbid")

    token: LinkToken


class PasswordReset(UsedLink):
    password: NewPassword


class PasswordChange(BaseModel):
    model_config = ConfigDict(extra="forbid")

    current_password: Password
    new_password: NewPassword
