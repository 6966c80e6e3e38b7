"""One function renders every error: the envelope of backend/docs/ERROR_MODEL.md."""

import errno
import json
import logging
import re
from collections.abc import Iterable, Mapping
from functools import singledispatch
from http import HTTPStatus
from uuid import uuid4

from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError, WebSocketRequestValidationError
from sqlalchemy.exc import IntegrityError, SQLAlchemyError
from sqlalchemy.orm.exc import StaleDataError
from starlette.datastructures import Headers, MutableHeaders
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response

from app.core.context import SCOPE_KEY, headers_var, request_id_var
from app.core.database_errors import database_error
from app.core.errors import (
    BY_STATUS,
    AppError,
    BadRequest,
    InternalError,
    MethodNotAllowed,
    Overloaded,
    ServiceUnavailable,
    ValidationFailed,
)
from app.core.http.route_template import routes_at
from app.core.http.routing import StrictRoute
from app.core.log.exceptions import message_of

logger = logging.getLogger(__name__)

INVALID = (RequestValidationError, WebSocketRequestValidationError)
MAX_VALIDATION_ERRORS = 20
MAX_LOCATION_LENGTH = 64
# This process, or the whole machine, has no descriptor or memory left for this request.
EXHAUSTED = {errno.EMFILE, errno.ENFILE, errno.ENOMEM}
PROBLEM = "application/problem+json"
ACCEPTED = re.compile(rf"{re.escape(PROBLEM)}[ \t]*(;(?![ \t]*q=0(\.0*)?[ \t]*$).*)?")
WITHOUT_BODY = {204, 304}  # RFC 9110, section 6.4.1: a body would be read as the next response


@singledispatch
def as_app_error(exc: Exception) -> AppError:
    """The error that a client gets for ``exc``. An unknown one is a 500 without details."""
    return InternalError()


@as_app_error.register
def _(exc: AppError) -> AppError:
    return exc


@as_app_error.register
def _(exc: HTTPException) -> AppError:
    phrase = _phrase(exc.status_code)
    detail: object = exc.detail
    if detail == phrase or exc.status_code >= HTTPStatus.INTERNAL_SERVER_ERROR:
        detail = None  # says nothing more, or may say what an exception said
    message = detail if isinstance(detail, str) else None
    details = detail if isinstance(detail, Mapping) else None
    cls = BY_STATUS.get(exc.status_code)
    if cls is not None:
        return cls(message, details=details, headers=exc.headers)
    error = AppError(message or phrase, details=details, headers=exc.headers)
    error.status = exc.status_code
    error.code = re.sub(r"[^a-z0-9]+", "_", phrase.lower().replace("'", ""))
    return error


def _phrase(status: int) -> str:
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return f"HTTP {status}"


@as_app_error.register(RequestValidationError)
@as_app_error.register(WebSocketRequestValidationError)
def _(exc: RequestValidationError | WebSocketRequestValidationError) -> AppError:
    errors = [
        {
            "loc": [part if isinstance(part, int) else _short(part) for part in error["loc"]],
            "msg": error["msg"],
            "type": error["type"],
        }
        for error in exc.errors()[:MAX_VALIDATION_ERRORS]
    ]
    return ValidationFailed(details={"errors": errors})


@as_app_error.register
def _(exc: SQLAlchemyError) -> AppError:
    return database_error(exc)


@as_app_error.register
def _(exc: OSError) -> AppError:
    if exc.errno in EXHAUSTED:
        return ServiceUnavailable("The server is busy")
    return InternalError()


@as_app_error.register
def _(exc: ClientDisconnect) -> AppError:
    return BadRequest("The client closed the connection")


def _short(name: str) -> str:
    """A field name that the client chose: kept recognisable, bounded in length."""
    return name if len(name) <= MAX_LOCATION_LENGTH else f"{name[:MAX_LOCATION_LENGTH]}..."


