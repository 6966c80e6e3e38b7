"""The router that every route module uses: strict about bodies and queries, HEAD wherever GET is."""

from collections import Counter
from collections.abc import AsyncIterator, Callable, Coroutine
from copy import copy
from dataclasses import replace
from typing import Any

from fastapi import APIRouter
from fastapi.routing import APIRoute
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Match
from starlette.types import Receive, Scope, Send

from app.core.errors import ValidationFailed
from app.core.http.body_limit import SCOPE_KEY, BodyLimit
from app.core.http.fastapi_internals import form_limits_around, is_included_in_a_tree
from app.core.http.route_template import effective_route, route_path
from app.core.http.strict_request import Declared, StrictRequest

Handler = Callable[[Request], Coroutine[Any, Any, Response]]

HEAD = "app.head"  # in the scope of a HEAD that is handled as a GET


class StrictRoute(APIRoute):
    """Checks content type and query and parses the body itself, before FastAPI looks at them.

    ``max_body_size`` of the route, or of a router around it, replaces ``MAX_BODY_BYTES`` for it, up or down.
    """

    def get_route_handler(self) -> Handler:
        handle = super().get_route_handler()
        declared: Declared | None = (
            None  # FastAPI asks once for each place where the route is included
        )

        async def strict(request: Request) -> Response:
            nonlocal declared
            if declared is None:
                route = effective_route(request.scope) or self
                limits = {**form_limits_around(request.scope), **self.form_limits}
                declared = Declared.by(route, limits)
            if declared.once:
                check_query(request, declared.once)
            if declared.media_type:
                request = StrictRequest(request, declared)
                await request.read(declared.media_type)
            if HEAD in request.scope:
                return await self._head(request, handle)
            return await handle(request)

        return strict

    async def _head(self, request: Request, handle: Handler) -> Response:
        """The response to GET, of which only the headers are made: a stream does not begin."""
        route = effective_route(request.scope) or self
        if route.is_sse_stream:  # FastAPI starts its events before there is a response
            handle = _without_events(route, self)
        response = await handle(request)
        if hasattr(response, "body_iterator"):
            response.body_iterator = _nothing()
        request.scope["method"] = "HEAD"  # a file asks for it before it reads itself
        return response

    def matches(self, scope: Scope) -> tuple[Match, Scope]:
        # Most routes are not meant, and a look at the path is half of FastAPI's own work: a twentieth of GET /users/me
        # behind a hundred routes. Under a router that was not flattened, for which FastAPI keeps notes in the
        # scope, the path here would be only a part of it.
        if not is_included_in_a_tree(scope) and not self.path_regex.match(route_path(scope)):
            return Match.NONE, {}
        return super().matches(self._as_get(scope))

    async def handle(self, scope: Scope, receive: Receive, send: Send) -> None:
        limit: BodyLimit | None = scope.get(SCOPE_KEY)
        if limit is not None:
            limit.set((effective_route(scope) or self).max_body_size)
        await super().handle(self._as_get(scope), receive, send)

    def _as_get(self, scope: Scope) -> Scope:
        """HEAD is GET without the content, which the server leaves out (RFC 9110, section 9.3.2)."""
        if scope.get("method") == "HEAD" and "GET" in (self.methods or ()):
            return {**scope, "method": "GET", HEAD: True}
        return scope


async def _nothing(**values: object) -> AsyncIterator[Any]:
    """A stream that ends at once, whatever its parameters are."""
    return
    yield


def _without_events(route: Any, original: APIRoute) -> Handler:
    """FastAPI's handler of ``route``, with its dependencies and headers, for a stream of no events."""
    silent = copy(route)
    silent.dependant = replace(route.dependant, call=_nothing)
    silent.form_limits = original.form_limits
    return APIRoute.get_route_handler(silent)


def check_query(request: Request, once: frozenset[str]) -> None:
    """Raise 422 where one of these is sent twice, because a proxy may have read the other one."""
    times = Counter(name for name, _ in request.query_params.multi_items() if name in once)
    if twice := [name for name, number in times.items() if number > 1]:
        problem = {"msg": "This may be sent only once", "type": "sent_twice"}
        raise ValidationFailed(
            details={"errors": [{"loc": ["query", name], **problem} for name in twice]}
        )


class Router(APIRouter):
    """An ``APIRouter`` with the strict route class. Use it for every module of routes."""

    def __init__(self, **options: Any) -> None:
        super().__init__(route_class=StrictRoute, redirect_slashes=False, **options)
