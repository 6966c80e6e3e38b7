"""The OpenAPI document tells the truth: what may be sent, what can be answered, and who may call."""

from collections.abc import AsyncIterator, Iterator
from typing import Any
from uuid import UUID

import pytest
import pytest_asyncio
from fastapi import FastAPI
from fastapi.routing import iter_route_contexts
from httpx2 import AsyncClient
from redis.asyncio import Redis
from sqlalchemy.ext.asyncio import AsyncEngine
from starlette.middleware import Middleware
from starlette.types import ASGIApp, Receive, Scope, Send

from app.core.app_factory import create_app
from app.core.routing import StrictRoute
from app.models.user import User
from tests.fixtures.auth import PASSWORD, headers_of
from tests.fixtures.env import make_settings
from tests.fixtures.fastapi_app import MakeApp, client_for
from tests.fixtures.surface import BODY_LIMIT, JSON, MARKER, UNKNOWN_ID, Call, app_on

OPERATIONS = {
    "legacy_health_health": ("GET", "/health"),
    "legacy_auth_login": ("POST", "/auth/login"),
    "legacy_auth_read_me": ("GET", "/auth/me"),
    "legacy_users_create_user": ("POST", "/users"),
    "legacy_users_read_me": ("GET", "/users/me"),
    "legacy_users_read_user": ("GET", "/users/{user_id}"),
    "v1_health_live": ("GET", "/api/v1/health/live"),
    "v1_health_ready": ("GET", "/api/v1/health/ready"),
    "v1_users_create_user": ("POST", "/api/v1/users"),
    "v1_users_read_me": ("GET", "/api/v1/users/me"),
    "v1_users_read_user": ("GET", "/api/v1/users/{user_id}"),
}
# Whoever adds a route without authentication writes it down here.
ANONYMOUS = {
    ("GET", "/health"),
    ("GET", "/api/v1/health/live"),
    ("GET", "/api/v1/health/ready"),
    ("POST", "/auth/login"),
    ("POST", "/users"),
    ("POST", "/api/v1/users"),
    ("GET", "/openapi.json"),
    ("GET", "/docs"),
    ("GET", "/docs/assets/start.js"),
    ("GET", "/docs/assets/{name}"),
}
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
    """An application whose admin has used up their limit."""
    app = make_app(redis_url=any_redis_url, rate_limit_enabled=True, rate_limit_requests=1)
    async with client_for(app) as client:
        await client.get("/api/v1/users/me", headers=headers_of(admin))
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
    for choice in [*node.get("anyOf", ()), *node.get("oneOf", ()), *node.get("allOf", ())]:
        yield from leaves(schema, choice, at)
    for name, member in node.get("properties", {}).items():
        yield from leaves(schema, member, f"{at}.{name}")
    if "items" in node:
        yield from leaves(schema, node["items"], f"{at}[]")
    yield at, node


def inputs(schema: dict[str, Any]) -> Iterator[tuple[str, Any]]:
    for method, path, operation in operations(schema):
        for parameter in operation.get("parameters", ()):
            at = f"{method} {path} {parameter['in']}.{parameter['name']}"
            yield from leaves(schema, parameter["schema"], at)
        for content in operation.get("requestBody", {}).get("content", {}).values():
            yield from leaves(schema, content["schema"], f"{method} {path} body")


def is_bounded(node: dict[str, Any]) -> bool:
    match node.get("type"):
        case "string":
            return "maxLength" in node or "enum" in node or "const" in node or is_uuid(node)
        case "array":
            return "maxItems" in node
        case "integer" | "number":
            return {"minimum", "maximum"} <= set(node)
        case "object":
            return node.get("additionalProperties") is False
        case _:
            return True


def is_uuid(node: dict[str, Any]) -> bool:
    return node.get("format") == "uuid"


