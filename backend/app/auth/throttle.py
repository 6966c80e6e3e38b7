"""Logins are limited for each account and client before they cost anything."""

import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Annotated

from fastapi import Depends
from starlette.requests import HTTPConnection

from app.core.errors import RateLimited
from app.core.rate_limit.attempts import AttemptLimiter
from app.core.rate_limit.client import client_key

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Throttle:
    """The limit on guesses, as it stands for where this request comes from."""

    limiter: AttemptLimiter
    client: str

    @asynccontextmanager
    async def attempt(self, account: str) -> AsyncIterator[None]:
        """Around one check of a password for ``account``: see ``AttemptLimiter``. Raises ``RateLimited``."""
        try:
            async with self.limiter.attempt(account, self.client):
                yield
        except RateLimited:
            logger.warning("authn_login_throttled")
            raise


async def get_login_throttle(connection: HTTPConnection) -> Throttle:
    """The throttle of the application that serves this request."""
    return Throttle(connection.app.state.login_attempts, client_key(connection.scope))


LoginThrottle = Annotated[Throttle, Depends(get_login_throttle)]
