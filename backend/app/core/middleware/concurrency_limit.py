"""A process works on so many requests at once; the next one is refused at once, so that these are finished.

Without it an overload makes every request late: most are given up by their clients, after all the work was done.
"""

import logging
from collections.abc import Awaitable, Collection
from time import monotonic
from typing import TypeVar

from starlette.types import ASGIApp, Receive, Scope, Send

from app.core.errors import ServiceUnavailable
from app.core.exception_handlers import error_response
from app.core.route_template import route_path
from app.core.telemetry.base import Telemetry

T = TypeVar("T")

LOG_SECONDS = 1.0

logger = logging.getLogger(__name__)


class ConcurrencyLimitMiddleware:
    """Hand a request to ``refuse`` while ``limit`` others are at work. The paths of ``exempt`` always pass.

    Stands outside the request log: a line for each refusal would cost more than the refusal.
    """

    def __init__(
        self,
        app: ASGIApp,
        limit: int,
        exempt: Collection[str],
        refuse: ASGIApp,
        telemetry: Telemetry,
    ) -> None:
        self.app = app
        self.limit = limit
        self.exempt = exempt
        self.refuse = refuse
        self.telemetry = telemetry
        self.working = 0
        self.refused = 0
        self._logged_at = -LOG_SECONDS

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or route_path(scope) in self.exempt:
            await self.app(scope, receive, send)
        elif self.working < self.limit:
            self.working += 1
            try:
                await self.app(
                    scope,
                    lambda: self._wait(receive()),
                    lambda message: self._wait(send(message)),
                )
            finally:
                self.working -= 1
        else:
            self._note_refusal()
            await self.refuse(scope, receive, send)

    async def _wait(self, client: Awaitable[T]) -> T:
        """Who waits for its client does not count: some slow uploads would refuse everybody else."""
        self.working -= 1
        try:
            return await client
        finally:
            self.working += 1

    def _note_refusal(self) -> None:
        """One record a second at most, with the number of refusals since the start."""
        self.refused += 1
        self.telemetry.increment("requests_refused")
        now = monotonic()
        if now - self._logged_at >= LOG_SECONDS:
            self._logged_at = now
            logger.warning("too many requests at once", extra={"refused": self.refused})


async def say_busy(scope: Scope, receive: Receive, send: Send) -> None:
    """The answer to whom this process cannot take."""
    await error_response(ServiceUnavailable("The server is busy"))(scope, receive, send)