class TestDocument:
    async def test_is_what_the_server_serves(
        self, client: AsyncClient, schema: dict[str, Any]
    ) -> None:
        answer = await client.get("/openapi.json")

        assert answer.headers["Content-Type"] == "application/json"
        assert answer.json() == schema

    def test_names_its_operations_as_it_always_did(self, schema: dict[str, Any]) -> None:
        found = {
            operation["operationId"]: (method, path)
            for method, path, operation in operations(schema)
        }

        assert found == OPERATIONS

    def test_has_no_name_twice(self, schema: dict[str, Any]) -> None:
        names = [operation["operationId"] for _, _, operation in operations(schema)]

        assert len(names) == len(set(names)) == len(OPERATIONS)

    def test_is_the_same_for_every_process(self, schema: dict[str, Any]) -> None:
        assert create_app(make_settings()).openapi() == schema

    def test_lists_no_head_and_no_options(self, schema: dict[str, Any]) -> None:
        assert {method for method, _, _ in operations(schema)} == {"GET", "POST"}

    def test_has_every_path_in_a_version_except_the_frozen_ones(
        self, schema: dict[str, Any]
    ) -> None:
        unversioned = {path for path in schema["paths"] if not path.startswith("/api/v1/")}

        assert unversioned == LEGACY

    def test_marks_the_old_paths_of_versioned_operations_as_deprecated(
        self, schema: dict[str, Any]
    ) -> None:
        deprecated = {
            path for _, path, operation in operations(schema) if "deprecated" in operation
        }

        assert deprecated == {"/users", "/users/me", "/users/{user_id}"}

    def test_describes_and_tags_every_operation(self, schema: dict[str, Any]) -> None:
        for _, _, operation in operations(schema):
            assert operation["summary"]
            assert operation["description"]
            assert operation["tags"]

    def test_knows_nothing_of_the_frameworks_own_errors(self, schema: dict[str, Any]) -> None:
        assert not {"HTTPValidationError", "ValidationError"} & set(schema["components"]["schemas"])

    def test_shows_no_hash_of_a_password(self, schema: dict[str, Any]) -> None:
        assert "hash" not in str(schema["components"]).lower()


class TestInput:
    def test_is_bounded_everywhere(self, schema: dict[str, Any]) -> None:
        found = dict(inputs(schema))

        assert len(found) > 10
        assert [at for at, node in found.items() if not is_bounded(node)] == []

    def test_is_never_of_an_unknown_type(self, schema: dict[str, Any]) -> None:
        described = {"type", "enum", "const", "anyOf", "oneOf", "allOf"}

        assert [at for at, node in inputs(schema) if not described & set(node)] == []


class TestErrors:
    def test_are_all_described_by_the_envelope(self, schema: dict[str, Any]) -> None:
        for _, _, operation in operations(schema):
            for status, response in operation["responses"].items():
                if int(status) < 400 or (operation["operationId"], status) == (READY, "503"):
                    continue
                assert response["content"] == {
                    "application/json": {"schema": {"$ref": "#/components/schemas/ErrorEnvelope"}}
                }

    def test_of_readiness_are_described_by_its_own_shape(self, schema: dict[str, Any]) -> None:
        response = schema["paths"]["/api/v1/health/ready"]["get"]["responses"]["503"]

        content = response["content"]["application/json"]
        assert content["schema"] == {"$ref": "#/components/schemas/Readiness"}

    def test_envelope_is_described_to_the_letter(self, schema: dict[str, Any]) -> None:
        schemas = schema["components"]["schemas"]

        assert schemas["ErrorEnvelope"]["required"] == ["error"]
        assert schemas["ErrorBody"]["required"] == ["code", "message", "request_id", "details"]
        for name in ("ErrorEnvelope", "ErrorBody"):
            assert schemas[name]["additionalProperties"] is False
            assert set(schemas[name]["properties"]) == set(schemas[name]["required"])
        assert schemas["ErrorBody"]["properties"]["details"]["type"] == "object"

    @pytest.mark.parametrize(
        ("status", "header"),
        [("401", "WWW-Authenticate"), ("413", "Connection"), ("503", "Retry-After")],
    )
    def test_declare_the_headers_that_they_carry(
        self, schema: dict[str, Any], status: str, header: str
    ) -> None:
        responses = [
            operation["responses"][status]
            for _, _, operation in operations(schema)
            if status in operation["responses"] and operation["operationId"] != READY
        ]

        assert responses
        assert all(header in response["headers"] for response in responses)


def always(method: str, path: str) -> list[Call]:
    """What every operation can be made to answer."""
    return [
        Call(400, method, f"{path}?%ff"),
        Call(413, method, path, options={"content": b"x" * (BODY_LIMIT + 1)}),
        Call(414, method, f"{path}?{'x' * 8_192}"),
        Call(431, method, path, options={"headers": {"X-Long": "x" * 16_384}}),
    ]


