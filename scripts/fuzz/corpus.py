"""One request that is right for each route and each caller: what the mutations begin with."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from urllib.parse import urlencode

from scripts.fuzz.example import Examples, Schema
from scripts.fuzz.target import Target
from scripts.harness.client import Connection, Headers, message
from scripts.harness.services import PASSWORD, Account

# Each case has a name of its own, in the addresses that it registers and in the log. All names have one length.
NAME = "fuzz-0000000"
NAMED = ("X-Request-ID", NAME)
FORM, JSON = "application/x-www-form-urlencoded", "application/json"
OUTSIDE_THE_DOCUMENT = (
    "/openapi.json",
    "/docs",
    "/docs/assets/start.js",
    "/docs/assets/favicon.png",
)


@dataclass(frozen=True)
class Sample:
    """A request as bytes, and whose token, or whose address and password, may be in it."""

    name: str
    raw: bytes
    caller: Account

    @property
    def has_body(self) -> bool:
        return not self.raw.endswith(b"\r\n\r\n")

    def numbered(self, number: int) -> bytes:
        """The request with a name that no other number has."""
        return self.raw.replace(NAME.encode(), b"fuzz-%07d" % number)


async def corpus(target: Target) -> list[Sample]:
    """The samples of everything that is served."""
    connection = Connection(target.server.port)
    document = (await connection.get("/openapi.json")).json()
    connection.close()
    return [*documented(document, target), *undocumented(target)]


def documented(document: Schema, target: Target) -> Iterator[Sample]:
    """Each operation by each account if it needs one, GET also as HEAD."""
    for path, operations in document["paths"].items():
        for method, operation in operations.items():
            for caller in target.accounts if operation.get("security") else (target.user,):
                for verb in ("GET", "HEAD") if method == "get" else (method.upper(),):
                    yield sample(document, verb, path, operation, caller)


def undocumented(target: Target) -> Iterator[Sample]:
    for path in OUTSIDE_THE_DOCUMENT:
        for method in ("GET", "HEAD"):
            yield Sample(f"{method} {path}", message(method, path, [NAMED]), target.user)


def sample(document: Schema, method: str, path: str, operation: Schema, caller: Account) -> Sample:
    examples = Examples(
        document,
        known={
            "email": f"{NAME}@example.com",
            "password": PASSWORD,
            "username": caller.email,
            "user_id": str(caller.id),
        },
    )
    values: dict[str, dict[str, str]] = {"path": {}, "query": {}, "header": {}}
    for parameter in operation.get("parameters", ()):
        name = parameter["name"]
        values[parameter["in"]][name] = str(examples.value(parameter["schema"], name))
    where = path.format(**values["path"])
    if values["query"]:
        where += f"?{urlencode(values['query'])}"
    body, kind = content(examples, operation)
    headers = [NAMED, *values["header"].items(), *kind]
    token = caller.token if operation.get("security") else ""
    return Sample(f"{method} {path}", message(method, where, headers, body, token), caller)


def content(examples: Examples, operation: Schema) -> tuple[bytes, Headers]:
    """The body of a request, and the header with its type."""
    bodies = operation.get("requestBody", {}).get("content", {})
    if JSON in bodies:
        return json.dumps(examples.value(bodies[JSON]["schema"])).encode(), [("Content-Type", JSON)]
    if FORM in bodies:
        return urlencode(examples.value(bodies[FORM]["schema"])).encode(), [("Content-Type", FORM)]
    if bodies:
        raise SystemExit(f"{operation['operationId']}: no example can be written of {list(bodies)}")
    return b"", []
