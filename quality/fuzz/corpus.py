"""One request that is right for each route and each caller: what the mutations begin with."""

import json
import re
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, field
from http import HTTPStatus
from itertools import count
from typing import Any
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
    """Each operation by a user and an admin of its own if it needs one, GET also as HEAD."""
    for path, operations in document["paths"].items():
        for method, operation in operations.items():
            for is_admin in (False, True) if operation.get("security") else (False,):
                for verb in ("GET", "HEAD") if method == "get" else (method.upper(),):
                    caller = await target.somebody(is_superuser=is_admin)
                    yield await Author(document, target, caller).write(verb, path)


def undocumented(target: Target) -> Iterator[Sample]:
    for path in OUTSIDE_THE_DOCUMENT:
        for method in ("GET", "HEAD"):
            yield Sample(f"{method} {path}", message(method, path, [NAMED]), target.user)


@dataclass
class Author:
    """Writes requests for one caller, with what the application has told it: a refresh token, the id of a thing.

    ``told`` are the fields whose values must be more than well formed. What it cannot find out is well formed all the same.
    """

    document: Schema
    target: Target
    caller: Account
    told: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.told |= {
            "email": self.caller.email,
            "username": self.caller.email,
            "password": PASSWORD,
            "user_id": str(self.caller.id),
        }

    async def write(self, method: str, path: str) -> Sample:
        """The request, about things that are there now. Where an address must be a new one, it is."""
        await self.log_in()
        for place in PLACEHOLDER.finditer(path):
            if place[1] not in self.told:
                await self.find(path[: place.start()], place[1])
        written = self.sample(method, path)
        if self.caller.email.encode() in written.raw and await self.send(written) is None:
            self.told["email"] = f"{NAME}@example.com"
        return self.sample(method, path)

    async def log_in(self) -> None:
        """Remember by its name what each login tells, whatever it is that takes an address and a password."""
        for path, operations in self.document["paths"].items():
            operation = operations.get("post", {})
            if operation.get("security") or "login" not in path:
                continue
            shown = await self.send(self.sample("POST", path))
            told = {name: value for name, value in (shown or {}).items() if isinstance(value, str)}
            self.told |= told
            secrets = (value.encode() for name, value in told.items() if name.endswith("token"))
            self.target.secrets.update(dict.fromkeys(secrets, self.caller))

    async def find(self, above: str, name: str) -> None:
        """The id for a name in a path: of what POST to the path in front of it makes, else of the first that GET lists."""
        operations = self.document["paths"].get(above, {})
        for method in ("POST", "GET"):
            if method.lower() in operations and (
                shown := await self.send(self.sample(method, above))
            ):
                for thing in (shown, *shown.get("items", ())):
                    if "id" in thing:
                        self.told[name] = str(thing["id"])
                        return

    async def send(self, request: Sample) -> dict[str, Any] | None:
        """What a successful response holds; ``None`` for another one."""
        connection = Connection(self.target.server.port)
        response = await connection.exchange([request.numbered(next(THINGS))])
        if response.status >= HTTPStatus.BAD_REQUEST:
            return None
        return dict(response.json()) if response.body else {}

    def sample(self, method: str, path: str) -> Sample:
        operation = self.document["paths"][path]["get" if method == "HEAD" else method.lower()]
        examples = Examples(self.document, self.told)
        values: dict[str, dict[str, str]] = {"path": {}, "query": {}, "header": {}}
        for parameter in operation.get("parameters", ()):
            name = parameter["name"]
            if not parameter.get("required") and name not in self.told:
                continue  # a cursor, an entity tag: well formed would not be enough
            values[parameter["in"]][name] = str(examples.value(parameter["schema"], name))
        where = path.format(**values["path"])
        if values["query"]:
            where += f"?{urlencode(values['query'])}"
        body, kind = content(examples, operation)
        headers = [NAMED, *values["header"].items(), *kind]
        token = self.caller.token if operation.get("security") else ""
        raw = message(method, where, headers, body, token)
        return Sample(f"{method} {path}", raw, self.caller)


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
