"""A process takes a bounded number of requests; the next one is rejected at once, so that these are finished.

Without it an overload makes every request late: most are given up by their clients, after all the work was done.
"""

import logging
from collections.abc import Collection

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.core.errors import Overloaded
from app.core.exception_handlers import error_response
from app.core.http.route_template import route_path
from app.core.log.throttled_warning import ThrottledWarning
from app.core.middleware.adaptive_limit import AdaptiveLimit
from app.core.telemetry.base import Telemetry

logger = logging.getLogger(__name__)


class ConcurrencyLimitMiddleware:
    """Hand a request to ``reject`` while ``limit`` others are in flight, or as many as the event loop keeps up with.

    The paths of ``exempt`` always pass.

    Stands outside the request log: a line for each rejection would cost more than the rejection.
    """

    def __init__(
        self,
        app: ASGIApp,
        limit: int,
        exempt: Collection[str],
        reject: ASGIApp,
        telemetry: Telemetry,
    ) -> None:
        self.app = app
        self.limit = AdaptiveLimit(limit)
        self.exempt = exempt
        self.reject = reject
        self.telemetry = telemetry
        self.in_flight = 0
        self.rejected = ThrottledWarning(logger, "concurrency_limit_reached")

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or route_path(scope) in self.exempt:
            await self.app(scope, receive, send)
            return
        self.limit.observe(self.in_flight)
        if not self.is_full():
            request = CountedRequest(self, receive, send)
            try:
                await self.app(scope, request.receive, request.send)
            finally:
                request.uncount()
        else:
            self.note_rejection()
            self.telemetry.increment("requests_refused")  # which no layer inside of this one sees
            await self.reject(scope, receive, send)

    def is_full(self) -> bool:
        return self.in_flight >= self.limit.value

    def note_rejection(self) -> None:
        self.rejected.count(limit=self.limit.value)


class CountedRequest:
    """One request, counted from its first byte to the last byte of its response.

    Time spent waiting on the client's socket is not counted; otherwise a few slow uploads would exhaust the limit. A
    request whose body has been awaited counts again only below the limit, and is rejected otherwise. A response in
    progress always does: it cannot be rejected any more.
    """

    __slots__ = (
        "_body_is_awaited",
        "_is_counted",
        "_layer",
        "_receive",
        "_response_ended",
        "_send",
    )

    def __init__(self, layer: ConcurrencyLimitMiddleware, receive: Receive, send: Send) -> None:
        self._layer = layer
        self._receive = receive
        self._send = send
        self._body_is_awaited = True
        self._response_ended = False
        self._is_counted = False
        self.count()

    def count(self) -> None:
        if not self._is_counted and not self._response_ended:
            self._is_counted = True
            self._layer.in_flight += 1

    def is_awaited(self) -> bool:
        """Whether there is no response before the end of the body."""
        return self._body_is_awaited

    def uncount(self) -> None:
        if self._is_counted:
            self._is_counted = False
            self._layer.in_flight -= 1

    async def receive(self) -> Message:
        """The next part of the body. Raises 503 at its end where the limit has been reached meanwhile."""
        if not self.is_awaited():
            return await self._receive()  # of the client's leaving, beside the work
        self.uncount()
        message = await self._receive()
        # A response may have begun meanwhile: then it is too late to reject.
        if self.is_awaited() and not message.get("more_body", False):
            self._body_is_awaited = False
            if message["type"] == "http.request" and self._layer.is_full():
                self._layer.note_rejection()
                raise Overloaded
            self.count()
        return message

    async def send(self, message: Message) -> None:
        """Send a part of the response; the last one ends the count, whatever runs in the background afterwards."""
        self.uncount()
        self._body_is_awaited = False
        if message["type"] == "http.response.start" and message["status"] != Overloaded.status:
            self._layer.limit.served += 1
        try:
            await self._send(message)
        finally:
            if message["type"] == "http.response.body" and not message.get("more_body", False):
                self._response_ended = True
            self.count()


async def reject_overloaded(scope: Scope, receive: Receive, send: Send) -> None:
    """The response to a request that this process cannot take."""
    await error_response(Overloaded())(scope, receive, send)
