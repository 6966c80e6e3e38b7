"""URLs of services are read in one way only: RFC 3986, with every reserved character of a value percent-encoded.

Drivers read a ``#`` or ``@`` in a password each in their own way, and some log what they did not understand.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from ipaddress import IPv6Address
from pathlib import Path
from urllib.parse import quote, unquote

FORM = re.compile(r"(?:([^@/?#]*)@)?([^@/?#]*)(?:/([^@/?#]*))?(?:\?([^@?#]*))?")
ADDRESS = re.compile(r"(?:\[([^\]]*)\]|([^:\[\]]+))(?::([0-9]{1,5}))?")
BROKEN_ESCAPE = re.compile("%(?![0-9A-Fa-f]{2})")
CONTROL = re.compile("[\x00-\x1f\x7f]")
HOST = re.compile(r"/.*|[^\s/:@]+")
NAME = re.compile("[A-Za-z_][A-Za-z0-9_-]*")
LAST_PORT = 65_535

UNREADABLE = (
    "must have the form scheme://user:password@host:port/name, with reserved characters of a value percent-encoded: "
    "%23 for #, %25 for %, %2F for /, %3F for ?, %40 for @"
)


@dataclass(frozen=True)
class ServiceUrl:
    """The parts of a URL as they were meant, decoded; ``hosts`` are still text such as ``db:5432``."""

    user: str
    password: str | None
    hosts: tuple[str, ...]
    name: str
    options: dict[str, str]


def parse(rest: str) -> ServiceUrl:
    """The parts after ``scheme://``. Raises ``ValueError`` for an ambiguous URL, without quoting it."""
    found = FORM.fullmatch(rest)
    if found is None or CONTROL.search(rest):
        raise ValueError(UNREADABLE)
    credentials, authority, name, query = (part or "" for part in found.groups())
    user, colon, password = credentials.partition(":")
    return ServiceUrl(
        user=decoded(user),
        password=decoded(password) if colon else None,
        hosts=tuple(authority.split(",")) if authority else (),
        name=decoded(name),
        options=_options(query),
    )


def decoded(text: str) -> str:
    """``text`` without its percent-encoding. Raises ``ValueError`` for a lone % and for what is no UTF-8."""
    if BROKEN_ESCAPE.search(text):
        raise ValueError(UNREADABLE)
    try:
        plain = unquote(text, errors="strict")
    except UnicodeDecodeError:
        raise ValueError(UNREADABLE) from None
    if CONTROL.search(plain):
        raise ValueError("must not contain control characters")
    return plain


def _options(query: str) -> dict[str, str]:
    """The options by name, those without a value left out, several hosts as one list (SQLAlchemy's form)."""
    options: dict[str, str] = {}
    for pair in filter(None, query.split("&")):
        name, equals, value = pair.partition("=")
        if not equals or not NAME.fullmatch(name):
            raise ValueError(UNREADABLE)
        if name == "host" and name in options:
            options[name] += f",{decoded(value)}"
        elif name in options:
            raise ValueError("has an option twice")
        elif value:
            options[name] = decoded(value)
    return options


def reject_option(name: str, reason: str, options: dict[str, str]) -> ValueError:
    """The error for an option. Beside a password among the options, a name may be a piece of that password."""
    hidden = any("password" in other for other in options)
    return ValueError(
        f"has an option that {reason}" if hidden else f"has the option {name}, which {reason}"
    )


def canonical_address(text: str, example: str) -> str:
    """A host with its port, if it has one, encoded. Raises ``ValueError`` with ``example`` for anything else."""
    wrong = ValueError(f"must name host and port such as {example}")
    found = ADDRESS.fullmatch(text)
    if found is None:
        raise wrong
    literal, name, port = found.groups()
    if port and not 0 < int(port) <= LAST_PORT:
        raise wrong
    suffix = f":{port}" if port else ""
    try:
        if literal:
            return f"[{IPv6Address(literal)}]{suffix}"
        host = decoded(name)
        if not host.startswith("/"):
            host.encode(
                "idna"
            )  # as the resolver will: it rejects labels that are empty or too long
    except ValueError:
        raise wrong from None
    if not HOST.fullmatch(host):
        raise wrong
    return quote(host, safe="") + suffix


def reject_missing_files(options: dict[str, str], names: Iterable[str]) -> None:
    """Raise ``ValueError`` for an option among ``names`` that points to no file: nothing could connect."""
    for name in names:
        if name in options and not Path(options[name]).is_file():
            raise ValueError(f"names a file in {name} that does not exist")
