"""The ASGI entry point: ``uvicorn app.main:app``."""

import sys

from app.core.app_factory import create_app
from app.core.config import ConfigurationError

UVICORN_STARTUP_FAILURE = (
    3  # its supervisor gives up on this code and restarts a worker on any other
)

try:
    app = create_app()
except ConfigurationError as error:
    print(error, file=sys.stderr)  # noqa: T201  logging is configured by what has just failed
    sys.exit(UVICORN_STARTUP_FAILURE)
