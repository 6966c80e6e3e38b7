"""The command that signs people out: ``python -m app.cli end-sessions``."""

from typing import Annotated

import typer
from sqlalchemy import true

from app.auth.emails import canonical_email
from app.auth.sessions import end_all
from app.cli_database import failed, with_database
from app.db.session import SessionFactory
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
        count = with_database(lambda sessions: end(sessions, email))
    except ValueError as error:
        raise failed(str(error)) from None
    if not count:
        raise failed(f"{email} is not registered")
    typer.echo(f"Ended the sessions of {email or 'every account'}")


async def end(sessions: SessionFactory, email: str | None) -> int:
    """How many accounts that were. Of everybody no cached copy is invalidated: they expire."""
    async with sessions.begin() as db:
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


COMMANDS = (end_sessions,)