def error_response(error: AppError, request_id: str | None = None) -> Response:
    """The envelope as a response, with the id of the current request unless another one is given.

    A client that accepts problem details by name gets those. ASCII JSON, because a name that the client sent may hold
    what UTF-8 cannot encode.
    """
    if error.status in WITHOUT_BODY:
        return Response(status_code=error.status, headers=error.headers)
    own: dict[str, object] = {
        "code": error.code,
        "message": error.message,
        "request_id": request_id or request_id_var.get() or "",
        "details": error.details,
    }
    wants_problem = accepts_problem(headers_var.get())
    body = as_problem(error.status, own) if wants_problem else {"error": own}
    # str: an id or a time in the details must not turn this error into another one.
    content = json.dumps(body, default=str, separators=(",", ":")).encode("ascii")
    media_type = PROBLEM if wants_problem else "application/json"
    response = Response(content, error.status, error.headers, media_type=media_type)
    response.headers.add_vary_header("Accept")
    return response


def as_problem(status: int, own: dict[str, object]) -> dict[str, object]:
    """RFC 9457, with the fields of the envelope as extensions. No page describes a code, hence no other ``type``."""
    message = own.pop("message")
    return {
        "type": "about:blank",
        "title": _phrase(status),
        "status": status,
        "detail": message,
        **own,
    }


def accepts_problem(headers: Iterable[tuple[bytes, bytes]]) -> bool:
    """Whether a client names problem details among what it accepts. A wildcard, which all send, is no such name."""
    for name, value in headers:
        if name == b"accept" and PROBLEM.encode() in value.lower():
            ranges = value.decode("latin-1").lower().split(",")
            return any(ACCEPTED.fullmatch(each.strip(" \t")) for each in ranges)
    return False


def respond(exc: Exception) -> Response:
    """Log what an operator must know about ``exc`` and render it."""
    error = as_app_error(exc)
    if isinstance(error, Overloaded):
        pass  # counted where it was raised: a record for each would cost more than the rejection
    elif isinstance(error, ServiceUnavailable):
        logger.warning("dependency_unavailable", extra=_cause(exc))
    elif isinstance(exc, StaleDataError):
        logger.warning("stale_row", extra=_cause(exc))
    elif isinstance(exc, IntegrityError):
        logger.error("integrity_error_untranslated", exc_info=exc)
    elif error.status >= HTTPStatus.INTERNAL_SERVER_ERROR:
        logger.error("unhandled_exception", extra={"cause": type(exc).__name__}, exc_info=exc)
    return error_response(error)


def _cause(exc: Exception) -> dict[str, str]:
    origin = getattr(exc, "orig", None) or exc.__cause__ or exc
    return {
        "error": type(exc).__name__,
        "cause": f"{type(origin).__name__}: {message_of(origin, str(origin))}"[:300],
    }


def allowed_methods(request: Request, exc: Exception | None = None) -> str:
    """Every method that some route accepts at this path (RFC 9110, section 15.5.6).

    The ``Allow`` of ``exc`` comes first where a route did accept the method: then the endpoint rejects it, and knows why.
    Files that are mounted or a frontend's name no methods at all.
    """
    own = Headers(getattr(exc, "headers", None) or {}).get("allow")
    methods: set[str] = set()
    for route in routes_at(request.scope):
        methods |= route.methods or set()
        if isinstance(route.original_route, StrictRoute) and "GET" in methods:
            methods.add("HEAD")
    if own is not None and (not methods or request.scope.get("method") in methods):
        return own
    return ", ".join(sorted(methods or {"GET", "HEAD"}))


async def handle(request: Request, exc: Exception) -> Response:
    """The handler that Starlette calls for every registered class. A WebSocket is left to the error boundary."""
    if request.scope["type"] == "websocket":
        raise exc
    error = as_app_error(exc)
    if isinstance(error, MethodNotAllowed):
        headers = MutableHeaders(error.headers)
        headers["Allow"] = allowed_methods(request, exc)
        return error_response(
            MethodNotAllowed(error.message, details=error.details, headers=headers)
        )
    return respond(exc)


async def last_resort(request: Request, exc: Exception) -> Response:
    """For what is raised outside the error boundary. The request id layer has logged it, or the server does."""
    request_id = request.scope.get(SCOPE_KEY) or str(uuid4())
    return error_response(InternalError(headers={"X-Request-ID": request_id}), request_id)


def register_exception_handlers(app: FastAPI) -> None:
    """Route every error that is raised below the middleware to ``handle``, and what is left to the last."""
    for cls in (AppError, HTTPException, *INVALID, SQLAlchemyError):
        app.add_exception_handler(cls, handle)
    app.add_exception_handler(Exception, last_resort)
