"""Types of single settings: how people write them, what they may be, and the one form they become."""

import re
from ipaddress import IPv6Address, ip_network
from typing import Annotated

from pydantic import AfterValidator, BeforeValidator, Field, SecretStr
from pydantic_settings import NoDecode
from redis.asyncio import ConnectionPool
from redis.exceptions import RedisError

from app.core.settings import postgresql_url, service_url

POSTGRESQL = dict.fromkeys(
    ("postgres", "postgresql", "postgresql+asyncpg", "postgresql+psycopg", "postgresql+psycopg2"),
    "postgresql",
)
SQLITE = dict.fromkeys(("sqlite", "sqlite+aiosqlite"), "sqlite")
ORIGIN = re.compile(
    r"([a-z][a-z0-9+.-]*)://((?!\*)[a-z0-9_][a-z0-9._-]*|\[[0-9a-f:.]+\])(?::([0-9]{1,5}))?/?"
)
REDIS_FILES = ("ssl_ca_certs", "ssl_certfile", "ssl_keyfile")
DEFAULT_PORTS = {"http": 80, "https": 443}
HEADER_NAME = re.compile(r"[A-Za-z0-9!#$%&'+.^_`|~-]+")
HOST_NAME = re.compile(r"(\*\.)?[A-Za-z0-9_][A-Za-z0-9._-]*|\[[0-9A-Fa-f:.]+\]")
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


def _split(value: object) -> object:
    """Accept ``a,b`` as people write it in an environment variable."""
    if isinstance(value, str):
        return tuple(part.strip() for part in value.split(",") if part.strip())
    return value


def unquoted(value: object) -> object:
    """Text without blanks around it and without the quotes that some readers of ``.env`` files leave on."""
    if not isinstance(value, str):
        return value
    text = value.strip()
    if len(text) > 1 and text[0] == text[-1] and text[0] in "\"'":
        return text[1:-1].strip()
    return text


def any_case(*words: str, **others: str) -> BeforeValidator:
    """Accept ``words`` in lower and upper case, and ``others`` for the words that they stand for."""
    table = {word.lower(): word for word in words} | others
    return BeforeValidator(
        lambda value: table.get(value.lower(), value) if isinstance(value, str) else value
    )


def _hosts(names: tuple[str, ...]) -> tuple[str, ...]:
    return () if "*" in names else tuple(map(_host, names))


def _host(value: str) -> str:
    wrong = ValueError("must be a host such as api.example.com, *.example.com or [::1]")
    if not HOST_NAME.fullmatch(value):
        raise wrong
    if not value.startswith("["):
        return value.lower()
    try:
        return f"[{IPv6Address(value[1:-1])}]"
    except ValueError:
        raise wrong from None


def _origin(value: str) -> str:
    """As a browser sends it (RFC 6454, section 6.1): lower case, no port that the scheme has anyway, no slash."""
    if value == "*":
        return value
    found = ORIGIN.fullmatch(value.lower())
    if found is None:
        raise ValueError(
            "must be an origin such as https://app.example.com, or * for all: "
            "no pattern, no path, no user, and xn-- in place of letters beyond ASCII"
        )
    scheme, host, port = found.groups()
    if port and not 0 < int(port) <= service_url.LAST_PORT:
        raise ValueError("must have a port from 1 to 65535")
    shown = f":{int(port)}" if port and int(port) != DEFAULT_PORTS.get(scheme) else ""
    return f"{scheme}://{_host(host)}{shown}"


def _header(name: str) -> str:
    if not HEADER_NAME.fullmatch(name):
        raise ValueError("must be the name of a header such as X-Tenant")
    return name


def _proxies(names: tuple[str, ...]) -> tuple[str, ...]:
    """What uvicorn can match: it takes anything else for a name that no address ever has."""
    for name in names:
        try:
            ip_network(name)
        except ValueError:
            if names != ("*",):
                raise ValueError(
                    "must be addresses or networks such as 10.0.0.5 or 10.0.0.0/28"
                ) from None
    return names


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
    """Refuse what the client would read otherwise, drop in silence, or find wrong at its first connection."""
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
            raise service_url.refuse_option(name, "is not supported", url.options)
    if url.name and "db" in url.options:
        raise ValueError("names its database twice")
    service_url.refuse_missing_files(url.options, REDIS_FILES)
    try:
        # Which connects to nothing yet.
        ConnectionPool.from_url(f"{scheme}://{rest}").make_connection()  # type: ignore[no-untyped-call]  # redis-py's own
    except (RedisError, TypeError, ValueError):
        raise ValueError("has an option whose value the Redis client does not accept") from None
    return value


def without_secrets(url: str) -> str:
    """``url`` without password and query, either of which may hold a secret."""
    scheme, _, rest = url.partition("?")[0].partition("://")
    credentials, at, address = rest.rpartition("@")
    user, colon, _ = credentials.partition(":")
    return f"{scheme}://{user}{':***' if colon else ''}{at}{address}"


Names = Annotated[tuple[str, ...], NoDecode, BeforeValidator(_split)]
HostNames = Annotated[Names, AfterValidator(_hosts)]
HeaderNames = Annotated[Names, AfterValidator(lambda names: tuple(map(_header, names)))]
Proxies = Annotated[Names, AfterValidator(_proxies)]
Origins = Annotated[Names, AfterValidator(lambda names: tuple(map(_origin, names)))]
Seconds = Annotated[float, Field(gt=0, le=300)]
DatabaseUrl = Annotated[SecretStr, AfterValidator(_database_url)]
RedisUrl = Annotated[SecretStr, AfterValidator(_redis_url)]
