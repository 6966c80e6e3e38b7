"""The body limit: counted as it arrives, rejected before it is sent where it is announced."""

import pytest
from starlette.types import Scope

from app.core.errors import BadRequest, PayloadTooLarge
from app.core.middleware.body_limit import BodyLimitMiddleware, announced_length
from tests.unit.core.middleware.asgi import body, http_scope, ok, other, read_all, run

LIMITED = BodyLimitMiddleware(read_all, max_bytes=10)


def announcing(*lengths: bytes) -> Scope:
    return http_scope(*((b"content-length", length) for length in lengths))


class TestAnnouncedLength:
    @pytest.mark.parametrize(
        ("sent", "length"),
        [(b"0", 0), (b"10", 10), (b"007", 7), (b"0" * 50 + b"7", 7), (b"9" * 18, 10**18 - 1)],
    )
    def test_content_length_is_parsed(self, sent: bytes, length: int) -> None:
        assert announced_length(announcing(sent)) == length

    def test_missing_content_length_is_none(self) -> None:
        assert announced_length(http_scope()) == 0

    @pytest.mark.parametrize("digits", [20, 100, 10_000])
    def test_content_length_of_many_digits_is_too_large(self, digits: int) -> None:
        assert announced_length(announcing(b"9" * digits)) > 10**18

    @pytest.mark.parametrize(
        "sent", [b"", b"-1", b"+1", b" 1", b"1 ", b"1,1", b"0x1", b"1e3", b"1_0", b"\xb2", b"x"]
    )
    def test_non_numeric_content_length_is_rejected_and_closes_the_connection(
        self, sent: bytes
    ) -> None:
        with pytest.raises(BadRequest) as caught:
            announced_length(announcing(sent))

        assert caught.value.message == "Content-Length must be one number"
        assert caught.value.headers["Connection"] == "close"

    @pytest.mark.parametrize("second", [b"1", b"2"])
    def test_duplicate_content_length_is_rejected(self, second: bytes) -> None:
        with pytest.raises(BadRequest):
            announced_length(announcing(b"1", second))


class TestBodyLimit:
    async def test_body_of_the_limit_is_accepted(self) -> None:
        sent = await run(LIMITED, http_scope(), *body(b"12345", b"67890"))

        assert sent[-1]["body"] == b"10"

    @pytest.mark.parametrize("parts", [(b"12345678901",), (b"1234567890", b"1"), (b"1",) * 11])
    async def test_byte_beyond_the_limit_is_rejected(self, parts: tuple[bytes, ...]) -> None:
        with pytest.raises(PayloadTooLarge) as caught:
            await run(LIMITED, http_scope(), *body(*parts))

        assert caught.value.status == 413
        assert caught.value.headers == {"Connection": "close"}

    async def test_announced_body_is_rejected_before_the_application_is_asked(self) -> None:
        with pytest.raises(PayloadTooLarge):
            await run(BodyLimitMiddleware(ok, max_bytes=10), announcing(b"11"))

    async def test_understated_content_length_does_not_pass_the_limit(self) -> None:
        with pytest.raises(PayloadTooLarge):
            await run(LIMITED, announcing(b"1"), *body(b"12345678901"))

    async def test_disconnect_is_passed_on(self) -> None:
        sent = await run(LIMITED, http_scope(), {"type": "http.request", "more_body": True})

        assert sent[-1]["body"] == b"0"

    @pytest.mark.parametrize("kind", ["lifespan", "websocket"])
    async def test_other_scope_passes_unchanged(self, kind: str) -> None:
        scope = {"type": kind}

        sent = await run(BodyLimitMiddleware(other, max_bytes=10), scope)

        assert sent[0]["scope"] is scope
