"""scripts/verify.py against a server: it finds a good one good, and sees each promise that is broken."""

import asyncio
from collections.abc import Callable

import pytest
from fastapi import FastAPI
from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from scripts.verify import main
from tests.fixtures.fastapi_app import MakeApp
from tests.fixtures.live import HOST, live
from tests.fixtures.server import free_port

Change = Callable[[Message, MutableHeaders], None]
NAMES = ["/health", "X-Request-ID", "404", "401", "live", "ready", "headers", "docs"]


class Mutated:
    """An application whose answers are changed on their way out, on paths that end like this."""

    def __init__(self, app: ASGIApp, ending: str, change: Change) -> None:
        self.app, self.ending, self.change = app, ending, change

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def changed(message: Message) -> None:
            if scope["path"].endswith(self.ending):
                self.change(message, MutableHeaders(raw=message.get("headers", [])))
            await send(message)

        await self.app(scope, receive, changed)


def status(number: int) -> Change:
    def change(message: Message, headers: MutableHeaders) -> None:
        if "status" in message:
            message["status"] = number

    return change


def header(name: str, value: str | None) -> Change:
    def change(message: Message, headers: MutableHeaders) -> None:
        if "headers" in message:
            del headers[name]
            if value is not None:
                headers[name] = value

    return change


def body(old: bytes, new: bytes) -> Change:
    """``new`` is as long as ``old``: the length was announced already."""

    def change(message: Message, headers: MutableHeaders) -> None:
        if "body" in message:
            message["body"] = message["body"].replace(old, new)

    return change


async def verdict(app: FastAPI, *options: str) -> int:
    """The exit code for ``app`` behind a socket."""
    async with live(app) as server:
        return await asyncio.to_thread(main, [f"http://{HOST}:{server.port}", *options])


def failures(printed: str) -> list[str]:
    return [line for line in printed.splitlines() if not line.startswith("ok    ")]


async def test_a_good_server_keeps_every_promise(
    app: FastAPI, capsys: pytest.CaptureFixture[str]
) -> None:
    code = await verdict(app)

    printed = capsys.readouterr().out.splitlines()
    assert code == 0
    assert len(printed) == len(NAMES)
    assert all(line.startswith("ok    ") for line in printed)
    assert "ok    it is ready: db ok" in printed


@pytest.mark.parametrize(
    ("docs_enabled", "option", "code"),
    [(True, "on", 0), (True, "off", 1), (False, "off", 0), (False, "on", 1)],
)
async def test_the_docs_are_as_they_were_wanted(
    make_app: MakeApp, docs_enabled: bool, option: str, code: int
) -> None:
    assert await verdict(make_app(docs_enabled=docs_enabled), "--docs", option) == code


@pytest.mark.parametrize(
    ("named", "ending", "change"),
    [
        ("/health", "/health", body(b"ok", b"OK")),
        ("/health", "/health", status(307)),
        ("X-Request-ID", "/health", header("X-Request-ID", None)),
        ("X-Request-ID", "/health", header("X-Request-ID", "always the same")),
        ("404", "no-such-thing", status(200)),
        ("404", "no-such-thing", body(b'"error"', b'"eror":')),
        ("404", "no-such-thing", body(b"not_found", b"gone_away")),
        ("404", "no-such-thing", header("X-Request-ID", "another")),
        ("401", "users/me", status(403)),
        ("401", "users/me", header("WWW-Authenticate", None)),
        ("live", "live", status(500)),
        ("ready", "ready", status(503)),
        ("headers", "/health", header("X-Content-Type-Options", None)),
        ("headers", "/health", header("Server", "uvicorn")),
        ("docs", "/docs", status(500)),
    ],
)
async def test_a_broken_promise_is_found_and_no_other(
    app: FastAPI, capsys: pytest.CaptureFixture[str], named: str, ending: str, change: Change
) -> None:
    app.add_middleware(Mutated, ending=ending, change=change)

    code = await verdict(app)

    found = failures(capsys.readouterr().out)
    assert code == 1
    assert [line.split(":")[0] for line in found if named in line.split(":")[0]], found
    assert len(found) == 1


def test_nobody_there_is_a_failure_of_everything(capsys: pytest.CaptureFixture[str]) -> None:
    code = main([f"http://{HOST}:{free_port()}"])

    found = failures(capsys.readouterr().out)
    assert code == 1
    assert len(found) == len(NAMES)
    assert all("no response: " in line for line in found)


@pytest.mark.parametrize("url", ["file:///etc/passwd", "api.example.com", "https://"])
def test_an_address_that_is_not_of_the_web_is_refused(
    url: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit, match="2"):
        main([url])

    assert "url" in capsys.readouterr().err