def provocations(name: str, own_id: UUID) -> list[Call]:
    """What the operation called ``name`` can be made to answer besides."""
    method, path = OPERATIONS[name]
    new = {"json": {"email": "lin@example.com", "password": PASSWORD}}
    taken = {"json": {"email": "ada@example.com", "password": PASSWORD}}
    match name.split("_", 1)[1]:
        case "users_create_user":
            return [
                Call(201, method, path, options=new),
                Call(400, method, path, options={"content": b"{", "headers": JSON}),
                Call(409, method, path, options=taken),
                Call(415, method, path, options={"content": b"{}"}),
                Call(422, method, path, options={"json": {}}),
            ]
        case "auth_login":
            right = {"data": {"username": "ada@example.com", "password": PASSWORD}}
            wrong = {"data": {"username": "ada@example.com", "password": "x"}}
            return [
                Call(200, method, path, options=right),
                Call(401, method, path, options=wrong),
                Call(415, method, path, options={"json": {}}),
                Call(422, method, path, options={"data": {"username": "x"}}),
            ]
        case "users_read_user":
            return [
                Call(200, method, path.format(user_id=own_id), as_user=True),
                Call(401, method, path.format(user_id=UNKNOWN_ID)),
                Call(403, method, path.format(user_id=UNKNOWN_ID), as_user=True),
                Call(422, method, path.format(user_id="zzz"), as_user=True),
            ]
        case "users_read_me" | "auth_read_me":
            return [Call(200, method, path, as_user=True), Call(401, method, path)]
        case _:
            return [Call(200, method, path)]


def accepted(name: str, admin: User) -> dict[str, Any]:
    """What an admin sends to the operation called ``name`` if nothing is wrong."""
    sent: dict[str, Any] = {"headers": headers_of(admin)}
    if name.endswith("create_user"):
        sent["json"] = {"email": "lin@example.com", "password": PASSWORD}
    if name.endswith("login"):
        sent["data"] = {"username": "ada@example.com", "password": PASSWORD}
    return sent


class TestStatuses:
    """Each operation is made to answer with everything that it can, and the document lists just that."""

    @pytest.mark.parametrize("name", OPERATIONS)
    async def test_declared_are_those_that_are_answered(  # noqa: PLR0917  fixtures come by name
        self,
        client: AsyncClient,
        broken: AsyncClient,
        without_database: AsyncClient,
        limited: AsyncClient,
        schema: dict[str, Any],
        ada: User,
        admin: User,
        name: str,
    ) -> None:
        method, template = OPERATIONS[name]
        path = template.format(user_id=UNKNOWN_ID)

        answers = [
            await call.send(client, ada)
            for call in [*always(method, path), *provocations(name, own_id=ada.id)]
        ]
        answers += [
            await server.request(method, path, **accepted(name, admin))
            for server in (client, broken, without_database, limited)
        ]

        declared = schema["paths"][template][method.lower()]["responses"]
        assert {int(status) for status in declared} == {answer.status_code for answer in answers}


class TestRoutes:
    def test_are_all_strict_about_their_bodies(self, app: FastAPI) -> None:
        routes = [context.original_route for context in iter_route_contexts(app.routes)]

        assert len(routes) >= len(OPERATIONS)
        assert [route for route in routes if not isinstance(route, StrictRoute)] == []

    async def test_without_authentication_are_those_that_are_written_down(
        self, app: FastAPI, client: AsyncClient
    ) -> None:
        open_routes = set()
        for route in iter_route_contexts(app.routes):
            for method in route.methods or ():
                path = str(route.path).format(user_id=UNKNOWN_ID, name="favicon.png")
                answer = await client.request(method, path)
                if answer.status_code != 401 or "WWW-Authenticate" not in answer.headers:
                    open_routes.add((method, str(route.path)))

        assert open_routes == ANONYMOUS

    def test_say_in_the_document_whether_they_need_a_token(self, schema: dict[str, Any]) -> None:
        open_operations = {
            (method, path)
            for method, path, operation in operations(schema)
            if not operation.get("security")
        }

        assert open_operations == {
            (method, path) for method, path in ANONYMOUS if path in schema["paths"]
        }

    def test_need_a_token_of_the_password_flow(self, schema: dict[str, Any]) -> None:
        schemes = schema["components"]["securitySchemes"]
        used = [
            operation["security"]
            for _, _, operation in operations(schema)
            if operation.get("security")
        ]

        assert list(schemes) == ["OAuth2PasswordBearer"]
        assert schemes["OAuth2PasswordBearer"]["flows"]["password"]["tokenUrl"] == "auth/login"
        assert used == [[{"OAuth2PasswordBearer": []}]] * len(used)
