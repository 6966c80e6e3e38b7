"""The smallest server: one scope in, what the application sends out."""

from typing import Any

from starlette.types import ASGIApp, Message, Receive, Scope, Send


def http_scope(*headers: tuple[bytes, bytes], **changes: Any) -> Scope:
    return {
        "type": "http",
        "http_version": "1.1",
        "method": "GET",
        "path": "/health",
        "raw_path": b"/health",
        "query_string": b"",
        "headers": list(headers),
        **changes,
    }


async def run(app: ASGIApp, scope: Scope, *incoming: Message) -> list[Message]:
    """Call ``app`` once. After ``incoming``, the client has gone."""
    waiting = list(incoming)
    sent: list[Message] = []

    async def receive() -> Message:
        return waiting.pop(0) if waiting else {"type": "http.disconnect"}

    async def send(message: Message) -> None:
        sent.append(message)

    await app(scope, receive, send)
    return sent


def body(*parts: bytes) -> list[Message]:
    """The messages in which a body of these parts arrives."""
    return [
        {"type": "http.request", "body": part, "more_body": number < len(parts)}
        for number, part in enumerate(parts, 1)
    ]


async def ok(scope: Scope, receive: Receive, send: Send) -> None:
    """An application that returns 200 with two headers of its own."""
    headers = [(b"content-type", b"text/plain"), (b"x-own", b"yes")]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": b"ok"})


async def read_all(scope: Scope, receive: Receive, send: Send) -> None:
    """An application that reads the whole body and returns its length."""
    length, more = 0, True
    while more:
        message = await receive()
        length += len(message.get("body", b""))
        more = message.get("more_body", False)
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": str(length).encode()})


async def other(scope: Scope, receive: Receive, send: Send) -> None:
    """A scope other than HTTP: returns the objects that it was given."""
    await send({"type": "seen", "scope": scope, "receive": receive, "send": send})


def headers_of(message: Message) -> dict[bytes, bytes]:
    return dict(message["headers"])
