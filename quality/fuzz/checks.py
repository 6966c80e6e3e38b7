"""What Schemathesis checks besides its own: the request id, the envelope, and that answers hold nothing undeclared.

It imports this file by its path (SCHEMATHESIS_HOOKS).
"""

from http import HTTPStatus
from typing import Any

import schemathesis
from schemathesis import Case, CheckContext, HookContext, Response
from schemathesis.openapi.checks import RejectedPositiveData

from quality.adversarial.expect import AttackSucceeded, expect
from quality.testkit.client import Response as Received

# Rules that JSON Schema cannot state: the field and the type of the error that says so.
BEYOND_SCHEMA = {
    ("email", "value_error"),  # what EmailStr asks of a domain beyond its syntax
    ("password", "password_too_weak"),  # one character repeated, the address itself, a known one
}


@schemathesis.hook
def before_load_schema(context: HookContext, raw_schema: dict[str, Any]) -> None:
    """Close every object of the document, so that a field in a response that it does not list is a finding."""
    for schema in raw_schema["components"]["schemas"].values():
        if "properties" in schema:
            schema.setdefault("additionalProperties", False)


@schemathesis.check
def looks_like_every_response(context: CheckContext, response: Response, case: Case[Any]) -> None:
    """One X-Request-ID; an error is the envelope with this id, a 401 has its challenge."""
    pairs = [(name, value) for name, values in response.headers.items() for value in values]
    received = Received(response.status_code, pairs, response.content, response.elapsed)
    try:
        expect(received, response.status_code, head=case.method == "HEAD")
    except AttackSucceeded as complaint:
        raise AssertionError(str(complaint)) from None


@schemathesis.hook
def filter_failure(
    context: HookContext, failure: AssertionError, case: Case[Any], response: Response
) -> bool:
    """Valid by the document and refused all the same: that is right for the rules of ``BEYOND_SCHEMA`` alone."""
    return not (isinstance(failure, RejectedPositiveData) and is_beyond_schema(response))


def is_beyond_schema(response: Response) -> bool:
    if response.status_code != HTTPStatus.UNPROCESSABLE_ENTITY:
        return False
    errors = response.json()["error"]["details"]["errors"]
    return {(error["loc"][-1], error["type"]) for error in errors} <= BEYOND_SCHEMA
