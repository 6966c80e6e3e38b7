"""The start and the end of an application that serves."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

from fastapi import FastAPI

from app.core.runtime.readiness import SharedChecks
from app.core.telemetry.exporting import exporting

WORKER_CLOSE_SECONDS = 5  # for jobs in flight, where the process that ends is one of the API


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[None]:
    """Listen for SIGTERM while serving; afterwards close what was opened, in reverse order.

    An application may start again, on another event loop: everything that is closed here opens on its next use.
    """
    app.state.shared_checks = SharedChecks()  # its lock belongs to one event loop
    async with AsyncExitStack() as stack:
        stack.enter_context(exporting(app.state.exporters))
        stack.callback(app.state.password_executor.close)
        if app.state.engine is not None:
            stack.push_async_callback(app.state.engine.dispose)
        if app.state.redis is not None:
            stack.push_async_callback(app.state.redis.aclose)
        app.state.worker.start()
        stack.push_async_callback(app.state.worker.aclose, WORKER_CLOSE_SECONDS)
        stack.enter_context(app.state.drain.on_sigterm())
        yield
