"""The request id layer alone: which id it takes, what it adds, and that it cleans up."""

from uuid import UUID

import pytest
from starlette.types import Receive, Scope, Send

from app.core.context import request_id_var
from app.core.middleware.request_id import RequestIdMiddleware, incoming_id
from tests.unit.core.middleware.asgi import headers_of, http_scope, ok, other, run

HEADER = b"x-request-id"


class TestIncomingId:
    @pytest.mark.parametrize(
        "sent", [b"a", b"a b", b"~" * 128, b"<b>", b"it's", b"XX", bytes(UUID(int=1).hex, "ascii")]
    )
    def test_printable_short_id_is_accepted(self, sent: bytes) -> None:
        assert incoming_id(http_scope((HEADER, sent))) == sent.decode()

    async def test_missing_id_is_a_random_uuid_each_time(self) -> None:
        responses = [await run(RequestIdMiddleware(ok), http_scope()) for _ in range(3)]

        made = {UUID(headers_of(start)[HEADER].decode()) for start, _ in responses}
        assert len(made) == 3
        assert {one.version for one in made} == {4}

    @pytest.mark.parametrize("sent", [b" a", b"a ", b"\ta", b"a\t", b" \t a \t "])
    def test_white_space_around_an_id_is_removed(self, sent: bytes) -> None:
        assert incoming_id(http_scope((HEADER, sent))) == "a"

    def test_id_with_another_character_is_replaced(self) -> None:
        around = {code: b"a" + bytes([code]) + b"b" for code in range(256)}

        taken = {code for code, sent in around.items() if incoming_id(http_scope((HEADER, sent)))}

        assert taken == set(range(0x20, 0x7F)) - {ord('"'), ord("\\")}

    @pytest.mark.parametrize("sent", [b"", b" ", b" " * 128, b"a" * 129, b"a\n", b"\na"])
    def test_empty_or_too_long_id_is_replaced(self, sent: bytes) -> None:
        assert incoming_id(http_scope((HEADER, sent))) is None

    def test_duplicate_id_is_replaced(self) -> None:
        assert incoming_id(http_scope((HEADER, b"a"), (HEADER, b"a"))) is None

    def test_missing_header_has_no_id(self) -> None:
        assert incoming_id(http_scope((b"x-request", b"a"))) is None


class TestRequestId:
    async def test_id_is_added_to_the_response_beside_its_own_headers(self) -> None:
        start, _ = await run(RequestIdMiddleware(ok), http_scope((HEADER, b"mine")))

        assert (b"x-own", b"yes") in start["headers"]
        assert (HEADER, b"mine") in start["headers"]

    @pytest.mark.parametrize("name", [b"x-request-id", b"X-Request-ID"])
    async def test_id_replaces_one_set_by_an_endpoint(self, name: bytes) -> None:
        async def stubborn(scope: Scope, receive: Receive, send: Send) -> None:
            await send({"type": "http.response.start", "status": 200, "headers": [(name, b"x")]})

        sent = await run(RequestIdMiddleware(stubborn), http_scope((HEADER, b"mine")))

        assert sent[0]["headers"] == [(HEADER, b"mine")]

    async def test_id_is_added_to_a_response_without_headers(self) -> None:
        async def bare(scope: Scope, receive: Receive, send: Send) -> None:
            await send({"type": "http.response.start", "status": 204})

        sent = await run(RequestIdMiddleware(bare), http_scope((HEADER, b"mine")))

        assert sent[0]["headers"] == [(HEADER, b"mine")]

    async def test_id_is_in_the_context_during_the_request_alone(self) -> None:
        seen = []

        async def looking(scope: Scope, receive: Receive, send: Send) -> None:
            seen.append(request_id_var.get())

        await run(RequestIdMiddleware(looking), http_scope((HEADER, b"mine")))

        assert seen == ["mine"]
        assert request_id_var.get() is None

    async def test_context_is_reset_after_a_failure(self) -> None:
        async def failing(scope: Scope, receive: Receive, send: Send) -> None:
            raise RuntimeError

        with pytest.raises(RuntimeError):
            await run(RequestIdMiddleware(failing), http_scope((HEADER, b"mine")))

        assert request_id_var.get() is None

    @pytest.mark.parametrize("kind", ["lifespan"])
    async def test_other_scope_has_no_id(self, kind: str) -> None:
        scope = {"type": kind}

        sent = await run(RequestIdMiddleware(other), scope)

        assert sent[0]["scope"] is scope
