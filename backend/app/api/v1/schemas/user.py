"""Requests and responses about accounts. Only fields of a schema leave the application."""

from datetime import datetime
from typing import Annotated
from uuid import UUID

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from app.auth.emails import canonical_email
from app.auth.policy import PASSWORD_MAX_LENGTH
from app.core.http.fields import SafeStr
from app.core.settings.auth import PASSWORD_FLOOR
from app.models.user import DISPLAY_NAME_MAX_LENGTH, EMAIL_MAX_LENGTH

Email = Annotated[
    SafeStr,
    Field(min_length=3, max_length=EMAIL_MAX_LENGTH, json_schema_extra={"format": "email"}),
    AfterValidator(canonical_email),
]
# Both in their longest encoding, three times; anybody may send it, and reading a megabyte keeps everybody else waiting.
CREDENTIALS_MAX_BYTES = 8_192
DisplayName = Annotated[SafeStr, Field(min_length=1, max_length=DISPLAY_NAME_MAX_LENGTH)]
Password = Annotated[SafeStr, Field(max_length=PASSWORD_MAX_LENGTH, repr=False)]


class UserCreate(BaseModel):
    model_config = ConfigDict(extra="forbid")

    email: Email
    password: Annotated[Password, Field(min_length=PASSWORD_FLOOR)]


class UserChange(BaseModel):
    """What is left out stays, null is null."""

    model_config = ConfigDict(extra="forbid")

    display_name: DisplayName | None = None


class UserPublic(BaseModel):
    """Everything about an account that its owner and an admin may see."""

    model_config = ConfigDict(from_attributes=True)

    id: UUID
    email: str
    is_active: bool
    is_superuser: bool
    created_at: datetime
    updated_at: datetime
    display_name: str | None
    version: int = Field(description="The ETag of the account, raised by each change.")
