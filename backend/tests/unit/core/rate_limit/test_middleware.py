"""Keys and paths that are counted, and the headers of the response."""

import pytest
from starlette.types import Receive, Scope, Send

from app.core.http.route_template import route_path
from app.core.rate_limit.base import Decision, Key
from app.core.rate_limit.client import client_key
from app.core.rate_limit.middleware import RateLimitMiddleware, RateLimitScope
from tests.unit.core.middleware.asgi import headers_of, http_scope, ok, other, run

SCOPE = RateLimitScope(
    "/api/v1/", frozenset({"/api/v1/health/live"}), user_key=lambda scope: scope.get("user")
)
ADMITTED = Decision(True, 10, 9, 60, 0)
REFUSED = Decision(False, 10, 0, 7, 7)


class FixedLimiter:
    def __init__(self, decision: Decision | None) -> None:
        self.decision = decision
        self.keys: list[str] = []

    async def hit(self, key: Key) -> Decision | None:
        self.keys.append(key())
        return self.decision


async def served_as(
    decision: Decision | None, path: str = "/api/v1/users", **scope: object
) -> tuple[int, dict[bytes, bytes], list[str]]:
    limiter = FixedLimiter(decision)
    sent = await run(RateLimitMiddleware(ok, limiter, SCOPE), http_scope(path=path, **scope))
    return sent[0]["status"], headers_of(sent[0]), limiter.keys


class TestScope:
    @pytest.mark.parametrize(
        "path",
        [
            "/health",
            "/",
            "/users/me",
            "/auth/login",
            "/api/v1",
            "/api/v10/users",
            "/API/v1/users",
            "//api/v1/users",
            "/docs",
            "/api/v1/health/live",
        ],
    )
    async def test_path_outside_the_scope_is_not_counted(self, path: str) -> None:
        status, headers, keys = await served_as(REFUSED, path)

        assert (status, keys) == (200, [])
        assert not any(name.startswith(b"x-ratelimit") for name in headers)

    @pytest.mark.parametrize(
        "path",
        [
            "/api/v1/users",
            "/api/v1/",
            "/api/v1/nothing",
            "/api/v1//users",
            "/api/v1/health/live/",
            "/api/v1/health/live/../users",
            "/api/v1/Health/live",
        ],
    )
    async def test_path_inside_the_scope_is_counted(self, path: str) -> None:
        assert (await served_as(REFUSED, path))[0] == 429

    async def test_path_below_a_proxy_prefix_is_counted(self) -> None:
        served = {"path": "/svc/api/v1/users", "root_path": "/svc"}
        probe = {"path": "/svc/api/v1/health/live", "root_path": "/svc"}

        assert (await served_as(REFUSED, **served))[0] == 429
        assert (await served_as(REFUSED, **probe))[0] == 200

    async def test_other_scope_passes_unchanged(self) -> None:
        limiter = FixedLimiter(REFUSED)

        sent = await run(RateLimitMiddleware(other, limiter, SCOPE), {"type": "websocket"})

        assert sent[0]["type"] == "seen"
        assert limiter.keys == []

    @pytest.mark.parametrize(
        ("path", "root", "matched"),
        [
            ("/a/b", "", "/a/b"),
            ("/a/b", "/a", "/b"),
            ("/ab", "/a", "/ab"),
            ("/a", "/a", "/a"),
            ("/b", "/a", "/b"),
        ],
    )
    def test_path_is_that_of_the_router(self, path: str, root: str, matched: str) -> None:
        assert route_path({"path": path, "root_path": root}) == matched


class TestResponse:
    async def test_admitted_response_keeps_its_headers_and_gets_three(self) -> None:
        status, headers, _ = await served_as(ADMITTED)

        assert status == 200
        assert headers == {
            b"content-type": b"text/plain",
            b"x-own": b"yes",
            b"x-ratelimit-limit": b"10",
            b"x-ratelimit-remaining": b"9",
            b"x-ratelimit-reset": b"60",
        }

    async def test_rejected_request_never_reaches_the_application(self) -> None:
        async def never(scope: Scope, receive: Receive, send: Send) -> None:
            raise AssertionError

        layer = RateLimitMiddleware(never, FixedLimiter(REFUSED), SCOPE)
        sent = await run(layer, http_scope(path="/api/v1/users"))

        headers = headers_of(sent[0])
        assert sent[0]["status"] == 429
        assert headers[b"retry-after"] == headers[b"x-ratelimit-reset"] == b"7"
        assert b'"rate_limited"' in sent[1]["body"]

    async def test_unavailable_limiter_changes_nothing(self) -> None:
        status, headers, _ = await served_as(None)

        assert (status, len(headers)) == (200, 2)


class TestKey:
    async def test_verified_user_is_the_key_before_the_address(self) -> None:
        assert (await served_as(ADMITTED, user="user:1"))[2] == ["user:1"]

    async def test_anonymous_request_is_keyed_by_address(self) -> None:
        assert (await served_as(ADMITTED, client=("192.0.2.1", 5)))[2] == ["ip:192.0.2.1"]

    @pytest.mark.parametrize(
        ("client", "key"),
        [
            (("192.0.2.1", 1), "ip:192.0.2.1"),
            (("192.0.2.1", 2), "ip:192.0.2.1"),
            (("::ffff:192.0.2.1", 1), "ip:192.0.2.1"),
            (("2001:db8:1:2:3:4:5:6", 1), "ip:2001:db8:1:2::/64"),
            (("2001:DB8:1:2:ffff::", 1), "ip:2001:db8:1:2::/64"),
            (("2001:db8:1:3::1", 1), "ip:2001:db8:1:3::/64"),
            (("fe80::1%eth0", 1), "ip:fe80::/64"),
            (("::1", 1), "ip:::/64"),
            (("testclient", 1), "ip:testclient"),
            (("", 0), "ip:"),
            (None, "ip:unknown"),
        ],
    )
    def test_address_is_normalized(self, client: tuple[str, int] | None, key: str) -> None:
        assert client_key({"client": client}) == key
