"""The OpenAPI document tells the truth: what may be sent, what can be returned, and who may call."""

from collections.abc import AsyncIterator, Iterator
from contextlib import nullcontext
from dataclasses import replace
from typing import Annotated, Any

import pytest
import pytest_asyncio
from fastapi import FastAPI
from fastapi.routing import iter_route_contexts
from httpx2 import AsyncClient, Response
from pydantic import Field, TypeAdapter
from redis.asyncio import Redis
from sqlalchemy.ext.asyncio import AsyncEngine
from starlette.middleware import Middleware
from starlette.types import ASGIApp, Receive, Scope, Send

from app.auth.dependencies import get_recent_caller
from app.cli import calls as calls_of
from app.core.app_factory import create_app
from app.core.http.fields import SafeStr
from app.core.http.forms import FORM
from app.core.http.routing import StrictRoute
from app.db.base import Base
from app.db.types import utc_now
from app.models.idempotency_key import IdempotencyKey
from app.models.user import User
from tests.fixtures.api_calls import BODY_LIMIT, MARKER, Call, app_on
from tests.fixtures.auth import headers_of
from tests.fixtures.authorization import served
from tests.fixtures.callers import BODIES, Caller, Callers, arranged, path_of, send
from tests.fixtures.env import make_settings
from tests.fixtures.fastapi_app import MakeApp, client_for
from tests.fixtures.matrix import NONE, OPERATIONS, Row
from tests.fixtures.resource import PLACEHOLDER, ErrorCase
from tests.fixtures.versions import changed_meanwhile

LEGACY = {"/health", "/auth/login", "/auth/me", "/users", "/users/me", "/users/{user_id}"}
READY = "v1_health_ready"

pytestmark = pytest.mark.usefixtures("session_factory")


