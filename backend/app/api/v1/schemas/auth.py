"""Requests and responses about logins and sessions."""

from collections.abc import Sequence
from datetime import datetime
from typing import Annotated, Literal
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field

from app.api.v1.schemas.user import Email, Password
from app.core.http.fields import SafeStr
from app.models.login_session import DEVICE_MAX_LENGTH

REFRESH_TOKEN_LENGTH = 89


class Login(BaseModel):
    model_config = ConfigDict(extra="forbid")

    email: Email
    password: Password
    device: Annotated[SafeStr, Field(min_length=1, max_length=DEVICE_MAX_LENGTH)] | None = Field(
        None, description="What the list of sessions calls it. Without one: its User-Agent."
    )


class Refresh(BaseModel):
    model_config = ConfigDict(extra="forbid")

    refresh_token: Annotated[SafeStr, Field(max_length=4 * REFRESH_TOKEN_LENGTH, repr=False)]


class Tokens(BaseModel):
    model_config = ConfigDict(from_attributes=True)

    access_token: str
    token_type: Literal["bearer"] = "bearer"  # noqa: S105  the name of a scheme
    expires_in: int = Field(description="Seconds that the access token is good for.")
    refresh_token: str = Field(description="Good for one refresh; the response has the next one.")


class Session(BaseModel):
    """A login that has not ended."""

    model_config = ConfigDict(from_attributes=True)

    id: UUID
    kind: Literal["access", "refresh"]
    device: str
    source: str = Field(description="The address that it logged in from.")
    created_at: datetime
    last_used_at: datetime
    expires_at: datetime
    is_current: bool = Field(False, description="Whether it is the session of this request.")


class Sessions(BaseModel):
    items: Sequence[Session] = Field(description="Last used first, at most 100.")
