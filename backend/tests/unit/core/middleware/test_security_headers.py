"""The security headers alone: added where they are missing, never twice."""

import pytest
from starlette.types import Message, Receive, Scope, Send

from app.core.middleware.security_headers import DEFAULTS, SecurityHeadersMiddleware
from tests.unit.core.middleware.asgi import headers_of, http_scope, ok, other, run


class Responding:
    """Sends this start message."""

    def __init__(self, start: Message) -> None:
        self.start = start

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, **self.start})


class TestSecurityHeaders:
    async def test_headers_are_added_to_those_of_the_response(self) -> None:
        start, _ = await run(SecurityHeadersMiddleware(ok), http_scope())

        assert headers_of(start) == {
            b"content-type": b"text/plain",
            b"x-own": b"yes",
            **dict(DEFAULTS),
        }

    @pytest.mark.parametrize("name", [b"cache-control", b"Cache-Control", b"CACHE-CONTROL"])
    async def test_headers_set_by_the_endpoint_are_kept(self, name: bytes) -> None:
        responding = Responding({"headers": [(name, b"public")]})

        sent = await run(SecurityHeadersMiddleware(responding), http_scope())

        found = [value for key, value in sent[0]["headers"] if key.lower() == b"cache-control"]
        assert found == [b"public"]

    @pytest.mark.parametrize(
        "name",
        [
            b"x-content-type-options",
            b"referrer-policy",
            b"content-security-policy",
            b"cache-control",
            b"strict-transport-security",
        ],
    )
    async def test_headers_are_not_duplicated(self, name: bytes) -> None:
        app = SecurityHeadersMiddleware(Responding({"headers": [(name, b"own")]}), hsts_seconds=60)

        sent = await run(app, http_scope())

        assert [value for key, value in sent[0]["headers"] if key.lower() == name] == [b"own"]

    @pytest.mark.parametrize("kind", [tuple, iter, list])
    async def test_headers_are_added_to_headers_in_any_iterable(self, kind: type) -> None:
        own = (b"cache-control", b"public")

        sent = await run(
            SecurityHeadersMiddleware(Responding({"headers": kind([own])})), http_scope()
        )

        assert sent[0]["headers"][0] == own
        assert headers_of(sent[0]) == {**dict(DEFAULTS), own[0]: own[1]}

    async def test_headers_are_added_to_a_response_without_headers(self) -> None:
        sent = await run(SecurityHeadersMiddleware(Responding({})), http_scope())

        assert headers_of(sent[0]) == dict(DEFAULTS)

    @pytest.mark.parametrize(
        ("seconds", "value"), [(0, None), (60, b"max-age=60; includeSubDomains")]
    )
    async def test_hsts_max_age_is_that_of_the_settings(
        self, seconds: int, value: bytes | None
    ) -> None:
        start, _ = await run(SecurityHeadersMiddleware(ok, hsts_seconds=seconds), http_scope())

        headers = headers_of(start)
        assert headers.get(b"strict-transport-security") == value
        assert headers.items() >= dict(DEFAULTS).items()

    async def test_headers_of_two_applications_are_separate(self) -> None:
        SecurityHeadersMiddleware(ok, hsts_seconds=60)

        start, _ = await run(SecurityHeadersMiddleware(ok), http_scope())

        assert b"strict-transport-security" not in headers_of(start)

    @pytest.mark.parametrize("kind", ["lifespan", "websocket"])
    async def test_other_scope_gets_no_headers(self, kind: str) -> None:
        scope = {"type": kind}

        assert (await run(SecurityHeadersMiddleware(other), scope))[0]["scope"] is scope
