"""What Schemathesis checks besides its own: the request id, the envelope, and that answers hold nothing undeclared.

It imports this file by its path (SCHEMATHESIS_HOOKS).
"""

from http import HTTPStatus
from typing import Any, get_args

import schemathesis
from pydantic_core.core_schema import ErrorType
from schemathesis import Case, CheckContext, HookContext, Response
from schemathesis.openapi.checks import RejectedPositiveData

from quality.adversarial.expect import AttackSucceeded, expect
from quality.testkit.client import Response as Received

# What Pydantic finds by the rules of a schema. Any other error is of a rule that JSON Schema cannot state: a known password,
# a link that was used, two parameters that exclude each other.
STATED = {*get_args(ErrorType)} - {"value_error", "assertion_error"}


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
    """Valid by the document and refused all the same: that is right for rules that the document cannot state."""
    return not (isinstance(failure, RejectedPositiveData) and is_beyond_schema(case, response))


def is_beyond_schema(case: Case[Any], response: Response) -> bool:
    error = response.json()["error"]
    if (
        response.status_code == HTTPStatus.BAD_REQUEST
    ):  # a list of entity tags has a grammar of its own
        sent = {f"{name} is malformed".lower() for name in case.headers or ()}
        return str(error["message"]).lower() in sent
    if response.status_code != HTTPStatus.UNPROCESSABLE_ENTITY:
        return False
    return not STATED & {problem["type"] for problem in error["details"]["errors"]}
