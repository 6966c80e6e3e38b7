"""The account of a request, read from its token alone: for counting, never for authentication."""

from starlette.types import Scope

from app.auth.jwt import decode_token
from app.core.config import Settings
from app.core.errors import Unauthorized

SCHEME = b"bearer "


def verified_user(settings: Settings, scope: Scope) -> str | None:
    """``user:<id>`` where one valid token is sent, else ``None``. An unverified id is never used."""
    sent = [value for name, value in scope["headers"] if name == b"authorization"]
    if len(sent) != 1 or not sent[0].lower().startswith(SCHEME):
        return None
    try:
        claims = decode_token(sent[0][len(SCHEME) :].decode("latin-1"), settings=settings)
    except Unauthorized:
        return None
    return f"user:{claims.sub}"
