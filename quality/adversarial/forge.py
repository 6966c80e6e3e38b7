"""Makes tokens by hand, with any header, payload and key, and sends them.

Not with PyJWT: what it would refuse to write, it cannot test.
"""

import hmac
import json
from base64 import urlsafe_b64encode
from time import time
from typing import Any
from uuid import uuid4

from app.core.config import Settings
from quality.adversarial.context import Context
from quality.adversarial.expect import expect, expect_challenge, must
from quality.testkit.services import Account

ME = "/api/v1/users/me"
ANONYMOUS = "Bearer"
INVALID = 'Bearer error="invalid_token"'
HEADER = {"alg": "HS256", "typ": "at+jwt"}


def claims(account: Account, **changes: object) -> dict[str, Any]:
    """The claims of a good token for ``account``, with these changed."""
    now = int(time())
    good = {
        "sub": str(account.id),
        "iat": now,
        "exp": now + 600,
        "jti": uuid4().hex,
        "token_use": "access",
    }
    return good | changes


def without(members: dict[str, Any], name: str) -> dict[str, Any]:
    return {key: value for key, value in members.items() if key != name}


def encoded(part: object) -> bytes:
    """Base64url of a part: of bytes as they are, of anything else as JSON."""
    raw = part if isinstance(part, bytes) else json.dumps(part).encode()
    return urlsafe_b64encode(raw).rstrip(b"=")


def key_of(settings: Settings) -> bytes:
    key = settings.jwt_secret_key
    return key.get_secret_value().encode() if key else b""


def forged(payload: object, header: object = HEADER, *, key: bytes, digest: str = "sha256") -> str:
    """A token with a true HMAC signature by ``key``, whatever its parts are."""
    signed = encoded(header) + b"." + encoded(payload)
    signature = urlsafe_b64encode(hmac.digest(key, signed, digest)).rstrip(b"=")
    return (signed + b"." + signature).decode("ascii")


async def refuse_all(context: Context, tokens: dict[str, str]) -> None:
    """401 with the challenge for each; first a good token from the same forge, which must pass."""
    await accept(context, forged(claims(context.alice), key=key_of(context.settings)))
    for name, token in tokens.items():
        with context.variant(name):
            expect_challenge(await context.get(ME, token), INVALID)


async def accept(context: Context, token: str) -> None:
    """The token is Alice's."""
    response = await context.get(ME, token)
    expect(response, 200)
    must(response.json()["id"] == str(context.alice.id), "the token is somebody else's")
