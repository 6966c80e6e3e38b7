"""Access tokens: the only file that knows PyJWT. What it issues it can read, and nothing else.

RFC 7519 for the claims, RFC 8725 for the caution: one algorithm, fixed by settings; every claim required and
checked for its type; no key, and no rule, ever taken from the token.
"""

import re
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from time import time
from typing import Annotated, Any, Literal
from uuid import UUID, uuid4

import jwt
from jwt.exceptions import DecodeError, PyJWTError
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, StrictInt, ValidationError

from app.core.config import Settings, get_settings
from app.core.errors import Unauthorized
from app.core.http import strict_json
from app.core.http.fields import canonical_uuid

LEEWAY = timedelta(seconds=30)  # two hosts whose clocks differ
MAX_TOKEN_LENGTH = 8_192
CACHE_SIZE = 1_024
COMPACT_FORM = re.compile(r"(?:[A-Za-z0-9_-]+\.){2}[A-Za-z0-9_-]+")  # RFC 7515, sections 2 and 3.1
HEADER_TYPE = "at+jwt"  # RFC 9068, section 2.1
TOKEN_USE = "access"  # noqa: S105  a kind of token, not one
MAX_TIMESTAMP = 253_402_300_799  # the end of the year 9999


UtcDatetime = Annotated[StrictInt, Field(ge=0, le=MAX_TIMESTAMP)]


class TokenClaims(BaseModel):
    """The claims of a verified token. ``sub`` is the account's id; times are seconds since the epoch."""

    model_config = ConfigDict(frozen=True, strict=True)

    sub: Annotated[str, BeforeValidator(canonical_uuid)]
    exp: UtcDatetime
    iat: UtcDatetime
    jti: Annotated[str, Field(min_length=1, max_length=64)]
    token_use: Literal["access"]
    sid: Annotated[str, BeforeValidator(canonical_uuid)] | None = None

    @property
    def user_id(self) -> UUID:
        return UUID(self.sub)

    @property
    def session_id(self) -> UUID | None:
        """The session that the token ends with; a token may have none."""
        return UUID(self.sid) if self.sid else None


class _StrictJwt(jwt.PyJWT):
    """PyJWT, except that the payload is read as strictly as a request body.

    Relies on PyJWT 2.15, which reads it by ``_decode_payload``.
    """

    def _decode_payload(self, decoded: dict[str, Any]) -> dict[str, Any]:
        try:
            payload = strict_json.loads(decoded["payload"])
        except strict_json.NotStrictJson as error:
            raise DecodeError(str(error)) from None
        if not isinstance(payload, dict):
            raise DecodeError("the payload must be an object")
        return payload


_jwt = _StrictJwt()


def create_access_token(
    subject: UUID | str,
    *,
    settings: Settings | None = None,
    session_id: UUID | None = None,
    expires_in: int | None = None,
) -> str:
    """A signed token for the account ``subject``, which ends with the session, if it is given one.

    Valid for ``expires_in`` seconds, or for ``JWT_ACCESS_TOKEN_EXPIRES_MINUTES``.
    """
    settings = settings or get_settings()
    now = datetime.now(UTC)
    if expires_in is None:
        expires_in = settings.jwt_access_token_expires_minutes * 60
    claims: dict[str, Any] = {
        "sub": str(subject),
        "iat": int(now.timestamp()),
        "exp": int(now.timestamp()) + expires_in,
        "jti": uuid4().hex,
        "token_use": TOKEN_USE,
    }
    if session_id is not None:
        claims["sid"] = str(session_id)
    if settings.jwt_issuer:
        claims["iss"] = settings.jwt_issuer
    if settings.jwt_audience:
        claims["aud"] = settings.jwt_audience
    return _jwt.encode(
        claims,
        signing_keys(settings)[0],
        algorithm=settings.jwt_algorithm,
        headers={"typ": HEADER_TYPE},
    )


def decode_token(token: str, *, settings: Settings | None = None) -> TokenClaims:
    """The claims of a token that this service issued and that is valid now (30 s of leeway).

    Raises ``Unauthorized`` for every other string, with one message, so a client cannot tell which check failed.
    """
    settings = settings or get_settings()
    claims = _verified(
        token,
        signing_keys(settings),
        settings.jwt_algorithm,
        settings.jwt_issuer,
        settings.jwt_audience,
    )
    if claims.exp <= time() - LEEWAY.total_seconds():
        raise invalid_token()
    return claims


# A client sends one token with every request of an hour; what cannot have changed is not computed again. The keys are
# an argument, so other keys are another entry. What raises is not kept: only valid tokens take a place.
@lru_cache(maxsize=CACHE_SIZE)
def _verified(
    token: str, keys: tuple[str, ...], algorithm: str, issuer: str | None, audience: str | None
) -> TokenClaims:
    if len(token) > MAX_TOKEN_LENGTH or not COMPACT_FORM.fullmatch(token):
        raise invalid_token()
    for key in keys[:-1]:
        try:
            return _verified_by(key, token, algorithm, issuer, audience)
        except Unauthorized:
            continue  # no header chooses the key (RFC 8725, section 3.10): each is tried
    return _verified_by(keys[-1], token, algorithm, issuer, audience)


def _verified_by(
    key: str, token: str, algorithm: str, issuer: str | None, audience: str | None
) -> TokenClaims:
    try:
        decoded = _jwt.decode_complete(
            token,
            key,
            algorithms=[algorithm],
            issuer=issuer,
            audience=audience,
            leeway=LEEWAY,
            options={"require": ["exp", "iat", "sub", "jti"], "strict_aud": True},
        )
        if decoded["header"] != {"alg": algorithm, "typ": HEADER_TYPE}:
            raise invalid_token()
        return TokenClaims.model_validate(decoded["payload"])
    except (PyJWTError, ValidationError, ValueError, TypeError, AttributeError, RecursionError):
        # PyJWT lets some of Python's own errors through for headers of the wrong type.
        raise invalid_token() from None


def invalid_token() -> Unauthorized:
    """The error for every token that is not accepted (RFC 6750, section 3.1)."""
    return Unauthorized(
        "The access token is not valid",
        headers={"WWW-Authenticate": 'Bearer error="invalid_token"'},
    )


def signing_keys(settings: Settings) -> tuple[str, ...]:
    """The key that signs, and then those that are only accepted."""
    assert settings.jwt_secret_key is not None  # noqa: S101  Settings requires one
    keys = (settings.jwt_secret_key, *settings.jwt_accepted_secret_keys)
    return tuple(key.get_secret_value() for key in keys)
