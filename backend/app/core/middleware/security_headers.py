"""Headers that restrict what a browser does with a response; on every response, errors included."""

from starlette.types import ASGIApp, Message, Receive, Scope, Send

Header = tuple[bytes, bytes]

DEFAULTS: tuple[Header, ...] = (
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
    # base-uri and form-action do not fall back to default-src.
    (
        b"content-security-policy",
        b"default-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    ),
    # A response may be private unless its endpoint says otherwise (RFC 9111, section 5.2.2.5).
    (b"cache-control", b"no-store"),
)


class SecurityHeadersMiddleware:
    """Add each header that the endpoint did not set itself. ``hsts_seconds`` 0 leaves HSTS out."""

    def __init__(self, app: ASGIApp, hsts_seconds: int = 0) -> None:
        self.app = app
        self.headers = DEFAULTS
        if hsts_seconds:
            value = f"max-age={hsts_seconds}; includeSubDomains".encode("ascii")
            self.headers += ((b"strict-transport-security", value),)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                # Any iterable by the specification, once: a tuple or a generator too.
                sent = list(message.get("headers", ()))
                present = {name.lower() for name, _ in sent}
                missing = [header for header in self.headers if header[0] not in present]
                message["headers"] = sent + missing
            await send(message)

        await self.app(scope, receive, send_with_headers)
