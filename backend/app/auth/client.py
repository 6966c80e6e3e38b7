"""What a login says of itself, for the list of sessions."""

from typing import Annotated
from uuid import UUID

from fastapi import Depends
from starlette.requests import HTTPConnection

from app.auth.jwt import decode_token
from app.auth.sessions import Client
from app.core.errors import Unauthorized
from app.core.rate_limit.client import client_key
from app.core.resources import AppSettings
from app.models.login_session import DEVICE_MAX_LENGTH, SOURCE_MAX_LENGTH

SCHEME = "bearer "


async def get_login_client(connection: HTTPConnection) -> Client:
    """The device as its User-Agent names it, printable ASCII only, and its address as the rate limit counts it."""
    sent = connection.headers.get("user-agent", "")
    device = "".join(char for char in sent if char.isascii() and char.isprintable())
    source = client_key(connection.scope).partition(":")[2]
    return Client(device[:DEVICE_MAX_LENGTH], source[:SOURCE_MAX_LENGTH])


LoginClient = Annotated[Client, Depends(get_login_client)]


async def get_carried_session(connection: HTTPConnection, settings: AppSettings) -> UUID | None:
    """The session of a valid token that a login carries, which the new one takes the place of; else ``None``."""
    sent = connection.headers.getlist("authorization")
    if len(sent) != 1 or not sent[0].lower().startswith(SCHEME):
        return None
    try:
        return decode_token(sent[0][len(SCHEME) :], settings=settings).session_id
    except Unauthorized:
        return None


CarriedSession = Annotated[UUID | None, Depends(get_carried_session)]
