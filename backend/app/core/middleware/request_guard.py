"""Refuse a request by its head alone: before routing, before the body, before anything costs."""

from urllib.parse import unquote_to_bytes

from starlette.types import ASGIApp, Receive, Scope, Send

from app.core.errors import BadRequest, HeadersTooLarge, UriTooLong

MAX_HEADERS = 100
MAX_HEADER_BYTES = 16_384
MAX_URL_BYTES = 8_192


class RequestGuardMiddleware:
    """Bound the head, refuse what two servers could read differently, accept only known hosts.

    An empty ``allowed_hosts`` accepts every name; ``*.example.com`` accepts its subdomains.
    """

    def __init__(self, app: ASGIApp, allowed_hosts: tuple[str, ...] = ()) -> None:
        self.app = app
        self.names = frozenset(host for host in allowed_hosts if not host.startswith("*."))
        self.suffixes = tuple(host[1:] for host in allowed_hosts if host.startswith("*."))

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            check_size(scope)
            check_encoding(scope)
            self.check_framing(scope)
        await self.app(scope, receive, send)

    def check_framing(self, scope: Scope) -> None:
        """One Host (RFC 9112, section 3.2), one way to find the end of the body (section 6.1)."""
        hosts = [value for name, value in scope["headers"] if name == b"host"]
        if len(hosts) > 1 or (not hosts and scope.get("http_version") == "1.1"):
            raise BadRequest("Exactly one Host header is required")
        if not self.allows(hosts[0] if hosts else b""):
            raise BadRequest("This host is not served here")
        names = [name for name, _ in scope["headers"]]
        if b"transfer-encoding" in names and b"content-length" in names:
            raise BadRequest(
                "Content-Length and Transfer-Encoding exclude each other",
                headers={"Connection": "close"},
            )

    def allows(self, host: bytes) -> bool:
        if not self.names and not self.suffixes:
            return True
        name = host.decode("latin-1").lower()
        if not name.endswith("]"):  # an IPv6 address without a port
            name = name.rpartition(":")[0] or name
        return name in self.names or name.endswith(self.suffixes or ("\0",))


def check_size(scope: Scope) -> None:
    """Raise 414 or 431 for a URL or headers (RFC 6585, section 5) beyond the limits."""
    if len(scope.get("raw_path") or b"") + len(scope["query_string"]) > MAX_URL_BYTES:
        raise UriTooLong
    headers = scope["headers"]
    if (
        len(headers) > MAX_HEADERS
        or sum(len(name) + len(value) for name, value in headers) > MAX_HEADER_BYTES
    ):
        raise HeadersTooLarge(headers={"Connection": "close"})


def check_encoding(scope: Scope) -> None:
    """Raise 400 for a URL that is not UTF-8 or holds NUL: the framework would decode it lossily."""
    for raw in (scope.get("raw_path") or b"", scope["query_string"]):
        if b"%" not in raw and raw.isascii():
            continue
        try:
            text = unquote_to_bytes(raw.replace(b"+", b" ")).decode("utf-8")
        except UnicodeDecodeError:
            raise BadRequest("The URL is not valid UTF-8") from None
        if "\0" in text:
            raise BadRequest("The URL contains a NUL character")
