"""The response to a database error: away or busy is 503, a rule between rows 409, the rest 500.

The drivers disagree about the class of one and the same failure, the SQLSTATE does not, so PostgreSQL
is judged by it (PostgreSQL manual, appendix A).
"""

from asyncpg.exceptions import InvalidCachedStatementError
from sqlalchemy.exc import (
    DBAPIError,
    IntegrityError,
    InterfaceError,
    OperationalError,
    SQLAlchemyError,
)
from sqlalchemy.exc import TimeoutError as PoolTimeoutError
from sqlalchemy.exc import UnboundExecutionError
from sqlalchemy.orm.exc import StaleDataError

from app.core.errors import AppError, Conflict, InternalError, ServiceUnavailable

UNAVAILABLE_CLASSES = (
    "08",
    "53",
    "57",
)  # connection, insufficient resources, operator intervention
UNAVAILABLE_STATES = {
    "25006",  # read only: a standby took over
    "26000",  # a prepared statement that the server does not know: a pooler has changed it
    "40001",  # serialization failure
    "40P01",  # deadlock
    "55P03",  # lock timeout
    "25P03",  # idle in transaction
    "25P04",  # transaction timeout
}


# A rule about one row alone: no other request can have broken it, so a value was let through that should not.
OUR_FAULTS = {
    "23502",  # not null
    "23514",  # check
    "SQLITE_CONSTRAINT_NOTNULL",
    "SQLITE_CONSTRAINT_CHECK",
    "SQLITE_CONSTRAINT_DATATYPE",
}


def database_error(exc: SQLAlchemyError) -> AppError:
    """The public error for ``exc``. The message never carries SQL, values or names of tables."""
    if isinstance(exc, IntegrityError):
        return InternalError() if rule_of(exc) in OUR_FAULTS else Conflict()
    if isinstance(exc, StaleDataError):
        return Conflict()
    if is_unavailable(exc):
        return ServiceUnavailable("The database is not available")
    return InternalError()


def rule_of(exc: DBAPIError) -> str:
    """The SQLSTATE, or SQLite's extended name of the kind of rule that was broken; empty where neither is known."""
    return getattr(exc.orig, "sqlstate", None) or getattr(exc.orig, "sqlite_errorname", None) or ""


def is_unavailable(exc: SQLAlchemyError) -> bool:
    """Whether the same statement may succeed once the database is back or less busy."""
    if isinstance(exc, PoolTimeoutError | UnboundExecutionError | InterfaceError):
        return True
    if isinstance(exc, OperationalError):
        # SQLite says this of a file that is locked, full or gone, and of a statement that is wrong.
        return getattr(exc.orig, "sqlite_errorname", None) != "SQLITE_ERROR"
    if not isinstance(exc, DBAPIError):
        return False
    state = getattr(exc.orig, "sqlstate", None) or ""
    return (
        exc.statement is None  # it could not even connect
        or exc.connection_invalidated
        or state.startswith(UNAVAILABLE_CLASSES)
        or state in UNAVAILABLE_STATES
        or _is_plan_of_another_schema(exc)
    )


def _is_plan_of_another_schema(exc: DBAPIError) -> bool:
    """Whether a migration has changed a table under a statement that this connection had prepared.

    The next attempt prepares it again. Its SQLSTATE says no more than that something is not supported.
    """
    return exc.orig is not None and isinstance(exc.orig.__cause__, InvalidCachedStatementError)
