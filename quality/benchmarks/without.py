"""The template with one of its optimisations undone: what each of them gives, by ``--ablation``."""

import gc
import os
from collections.abc import Callable

from fastapi import FastAPI
from fastapi.routing import APIRoute
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.util.queue import AsyncAdaptedQueue
from starlette.routing import Match
from starlette.types import Scope

from app.auth import jwt
from app.core import app_factory, logging
from app.core.http.routing import StrictRoute
from app.core.telemetry.base import NullTracing
from app.db.pool import FairPool
from app.db.prepared import PreparedSelect, Row


async def one_on_the_session(
    self: PreparedSelect, session: AsyncSession, *values: object
) -> Row | None:
    parameters = dict(zip(self.names, values, strict=True))
    found = (await session.execute(self.statement, parameters)).mappings().one_or_none()
    return dict(found) if found else None


def matches_as_fastapi(self: StrictRoute, scope: Scope) -> tuple[Match, Scope]:
    return APIRoute.matches(self, self._as_get(scope))


def undo(owner: object, name: str, value: object) -> Callable[[], None]:
    return lambda: setattr(owner, name, value)


BEHIND_100 = "path looked at first, behind 100 other routes"
each_time = jwt._verified.__wrapped__  # noqa: SLF001  what it remembers is what is undone
OPTIMISATIONS: dict[str, Callable[[], None]] = {
    "nothing (how far the figures can be trusted)": lambda: None,
    "prepared select for the caller": undo(PreparedSelect, "one", one_on_the_session),
    "token verified once": undo(jwt, "_verified", each_time),
    "unused session not closed": undo(AsyncSession, "in_transaction", lambda self: True),
    "routes in one flat list": undo(app_factory, "flatten", lambda app: None),
    BEHIND_100: undo(StrictRoute, "matches", matches_as_fastapi),
    "log lines gathered": undo(logging, "GATHER_SECONDS", 0.0),
    "OpenTelemetry off": undo(NullTracing, "server_spans", lambda self, excluded: None),
    "pool in the order of asking": undo(FairPool, "_queue_class", AsyncAdaptedQueue),
    "what stays out of the collector's sight": undo(gc, "freeze", lambda: None),
    "collector that looks every 10,000 objects": undo(gc, "set_threshold", lambda first: None),
}


def build() -> FastAPI:
    """The application that WITHOUT and OTHER_ROUTES ask for; the other routes are asked before those of the template."""
    if undone := os.environ.get("WITHOUT"):
        OPTIMISATIONS[undone]()
    app = app_factory.create_app()
    app.router.routes[:0] = [
        StrictRoute(f"/api/v1/things{number}/{{thing_id}}", lambda thing_id: thing_id)
        for number in range(int(os.environ.get("OTHER_ROUTES", "0")))
    ]
    settle()
    return app


def settle() -> None:
    """What ``app.main`` does after it has built the application."""
    gc.freeze()
    gc.set_threshold(10_000)


def without_layers() -> FastAPI:
    """The same routes with no middleware of ours around them."""
    app = app_factory.create_app()
    app.user_middleware = []
    settle()
    return app
