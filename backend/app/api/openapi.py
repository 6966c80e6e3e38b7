"""How the API is presented: the versioned part first, each tag with a sentence, each operation with a stable name."""

from typing import Any

from fastapi import FastAPI
from fastapi.routing import APIRoute

from app.api.v1.once import HEADER, REPLAYED
from app.api.v1.schemas.error import Problem

WITH_CONTENT = ("200", "201")
TAGS: list[dict[str, Any]] = [
    {"name": "users", "description": "Accounts: create one, read, change and delete one's own."},
    {"name": "admin", "description": "Accounts of others, for admins."},
    {"name": "health", "description": "Probes for a load balancer or an orchestrator."},
    {"name": "auth", "description": "Log in for an access token, and see who is logged in."},
    {
        "name": "legacy",
        "description": "Paths without a version: frozen, for the clients that use them.",
    },
]


def operation_id(route: APIRoute) -> str:
    """v1_users_read_me, legacy_auth_login: stable names for generated clients."""
    named = [part for part in route.path_format.split("/") if part and "{" not in part]
    version, *rest = named[1:] if named[:1] == ["api"] and named[1:] else ["legacy", *named]
    return "_".join([version, *rest[:1], route.name])


def document(app: FastAPI) -> dict[str, Any]:
    """FastAPI's document, with what no endpoint has for its model: problem details, and headers about versions and keys."""
    found = FastAPI.openapi(app)
    found["components"]["schemas"].setdefault(Problem.__name__, Problem.model_json_schema())
    for path in found["paths"].values():
        for operation in path.values():
            _declare_headers(operation)
    return found


def _declare_headers(operation: dict[str, Any]) -> None:
    """Of the responses to a request whose condition or key is read."""
    read = {parameter["name"].lower() for parameter in operation.get("parameters", ())}
    has_key = HEADER.lower() in read
    for status, response in operation["responses"].items():
        has_content = status in WITH_CONTENT
        for name, is_sent in (
            ("ETag", has_content and (has_key or read & {"if-match", "if-none-match"})),
            (REPLAYED, has_content and has_key),
            ("Retry-After", status == "409" and has_key),
        ):
            if is_sent:
                response.setdefault("headers", {})[name] = {"schema": {"type": "string"}}
