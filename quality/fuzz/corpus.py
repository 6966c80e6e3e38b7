"""One request that is right for each route and each caller: what the mutations begin with."""

import json
import re
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from http import HTTPStatus
from itertools import count
from urllib.parse import urlencode

from quality.fuzz.example import NAME, Examples, Schema
from quality.fuzz.target import Target
from quality.testkit.client import Connection, Headers, message
from quality.testkit.services import PASSWORD, Account

# All names have one length.
NAMED = ("X-Request-ID", NAME)
THINGS = count(8_000_000)  # the numbers of those that were made, none twice
PLACEHOLDER = re.compile(r"/{(\w+)}")
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
    """The samples of everything that is served, about things that are there now."""
    connection = Connection(target.server.port)
    document = (await connection.get("/openapi.json")).json()
    connection.close()
    samples = [sample async for sample in documented(document, target)]
    return [*samples, *undocumented(target)]


async def documented(document: Schema, target: Target) -> AsyncIterator[Sample]:
    """Each operation by each account if it needs one, GET also as HEAD. Each has things of its own."""
    for path, operations in document["paths"].items():
        for method, operation in operations.items():
            for caller in target.accounts if operation.get("security") else (target.user,):
                for verb in ("GET", "HEAD") if method == "get" else (method.upper(),):
                    things = await made(document, path, caller, target)
                    yield sample(document, verb, path, caller, things)


def undocumented(target: Target) -> Iterator[Sample]:
    for path in OUTSIDE_THE_DOCUMENT:
        for method in ("GET", "HEAD"):
            yield Sample(f"{method} {path}", message(method, path, [NAMED]), target.user)


def known(caller: Account, things: dict[str, str]) -> dict[str, str]:
    """The fields whose values must be more than well formed."""
    return {
        "email": f"{NAME}@example.com",
        "password": PASSWORD,
        "username": caller.email,
        "user_id": str(caller.id),
        **things,
    }


async def made(document: Schema, path: str, caller: Account, target: Target) -> dict[str, str]:
    """An id for each name in the path that is not known: POST to the path in front of it makes the thing."""
    things: dict[str, str] = {}
    for place in PLACEHOLDER.finditer(path):
        above, name = path[: place.start()], place[1]
        if name in known(caller, things):
            continue
        if "post" not in document["paths"].get(above, {}):
            raise SystemExit(f"{path}: no POST {above} makes a {name}: tell `known` of corpus.py")
        request = sample(document, "POST", above, caller, things)
        connection = Connection(target.server.port)
        response = await connection.exchange([request.numbered(next(THINGS))])
        if response.status != HTTPStatus.CREATED:
            raise SystemExit(f"{path}: POST {above} makes no {name}: {response.body!r}")
        things[name] = str(response.json()["id"])
    return things


def sample(
    document: Schema, method: str, path: str, caller: Account, things: dict[str, str]
) -> Sample:
    operation = document["paths"][path]["get" if method == "HEAD" else method.lower()]
    examples = Examples(document, known(caller, things))
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
