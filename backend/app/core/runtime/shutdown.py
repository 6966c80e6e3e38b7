"""Shutdown without a lost request: first tell the balancer, then stop accepting, then close."""

import asyncio
import logging
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Annotated

from fastapi import Depends
from starlette.requests import HTTPConnection

logger = logging.getLogger(__name__)


class Drain:
    """Whether this process is draining. Readiness reports it; nothing else changes yet."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self.started = False

    @contextmanager
    def on_sigterm(self) -> Iterator[None]:
        """While inside, SIGTERM starts the drain; when it ends, the server stops as for SIGINT.

        uvicorn alone would close its sockets at once, and would end with the signal instead of code 0.
        """
        if threading.current_thread() is not threading.main_thread():
            yield  # signals belong to the main thread: a server in another one is stopped by its owner
            return
        self.started = False  # an application may start again
        loop = asyncio.get_running_loop()
        stop = signal.getsignal(signal.SIGINT)
        is_stopping = False

        def begin() -> None:
            if self.started:
                return
            self.started = True
            logger.info("draining", extra={"seconds": self.seconds})
            loop.call_later(self.seconds, end)

        def end() -> None:
            # A second SIGINT would break the stop off: Ctrl+C under a reloader sends both signals.
            if not is_stopping:
                signal.raise_signal(signal.SIGINT)

        def on_sigterm(signum: int, frame: FrameType | None) -> None:
            # The signal may have interrupted anything, a lock's holder too: the loop does the work.
            loop.call_soon_threadsafe(begin)

        def on_sigint(signum: int, frame: FrameType | None) -> None:
            nonlocal is_stopping
            is_stopping = True
            if callable(stop):
                stop(signum, frame)

        previous = signal.signal(signal.SIGTERM, on_sigterm)
        signal.signal(signal.SIGINT, on_sigint)
        try:
            yield
        finally:
            signal.signal(signal.SIGTERM, previous)
            signal.signal(signal.SIGINT, stop)


async def get_drain(connection: HTTPConnection) -> Drain:
    """The drain state of the application that serves this request."""
    drain: Drain = connection.app.state.drain
    return drain


DrainState = Annotated[Drain, Depends(get_drain)]
