"""The limit: the least that does the same work. Starlette, asyncpg and orjson, a request id, a log line, nothing else.

What it leaves out is what the template is for: one error envelope, settings, bounds, layers, types. It exists to be
measured against; do not build on it.
"""

import asyncio
import logging
import os
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from time import perf_counter
from urllib.parse import parse_qs
from uuid import UUID, uuid4

import asyncpg
import bcrypt
import jwt
import orjson
from jwt.types import Options
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

KEY = os.environ["JWT_SECRET_KEY"]
COLUMNS = "id, email, is_active, is_superuser, created_at, updated_at"
BY_ID = f"SELECT {COLUMNS} FROM users WHERE id = $1"  # noqa: S608  no input in it
PAGE = f"SELECT {COLUMNS}, display_name, version, role FROM users ORDER BY id LIMIT $1"  # noqa: S608  the same
BY_EMAIL = "SELECT id, hashed_password FROM users WHERE email = $1"
LOGIN_SECONDS = 3600
REQUIRED: Options = {"require": ["exp", "iat", "sub", "jti"]}

logging.basicConfig(stream=sys.stdout, format="%(message)s", level="INFO")
logger = logging.getLogger("limit")


def response(value: object, status: int = 200) -> Response:
    body = orjson.dumps(value, default=str)  # asyncpg's UUID is a subclass, which orjson refuses
    return Response(body, status, media_type="application/json")


async def health(request: Request) -> Response:
    return response({"status": "ok"})


async def caller_of(request: Request) -> asyncpg.Record | None:
    token = request.headers.get("authorization", "").removeprefix("Bearer ")
    try:
        claims = jwt.decode(token, KEY, algorithms=["HS256"], options=REQUIRED, leeway=30)
        user_id = UUID(claims["sub"])
    except (jwt.PyJWTError, ValueError):
        return None
    row = await request.app.state.pool.fetchrow(BY_ID, user_id)
    return row if row is not None and row["is_active"] else None


async def read_me(request: Request) -> Response:
    caller = await caller_of(request)
    return response(dict(caller)) if caller else response({"error": "unauthorized"}, 401)


async def list_accounts(request: Request) -> Response:
    caller = await caller_of(request)
    if caller is None or not caller["is_superuser"]:
        return response({"error": "forbidden"}, 403)
    limit = int(request.query_params["limit"])
    rows = await request.app.state.pool.fetch(PAGE, limit + 1)
    following = str(rows[limit - 1]["id"]) if len(rows) > limit else None
    return response({"items": [dict(row) for row in rows[:limit]], "next": following})


async def login(request: Request) -> Response:
    form = parse_qs((await request.body()).decode())
    row = await request.app.state.pool.fetchrow(BY_EMAIL, form["username"][0])
    password = form["password"][0].encode()
    matches = await asyncio.to_thread(bcrypt.checkpw, password, row["hashed_password"].encode())
    if not matches:
        return response({"error": "unauthorized"}, 401)
    now = datetime.now(UTC)
    claims = {"sub": str(row["id"]), "iat": now, "exp": now + timedelta(seconds=LOGIN_SECONDS)}
    token = jwt.encode(claims, KEY, algorithm="HS256")
    return response({"access_token": token, "token_type": "bearer", "expires_in": LOGIN_SECONDS})


class RequestLine:
    """The request id, and one JSON line for each request."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        started, status = perf_counter(), 500
        given = next((value for name, value in scope["headers"] if name == b"x-request-id"), None)
        request_id = given or str(uuid4()).encode()

        async def send_with_id(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                message["headers"].append((b"x-request-id", request_id))
            await send(message)

        await self.app(scope, receive, send_with_id)
        line = {
            "time": datetime.now(UTC),
            "level": "INFO",
            "request_id": request_id.decode("latin-1"),
            "method": scope["method"],
            "path": scope["path"],
            "status": status,
            "duration_ms": round((perf_counter() - started) * 1000, 2),
        }
        logger.info(orjson.dumps(line).decode())


@asynccontextmanager
async def lifespan(app: Starlette) -> AsyncIterator[None]:
    size = int(os.environ["POOL_SIZE"])
    async with asyncpg.create_pool(
        os.environ["DATABASE_URL"], min_size=size, max_size=size
    ) as app.state.pool:
        yield


routes = [
    Route("/health", health),
    Route("/api/v1/users/me", read_me),
    Route("/api/v1/admin/users", list_accounts),
    Route("/auth/login", login, methods=["POST"]),
]
app = RequestLine(Starlette(routes=routes, lifespan=lifespan))
