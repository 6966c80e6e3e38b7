"""CORS, closed unless origins are named; a rejected preflight is an envelope like any other error."""

from starlette.datastructures import Headers
from starlette.middleware.cors import CORSMiddleware
from starlette.responses import Response

from app.core.errors import BadRequest
from app.core.exception_handlers import error_response


class EnvelopeCORSMiddleware(CORSMiddleware):
    """Starlette's, with rejections in the envelope instead of plain text."""

    def preflight_response(self, request_headers: Headers) -> Response:
        response = super().preflight_response(request_headers)
        if response.status_code < BadRequest.status:
            return response
        return error_response(BadRequest("This cross-origin request is not allowed"))
