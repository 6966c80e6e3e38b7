"""The current user's password and address, and the links that are mailed for both. Each link is used by a POST."""

from typing import Annotated

from fastapi import Query
from starlette.responses import Response

from app.api.v1.schemas.account import (
    Account,
    AddressOf,
    Event,
    PasswordChange,
    PasswordReset,
    UsedLink,
)
from app.api.v1.schemas.error import WITH_BODY, errors
from app.api.v1.schemas.page import PageOf, PageQuery
from app.api.v1.schemas.user import CREDENTIALS_MAX_BYTES
from app.auth import account
from app.auth.dependencies import CurrentUser, RecentCaller
from app.auth.links import CHANGE
from app.auth.throttle import LoginThrottle
from app.core.errors import Unauthorized
from app.core.http.routing import Router
from app.core.resources import AppSettings, PasswordExecutor
from app.db.session import DbSession
from app.db.types import utc_now
from app.repositories.audit import NEWEST_FIRST, events_of
from app.repositories.one_time_link import OneTimeLinkRepository
from app.repositories.user import UserRepository

router = Router(prefix="/auth", tags=["auth"])


@router.get("/account", responses=errors(401, 429, 503))
async def read_account(caller: CurrentUser, db: DbSession) -> Account:
    """What only the owner is told of the account."""
    user = await UserRepository(db).get_by_id(caller.id)
    if user is None:
        raise Unauthorized
    pending = await OneTimeLinkRepository(db).pending_address(user.id, CHANGE, utc_now())
    return Account(
        id=user.id,
        email=user.email,
        email_verified=user.email_verified_at is not None,
        pending_email=pending,
        has_password=bool(user.hashed_password),
    )


@router.get("/events", responses=errors(401, 422, 429, 503))
async def list_events(
    caller: CurrentUser, db: DbSession, query: Annotated[PageQuery, Query()]
) -> PageOf[Event]:
    """What was done to the account: logins, passwords, addresses, the ends of sessions. Newest first."""
    page = await events_of(db, caller.id).page(NEWEST_FIRST, limit=query.limit, after=query.after)
    return PageOf[Event].model_validate(page)


@router.post(
    "/password/change",
    status_code=204,
    responses=errors(*WITH_BODY, 401, 429, 503),
    max_body_size=CREDENTIALS_MAX_BYTES,
)
async def change_password(  # noqa: PLR0917  FastAPI calls it by name
    body: PasswordChange,
    caller: CurrentUser,
    db: DbSession,
    executor: PasswordExecutor,
    settings: AppSettings,
    throttle: LoginThrottle,
) -> None:
    """Set another password. Every other session ends."""
    await account.change_password(
        db, executor, settings, throttle, caller, body.current_password, body.new_password
    )


@router.post(
    "/password/forgot",
    status_code=202,
    response_class=Response,
    responses=errors(*WITH_BODY, 429, 503),
    max_body_size=CREDENTIALS_MAX_BYTES,
)
async def forgot_password(body: AddressOf, db: DbSession) -> None:
    """Mail a link that sets a password to whoever has an account with this address. The response is the same for all."""
    await account.forgot(db, body.email)


@router.post(
    "/password/reset",
    status_code=204,
    responses=errors(*WITH_BODY, 429, 503),
    max_body_size=CREDENTIALS_MAX_BYTES,
)
async def reset_password(
    body: PasswordReset, db: DbSession, executor: PasswordExecutor, settings: AppSettings
) -> None:
    """Set the password with the token of a mailed link, or of an invitation. Every session and link ends."""
    await account.reset(db, executor, settings, body.token, body.password)


@router.post(
    "/email/verification",
    status_code=202,
    response_class=Response,
    responses=errors(401, 429, 503),
)
async def send_verification(caller: CurrentUser, db: DbSession) -> None:
    """Mail the link that verifies the address again, at most once in five minutes."""
    await account.ask_to_verify(db, caller)


@router.post("/email/verify", status_code=204, responses=errors(*WITH_BODY, 401, 429, 503))
async def verify_email(body: UsedLink, caller: CurrentUser, db: DbSession) -> None:
    """Verify the address with the token of the mailed link."""
    await account.verify(db, caller, body.token)


@router.post(
    "/email/change",
    status_code=202,
    response_class=Response,
    responses=errors(*WITH_BODY, 401, 403, 429, 503),
)
async def ask_to_change_email(body: AddressOf, caller: RecentCaller, db: DbSession) -> None:
    """Mail a link to the new address. Needs a recent login. The response is the same for an address that is taken."""
    await account.ask_to_change_email(db, caller, body.email)


@router.post(
    "/email/change/confirm", status_code=204, responses=errors(*WITH_BODY, 401, 409, 429, 503)
)
async def change_email(body: UsedLink, caller: CurrentUser, db: DbSession) -> None:
    """Take the new address, with the token that was mailed to it."""
    await account.change_email(db, caller, body.token)
