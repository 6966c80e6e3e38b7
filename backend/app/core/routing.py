"""The router that every route module uses: strict about bodies and queries, HEAD wherever GET is."""

from collections import Counter
from collections.abc import Callable, Coroutine
from copy import copy
from email.message import Message
from typing import Any
from urllib.parse import parse_qsl

from fastapi import APIRouter, FastAPI, params
from fastapi._compat import field_annotation_is_sequence
from fastapi.dependencies.models import Dependant
from fastapi.dependencies.utils import get_flat_params
from fastapi.routing import APIRoute, RouteContext, iter_route_contexts
from starlette.datastructures import FormData
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Match
from starlette.types import Receive, Scope, Send

from app.core import strict_json
from app.core.errors import BadRequest, UnsupportedMediaType, ValidationFailed
from app.core.route_template import route_path

Handler = Callable[[Request], Coroutine[Any, Any, Response]]

JSON = "application/json"
FORM = "application/x-www-form-urlencoded"
MAX_FORM_FIELDS = 100


class StrictRequest(Request):
    """A request whose JSON and form have exactly one reading; both raise ``BadRequest`` otherwise."""

    async def json(self) -> Any:
        if not hasattr(self, "_json"):
            try:
                self._json = strict_json.loads(await self.body())
            except strict_json.NotStrictJson as error:
                raise BadRequest(str(error)) from None
        return self._json

    async def _get_form(self, **limits: object) -> FormData:
        if self._form is None:
            self._form = FormData(form_fields(await self.body()))
        return self._form


def form_fields(body: bytes) -> dict[str, str]:
    """The fields of an urlencoded form: UTF-8, no name twice, a bounded number."""
    try:
        fields = parse_qsl(
            body.decode("ascii"),
            keep_blank_values=True,
            errors="strict",
            max_num_fields=MAX_FORM_FIELDS,
        )
    except UnicodeDecodeError:
        raise BadRequest("The form is not valid UTF-8") from None
    except ValueError:
        raise BadRequest("The form has too many fields") from None
    if len(dict(fields)) != len(fields):
        raise BadRequest("The form contains the same field twice")
    return dict(fields)


class StrictRoute(APIRoute):
    """Checks content type and query and parses the body itself, before FastAPI looks at them."""

    def get_route_handler(self) -> Handler:
        handle = super().get_route_handler()
        once, has_body = single_parameters(self.dependant), self.body_field is not None
        if not once and not has_body:
            return handle
        is_form = self.body_field and isinstance(self.body_field.field_info, params.Form)
        expected = FORM if is_form else JSON

        async def strict(request: Request) -> Response:
            request = StrictRequest(request.scope, request.receive)
            if once:
                check_query(request, once)
            if has_body and await request.body():
                check_content(request, expected)
                await (request.form() if is_form else request.json())
            return await handle(request)

        return strict

    def matches(self, scope: Scope) -> tuple[Match, Scope]:
        # Most routes are not meant, and a look at the path is half of FastAPI's own work: a twentieth of who-am-I
        # behind a hundred routes. Under a router that was not flattened, for which FastAPI keeps notes in the
        # scope, the path here would be only a part of it.
        if "fastapi" not in scope and not self.path_regex.match(route_path(scope)):
            return Match.NONE, {}
        return super().matches(self._as_get(scope))

    async def handle(self, scope: Scope, receive: Receive, send: Send) -> None:
        await super().handle(self._as_get(scope), receive, send)

    def _as_get(self, scope: Scope) -> Scope:
        """HEAD is GET without the content, which the server leaves out (RFC 9110, section 9.3.2)."""
        if scope.get("method") == "HEAD" and "GET" in (self.methods or ()):
            return {**scope, "method": "GET"}
        return scope


def check_content(request: Request, expected: str) -> None:
    """Raise 415 for a body of another type, in another character set, or compressed."""
    content = Message()
    content["content-type"] = request.headers.get("content-type", "")
    if content.get_content_type() != expected or "content-type" not in request.headers:
        raise UnsupportedMediaType(f"The body must be {expected}")
    if (content.get_content_charset() or "utf-8") not in {"utf-8", "utf8", "us-ascii"}:
        raise UnsupportedMediaType("The body must be encoded in UTF-8")
    if request.headers.get("content-encoding", "").lower() not in {"", "identity"}:
        raise UnsupportedMediaType("The body must not be compressed")


def single_parameters(dependant: Dependant) -> frozenset[str]:
    """The names of the query parameters that have one value, those of dependencies and models among them."""
    elsewhere = params.Path | params.Header | params.Cookie
    return frozenset(
        field.alias
        for field in get_flat_params(dependant)
        if not isinstance(field.field_info, elsewhere)
        and not field_annotation_is_sequence(field.field_info.annotation)
    )


def check_query(request: Request, once: frozenset[str]) -> None:
    """Raise 422 where one of these is sent twice: whoever looked before may have read the other one."""
    times = Counter(name for name, _ in request.query_params.multi_items() if name in once)
    if twice := [name for name, number in times.items() if number > 1]:
        problem = {"msg": "This may be sent only once", "type": "sent_twice"}
        raise ValidationFailed(
            details={"errors": [{"loc": ["query", name], **problem} for name in twice]}
        )


def flatten(app: FastAPI) -> None:
    """Replace the tree of included routers by one list of what is in it, with the paths as they are served.

    FastAPI keeps a tree and walks it from the root once more for each level: who-am-I takes 1.15 times as long.
    Only routes that are there already are moved; a router that is included later works as ever.
    """
    app.router.routes[:] = [
        (
            _moved(context.original_route, context)
            if isinstance(context.original_route, APIRoute)
            else included
        )
        for included in app.router.routes
        for context in iter_route_contexts([included])
    ]


def _moved(route: APIRoute, context: RouteContext) -> APIRoute:
    """A copy with everything that FastAPI has worked out for it where it is included, its handler among it."""
    moved = copy(route)
    for name, value in vars(route).items():
        setattr(moved, name, getattr(context, name, value))
    return moved


class Router(APIRouter):
    """An ``APIRouter`` with the strict route class. Use it for every module of routes."""

    def __init__(self, **options: Any) -> None:
        super().__init__(route_class=StrictRoute, redirect_slashes=False, **options)
