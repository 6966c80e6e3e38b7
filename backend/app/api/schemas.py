"""Schemas that the legacy API has beyond those of v1."""

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from app.api.v1.schemas.user import Password
from app.core.http.fields import SafeStr

MAX_USERNAME_LENGTH = 320

Ignored = Annotated[SafeStr, Field(max_length=1_024)]


class LoginForm(BaseModel):
    """The form of OAuth2's password flow (RFC 6749, section 4.3.2). The user name is the e-mail address.

    A first-party login in a shape that tools know, not an authorization server: scope and client are ignored, as are
    parameters that nobody here knows (section 3.2). One that is sent twice is rejected, whether it is known or not.
    """

    model_config = ConfigDict(extra="ignore")

    username: Annotated[SafeStr, Field(min_length=1, max_length=MAX_USERNAME_LENGTH)]
    password: Annotated[Password, Field(min_length=1)]
    grant_type: Literal["password", ""] = "password"
    scope: Ignored = ""
    client_id: Ignored = ""
    client_secret: Annotated[Ignored, Field(repr=False)] = ""


class Token(BaseModel):
    """RFC 6749, section 5.1. ``expires_in`` is in seconds."""

    access_token: str
    token_type: Literal["bearer"] = "bearer"  # noqa: S105  the name of a scheme
    expires_in: int
