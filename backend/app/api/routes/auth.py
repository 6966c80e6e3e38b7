"""Login and the current user."""

from typing import Annotated

from fastapi import Form

from app.api.schemas import LoginForm, Token
from app.api.v1.schemas.error import WITH_BODY, errors
from app.api.v1.schemas.user import CREDENTIALS_MAX_BYTES, UserPublic
from app.auth.client import LoginClient
from app.auth.dependencies import CurrentUser
from app.auth.service import authenticate
from app.auth.sessions import sign_in
from app.auth.throttle import LoginThrottle
from app.core.http.routing import Router
from app.core.resources import AppSettings, PasswordExecutor
from app.db.session import DbSession

router = Router(prefix="/auth", tags=["auth"])


@router.post(
    "/login",
    responses=errors(*WITH_BODY, 401, 429, 503),
    max_body_size=CREDENTIALS_MAX_BYTES,
)
async def login(  # noqa: PLR0917  FastAPI calls it by name
    form: Annotated[LoginForm, Form()],
    db: DbSession,
    executor: PasswordExecutor,
    settings: AppSettings,
    throttle: LoginThrottle,
    client: LoginClient,
) -> Token:
    """Trade an e-mail address (as username) and a password for an access token."""
    user = await authenticate(
        db, executor, settings, form.username, form.password, throttle=throttle
    )
    issued = await sign_in(db, settings, user, client, renewable=False)
    return Token(access_token=issued.access_token, expires_in=issued.expires_in)


@router.get("/me", responses=errors(401, 503))
async def read_me(caller: CurrentUser) -> UserPublic:
    """The current user."""
    return UserPublic.model_validate(caller)
