"""Where the services are: the URLs that people write, checked, in the one form that the drivers understand."""

import re
from pathlib import Path, PurePath
from pkgutil import resolve_name
from typing import Annotated

from pydantic import AfterValidator, SecretStr

from app.core.settings import postgresql_url, service_url

POSTGRESQL = dict.fromkeys(
    ("postgres", "postgresql", "postgresql+asyncpg", "postgresql+psycopg", "postgresql+psycopg2"),
    "postgresql",
)
SQLITE = dict.fromkeys(("sqlite", "sqlite+aiosqlite"), "sqlite")
REDIS = {"redis": "redis", "rediss": "rediss"}
REDIS_DATABASE = re.compile(r"[0-9]*")
# Not its limits of time, number and protocol: core/redis/gateway.py has its own, and the URL's would win.
REDIS_OPTIONS = {
    *("db", "client_name", "socket_keepalive"),
    *(
        "ssl_cert_reqs",
        "ssl_ca_certs",
        "ssl_ca_path",
        "ssl_ca_data",
        "ssl_certfile",
        "ssl_keyfile",
        "ssl_password",
    ),
    *("ssl_check_hostname", "ssl_min_version", "ssl_ciphers"),
}
REDIS_FILES = ("ssl_ca_certs", "ssl_certfile", "ssl_keyfile")


def _scheme(value: SecretStr, schemes: dict[str, str]) -> tuple[str, str]:
    """The scheme as the driver knows it, and what follows it. Raises ``ValueError`` for any other."""
    scheme, separator, rest = value.get_secret_value().partition("://")
    if not separator or scheme not in schemes:
        names = ", ".join(f"{name}://" for name in schemes)
        raise ValueError(f"must start with one of {names}")
    return schemes[scheme], rest


def _database_url(value: SecretStr) -> SecretStr:
    scheme, rest = _scheme(value, POSTGRESQL | SQLITE)
    if scheme == "postgresql":
        return SecretStr(postgresql_url.canonical(rest))
    if not rest.startswith("/"):
        raise ValueError("must have three slashes in front of a file, as in sqlite:///path")
    if "?" in rest:
        raise ValueError("must be sqlite:/// and a path, without options")
    if rest.strip("/") in {"", ":memory:"}:
        raise ValueError("must name a file: in memory, every connection has a database of its own")
    return SecretStr(f"{scheme}://{rest}")


def _redis_url(value: SecretStr) -> SecretStr:
    """Reject what the client would read differently, silently drop, or find wrong at its first connection."""
    scheme, rest = _scheme(value, REDIS)
    url = service_url.parse(rest)
    for host in url.hosts:
        service_url.canonical_address(host, "redis.example.com:6379")
    if len(url.hosts) > 1:
        raise ValueError("must name one host")
    if not REDIS_DATABASE.fullmatch(url.name):
        raise ValueError("must name its database by a number, as in redis://redis.example.com/0")
    for name in url.options:
        if name not in REDIS_OPTIONS:
            raise service_url.reject_option(name, "is not supported", url.options)
    if url.name and "db" in url.options:
        raise ValueError("names its database twice")
    service_url.reject_missing_files(url.options, REDIS_FILES)
    if not resolve_name("app.core.redis.pool:accepts")(f"{scheme}://{rest}"):
        raise ValueError("has an option whose value the Redis client does not accept")
    return value


def without_secrets(url: str) -> str:
    """``url`` without password and query, either of which may hold a secret."""
    scheme, _, rest = url.partition("?")[0].partition("://")
    credentials, at, address = rest.rpartition("@")
    user, colon, _ = credentials.partition(":")
    return f"{scheme}://{user}{':***' if colon else ''}{at}{address}"


def from_root(root: Path, url: SecretStr) -> SecretStr:
    """A URL of SQLite with its path from ``root``, whatever folder the process was started in. Others as they are."""
    text = url.get_secret_value()
    path, mark, options = text.removeprefix("sqlite:///").partition("?")
    if not text.startswith("sqlite:") or path.startswith(("file:", "sqlite:")):
        return url
    # As in a URL, because the driver decodes it: a checkout may be in a folder such as feature%2Fx.
    encoded = root.as_posix().replace("%", "%25").replace("?", "%3F")
    return SecretStr(f"sqlite:///{PurePath(encoded, path).as_posix()}{mark}{options}")


DatabaseUrl = Annotated[SecretStr, AfterValidator(_database_url)]
RedisUrl = Annotated[SecretStr, AfterValidator(_redis_url)]
