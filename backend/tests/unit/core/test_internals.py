"""Undocumented parts of libraries that the application relies on. A failure names the library and the part."""

import inspect

import asyncpg
import fastapi.routing
import jwt
import pytest
import sqlalchemy.ext.asyncio
import sqlalchemy.pool
from redis.asyncio import ConnectionPool, Redis, SSLConnection
from redis.asyncio.connection import AbstractConnection, RedisSSLContext
from starlette.formparsers import MultiPartParser
from starlette.middleware.cors import CORSMiddleware
from starlette.requests import Request

FASTAPI, STARLETTE, REDIS = "core/http/fastapi_internals.py", "core/http", "core/redis/pool.py"
PIPELINING = "core/redis/pipelining.py"

RELIANCES = [
    ("fastapi", fastapi.routing, "effective_route_context", FASTAPI),
    ("fastapi", fastapi.routing, "fastapi_function_astack", FASTAPI),
    ("fastapi", fastapi.routing, "form_limits", FASTAPI),
    ("fastapi", fastapi.routing, "def effective_candidates", FASTAPI),
    ("fastapi", fastapi.routing, "def effective_low_priority_routes", FASTAPI),
    ("fastapi", fastapi.routing, "include_context", FASTAPI),
    ("fastapi", fastapi.routing, "original_route", FASTAPI),
    ("starlette", Request.json, "self._json", STARLETTE),
    ("starlette", Request.form, "self._get_form(", STARLETTE),
    ("starlette", Request._get_form, "self._form", STARLETTE),
    ("starlette", MultiPartParser, "self._current_part", "core/http/forms.py"),
    ("starlette", MultiPartParser, "self.items", "core/http/forms.py"),
    ("starlette", CORSMiddleware, "self.preflight_response(", "core/middleware/cors.py"),
    ("redis", ConnectionPool, "self.make_connection(", REDIS),
    ("redis", ConnectionPool, "self.ensure_connection(", REDIS),
    ("redis", SSLConnection, "self.ssl_context", REDIS),
    ("redis", RedisSSLContext, "self.context", REDIS),
    ("redis", Redis._send_command_parse_response, "self.parse_response(conn", PIPELINING),
    ("redis", AbstractConnection.read_response, "await self.disconnect(nowait=True)", PIPELINING),
    ("sqlalchemy", sqlalchemy.pool.QueuePool, "self._queue_class(", "db/sqlalchemy_internals.py"),
    ("sqlalchemy", sqlalchemy.pool.Pool, "def _invalidate", "db/sqlalchemy_internals.py"),
    (
        "sqlalchemy",
        sqlalchemy.ext.asyncio.AsyncSession,
        "self.sync_session = self._proxied =",
        "db/sqlalchemy_internals.py",
    ),
    ("pyjwt", jwt.PyJWT, "self._decode_payload(", "auth/jwt.py"),
    ("asyncpg", asyncpg.Connection, "self._transport", "db/keepalive.py"),
]


@pytest.mark.parametrize(("library", "where", "what", "module"), RELIANCES)
def test_internals_that_are_relied_on_still_exist(
    library: str, where: object, what: str, module: str
) -> None:
    source = inspect.getsource(where)  # type: ignore[arg-type]  # a module, a class or a function each

    assert what in source, f"{library} no longer has {what}: backend/app/{module} relies on it"
