"""An exception as it is logged: its class, where it was raised, and no value that was rejected.

The message of a validator, a driver or a library can quote a value: a body, a row, a password hash. What an
exception of the application itself says is logged as it is.
"""

import json
import re
from collections.abc import Mapping
from traceback import TracebackException
from types import TracebackType

from fastapi.exceptions import ValidationException
from pydantic import ValidationError
from sqlalchemy.exc import DBAPIError, SQLAlchemyError, StatementError

ExcInfo = tuple[type[BaseException], BaseException, TracebackType | None] | tuple[None, None, None]

NOT_LOGGED = "(not logged)"
MAX_PROBLEMS = 20
MAX_LOCATION_LENGTH = 256
# The class of SQLSTATEs whose messages quote the value (PostgreSQL manual, appendix A).
DATA_EXCEPTION = "22"

QUOTED = re.compile(
    # PostgreSQL: the values of a failing row, up to what SQLAlchemy says next.
    r"DETAIL:.*?(?=\n\[SQL: |\n\(Background on |\Z)"
    # pydantic's errors and warnings. A value may hold anything, so everything goes between the first and the last,
    # or up to the end: what does not match would be looked for again from each place.
    r"|(?<=input_value=)(?:.+(?=, input_type=)|.+)"
    # asyncio: the repr of a task or a future that failed. The record has the exception too.
    r"|(?:(?<=> exception=)|(?<=finished exception=)).+"
    # SQLAlchemy: a session that is used after its flush failed.
    r"|(?<=Original exception was: ).+"
    # Redis, of a command that it does not know.
    r"|(?<=with args beginning with: ).+",
    re.DOTALL,
)


def without_values(text: str) -> str:
    """``text`` without the values that libraries are known to quote; they may go over several lines."""
    # Each of them says so behind one of these signs, and most messages have neither.
    return QUOTED.sub(NOT_LOGGED, text) if ":" in text or "=" in text else text


def rendered(exc_info: ExcInfo) -> str:
    """The traceback as Python prints it, causes, contexts and groups included, with the messages of ``message_of``."""
    kind, exc, traceback = exc_info
    if kind is None or exc is None:
        return "no exception"
    whole = TracebackException(kind, exc, traceback)
    pending = [(whole, exc, False)]
    while pending:
        part, error, is_of_value = pending.pop()
        is_of_value = is_of_value or is_about_a_value(error)
        # It keeps what it prints under this name, and has no other way to say something else.
        vars(part)["_str"] = message_of(error, str(part), is_of_value=is_of_value)
        parts = (part.__cause__, part.__context__, *(part.exceptions or ()))
        grouped = error.exceptions if isinstance(error, BaseExceptionGroup) else ()
        errors = (error.__cause__, error.__context__, *grouped)
        pending += [
            (inner, its, is_of_value)
            for inner, its in zip(parts, errors, strict=False)
            if inner is not None and its is not None
        ]
    return "".join(whole.format()).rstrip("\n")


def message_of(exc: BaseException, said: str, *, is_of_value: bool = False) -> str:
    """``said``, which is the text of ``exc``, without the values in it. A statement comes without its parameters."""
    if isinstance(exc, ValidationException | ValidationError):
        return problems(exc)
    if isinstance(exc, StatementError):
        said = str(exc.args[0])
    message = NOT_LOGGED if is_of_value or is_about_a_value(exc) else without_values(said)
    statement = exc.statement if isinstance(exc, StatementError) else None
    return f"{message}\n[SQL: {statement}]" if statement else message


def problems(exc: ValidationException | ValidationError) -> str:
    """Location and rule of each rejected value, at most ``MAX_PROBLEMS`` of them."""
    errors: list[Mapping[str, object]]
    if isinstance(exc, ValidationError):
        title = f" for {exc.title}"
        errors = list(exc.errors(include_url=False, include_context=False, include_input=False))
        place = ""
    else:
        title = f" for {exc.endpoint_path}" if exc.endpoint_path else ""
        errors = [error for error in exc.errors() if isinstance(error, Mapping)]
        place = (
            f'\n  File "{exc.endpoint_file}", line {exc.endpoint_line}, in {exc.endpoint_function}'
        )
        place = place if exc.endpoint_file else ""
    told = [
        f"\n  {json.dumps(error.get('loc'), default=str)[:MAX_LOCATION_LENGTH]}: {error.get('type')}"
        for error in errors[:MAX_PROBLEMS]
    ]
    return f"validation errors{title}: {len(errors)}{''.join(told)}{place}"


def is_about_a_value(exc: BaseException) -> bool:
    """Whether the database, its driver or SQLAlchemy rejected a value; then the message quotes it, and so do its causes."""
    if isinstance(exc, StatementError) and not isinstance(exc, DBAPIError):
        return not isinstance(
            exc.orig, SQLAlchemyError
        )  # raised before there was a statement to run
    origin = exc.orig if isinstance(exc, DBAPIError) else exc
    return str(getattr(origin, "sqlstate", None)).startswith(DATA_EXCEPTION)
