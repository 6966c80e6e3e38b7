"""Login, refresh, logout, and the sessions of the current user."""

from dataclasses import replace

from app.api.v1.schemas.auth import Login, Refresh, Session, Sessions, Tokens
from app.api.v1.schemas.error import WITH_BODY, errors
from app.api.v1.schemas.user import CREDENTIALS_MAX_BYTES
from app.auth.client import CarriedSession, LoginClient
from app.auth.dependencies import CurrentUser
from app.auth.service import authenticate
from app.auth.sessions import end_all, end_one, end_others, live_sessions, log_out, refresh, sign_in
from app.auth.throttle import LoginThrottle
from app.core.http.fields import CanonicalUuid
from app.core.http.routing import Router
from app.core.resources import AppSettings, PasswordExecutor
from app.db.session import DbSession

router = Router(prefix="/auth", tags=["auth"])


@router.post(
    "/login", responses=errors(*WITH_BODY, 401, 429, 503), max_body_size=CREDENTIALS_MAX_BYTES
)
async def login(  # noqa: PLR0917  FastAPI calls it by name
    credentials: Login,
    db: DbSession,
    executor: PasswordExecutor,
    settings: AppSettings,
    throttle: LoginThrottle,
    client: LoginClient,
    carried: CarriedSession,
) -> Tokens:
    """Open a session. A login that carries a token of the same account takes the place of its session."""
    if credentials.device:
        client = replace(client, device=credentials.device)
    user = await authenticate(
        db, executor, settings, credentials.email, credentials.password, throttle=throttle
    )
    issued = await sign_in(db, settings, user, client, renewable=True, instead_of=carried)
    return Tokens.model_validate(issued)


@router.post(
    "/refresh", responses=errors(*WITH_BODY, 401, 429, 503), max_body_size=CREDENTIALS_MAX_BYTES
)
async def refresh_tokens(body: Refresh, db: DbSession, settings: AppSettings) -> Tokens:
    """Trade a refresh token for the next one and an access token. One that was used already ends its session."""
    return Tokens.model_validate(await refresh(db, settings, body.refresh_token))


@router.post("/logout", status_code=204, responses=errors(401, 429, 503))
async def logout(caller: CurrentUser, db: DbSession) -> None:
    """End the session of this request, from the next request on."""
    await log_out(db, caller)


@router.post("/logout-everywhere", status_code=204, responses=errors(401, 429, 503))
async def logout_everywhere(caller: CurrentUser, db: DbSession) -> None:
    """End every session of the account, this one too."""
    await end_all(db, caller.id, actor_id=caller.id)


@router.get("/sessions", responses=errors(401, 429, 503))
async def list_sessions(caller: CurrentUser, db: DbSession, settings: AppSettings) -> Sessions:
    """Where the current user is logged in."""
    rows = await live_sessions(db, settings, caller.id)
    found = [Session.model_validate(row) for row in rows]
    return Sessions(
        items=[one.model_copy(update={"is_current": one.id == caller.session_id}) for one in found]
    )


@router.delete("/sessions", status_code=204, responses=errors(401, 429, 503))
async def end_other_sessions(caller: CurrentUser, db: DbSession) -> None:
    """End every session but the one of this request."""
    await end_others(db, caller)


@router.delete("/sessions/{session_id}", status_code=204, responses=errors(401, 404, 422, 429, 503))
async def end_session(session_id: CanonicalUuid, caller: CurrentUser, db: DbSession) -> None:
    """End one session of one's own."""
    await end_one(db, caller.id, session_id)
