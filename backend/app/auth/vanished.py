"""An account that was deleted between its authentication and the change that its request makes."""

import logging
from uuid import UUID

from fastapi import FastAPI
from sqlalchemy import select
from sqlalchemy.exc import IntegrityError, SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm.exc import StaleDataError
from starlette.requests import HTTPConnection, Request
from starlette.responses import Response

from app.auth.jwt import invalid_token
from app.core.exception_handlers import handle
from app.models.user import User

CALLER = "app.auth.caller"  # its place in the scope of a request

logger = logging.getLogger(__name__)


def remember_caller(connection: HTTPConnection, user_id: UUID, db: AsyncSession) -> None:
    """Note the current user, and the database that they were read from."""
    connection.scope[CALLER] = (user_id, db.bind)


async def handle_vanished(request: Request, exc: Exception) -> Response:
    """Handle a missing row: 401 where it is the current user's, as on their next request, else the response to ``exc``."""
    if CALLER in request.scope and not await is_there(*request.scope[CALLER]):
        logger.warning("authn_account_gone")
        exc = invalid_token()
    return await handle(request, exc)


async def is_there(user_id: UUID, bind: object) -> bool:
    """Whether the account exists; also where the database cannot be asked now."""
    try:
        async with AsyncSession(bind) as session:  # type: ignore[arg-type]  # what another session was bound to
            return await session.scalar(select(User.id).where(User.id == user_id)) is not None
    except SQLAlchemyError:
        return True


def register_vanished_handler(app: FastAPI) -> None:
    """Route the errors of a row that is not there to ``handle_vanished``."""
    for cls in (IntegrityError, StaleDataError):
        app.add_exception_handler(cls, handle_vanished)
