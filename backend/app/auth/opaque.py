"""Refresh tokens: opaque to the client, computable for the server, and kept as digests only.

A token names its session, and has a part that all tokens of the session share and a secret that only this one has. The
secret of the next token is computed from this one, so that who repeats a refresh gets the same response.
"""

import hashlib
import hmac
import os
import re
from base64 import urlsafe_b64decode, urlsafe_b64encode
from dataclasses import dataclass, replace
from uuid import UUID

PREFIX = "rt_"
FAMILY_BYTES, SECRET_BYTES = 16, 32
CANONICAL_FORM = re.compile(rf"{PREFIX}[A-Za-z0-9_-]{{86}}")
PURPOSE = b"refresh v1"


@dataclass(frozen=True)
class RefreshToken:
    """``str()`` writes it; nothing else shows its secret."""

    session_id: UUID
    family: bytes
    secret: bytes

    def __str__(self) -> str:
        data = self.session_id.bytes + self.family + self.secret
        return PREFIX + urlsafe_b64encode(data).rstrip(b"=").decode("ascii")

    def __repr__(self) -> str:
        return f"RefreshToken({self.session_id})"


def new(session_id: UUID) -> RefreshToken:
    """The first token of a session."""
    return RefreshToken(session_id, os.urandom(FAMILY_BYTES), os.urandom(SECRET_BYTES))


def parse(text: str) -> RefreshToken | None:
    """The token that is written so; ``None`` for any other text, another spelling of the same bytes among them."""
    if not CANONICAL_FORM.fullmatch(text):
        return None
    data = urlsafe_b64decode(text.removeprefix(PREFIX) + "==")
    token = RefreshToken(UUID(bytes=data[:16]), data[16 : 16 + FAMILY_BYTES], data[-SECRET_BYTES:])
    return token if str(token) == text else None


def digest(secret: bytes) -> bytes:
    """SHA-256 (FIPS 180-4): enough for what has 128 random bits and more."""
    return hashlib.sha256(secret).digest()


def successor(token: RefreshToken, key: str) -> RefreshToken:
    """The next token of the same session, the same for everybody who has ``token`` and ``key``."""
    derived = hmac.digest(key.encode(), PURPOSE, "sha256")
    secret = hmac.digest(derived, token.session_id.bytes + token.secret, "sha256")
    return replace(token, secret=secret)
