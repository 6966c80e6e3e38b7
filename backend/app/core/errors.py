"""The errors that the application returns: name, status and code at a glance.

AppError                    500  internal_error
 ├── BadRequest             400  bad_request
 ├── Unauthorized           401  unauthorized
 ├── Forbidden              403  forbidden
 ├── NotFound               404  not_found
 ├── MethodNotAllowed       405  method_not_allowed
 ├── Conflict               409  conflict
 ├── PreconditionFailed     412  precondition_failed
 ├── PayloadTooLarge        413  payload_too_large
 ├── UriTooLong             414  uri_too_long
 ├── UnsupportedMediaType   415  unsupported_media_type
 ├── ValidationFailed       422  validation_error
 ├── RateLimited            429  rate_limited
 ├── HeadersTooLarge        431  request_header_fields_too_large
 ├── InternalError          500  internal_error
 └── ServiceUnavailable     503  service_unavailable
      └── Overloaded

Raise one where the rule is known; core/exception_handlers.py renders it.
"""

from collections.abc import Mapping
from typing import Any


class AppError(Exception):
    """A response other than success. ``message`` and ``details`` are public: no input, no secrets."""

    status = 500
    code = "internal_error"
    message = "Internal server error"
    headers: Mapping[str, str] = {}

    def __init__(
        self,
        message: str | None = None,
        *,
        details: Mapping[str, Any] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        self.message = message or self.message
        self.details = dict(details or {})
        self.headers = {**self.headers, **(headers or {})}
        super().__init__(self.message)


class BadRequest(AppError):
    status, code, message = 400, "bad_request", "The request could not be understood"


class Unauthorized(AppError):
    """Always carries a challenge (RFC 9110, section 11.6.1)."""

    status, code, message = 401, "unauthorized", "Authentication is required"
    headers: Mapping[str, str] = {"WWW-Authenticate": "Bearer"}


class Forbidden(AppError):
    status, code, message = 403, "forbidden", "Forbidden"


class NotFound(AppError):
    status, code, message = 404, "not_found", "Not found"


class MethodNotAllowed(AppError):
    status, code, message = 405, "method_not_allowed", "Method not allowed"


class Conflict(AppError):
    status, code, message = 409, "conflict", "Conflict with an existing resource"


class PreconditionFailed(AppError):
    """The resource is not in the version that ``If-Match`` names (RFC 9110, section 13.1.1)."""

    status, code, message = 412, "precondition_failed", "The resource has changed meanwhile"


class PayloadTooLarge(AppError):
    """Closes the connection, so that the rest of the body is never read."""

    status, code, message = 413, "payload_too_large", "The request body is too large"
    headers: Mapping[str, str] = {"Connection": "close"}


class UriTooLong(AppError):
    status, code, message = 414, "uri_too_long", "The URL is too long"


class UnsupportedMediaType(AppError):
    status, code, message = 415, "unsupported_media_type", "This content type is not accepted"


class ValidationFailed(AppError):
    status, code, message = 422, "validation_error", "The request is not valid"

    @classmethod
    def about(cls, *loc: str, msg: str, kind: str) -> "ValidationFailed":
        """With one error, as a schema would report it: where, in words, and its ``type`` for programs."""
        return cls(details={"errors": [{"loc": [*loc], "msg": msg, "type": kind}]})


class RateLimited(AppError):
    """Raised or rendered with the real ``Retry-After``, in seconds (RFC 6585, section 4)."""

    status, code, message = 429, "rate_limited", "Too many requests"
    headers: Mapping[str, str] = {"Retry-After": "1"}


class HeadersTooLarge(AppError):
    status, code, message = 431, "request_header_fields_too_large", "The headers are too large"


class InternalError(AppError):
    pass


class ServiceUnavailable(AppError):
    """Something that the response needs is away or full; the same request may succeed soon."""

    status, code, message = 503, "service_unavailable", "Service unavailable"
    headers: Mapping[str, str] = {"Retry-After": "1"}


class Overloaded(ServiceUnavailable):
    """Rejected at once, so that accepted requests are finished. The code that raises it counts it; it is not logged."""

    message = "The server is busy"


BY_STATUS: dict[int, type[AppError]] = {cls.status: cls for cls in AppError.__subclasses__()}
