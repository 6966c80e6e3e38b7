"""The application, and one path that tells what its process holds: served as ``quality.resilience.instrumented:app``."""

import asyncio
import gc
import json
import logging
import threading

from starlette.types import Receive, Scope, Send

from app.core.log.writer import QueuedHandler
from app.main import app as application
from quality.resilience.gated import PATH, Held


async def app(scope: Scope, receive: Receive, send: Send) -> None:
    if scope["type"] != "http" or scope["path"] != PATH:
        await application(scope, receive, send)
        return
    body = json.dumps(held()).encode()
    headers = [(b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": body})


def held() -> Held:
    """What must be the same before and after any number of requests, and what was dropped from the log."""
    gc.collect()
    engine = application.state.engine
    handlers = [one for one in logging.getLogger().handlers if isinstance(one, QueuedHandler)]
    return {
        "tasks": len(asyncio.all_tasks()),
        "threads": threading.active_count(),
        "connections in use": engine.pool.checkedout() if engine else 0,
        "dropped": sum(handler.dropped for handler in handlers),
    }
