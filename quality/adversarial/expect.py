"""What a response must look like, whatever was asked: the status, the envelope, the request id, the challenge."""

from http import HTTPStatus

from app.core.errors import BY_STATUS
from quality.testkit.client import Response


class AttackSucceeded(Exception):
    """The application did what it must not do, or left out what it must do."""


def must(kept: bool, complaint: str) -> None:
    """Raise ``AttackSucceeded`` with the complaint unless it was kept."""
    if not kept:
        raise AttackSucceeded(complaint)


def expect(response: Response, *statuses: int, head: bool = False) -> None:
    """One of these statuses, with a request id, and with the envelope if it is an error (to HEAD without body)."""
    allowed = " or ".join(map(str, statuses))
    must(response.status in statuses, f"{response.status}, not {allowed}: {response.body[:300]!r}")
    ids = [value for name, value in response.headers if name == "x-request-id"]
    must(len(ids) == 1 and bool(ids[0]), f"not one X-Request-ID: {ids}")
    if response.status == HTTPStatus.UNAUTHORIZED:
        challenge = response.header("www-authenticate") or ""
        must(challenge.startswith("Bearer"), f"no challenge: {challenge!r}")
    if response.status >= HTTPStatus.BAD_REQUEST and not head:
        expect_envelope(response)


def expect_envelope(response: Response) -> None:
    """Exactly ``{"error": {code, message, request_id, details}}``, with the code of the status and the id of the header."""
    must(response.header("content-type") == "application/json", "an error that is not JSON")
    content = response.json()
    must(set(content) == {"error"}, f"not the envelope: {response.body[:300]!r}")
    error = content["error"]
    must(set(error) == {"code", "message", "request_id", "details"}, f"envelope with {list(error)}")
    must(
        error["code"] == BY_STATUS[response.status].code, f"{response.status} with {error['code']}"
    )
    must(error["request_id"] == response.header("x-request-id"), "the ids differ")
    must(isinstance(error["details"], dict), "the details are no object")


def expect_challenge(response: Response, challenge: str) -> None:
    """401 with exactly this challenge: ``Bearer`` without a token, ``Bearer error="invalid_token"`` with one."""
    expect(response, HTTPStatus.UNAUTHORIZED)
    sent = response.header("www-authenticate")
    must(sent == challenge, f"the challenge is {sent}")


def expect_no_http(response: Response) -> None:
    """What the server's parser says to bytes that are no HTTP request, before the application is asked."""
    must(
        response.status == HTTPStatus.BAD_REQUEST,
        f"{response.status}, not 400: {response.body[:300]!r}",
    )
    must(response.body == b"Invalid HTTP request received.", f"the body is {response.body[:300]!r}")
    must(response.header("connection") == "close", "the connection stays open")


def expect_problem(response: Response, field: str) -> None:
    """422 with one error, and that about this field of the body."""
    expect(response, HTTPStatus.UNPROCESSABLE_ENTITY)
    places = [error["loc"] for error in response.json()["error"]["details"]["errors"]]
    must(places == [["body", field]], f"the errors are at {places}")
