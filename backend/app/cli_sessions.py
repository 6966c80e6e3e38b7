"""The command that signs people out: ``python -m app.cli end-sessions``."""

from typing import Annotated

import typer

from app.auth.emails import canonical_email
from app.auth.sessions import end_all, end_all_of_everybody
from app.cli_database import failed, with_database
from app.db.session import SessionFactory
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
    """How many accounts that were."""
    if email is None:
        async with sessions() as db:
            return max(await end_all_of_everybody(db), 1)
    async with sessions.begin() as db:
        user = await UserRepository(db).get_by_email(canonical_email(email))
        if user is None:
            return 0
        await end_all(db, user.id, actor_id=None)
        return 1


COMMANDS = (end_sessions,)
