"""The command that says what an account may do: ``python -m app.cli set-access``. The way back in, without HTTP."""

from typing import Annotated

import typer

from app.auth import administration
from app.auth.emails import canonical_email
from app.cli_database import failed, with_database
from app.core.errors import AppError
from app.db.session import SessionFactory
from app.repositories.user import UserRepository


def set_access(
    email: Annotated[str, typer.Argument(help="Address of the account.")],
    superuser: Annotated[
        bool | None, typer.Option("--superuser/--no-superuser", help="Unset: as it is.")
    ] = None,
    role: Annotated[
        str | None,
        typer.Option(help="Name of a role; an empty one takes it away. Unset: as it is."),
    ] = None,
) -> None:
    """Make an admin of an account or none, and give it a role. Noted in the audit log."""
    try:
        with_database(lambda sessions: change(sessions, email, superuser, role))
    except AppError as error:
        errors = error.details.get("errors")
        raise failed(errors[0]["msg"] if errors else error.message) from None
    except ValueError as error:
        raise failed(str(error)) from None
    typer.echo(f"Changed the access of {email}")


async def change(
    sessions: SessionFactory, email: str, superuser: bool | None, role: str | None
) -> None:
    async with sessions.begin() as db:
        user = await UserRepository(db).get_by_email(canonical_email(email))
        if user is None:
            raise ValueError(f"{email} is not registered")
        await administration.set_access(
            db,
            user,
            is_superuser=user.is_superuser if superuser is None else superuser,
            role=user.role if role is None else role or None,
            actor_id=None,
        )


COMMANDS = (set_access,)
