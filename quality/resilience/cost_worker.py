"""The same application with different modules on, asked in turns inside this process: what cost.py starts.

Takes a plan and writes what each request cost, in microseconds of CPU time, and how many round trips to Redis.
"""

import asyncio
import json
import random
import sys
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from time import thread_time
from typing import Any
from unittest.mock import patch
from uuid import UUID

from fastapi import FastAPI
from sqlalchemy import bindparam, select
from sqlalchemy.ext.asyncio import AsyncSession
from starlette.types import Message, Scope

from app.auth import dependencies
from app.auth.caller import Caller
from app.core.app_factory import create_app
from app.core.cache.base import Cache
from app.core.rate_limit.middleware import RateLimitMiddleware
from app.db.prepared import PreparedSelect
from app.models.user import User
from quality.testkit.proxy import fault_proxy
from quality.testkit.services import settings_of

Plan = dict[str, Any]  # read from JSON: see cost.py

ABSENT = "not there"
OPTIONAL_LAYERS: set[object] = {RateLimitMiddleware}
REDIS_PORT = 6379
WARM_UP, COUNTED = 30, 20
AWAKE = 20
OK = 200

COLUMNS = [getattr(User, name) for name in Caller.model_fields]
BY_ID = PreparedSelect(select(*COLUMNS).where(User.id == bindparam("id", type_=User.id.type)), "id")


async def read_caller(
    db: AsyncSession, cache: Cache, user_id: UUID, ttl_seconds: int
) -> Caller | None:
    """What authentication would do if nobody had thought of a cache."""
    row = await BY_ID.one(db, user_id)
    return None if row is None else Caller.model_validate(row)


def build(name: str, environment: dict[str, str]) -> FastAPI:
    app = create_app(settings_of(environment))
    if name == ABSENT:
        app.user_middleware = [
            layer for layer in app.user_middleware if layer.cls not in OPTIONAL_LAYERS
        ]
    return app


def as_built(name: str) -> AbstractContextManager[object]:
    """While a request is served: what cannot be left out when the application is built."""
    if name == ABSENT:
        return patch.object(dependencies, "load_caller", read_caller)
    return nullcontext()


async def ask(app: FastAPI, path: str, token: str, requests: int) -> None:
    """So many requests, one after the other, as a server would hand them over."""
    scope: Scope = {
        "type": "http",
        "http_version": "1.1",
        "method": "GET",
        "scheme": "http",
        "path": path,
        "raw_path": path.encode(),
        "query_string": b"",
        "root_path": "",
        "headers": [(b"host", b"localhost"), (b"authorization", f"Bearer {token}".encode())],
        "client": ("127.0.0.1", 1),
        "server": ("127.0.0.1", 2),
    }

    async def receive() -> Message:
        return {"type": "http.disconnect"}

    async def send(message: Message) -> None:
        if message.get("status", OK) != OK:
            raise RuntimeError(f"{path} was answered with {message['status']}")

    for _ in range(requests):
        await app({**scope, "headers": list(scope["headers"]), "state": {}}, receive, send)


async def measure(plan: Plan) -> dict[str, dict[str, list[float]]]:
    """For each path and variant, one figure for each round. Their order changes from round to round."""
    apps = {name: build(name, environment) for name, environment in plan["variants"].items()}
    taken: dict[str, dict[str, list[float]]] = {
        path: {name: [] for name in apps} for path in plan["paths"]
    }
    slices = [(path, name) for path in plan["paths"] for name in apps]
    dice = random.Random(plan["seed"])  # noqa: S311  dice, no secret
    for number in range(-1, plan["rounds"]):  # the first warms up
        dice.shuffle(slices)
        for path, name in slices:
            with as_built(name):
                await ask(
                    apps[name], path, plan["token"], AWAKE
                )  # who came before leaves nothing to clear away
                started = thread_time()
                await ask(apps[name], path, plan["token"], plan["requests"])
                seconds = thread_time() - started
            if number >= 0:
                taken[path][name].append(seconds / plan["requests"] * 1e6)
    for app in apps.values():
        await close(app)
    return taken


async def round_trips(plan: Plan) -> dict[str, dict[str, float]]:
    """For each path and variant with Redis: how often a request that finds everything cached asks it."""
    found: dict[str, dict[str, float]] = {path: {} for path in plan["paths"]}
    for name, environment in plan["variants"].items():
        if not (url := environment.get("REDIS_URL")):
            continue
        async with fault_proxy(url, REDIS_PORT) as proxy:
            app = build(name, {**environment, "REDIS_URL": proxy.url})
            for path in plan["paths"]:
                await ask(app, path, plan["token"], WARM_UP)
                before = proxy.asked
                await ask(app, path, plan["token"], COUNTED)
                found[path][name] = (proxy.asked - before) / COUNTED
            await close(app)
    return found


async def close(app: FastAPI) -> None:
    app.state.password_executor.close()
    await app.state.engine.dispose()
    if app.state.redis is not None:
        await app.state.redis.aclose()


async def layers(environment: dict[str, str]) -> list[str]:
    """Which of the optional layers stand around an application."""
    app = build("", environment)
    found = [str(layer.cls) for layer in app.user_middleware if layer.cls in OPTIONAL_LAYERS]
    await close(app)
    return found


async def work(plan: Plan) -> dict[str, Any]:
    return {
        "layers": await layers(plan["variants"]["off"]),
        "micros": await measure(plan),
        "round trips": await round_trips(plan),
    }


def main() -> None:
    plan_file, result_file = map(Path, sys.argv[1:])
    result = asyncio.run(work(json.loads(plan_file.read_text(encoding="utf-8"))))
    result_file.write_text(json.dumps(result), encoding="utf-8")


if __name__ == "__main__":
    main()
