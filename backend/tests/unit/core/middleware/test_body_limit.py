"""The body limit: counted as it arrives, refused before it is sent where it is announced."""

import pytest
from starlette.exceptions import HTTPException
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
    def test_is_the_number_that_was_sent(self, sent: bytes, length: int) -> None:
        assert announced_length(announcing(sent)) == length

    def test_is_nothing_without_the_header(self) -> None:
        assert announced_length(http_scope()) == 0

    @pytest.mark.parametrize("digits", [20, 100, 10_000])
    def test_with_more_digits_than_any_body_has_is_still_huge(self, digits: int) -> None:
        assert announced_length(announcing(b"9" * digits)) > 10**18

    @pytest.mark.parametrize(
        "sent", [b"", b"-1", b"+1", b" 1", b"1 ", b"1,1", b"0x1", b"1e3", b"1_0", b"\xb2", b"x"]
    )
    def test_that_is_no_number_is_a_bad_request_that_ends_the_connection(self, sent: bytes) -> None:
        with pytest.raises(BadRequest) as caught:
            announced_length(announcing(sent))

        assert caught.value.message == "Content-Length must be one number"
        assert caught.value.headers["Connection"] == "close"

    @pytest.mark.parametrize("second", [b"1", b"2"])
    def test_that_is_said_twice_is_a_bad_request(self, second: bytes) -> None:
        with pytest.raises(BadRequest):
            announced_length(announcing(b"1", second))


class TestBodyLimit:
    async def test_body_of_the_limit_passes(self) -> None:
        sent = await run(LIMITED, http_scope(), *body(b"12345", b"67890"))

        assert sent[-1]["body"] == b"10"

    @pytest.mark.parametrize("parts", [(b"12345678901",), (b"1234567890", b"1"), (b"1",) * 11])
    async def test_byte_too_much_is_refused_however_it_arrives(
        self, parts: tuple[bytes, ...]
    ) -> None:
        with pytest.raises(HTTPException) as caught:
            await run(LIMITED, http_scope(), *body(*parts))

        assert caught.value.status_code == 413
        assert caught.value.headers == {"Connection": "close"}

    async def test_announced_body_is_refused_before_the_application_is_asked(self) -> None:
        with pytest.raises(PayloadTooLarge):
            await run(BodyLimitMiddleware(ok, max_bytes=10), announcing(b"11"))

    async def test_announcement_is_not_believed(self) -> None:
        with pytest.raises(HTTPException):
            await run(LIMITED, announcing(b"1"), *body(b"12345678901"))

    async def test_client_that_goes_away_is_noticed_below(self) -> None:
        sent = await run(LIMITED, http_scope(), {"type": "http.request", "more_body": True})

        assert sent[-1]["body"] == b"0"

    @pytest.mark.parametrize("kind", ["lifespan", "websocket"])
    async def test_what_is_no_http_passes_untouched(self, kind: str) -> None:
        scope = {"type": kind}

        sent = await run(BodyLimitMiddleware(other, max_bytes=10), scope)

        assert sent[0]["scope"] is scope
