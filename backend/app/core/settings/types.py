"""Types of single settings: how people write them, what they may be, and the one form they become."""

import re
from collections.abc import Collection
from ipaddress import IPv6Address, ip_network
from typing import Annotated
from urllib.parse import SplitResult, urlsplit

from pydantic import AfterValidator, BeforeValidator, Field, SecretStr
from pydantic_settings import NoDecode

from app.core.settings.service_url import LAST_PORT

ORIGIN = re.compile(
    r"([a-z][a-z0-9+.-]*)://((?!\*)[a-z0-9_][a-z0-9._-]*|\[[0-9a-f:.]+\])(?::([0-9]{1,5}))?/?"
)
DEFAULT_PORTS = {"http": 80, "https": 443}
HEADER_NAME = re.compile(r"[A-Za-z0-9!#$%&'+.^_`|~-]+")
HOST_NAME = re.compile(r"(\*\.)?[A-Za-z0-9_][A-Za-z0-9._-]*|\[[0-9A-Fa-f:.]+\]")


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


def url_parts(value: str, schemes: Collection[str]) -> SplitResult | None:
    """Those of a URL that has one of ``schemes`` and a host, else ``None``: an error of the parser would quote it."""
    try:
        parts = urlsplit(value)
        usable = parts.scheme in schemes and parts.hostname and parts.port != 0
    except ValueError:
        return None
    return parts if usable else None


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
    if port and not 0 < int(port) <= LAST_PORT:
        raise ValueError("must have a port from 1 to 65535")
    shown = f":{int(port)}" if port and int(port) != DEFAULT_PORTS.get(scheme) else ""
    return f"{scheme}://{_host(host)}{shown}"


def _header(name: str) -> str:
    if not HEADER_NAME.fullmatch(name):
        raise ValueError("must be the name of a header such as X-Tenant")
    return name


def _proxies(names: tuple[str, ...]) -> tuple[str, ...]:
    """Rejects what uvicorn could never match: it takes anything else for a name that no address has."""
    for name in names:
        try:
            ip_network(name)
        except ValueError:
            if names != ("*",):
                raise ValueError(
                    "must be addresses or networks such as 10.0.0.5 or 10.0.0.0/28"
                ) from None
    return names


Names = Annotated[tuple[str, ...], NoDecode, BeforeValidator(_split)]
AcceptedKeys = Annotated[tuple[SecretStr, ...], NoDecode, BeforeValidator(_split)]
HostNames = Annotated[Names, AfterValidator(_hosts)]
HeaderNames = Annotated[Names, AfterValidator(lambda names: tuple(map(_header, names)))]
Proxies = Annotated[Names, AfterValidator(_proxies)]
Origins = Annotated[Names, AfterValidator(lambda names: tuple(map(_origin, names)))]
Seconds = Annotated[float, Field(gt=0, le=300)]
