"""Types of single settings: how people write them, what they may be, and the one form they become."""

import re
from typing import Annotated
from urllib.parse import urlsplit

from pydantic import AfterValidator, BeforeValidator, Field, SecretStr
from pydantic_settings import NoDecode
from redis.asyncio import ConnectionPool
from redis.exceptions import RedisError

POSTGRESQL = dict.fromkeys(
    ("postgres", "postgresql", "postgresql+asyncpg", "postgresql+psycopg", "postgresql+psycopg2"),
    "postgresql",
)
SQLITE = dict.fromkeys(("sqlite", "sqlite+aiosqlite"), "sqlite")
HOST_NAME = re.compile(r"(\*\.)?[A-Za-z0-9_][A-Za-z0-9._-]*|\[[0-9A-Fa-f:.]+\]")
# A host, with a port if it likes: PostgreSQL takes several of them, a socket or SQLite has none.
ADDRESS = r"(\[[0-9a-fA-F:.]+\]|[^:,\[\]]*)(:[0-9]{1,5})?"
ADDRESSES = f"{ADDRESS}(,{ADDRESS})*"
REDIS = {"redis": "redis", "rediss": "rediss"}
REDIS_DATABASE = re.compile(r"(/[0-9]*)?")


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


def _spelled(schemes: dict[str, str], addresses: str, example: str) -> AfterValidator:
    """Refuse a URL of another scheme or without an address, and write the scheme as the driver knows it."""

    def normalise(value: SecretStr) -> SecretStr:
        scheme, separator, rest = value.get_secret_value().partition("://")
        if not separator or scheme not in schemes:
            names = ", ".join(f"{name}://" for name in schemes)
            raise ValueError(f"must start with one of {names}")
        authority = re.split("[/?]", rest, maxsplit=1)[0]
        if not re.fullmatch(addresses, authority.rpartition("@")[2]):
            raise ValueError(f"must name host and port such as {example}")
        if schemes[scheme] == "sqlite" and rest.strip("/") in {"", ":memory:"}:
            raise ValueError(
                "must name a file: in memory, every connection has a database of its own"
            )
        return SecretStr(f"{schemes[scheme]}://{rest}")

    return AfterValidator(normalise)


def _understood_by_redis(value: SecretStr) -> SecretStr:
    """Refuse what the client would drop in silence, or find wrong as late as its first connection."""
    url = value.get_secret_value()
    try:
        # Which connects to nothing yet.
        ConnectionPool.from_url(url).make_connection()  # type: ignore[no-untyped-call]  # redis-py's own
        path = urlsplit(url).path
    except (RedisError, AttributeError, TypeError, ValueError):
        raise ValueError("has a port or an option that the Redis client does not accept") from None
    if not REDIS_DATABASE.fullmatch(path):
        raise ValueError("must name its database by a number, as in redis://redis.example.com/0")
    return value


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
DatabaseUrl = Annotated[
    SecretStr, _spelled(POSTGRESQL | SQLITE, ADDRESSES, example="db.example.com:5432")
]
RedisUrl = Annotated[
    SecretStr,
    _spelled(REDIS, ADDRESS, example="redis.example.com:6379"),
    AfterValidator(_understood_by_redis),
]
