"""The current user, and what they may do. Ask for one of the aliases in an endpoint's signature."""

import logging
from datetime import timedelta
from typing import Annotated

from fastapi import Depends
from fastapi.security import OAuth2PasswordBearer
from starlette.requests import HTTPConnection

from app.auth.caller import Caller, load_caller
from app.auth.jwt import TokenClaims, decode_token, invalid_token
from app.auth.permissions import Permission
from app.auth.vanished import remember_caller
from app.core.cache.dependency import UserCache
from app.core.errors import BadRequest, Forbidden, Unauthorized
from app.core.http.fields import CanonicalUuid
from app.core.resources import AppSettings
from app.db.session import DbSession
from app.db.types import utc_now
from app.models.role import ADMIN

logger = logging.getLogger(__name__)

BEARER = "bearer"  # the scheme (RFC 6750), and the subprotocol of a WebSocket


class OneBearerToken(OAuth2PasswordBearer):
    """The one bearer token of a request, as it was sent: FastAPI would trim it, and a token has one canonical form.

    Raises ``Unauthorized`` without one, and ``BadRequest`` for more than one Authorization header.
    """

    async def __call__(self, request: HTTPConnection) -> str:
        sent = request.headers.getlist("authorization")
        if len(sent) > 1:
            raise BadRequest("More than one Authorization header was sent")
        scheme, _, token = (sent[0] if sent else "").partition(" ")
        is_bearer = scheme.lower() == BEARER and token.strip()
        bearer = token if is_bearer else offered_token(request)
        if not bearer:
            raise Unauthorized
        return bearer


# Relative, so that the Authorize button of /docs also works behind a path prefix.
BearerToken = Annotated[
    str, Depends(OneBearerToken(tokenUrl="auth/login", scheme_name="OAuth2PasswordBearer"))
]


async def get_current_user(
    connection: HTTPConnection,
    token: BearerToken,
    db: DbSession,
    settings: AppSettings,
    cache: UserCache,
) -> Caller:
    """The active account that the bearer token names, read from the database on every request.

    With AUTH_USER_CACHE_ENABLED it may come from the cache: see backend/docs/CACHING.md for what that costs.

    Raises ``Unauthorized`` for any token that is not valid now or whose session has ended, and for an account that is
    gone or inactive.
    """
    claims = decode_token(token, settings=settings)
    ttl_seconds = settings.auth_user_cache_ttl_seconds
    user = await load_caller(db, cache, claims.user_id, ttl_seconds, claims.session_id)
    if connection.scope["type"] == "websocket":
        await db.commit()  # or it would hold a connection to the database for as long as the socket is open
    if user is None or not user.is_active or has_ended(user, claims):
        raise invalid_token()
    remember_caller(connection, user.id, db)
    return user


def has_ended(caller: Caller, claims: TokenClaims) -> bool:
    """Whether the session of the token is over; without one, whether its account has ended all since it was issued."""
    if claims.sid is not None:
        return caller.session_id is None
    ended = caller.sessions_ended_at
    return ended is not None and claims.iat <= int(ended.timestamp())


def offered_token(connection: HTTPConnection) -> str | None:
    """The token of ``new WebSocket(url, ["bearer", token])``: a browser can send no header of its own there.

    Not in the URL, which is logged, and not in the first message, which comes after the connection was accepted.
    """
    if connection.scope["type"] != "websocket":
        return None
    match connection.scope.get("subprotocols"):
        case [name, str(token)] if name == BEARER:
            return token
    return None


CurrentUser = Annotated[Caller, Depends(get_current_user)]


def roles_of(user: Caller) -> frozenset[str]:
    """The roles of an account: its own, and that of an admin for a superuser."""
    return frozenset({ADMIN} if user.is_superuser else set()) | (
        {user.role} if user.role else set()
    )


async def get_recent_caller(caller: CurrentUser, settings: AppSettings) -> Caller:
    """The current user, if they have logged in within RECENT_LOGIN_MINUTES; else ``Forbidden``.

    Not 401, upon which a client refreshes its token and tries again, to no avail. A token without a session is never
    recent, and a refresh makes none recent: only a login does.
    """
    since = utc_now() - timedelta(minutes=settings.recent_login_minutes)
    if caller.session_created_at is None or caller.session_created_at < since:
        raise Forbidden("Log in again to do this", details={"reason": "recent_login_required"})
    return caller


RecentCaller = Annotated[Caller, Depends(get_recent_caller)]


async def get_verified_caller(caller: CurrentUser) -> Caller:
    """The current user, if they have verified their address; else ``Forbidden``."""
    if caller.email_verified_at is None:
        reason = {"reason": "email_not_verified"}
        raise Forbidden("Verify your e-mail address to do this", details=reason)
    return caller


VerifiedCaller = Annotated[Caller, Depends(get_verified_caller)]


def denied(caller: Caller) -> Forbidden:
    """The error for what the current user may not do, which is logged."""
    logger.info("authz_denied", extra={"user_id": caller.id})
    return Forbidden()


class require_roles:  # noqa: N801  reads as the function call that it is: Depends(require_roles("admin"))
    """A dependency that lets an account with every named role through, and raises ``Forbidden``."""

    def __init__(self, *roles: str) -> None:
        self.roles = frozenset(roles)

    async def __call__(self, caller: CurrentUser) -> Caller:
        if not self.roles <= roles_of(caller):
            raise denied(caller)
        return caller


class require_permissions:  # noqa: N801  as require_roles
    """A dependency that lets an account with all of these permissions through, and raises ``Forbidden``."""

    def __init__(self, *permissions: Permission) -> None:
        self.permissions = permissions

    async def __call__(self, caller: CurrentUser) -> Caller:
        if not caller.may(*self.permissions):
            raise denied(caller)
        return caller


AdminUser = Annotated[Caller, Depends(require_roles(ADMIN))]
UserReader = Annotated[Caller, Depends(require_permissions(Permission.USERS_READ))]
UserWriter = Annotated[Caller, Depends(require_permissions(Permission.USERS_WRITE))]
UserDeleter = Annotated[Caller, Depends(require_permissions(Permission.USERS_DELETE))]
AuditReader = Annotated[Caller, Depends(require_permissions(Permission.AUDIT_READ))]


async def get_self_or_admin(user_id: CanonicalUuid, caller: CurrentUser) -> Caller:
    """The current user, if the account in the path is their own or they are an admin; else ``Forbidden``.

    Decided before anything is looked up: the response does not tell whether the other account exists.
    """
    if caller.id != user_id and ADMIN not in roles_of(caller):
        raise denied(caller)
    return caller


SelfOrAdmin = Annotated[Caller, Depends(get_self_or_admin)]
