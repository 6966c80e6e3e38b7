"""Management commands: ``python -m app.cli --help``."""

import json
import sys
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Annotated, TypeVar

import typer
from fastapi import FastAPI
from fastapi.routing import iter_route_contexts
from pydantic import ValidationError

from app.auth.administration import set_access
from app.auth.dependencies import (
    get_current_user,
    get_self_or_admin,
    require_permissions,
    require_roles,
)
from app.auth.emails import canonical_email
from app.auth.password import hash_password
from app.auth.policy import check_new_password
from app.cli_access import COMMANDS as ACCESS_COMMANDS
from app.cli_database import failed, with_database
from app.cli_jobs import COMMANDS as JOB_COMMANDS
from app.cli_sessions import COMMANDS as SESSION_COMMANDS
from app.core.app_factory import create_app
from app.core.config import Settings, get_settings, misspelt_names, read_settings
from app.core.errors import AppError, NotFound, ValidationFailed
from app.core.http.fastapi_internals import Dependant
from app.core.settings.problems import describe
from app.db.session import SessionFactory
from app.db.types import utc_now
from app.models.user import User
from app.repositories.user import UserRepository

T = TypeVar("T")

cli = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False)


@cli.command()
def create_superuser(
    email: Annotated[str, typer.Option(prompt=True, help="Address of the account.")],
    password_stdin: Annotated[
        bool, typer.Option("--password-stdin", help="Read the password from standard input.")
    ] = False,
    promote: Annotated[
        bool, typer.Option("--promote", help="Make an admin of an account that exists.")
    ] = False,
) -> None:
    """Create an admin account. Its password is prompted for, or read from standard input.

    An account that exists becomes an admin with --promote, or after the question about it; its
    password stays.
    """
    settings = get_settings()
    try:
        address = canonical_email(email)
        asks = (
            not promote
            and not password_stdin
            and with_accounts(partial(is_registered, email=address))
        )
        if asks:
            question = f"{address} is registered. Make it an admin, with the password that it has?"
            typer.confirm(question, abort=True)
        if promote or asks:
            with_accounts(partial(promote_account, email=address))
            typer.echo(f"Made an admin of the existing account {address}; its password stays")
            return
        password = read_password(password_stdin)
        check_new_password(password, address, settings)
        hashed = hash_password(password, rounds=settings.password_hash_rounds)
        with_accounts(partial(create_admin, email=address, hashed_password=hashed))
    except ValidationFailed as error:
        raise failed(error.details["errors"][0]["msg"]) from None
    except (AppError, ValueError) as error:
        raise failed(str(error)) from None
    typer.echo(f"Created the admin account {address}")


def read_password(from_stdin: bool) -> str:
    if from_stdin:
        return sys.stdin.readline().rstrip("\r\n")
    password: str = typer.prompt("Password", hide_input=True, confirmation_prompt=True)
    return password


def with_accounts(use: Callable[[UserRepository], Awaitable[T]]) -> T:
    """The result of ``use``, which gets the accounts in one transaction that is committed at its end."""

    async def run(sessions: SessionFactory) -> T:
        async with sessions.begin() as db:
            return await use(UserRepository(db))

    return with_database(run)


async def is_registered(users: UserRepository, email: str) -> bool:
    return await users.get_by_email(email) is not None


async def promote_account(users: UserRepository, email: str) -> None:
    """Raises ``NotFound`` where there is no such account."""
    user = await users.get_by_email(email)
    if user is None:
        raise NotFound(f"{email} is not registered")
    await make_admin(users, user)


async def create_admin(users: UserRepository, email: str, hashed_password: str) -> None:
    await make_admin(users, await users.create(email, hashed_password))


async def make_admin(users: UserRepository, user: User) -> None:
    """Noted in the audit log, as ``set-access`` notes it."""
    user.email_verified_at = user.email_verified_at or utc_now()
    await set_access(users.session, user, is_superuser=True, role=user.role, actor_id=None)


@cli.command()
def check() -> None:
    """Check the configuration as production would. Exit code 1 if it would not start."""
    settings = load_as_production()
    for warning in (*settings.warnings(), *misspelt_names()):
        typer.echo(f"warning: {warning}")
    typer.echo("The configuration is valid for production.")


def load_as_production() -> Settings:
    try:
        settings = read_settings()
        if settings.is_production:
            return settings
    except ValidationError:
        pass  # reported below, together with what only production minds
    try:
        return read_settings(app_env="production")
    except ValidationError as error:
        raise failed("\n".join(f"error: {line}" for line in describe(error))) from None


def quiet_app() -> FastAPI:
    """The application of these settings, for a command whose standard output is its result and no log."""
    return create_app(get_settings().model_copy(update={"log_level": "ERROR"}))


@cli.command()
def openapi() -> None:
    """Print the OpenAPI document as JSON, also where DOCS_ENABLED is off."""
    typer.echo(json.dumps(quiet_app().openapi(), indent=2))


@cli.command()
def routes() -> None:
    """List every route: method, path and who may call it."""
    rows = [
        (method, route.path or "", access(route.dependant))
        for route in iter_route_contexts(quiet_app().routes)
        for method in sorted(route.methods or ())
    ]
    width = max(len(path) for _, path, _ in rows)
    for method, path, who in sorted(rows, key=lambda row: (row[1], row[0])):
        typer.echo(f"{method:7}{path:{width}}  {who}")


def access(dependant: Dependant) -> str:
    """The role or permission that a route needs, read from its dependencies; the strictest one counts."""
    found = {call for call in calls(dependant) if call is not None}
    roles = sorted(role for call in found if isinstance(call, require_roles) for role in call.roles)
    if roles:
        return f"role {', '.join(roles)}"
    words = sorted(
        p for call in found if isinstance(call, require_permissions) for p in call.permissions
    )
    if words:
        return f"permission {', '.join(words)}"
    if get_self_or_admin in found:
        return "self or admin"
    return "any account" if get_current_user in found else "anyone"


def calls(dependant: Dependant) -> list[object]:
    return [dependant.call, *(call for sub in dependant.dependencies for call in calls(sub))]


for command in (*JOB_COMMANDS, *SESSION_COMMANDS, *ACCESS_COMMANDS):
    cli.command()(command)

if __name__ == "__main__":
    cli()
