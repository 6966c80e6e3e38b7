"""Asks a running deployment for what clients rely on: one line for each promise, exit code 1 if one is broken.

    make verify URL=https://api.example.com
    make verify URL=https://api.example.com args="--docs off"

It only reads, and needs no account. The address is the public one, so that proxy and certificate are asked too.
"""

import argparse
import json
import sys
from collections.abc import Callable
from dataclasses import dataclass
from email.message import Message
from functools import partial
from http import HTTPStatus
from http.client import HTTPException
from typing import Any
from urllib.error import HTTPError, URLError
from urllib.parse import urlsplit
from urllib.request import HTTPRedirectHandler, Request, build_opener
from uuid import uuid4

TIMEOUT_SECONDS = 5
MAX_BODY_BYTES = 65_536
ENVELOPE = {"code", "message", "request_id", "details"}


@dataclass(frozen=True)
class Response:
    status: int
    headers: Message
    body: bytes

    def json(self) -> dict[str, Any]:
        """The body, a JSON object of anything, hence Any. Raises ``Broken`` where it is none."""
        try:
            value = json.loads(self.body)
        except ValueError:
            value = None
        if not isinstance(value, dict):
            raise Broken(f"{self.status} with no JSON object: {self.body[:200]!r}")
        return value


class Broken(Exception):
    """A promise is not kept; the message says what came instead."""


class NoRedirect(HTTPRedirectHandler):
    """A redirect is a response like any other, and not the promised one."""

    def redirect_request(self, *_: object) -> None:
        return None


Get = Callable[..., Response]
Promise = Callable[[Get], str | None]


def get(url: str, path: str, **headers: str) -> Response:
    """Raises ``Broken`` without a response."""
    opener = build_opener(NoRedirect())
    address = url.rstrip("/") + path
    request = Request(address, headers=headers)  # noqa: S310  main lets http and https through
    try:
        with opener.open(request, timeout=TIMEOUT_SECONDS) as response:
            return Response(response.status, response.headers, response.read(MAX_BODY_BYTES))
    except HTTPError as error:
        with error:
            return Response(error.code, error.headers, error.read(MAX_BODY_BYTES))
    except (URLError, OSError, HTTPException) as error:
        raise Broken(f"no response: {getattr(error, 'reason', None) or error!r}") from None


def health(get: Get) -> None:
    response = get("/health")
    expect_status(response, HTTPStatus.OK)
    if response.body != b'{"status":"ok"}':
        raise Broken(f"the body is {response.body[:80]!r}")


def request_id(get: Get) -> None:
    sent = f"verify-{uuid4()}"
    echoed = get("/health", **{"X-Request-ID": sent}).headers.get_all("X-Request-ID")
    made = get("/health").headers.get_all("X-Request-ID") or []
    if echoed != [sent]:
        raise Broken(f"sent {sent}, got {echoed}")
    if len(made) != 1 or made == echoed:
        raise Broken(f"who sent none got {made}")


def not_found(get: Get) -> None:
    expect_error(get("/api/v1/no-such-thing"), HTTPStatus.NOT_FOUND, "not_found")


def unauthorized(get: Get) -> None:
    response = get("/api/v1/users/me")
    expect_error(response, HTTPStatus.UNAUTHORIZED, "unauthorized")
    if response.headers["WWW-Authenticate"] != "Bearer":
        raise Broken(f"WWW-Authenticate is {response.headers['WWW-Authenticate']!r}")


def live(get: Get) -> None:
    expect_status(get("/api/v1/health/live"), HTTPStatus.OK)


def ready(get: Get) -> str:
    response = get("/api/v1/health/ready")
    checks = response.json().get("checks", {})
    found = ", ".join(f"{name} {state}" for name, state in checks.items())
    if response.status != HTTPStatus.OK:
        raise Broken(f"{response.status}, {found}")
    return found


def hardened(get: Get) -> None:
    response = get("/health")
    if response.headers["X-Content-Type-Options"] != "nosniff":
        raise Broken("X-Content-Type-Options is not sent")
    if "uvicorn" in (server := response.headers.get("Server", "")):
        raise Broken(f"Server is {server!r}")


def docs(wanted: str | None, get: Get) -> str:
    found = {HTTPStatus.OK: "on", HTTPStatus.NOT_FOUND: "off"}.get(HTTPStatus(get("/docs").status))
    if found is None or wanted not in {None, found}:
        raise Broken(f"they are {found or 'neither on nor off'}")
    return "" if wanted else found


def expect_status(response: Response, status: int) -> None:
    if response.status != status:
        raise Broken(f"the status is {response.status}, not {status:d}")


def expect_error(response: Response, status: int, code: str) -> None:
    expect_status(response, status)
    error = response.json().get("error")
    if not isinstance(error, dict) or error.keys() != ENVELOPE or error["code"] != code:
        raise Broken(f"no envelope with the code {code}: {response.body[:200]!r}")
    if error["request_id"] != response.headers["X-Request-ID"]:
        raise Broken("request_id is not that of the header")


def promises(docs_wanted: str | None) -> dict[str, Promise]:
    return {
        'GET /health is exactly {"status":"ok"}': health,
        "X-Request-ID is echoed, and made where none was sent": request_id,
        "an unknown path is 404 in the error envelope": not_found,
        "who sends no token is 401 with a challenge": unauthorized,
        "the process is live": live,
        "it is ready": ready,
        "security headers are sent, the server's name is not": hardened,
        f"the docs are {docs_wanted}" if docs_wanted else "the docs": partial(docs, docs_wanted),
    }


def keeps(what: str, promise: Promise, url: str) -> bool:
    """Whether a promise is kept; prints its line."""
    try:
        note = promise(partial(get, url))
    except Broken as broken:
        print(f"FAIL  {what}: {broken}")
        return False
    print(f"ok    {what}{f': {note}' if note else ''}")
    return True


def web_address(text: str) -> str:
    parts = urlsplit(text)
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        raise ValueError(text)
    return text


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="make verify", description=__doc__.partition("\n")[0])
    parser.add_argument("url", type=web_address, help="https://api.example.com")
    parser.add_argument("--docs", choices=["on", "off"], help="whether /docs must be served")
    options = parser.parse_args(arguments)
    kept = [keeps(what, promise, options.url) for what, promise in promises(options.docs).items()]
    return int(not all(kept))


if __name__ == "__main__":
    sys.exit(main())
