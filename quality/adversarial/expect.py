"""What an answer must look like, whatever was asked: the status, the envelope, the request id, the challenge."""

from http import HTTPStatus

from app.core.errors import BY_STATUS
from quality.testkit.client import Answer


class AttackSucceeded(Exception):
    """The application did what it must not do, or left out what it must do."""


def must(kept: bool, complaint: str) -> None:
    """Raise ``AttackSucceeded`` with the complaint unless it was kept."""
    if not kept:
        raise AttackSucceeded(complaint)


def expect(answer: Answer, *statuses: int, head: bool = False) -> None:
    """One of these statuses, with a request id, and with the envelope if it is an error (to HEAD without body)."""
    allowed = " or ".join(map(str, statuses))
    must(answer.status in statuses, f"{answer.status}, not {allowed}: {answer.body[:300]!r}")
    ids = [value for name, value in answer.headers if name == "x-request-id"]
    must(len(ids) == 1 and bool(ids[0]), f"not one X-Request-ID: {ids}")
    if answer.status == HTTPStatus.UNAUTHORIZED:
        challenge = answer.header("www-authenticate") or ""
        must(challenge.startswith("Bearer"), f"no challenge: {challenge!r}")
    if answer.status >= HTTPStatus.BAD_REQUEST and not head:
        expect_envelope(answer)


def expect_envelope(answer: Answer) -> None:
    """Exactly ``{"error": {code, message, request_id, details}}``, with the code of the status and the id of the header."""
    must(answer.header("content-type") == "application/json", "an error that is not JSON")
    content = answer.json()
    must(set(content) == {"error"}, f"not the envelope: {answer.body[:300]!r}")
    error = content["error"]
    must(set(error) == {"code", "message", "request_id", "details"}, f"envelope with {list(error)}")
    must(error["code"] == BY_STATUS[answer.status].code, f"{answer.status} with {error['code']}")
    must(error["request_id"] == answer.header("x-request-id"), "the ids differ")
    must(isinstance(error["details"], dict), "the details are no object")


def expect_challenge(answer: Answer, challenge: str) -> None:
    """401 with exactly this challenge: ``Bearer`` without a token, ``Bearer error="invalid_token"`` with one."""
    expect(answer, HTTPStatus.UNAUTHORIZED)
    sent = answer.header("www-authenticate")
    must(sent == challenge, f"the challenge is {sent}")


def expect_no_http(answer: Answer) -> None:
    """What the server's parser says to bytes that are no HTTP request, before the application is asked."""
    must(
        answer.status == HTTPStatus.BAD_REQUEST, f"{answer.status}, not 400: {answer.body[:300]!r}"
    )
    must(answer.body == b"Invalid HTTP request received.", f"the body is {answer.body[:300]!r}")
    must(answer.header("connection") == "close", "the connection stays open")


def expect_problem(answer: Answer, field: str) -> None:
    """422 with one error, and that about this field of the body."""
    expect(answer, HTTPStatus.UNPROCESSABLE_ENTITY)
    places = [error["loc"] for error in answer.json()["error"]["details"]["errors"]]
    must(places == [["body", field]], f"the errors are at {places}")
