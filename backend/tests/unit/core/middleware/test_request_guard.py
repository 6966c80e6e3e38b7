"""The request guard: what no server should have let through, and what only another server would send."""

import pytest
from starlette.types import Scope

from app.core.errors import AppError, BadRequest, HeadersTooLarge, UriTooLong
from app.core.middleware.request_guard import RequestGuardMiddleware
from tests.unit.core.middleware.asgi import http_scope, ok, other, run

HOST = (b"host", b"testserver")
NOT_TEXT = "The URL is not valid UTF-8"
OPEN = RequestGuardMiddleware(ok)
PICKY = RequestGuardMiddleware(ok, ("api.example.com", "*.example.org"))


async def assert_served(guard: RequestGuardMiddleware, scope: Scope) -> None:
    assert (await run(guard, scope))[0]["status"] == 200


async def refusal(guard: RequestGuardMiddleware, scope: Scope) -> AppError:
    with pytest.raises(AppError) as caught:
        await run(guard, scope)
    return caught.value


class TestFraming:
    """Our parser rejects these itself; another one, or HTTP/2 in front of it, may not."""

    @pytest.mark.parametrize("encoding", [b"chunked", b"identity", b""])
    async def test_length_and_transfer_encoding_exclude_each_other(self, encoding: bytes) -> None:
        scope = http_scope(HOST, (b"content-length", b"2"), (b"transfer-encoding", encoding))

        error = await refusal(OPEN, scope)

        assert isinstance(error, BadRequest)
        assert error.message == "Content-Length and Transfer-Encoding exclude each other"
        assert error.headers["Connection"] == "close"

    @pytest.mark.parametrize("hosts", [0, 2, 3])
    async def test_second_host_header_is_rejected(self, hosts: int) -> None:
        error = await refusal(OPEN, http_scope(*[HOST] * hosts))

        assert isinstance(error, BadRequest)
        assert error.message == "Exactly one Host header is required"
        assert error.headers["Connection"] == "close"

    @pytest.mark.parametrize("version", ["1.0", "2"])
    async def test_host_may_be_missing_where_http_does_not_ask_for_it(self, version: str) -> None:
        await assert_served(OPEN, http_scope(http_version=version))

    async def test_host_may_not_be_missing_where_names_are_set(self) -> None:
        assert isinstance(await refusal(PICKY, http_scope(http_version="1.0")), BadRequest)


class TestHosts:
    @pytest.mark.parametrize("host", [b"api.example.com", b"API.example.com:1", b"x.example.org"])
    async def test_named_host_is_served(self, host: bytes) -> None:
        await assert_served(PICKY, http_scope((b"host", host)))

    @pytest.mark.parametrize("host", [b"example.org", b"a.example.com", b""])
    async def test_unnamed_host_is_rejected(self, host: bytes) -> None:
        error = await refusal(PICKY, http_scope((b"host", host)))

        assert isinstance(error, BadRequest)
        assert error.message == "This host is not served here"

    @pytest.mark.parametrize(
        "host", [b"a b", b"a@b", b"[::1", b"a:x", b"a:123456", b"-a", b".a", b"\xe9"]
    )
    async def test_malformed_host_is_rejected(self, host: bytes) -> None:
        error = await refusal(OPEN, http_scope((b"host", host)))

        assert isinstance(error, BadRequest)
        assert error.message == "The Host header is not valid"


class TestOneKindOfName:
    @pytest.mark.parametrize(
        ("only", "host"),
        [("api.example.com", b"api.example.com"), ("*.example.org", b"x.example.org")],
    )
    async def test_one_allowed_host_rejects_all_others(self, only: str, host: bytes) -> None:
        guard = RequestGuardMiddleware(ok, (only,))

        await assert_served(guard, http_scope((b"host", host)))
        assert isinstance(await refusal(guard, http_scope(HOST)), BadRequest)


class TestSize:
    async def test_request_at_the_limits_is_served(self) -> None:
        headers = [HOST, *[(b"x", b"y")] * 99]
        filler = 16_384 - sum(len(name) + len(value) for name, value in headers)
        headers[-1] = (b"x", b"y" * (filler + 1))

        await assert_served(
            OPEN, http_scope(*headers, raw_path=b"/" * 4_096, query_string=b"x" * 4_096)
        )

    @pytest.mark.parametrize(
        "headers",
        [[HOST, *[(b"x", b"y")] * 100], [HOST, (b"x", b"y" * (16_385 - len(b"hosttestserverx")))]],
    )
    async def test_larger_headers_are_rejected_and_the_connection_ends(
        self, headers: list[tuple[bytes, bytes]]
    ) -> None:
        error = await refusal(OPEN, http_scope(*headers))

        assert isinstance(error, HeadersTooLarge)
        assert error.headers["Connection"] == "close"

    @pytest.mark.parametrize(
        "parts",
        [
            {"raw_path": b"/" * 8_193},
            {"query_string": b"x" * 8_193},
            {"raw_path": b"/" * 4_097, "query_string": b"x" * 4_096},
        ],
    )
    async def test_longer_url_is_rejected(self, parts: dict[str, bytes]) -> None:
        assert isinstance(await refusal(OPEN, http_scope(HOST, **parts)), UriTooLong)


class TestEncoding:
    @pytest.mark.parametrize(
        "raw",
        [b"/%ff", b"/%c0%af", b"/%ed%a0%80", b"/\xff", b"/%00", b"/%0a", b"/a%0d%0ab", b"/%7f"],
    )
    async def test_path_is_text_without_control_characters(self, raw: bytes) -> None:
        error = await refusal(OPEN, http_scope(HOST, raw_path=raw))

        assert isinstance(error, BadRequest)
        assert error.message in {NOT_TEXT, "The URL contains a control character"}

    @pytest.mark.parametrize("raw", [b"a=%ff", b"a=%c0%80", b"a=\xff", b"a=%00", b"%00=a"])
    async def test_query_is_text_without_nul(self, raw: bytes) -> None:
        error = await refusal(OPEN, http_scope(HOST, query_string=raw))

        assert isinstance(error, BadRequest)
        assert error.message in {NOT_TEXT, "The URL contains a NUL character"}

    @pytest.mark.parametrize(
        ("raw_path", "query"),
        [
            (b"/%C3%A9", b"a=%C3%A9"),
            (b"/%", b"a=%zz"),
            (b"/%20", b"a=1+2"),
            (b"/a", b"a=one%0D%0Atwo"),
            (None, b""),
        ],
    )
    async def test_other_characters_are_served(self, raw_path: bytes | None, query: bytes) -> None:
        await assert_served(OPEN, http_scope(HOST, raw_path=raw_path, query_string=query))


class TestOtherScopes:
    @pytest.mark.parametrize("kind", ["lifespan"])
    async def test_other_scopes_pass_unchanged(self, kind: str) -> None:
        scope = {"type": kind}

        assert (await run(RequestGuardMiddleware(other), scope))[0]["scope"] is scope
