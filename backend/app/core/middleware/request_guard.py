"""Reject a request by its request line and headers alone: before routing, before the body, before anything costs."""

import re
from urllib.parse import unquote_to_bytes

from starlette.types import ASGIApp, Receive, Scope, Send

from app.core.errors import BadRequest, HeadersTooLarge, UriTooLong

MAX_HEADERS = 100
MAX_HEADER_BYTES = 16_384
MAX_URL_BYTES = 8_192

# RFC 9110, section 7.2, less what no server is called by; the port is a number or nothing.
HOST = re.compile(rb"(\[[0-9a-f:.]+\]|[a-z0-9_][a-z0-9._-]{0,252}|)(?::[0-9]{0,5})?", re.IGNORECASE)
CONTROL = re.compile(r"[\x00-\x1f\x7f]")
CLOSE = {"Connection": "close"}  # where this request ends is in doubt


class RequestGuardMiddleware:
    """Bound the headers, reject what two servers could read differently, accept only known hosts.

    An empty ``allowed_hosts`` accepts every name; ``*.example.com`` accepts its subdomains.
    """

    def __init__(self, app: ASGIApp, allowed_hosts: tuple[str, ...] = ()) -> None:
        self.app = app
        self.names = frozenset(host for host in allowed_hosts if not host.startswith("*."))
        self.suffixes = tuple(host[1:] for host in allowed_hosts if host.startswith("*."))

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] in {"http", "websocket"}:
            check_size(scope)
            check_encoding(scope)
            self.check_framing(scope)
        await self.app(scope, receive, send)

    def check_framing(self, scope: Scope) -> None:
        """One Host (RFC 9112, section 3.2), one way to find the end of the body (section 6.1)."""
        hosts = [value for name, value in scope["headers"] if name == b"host"]
        if len(hosts) > 1 or (not hosts and scope.get("http_version") == "1.1"):
            raise BadRequest("Exactly one Host header is required", headers=CLOSE)
        host = HOST.fullmatch(hosts[0] if hosts else b"")
        if host is None:
            raise BadRequest("The Host header is not valid")
        if not self.allows(host[1].decode("ascii").lower()):
            raise BadRequest("This host is not served here")
        names = [name for name, _ in scope["headers"]]
        if b"transfer-encoding" in names and b"content-length" in names:
            raise BadRequest(
                "Content-Length and Transfer-Encoding exclude each other", headers=CLOSE
            )

    def allows(self, name: str) -> bool:
        if not self.names and not self.suffixes:
            return True
        return name in self.names or name.endswith(self.suffixes)


def check_size(scope: Scope) -> None:
    """Raise 414 or 431 for a URL or headers (RFC 6585, section 5) beyond the limits."""
    if len(scope.get("raw_path") or b"") + len(scope["query_string"]) > MAX_URL_BYTES:
        raise UriTooLong
    headers = scope["headers"]
    if (
        len(headers) > MAX_HEADERS
        or sum(len(name) + len(value) for name, value in headers) > MAX_HEADER_BYTES
    ):
        raise HeadersTooLarge(headers=CLOSE)


def check_encoding(scope: Scope) -> None:
    """Raise 400 for a URL that is not UTF-8 or holds NUL: the framework would decode it lossily.

    In the path, for every control character: a route would also match with a line break at its end.
    """
    if CONTROL.search(decoded(scope.get("raw_path") or b"")):
        raise BadRequest("The URL contains a control character")
    if "\0" in decoded(scope["query_string"]):
        raise BadRequest("The URL contains a NUL character")


def decoded(raw: bytes) -> str:
    try:
        return unquote_to_bytes(raw).decode("utf-8")
    except UnicodeDecodeError:
        raise BadRequest("The URL is not valid UTF-8") from None
