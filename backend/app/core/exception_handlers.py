"""One function renders every error: the envelope of backend/docs/ERROR_MODEL.md."""

import json
import logging
from functools import singledispatch
from http import HTTPStatus

from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from fastapi.routing import iter_route_contexts
from sqlalchemy.exc import IntegrityError, SQLAlchemyError
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response

from app.core.context import request_id_var
from app.core.database_errors import database_error
from app.core.errors import (
    BY_STATUS,
    AppError,
    BadRequest,
    InternalError,
    MethodNotAllowed,
    ServiceUnavailable,
    ValidationFailed,
)

logger = logging.getLogger(__name__)

MAX_VALIDATION_ERRORS = 20
MAX_LOCATION_LENGTH = 64


@singledispatch
def as_app_error(exc: Exception) -> AppError:
    """What ``exc`` means to the client. Anything unknown is a 500 that tells nothing."""
    return InternalError()


@as_app_error.register
def _(exc: AppError) -> AppError:
    return exc


@as_app_error.register
def _(exc: HTTPException) -> AppError:
    cls = BY_STATUS.get(exc.status_code)
    if cls is not None:
        return cls(headers=exc.headers)
    error = AppError(HTTPStatus(exc.status_code).phrase, headers=exc.headers)
    error.status = exc.status_code
    error.code = error.message.lower().replace(" ", "_").replace("-", "_")
    return error


@as_app_error.register
def _(exc: RequestValidationError) -> AppError:
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
def _(exc: ClientDisconnect) -> AppError:
    return BadRequest("The client closed the connection")


def _short(name: str) -> str:
    """A field name that the client chose: kept recognisable, bounded in length."""
    return name if len(name) <= MAX_LOCATION_LENGTH else f"{name[:MAX_LOCATION_LENGTH]}..."


def error_response(error: AppError) -> Response:
    """The envelope as a response, with the id of the current request.

    ASCII JSON, because a name that the client sent may hold what UTF-8 cannot encode.
    """
    envelope = {
        "error": {
            "code": error.code,
            "message": error.message,
            "request_id": request_id_var.get() or "",
            "details": error.details,
        }
    }
    content = json.dumps(envelope).encode("ascii")
    return Response(content, error.status, error.headers, media_type="application/json")


def respond(exc: Exception) -> Response:
    """Log what an operator must know about ``exc`` and render it."""
    error = as_app_error(exc)
    if isinstance(error, ServiceUnavailable):
        logger.warning("dependency unavailable: %s", type(exc).__name__, extra=_cause(exc))
    elif isinstance(exc, IntegrityError):
        logger.error("integrity error that no repository translated", exc_info=exc)
    elif error.status >= HTTPStatus.INTERNAL_SERVER_ERROR:
        logger.error("unhandled %s", type(exc).__name__, exc_info=exc)
    return error_response(error)


def _cause(exc: Exception) -> dict[str, str]:
    origin = getattr(exc, "orig", None) or exc.__cause__ or exc
    return {"cause": f"{type(origin).__name__}: {origin}"[:300]}


def allowed_methods(request: Request) -> str:
    """Every method that some route accepts at this path (RFC 9110, section 15.5.6)."""
    methods: set[str] = set()
    for route in iter_route_contexts(request.app.routes):
        regex = getattr(route, "path_regex", None)
        if regex is not None and regex.match(request.scope["path"]):
            methods |= route.methods or set()
    if "GET" in methods:
        methods.add("HEAD")
    return ", ".join(sorted(methods))


async def handle(request: Request, exc: Exception) -> Response:
    """The handler that Starlette calls for every registered class."""
    if isinstance(exc, HTTPException) and exc.status_code == MethodNotAllowed.status:
        return error_response(MethodNotAllowed(headers={"Allow": allowed_methods(request)}))
    return respond(exc)


def register_exception_handlers(app: FastAPI) -> None:
    """Route every error that is raised below the middleware to ``handle``."""
    for cls in (AppError, HTTPException, RequestValidationError, SQLAlchemyError):
        app.add_exception_handler(cls, handle)
