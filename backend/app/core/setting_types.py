"""Types of single settings: how people write them, what they may be, and the one form they become."""

import re
from typing import Annotated
from urllib.parse import urlsplit

from pydantic import AfterValidator, BeforeValidator, Field, SecretStr
from pydantic_settings import NoDecode

POSTGRESQL = dict.fromkeys(
    ("postgres", "postgresql", "postgresql+asyncpg", "postgresql+psycopg", "postgresql+psycopg2"),
    "postgresql",
)
SQLITE = dict.fromkeys(("sqlite", "sqlite+aiosqlite"), "sqlite")
HOST_NAME = re.compile(r"(\*\.)?[A-Za-z0-9_][A-Za-z0-9._-]*|\[[0-9A-Fa-f:.]+\]")
# Hosts, each with a port if it likes: PostgreSQL takes several, a socket or SQLite has none.
HOST_AND_PORT = r"(\[[0-9a-fA-F:.]+\]|[^:,\[\]]*)(:[0-9]{1,5})?"
ADDRESSES = re.compile(f"{HOST_AND_PORT}(,{HOST_AND_PORT})*")
REDIS = {"redis": "redis", "rediss": "rediss"}


def _split(value: object) -> object:
    """Accept ``a,b`` as people write it in an environment variable."""
    if isinstance(value, str):
        return tuple(part.strip() for part in value.split(",") if part.strip())
    return value


def _host(value: str) -> str:
    if not HOST_NAME.fullmatch(value):
        raise ValueError("must be a host such as api.example.com, *.example.com or [::1]")
    return value.lower()


def _origin(value: str) -> str:
    parts = urlsplit(value)
    if value not in {"*", f"{parts.scheme}://{parts.netloc}"}:
        raise ValueError("must be an origin such as https://app.example.com, or *")
    return value


def _spelled(schemes: dict[str, str]) -> AfterValidator:
    """Refuse a URL of another scheme, and write the scheme as the driver knows it."""

    def normalise(value: SecretStr) -> SecretStr:
        scheme, separator, rest = value.get_secret_value().partition("://")
        if not separator or scheme not in schemes:
            names = ", ".join(f"{name}://" for name in schemes)
            raise ValueError(f"must start with one of {names}")
        if not ADDRESSES.fullmatch(rest.partition("/")[0].rpartition("@")[2]):
            raise ValueError("must name hosts and ports such as db.example.com:5432")
        if schemes[scheme] == "sqlite" and rest.strip("/") in {"", ":memory:"}:
            raise ValueError(
                "must name a file: in memory, every connection has a database of its own"
            )
        return SecretStr(f"{schemes[scheme]}://{rest}")

    return AfterValidator(normalise)


def without_secrets(url: str) -> str:
    """``url`` without password and query, either of which may hold a secret."""
    scheme, _, rest = url.partition("?")[0].partition("://")
    credentials, at, address = rest.rpartition("@")
    user, colon, _ = credentials.partition(":")
    return f"{scheme}://{user}{':***' if colon else ''}{at}{address}"


Names = Annotated[tuple[str, ...], NoDecode, BeforeValidator(_split)]
HostNames = Annotated[Names, AfterValidator(lambda names: tuple(map(_host, names)))]
Origins = Annotated[Names, AfterValidator(lambda names: tuple(map(_origin, names)))]
Seconds = Annotated[float, Field(gt=0, le=300)]
DatabaseUrl = Annotated[SecretStr, _spelled(POSTGRESQL | SQLITE)]
RedisUrl = Annotated[SecretStr, _spelled(REDIS)]
