"""The command that signs people out: ``python -m app.cli end-sessions``."""

import asyncio
from typing import Annotated

import typer
from sqlalchemy import true
from sqlalchemy.exc import SQLAlchemyError

from app.auth.emails import canonical_email
from app.auth.sessions import end_all
from app.cli_jobs import failed, sessions_of
from app.core.config import Settings, get_settings
from app.core.resources import build_resources
from app.db.types import utc_now
from app.repositories.login_session import LoginSessionRepository
from app.repositories.user import UserRepository


def end_sessions(
    email: Annotated[str | None, typer.Option(help="Address of one account.")] = None,
    everyone: Annotated[bool, typer.Option("--all", help="Every account.")] = False,
) -> None:
    """Sign an account out everywhere, or everybody: after a stolen database, or a stolen signing key."""
    if (email is None) != everyone:
        raise failed("Say --email ADDRESS or --all.")
    try:
        count = asyncio.run(end(get_settings(), email))
    except ValueError as error:
        raise failed(str(error)) from None
    except SQLAlchemyError:
        raise failed("The database cannot be used. Is it running and migrated?") from None
    if not count:
        raise failed(f"{email} is not registered")
    typer.echo(f"Ended the sessions of {email or 'every account'}")


async def end(settings: Settings, email: str | None) -> int:
    """How many accounts that were. Of everybody no cached copy is invalidated: they expire."""
    resources = build_resources(settings)
    try:
        async with (
            sessions_of(settings, resources.cache.delete) as sessions,
            sessions.begin() as db,
        ):
            if email is None:
                repository = LoginSessionRepository(db)
                marked = await repository.mark_ended(utc_now(), true())
                await repository.end(true())
                return max(marked, 1)
            user = await UserRepository(db).get_by_email(canonical_email(email))
            if user is None:
                return 0
            await end_all(db, user.id, actor_id=None)
            return 1
    finally:
        if resources.redis is not None:
            await resources.redis.aclose()


COMMANDS = (end_sessions,)