class Broken:
    """A layer with a bug."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        raise RuntimeError(MARKER)


@pytest.fixture(scope="module")
def app(engine: AsyncEngine) -> FastAPI:
    return app_on(engine, max_body_bytes=BODY_LIMIT)


@pytest_asyncio.fixture(scope="module")
async def broken(engine: AsyncEngine) -> AsyncIterator[AsyncClient]:
    app = app_on(engine)
    app.user_middleware.append(Middleware(Broken))
    async with client_for(app) as client:
        yield client


@pytest_asyncio.fixture(scope="module")
async def without_database() -> AsyncIterator[AsyncClient]:
    async with client_for(create_app(make_settings())) as client:
        yield client


@pytest_asyncio.fixture
async def limited(
    make_app: MakeApp, any_redis_url: str, redis_client: Redis, admin: User
) -> AsyncIterator[AsyncClient]:
    """An application whose admin has used up their limit, and the one failed login that they have."""
    app = make_app(
        redis_url=any_redis_url,
        rate_limit_enabled=True,
        rate_limit_requests=1,
        login_throttle_enabled=True,
        login_throttle_attempts=1,
    )
    async with client_for(app) as client:
        await client.get("/api/v1/users/me", headers=headers_of(admin))
        await client.post("/auth/login", data={"username": admin.email, "password": "wrong"})
        yield client
    await app.state.redis.aclose()


@pytest.fixture(scope="module")
def schema(app: FastAPI) -> dict[str, Any]:
    return app.openapi()


def operations(schema: dict[str, Any]) -> Iterator[tuple[str, str, dict[str, Any]]]:
    for path, methods in schema["paths"].items():
        for method, operation in methods.items():
            yield method.upper(), path, operation


def resolve(schema: dict[str, Any], node: dict[str, Any]) -> dict[str, Any]:
    while "$ref" in node:
        found: Any = schema
        for part in node["$ref"].removeprefix("#/").split("/"):
            found = found[part]
        node = found
    return node


def leaves(schema: dict[str, Any], node: dict[str, Any], at: str) -> Iterator[tuple[str, Any]]:
    """Every value that ``node`` describes, down to the scalars, with its place."""
    node = resolve(schema, node)
    for choice in choices(node):
        if not is_decimal_as_text(choice, node):
            yield from leaves(schema, choice, at)
    for name, member in node.get("properties", {}).items():
        yield from leaves(schema, member, f"{at}.{name}")
    if "items" in node:
        yield from leaves(schema, node["items"], f"{at}[]")
    yield at, node


def choices(node: dict[str, Any]) -> list[Any]:
    """What is described instead of ``node``. What ``allOf`` adds to something with a type is a part of that."""
    names = ("anyOf", "oneOf", *(() if "type" in node else ("allOf",)))
    return [choice for name in names for choice in node.get(name, ())]


def inputs(schema: dict[str, Any]) -> Iterator[tuple[str, Any]]:
    for method, path, operation in operations(schema):
        for parameter in operation.get("parameters", ()):
            at = f"{method} {path} {parameter['in']}.{parameter['name']}"
            yield from leaves(schema, parameter["schema"], at)
        for kind, content in operation.get("requestBody", {}).get("content", {}).items():
            node = resolve(schema, content["schema"])
            if kind == FORM:  # its unknown fields are ignored (RFC 6749, section 3.2), and counted
                node = {**node, "additionalProperties": False}
            yield from leaves(schema, node, f"{method} {path} body")


def is_decimal_as_text(choice: dict[str, Any], node: dict[str, Any]) -> bool:
    """Whether ``choice`` is the text that a Decimal may be sent as: the number beside it has its bounds."""
    beside = [other.get("type") for other in node.get("anyOf", ())]
    return (
        choice.get("type") == "string" and set(choice) <= {"type", "pattern"} and "number" in beside
    )


def is_bounded(node: dict[str, Any]) -> bool:
    if {"enum", "const"} & set(node) or choices(node):
        return True  # the choices are leaves too
    match node.get("type"):
        case "string":
            # contentMediaType: a file, which has the limit of its route
            bounded = node.get("format") in {"uuid", "date", "date-time"}
            return bounded or bool({"maxLength", "contentMediaType"} & set(node))
        case "array":
            return "maxItems" in node
        case "integer" | "number":
            least, most = {"minimum", "exclusiveMinimum"}, {"maximum", "exclusiveMaximum"}
            return bool(least & set(node) and most & set(node))
        case "object":
            return node.get("additionalProperties") is False
        case kind:
            return kind in {"boolean", "null"}


class TestDocument:
    async def test_document_lists_the_served_routes(
        self, client: AsyncClient, schema: dict[str, Any]
    ) -> None:
        response = await client.get("/openapi.json")

        assert response.headers["Content-Type"] == "application/json"
        assert response.json() == schema

    def test_operation_ids_do_not_change(self, schema: dict[str, Any]) -> None:
        found = {
            operation["operationId"]: (method, path)
            for method, path, operation in operations(schema)
        }

        assert found == {name: row.route for name, row in OPERATIONS.items()}

    def test_operation_ids_are_unique(self, schema: dict[str, Any]) -> None:
        names = [operation["operationId"] for _, _, operation in operations(schema)]

        assert len(names) == len(set(names)) == len(OPERATIONS)

    def test_document_is_the_same_for_every_process(self, schema: dict[str, Any]) -> None:
        assert create_app(make_settings()).openapi() == schema

    def test_document_lists_no_head_and_no_options(self, schema: dict[str, Any]) -> None:
        assert not {method for method, _, _ in operations(schema)} & {"HEAD", "OPTIONS"}

    def test_document_has_every_path_in_a_version_except_the_frozen_ones(
        self, schema: dict[str, Any]
    ) -> None:
        unversioned = {path for path in schema["paths"] if not path.startswith("/api/")}

        assert unversioned == LEGACY

    def test_document_marks_the_old_paths_of_versioned_operations_as_deprecated(
        self, schema: dict[str, Any]
    ) -> None:
        deprecated = {
            path for _, path, operation in operations(schema) if "deprecated" in operation
        }

        assert deprecated == {"/users", "/users/me", "/users/{user_id}"}

    def test_document_describes_and_tags_every_operation(self, schema: dict[str, Any]) -> None:
        for _, _, operation in operations(schema):
            assert operation["summary"]
            assert operation["description"]
            assert operation["tags"]

    def test_document_has_no_error_schema_of_the_framework(self, schema: dict[str, Any]) -> None:
        assert not {"HTTPValidationError", "ValidationError"} & set(schema["components"]["schemas"])

    def test_document_has_no_password_hash(self, schema: dict[str, Any]) -> None:
        assert "hash" not in str(schema["components"]).lower()

    def test_text_with_a_pattern_of_its_own_is_one_field(self) -> None:
        url = Annotated[SafeStr, Field(pattern="^https://", max_length=99)]
        node = TypeAdapter(url).json_schema()

        assert [*leaves({}, node, "url")] == [("url", node)]
        assert is_bounded(node)
        assert not is_bounded({name: value for name, value in node.items() if name != "maxLength"})


class TestInput:
    def test_input_fields_are_bounded(self, schema: dict[str, Any]) -> None:
        found = list(inputs(schema))

        assert len(found) > 10
        assert [at for at, node in found if not is_bounded(node)] == []

    def test_input_fields_have_a_type(self, schema: dict[str, Any]) -> None:
        described = {"type", "enum", "const", "anyOf", "oneOf", "allOf"}

        assert [at for at, node in inputs(schema) if not described & set(node)] == []


class TestErrors:
    def test_errors_are_described_by_the_envelope(self, schema: dict[str, Any]) -> None:
        for _, _, operation in operations(schema):
            for status, response in operation["responses"].items():
                if int(status) < 400 or (operation["operationId"], status) == (READY, "503"):
                    continue
                assert response["content"] == {
                    "application/json": {"schema": {"$ref": "#/components/schemas/ErrorEnvelope"}},
                    "application/problem+json": {
                        "schema": {"$ref": "#/components/schemas/Problem"}
                    },
                }
        assert "Problem" in schema["components"]["schemas"]

    def test_readiness_errors_are_described_by_their_own_schema(
        self, schema: dict[str, Any]
    ) -> None:
        response = schema["paths"]["/api/v1/health/ready"]["get"]["responses"]["503"]

        content = response["content"]["application/json"]
        assert content["schema"] == {"$ref": "#/components/schemas/Readiness"}

    def test_envelope_schema_is_complete(self, schema: dict[str, Any]) -> None:
        schemas = schema["components"]["schemas"]

        assert schemas["ErrorEnvelope"]["required"] == ["error"]
        assert schemas["ErrorBody"]["required"] == ["code", "message", "request_id", "details"]
        for name in ("ErrorEnvelope", "ErrorBody"):
            assert schemas[name]["additionalProperties"] is False
            assert set(schemas[name]["properties"]) == set(schemas[name]["required"])
        assert schemas["ErrorBody"]["properties"]["details"]["type"] == "object"

    @pytest.mark.parametrize(
        ("status", "header"),
        [
            ("401", "WWW-Authenticate"),
            ("413", "Connection"),
            ("429", "Retry-After"),
            ("503", "Retry-After"),
        ],
    )
    def test_errors_declare_their_headers(
        self, schema: dict[str, Any], status: str, header: str
    ) -> None:
        responses = [
            operation["responses"][status]
            for _, _, operation in operations(schema)
            if status in operation["responses"] and operation["operationId"] != READY
        ]

        assert responses
        assert all(header in response["headers"] for response in responses)


def always(method: str, path: str, limit: int) -> list[Call]:
    """The statuses that every operation can be made to return."""
    return [
        Call(400, method, f"{path}?%ff"),
        Call(413, method, path, options={"content": b"x" * (limit + 1)}),
        Call(414, method, f"{path}?{'x' * 8_192}"),
        Call(431, method, path, options={"headers": {"X-Long": "x" * 16_384}}),
    ]


def provocations(row: Row, operation: dict[str, Any]) -> list[Call]:
    """Further statuses that the operation can be made to return by its input."""
    method, path = row.route
    malformed = PLACEHOLDER.sub("ZZZ", path)
    calls = [Call(422, method, malformed, as_user=True)] if malformed != path else []
    calls += [
        Call(422, method, f"{path_of(row, {})}?{parameter['name']}=%01", as_user=True)
        for parameter in operation.get("parameters", ())
        if parameter["in"] == "query"
    ]
    calls += [
        Call(422, method, path, as_user=True, options={"headers": {parameter["name"]: "x" * 1_025}})
        for parameter in operation.get("parameters", ())
        if parameter["in"] == "header" and malformed == path
    ]
    if row.body != NONE:
        calls += [
            Call(415, method, path, options={"content": b"{}"}),
            Call(422, method, path, as_user=True),
        ]
    return calls


def entitled(row: Row, callers: Callers) -> Caller:
    """Somebody who may call, and asks about themselves."""
    admin = callers["admin"]
    return callers["self"] if row.statuses["self"] < 400 else replace(admin, about=admin.account)


# Where the resource says nothing else. What is 409 for no other reason is, once the row has changed meanwhile.
USUAL = {
    304: ErrorCase(headers={"If-None-Match": "*"}),
    412: ErrorCase(headers={"If-Match": '"0"'}),
    409: ErrorCase(meanwhile=True),
}
IN_FLIGHT = ErrorCase(
    path_objects={
        "key": lambda owner: IdempotencyKey(
            caller_id=owner.id, key="k", fingerprint="-", created_at=utc_now()
        )
    },
    headers={"Idempotency-Key": "k"},
)


async def provoked(
    client: AsyncClient, row: Row, caller: Caller, operation: dict[str, Any]
) -> list[Response]:
    """The responses that the resource of the operation says how to get, and those to conditions."""
    declared = {status: by for status, by in USUAL.items() if str(status) in operation["responses"]}
    if any(parameter["name"] == "Idempotency-Key" for parameter in operation.get("parameters", ())):
        declared[409] = IN_FLIGHT
    responses = []
    for status, by in {**declared, **row.error_cases}.items():
        case = replace(row, resource=row.resource.with_case(by))
        with changed_meanwhile() if by.meanwhile else nullcontext():
            response = await send(client, case, caller, headers=by.headers)
        assert response.status_code == status, f"{row.route}: {response.text}"
        responses.append(response)
    return responses


class TestStatuses:
    """Each operation is made to return everything that it can, and the document lists just that."""

    @pytest.mark.parametrize("name", OPERATIONS)
    async def test_u2_declared_statuses_are_those_that_are_returned(  # noqa: PLR0917  fixtures come by name
        self,
        app: FastAPI,
        client: AsyncClient,
        broken: AsyncClient,
        without_database: AsyncClient,
        limited: AsyncClient,
        schema: dict[str, Any],
        callers: Callers,
        name: str,
    ) -> None:
        row = OPERATIONS[name]
        operation = schema["paths"][row.route.path][row.route.method.lower()]
        limit = served(app)[row.route].max_body_size or BODY_LIMIT
        calls = [*always(row.route.method, path_of(row, {}), limit), *provocations(row, operation)]
        caller = entitled(row, callers)

        headers = caller.headers
        responses = [await call.send(client, caller.account, **headers) for call in calls]
        responses += [await send(client, row, caller) for caller in callers.values()]
        responses += [
            await send(server, row, callers["admin"], exists=False)
            for server in (client, broken, without_database, limited)
        ]
        responses += await provoked(client, row, caller, operation)
        if get_recent_caller in calls_of(served(app)[row.route].dependant):
            stale = replace(caller, headers=headers_of(caller.account), logs_in=False)
            responses.append(await send(client, row, stale))

        assert {int(status) for status in operation["responses"]} == {
            response.status_code for response in responses
        }
        for response in responses:
            declared = operation["responses"][str(response.status_code)].get("headers", {})
            sent = {name for name in ("ETag", "Retry-After") if name in response.headers}
            assert sent <= declared.keys(), response.status_code


COLUMNS = {column.name for table in Base.metadata.tables.values() for column in table.columns}
BODY = "application/json"


class TestMassAssignment:
    @pytest.mark.parametrize("name", [name for name, row in OPERATIONS.items() if row.body != NONE])
    async def test_a3_column_that_a_body_does_not_name_is_422(
        self, client: AsyncClient, schema: dict[str, Any], callers: Callers, name: str
    ) -> None:
        row = OPERATIONS[name]
        operation = schema["paths"][row.route.path][row.route.method.lower()]
        declared = operation["requestBody"]["content"].get(BODY)
        if declared is None:
            return  # a form or a file
        properties = resolve(schema, declared["schema"])["properties"]
        caller = entitled(row, callers)
        make = row.resource.bodies.get(row.body)
        body: Any = make() if make else BODIES[row.body](caller)["json"]

        async with arranged(caller, row.resource.path_objects) as about:
            for column in COLUMNS - properties.keys():
                sent = {**body, column: True}
                response = await client.request(
                    row.route.method, path_of(row, about), json=sent, headers=caller.headers
                )

                assert response.status_code == 422, column
                [error] = response.json()["error"]["details"]["errors"]
                assert (error["loc"], error["type"]) == (["body", column], "extra_forbidden")


class TestRoutes:
    def test_routes_are_strict_about_their_bodies(self, app: FastAPI) -> None:
        routes = [context.original_route for context in iter_route_contexts(app.routes)]

        assert len(routes) >= len(OPERATIONS)
        assert [route for route in routes if not isinstance(route, StrictRoute)] == []

    def test_protected_routes_declare_the_password_flow(self, schema: dict[str, Any]) -> None:
        schemes = schema["components"]["securitySchemes"]
        used = [
            operation["security"]
            for _, _, operation in operations(schema)
            if operation.get("security")
        ]

        assert list(schemes) == ["OAuth2PasswordBearer"]
        assert schemes["OAuth2PasswordBearer"]["flows"]["password"]["tokenUrl"] == "auth/login"
        assert used == [[{"OAuth2PasswordBearer": []}]] * len(used)
