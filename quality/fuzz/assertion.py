"""What a response to mutated bytes must still be: no 5xx, the envelope with its id, nobody else's account."""

import json
from base64 import urlsafe_b64decode
from http import HTTPStatus
from urllib.parse import quote

from app.api.v1.schemas.user import UserPublic
from app.core.errors import BY_STATUS
from quality.adversarial.expect import expect, must
from quality.fuzz.cases import Case
from quality.fuzz.reading import Reading
from quality.fuzz.target import Target
from quality.testkit.client import Response

EXPECTED = [
    *(HTTPStatus.OK, HTTPStatus.CREATED, HTTPStatus.ACCEPTED, HTTPStatus.NO_CONTENT),
    *(status for status in BY_STATUS if status < HTTPStatus.INTERNAL_SERVER_ERROR),
]
ACCOUNT = UserPublic.model_fields.keys()  # what tells it from other things with an id
PARSERS = {b"Invalid HTTP request received.", b""}  # without its text where it seems to answer HEAD


def check(target: Target, case: Case, reading: Reading, response: Response, *, head: bool) -> None:
    """Raise ``AttackSucceeded``, or what reading a malformed response raises, if anything is wrong with it."""
    if is_parsers(response):
        must(reading.is_broken, "the parser has refused what it can read")
        return
    expect(response, *EXPECTED, head=head)
    if response.status == HTTPStatus.OK and not head:
        shown = account_in(response)
        must(not shown or shown in entitled(target, case), f"shows the account {shown}")


def is_parsers(response: Response) -> bool:
    """Whether uvicorn has answered, before there was a request that it could give to the application."""
    named = response.header("x-request-id") is not None
    return not named and response.status == HTTPStatus.BAD_REQUEST and response.body in PARSERS


def account_in(response: Response) -> str:
    """The id of the account that a response shows or gives a token for; empty if it is about none."""
    if response.header("content-type") != "application/json":
        return ""
    content = response.json()
    if not isinstance(content, dict):
        return ""
    if "access_token" in content:
        payload = content["access_token"].split(".")[1]
        return str(json.loads(urlsafe_b64decode(f"{payload}=="))["sub"])
    return str(content.get("id", "")) if content.keys() >= ACCOUNT else ""


def entitled(target: Target, case: Case) -> set[str]:
    """Whose account the response may show: the caller's, and of those whose whole token or address was spliced in."""
    callers = {
        account
        for account in target.accounts
        if account == case.caller
        or account.token.encode() in case.raw
        or account.email.encode() in case.raw
        or quote(account.email, safe="").encode() in case.raw  # in a form
    }
    callers |= {account for secret, account in target.secrets.items() if secret in case.raw}
    everybody = any(account in target.admins for account in callers)
    return {str(account.id) for account in (target.accounts if everybody else callers)}
