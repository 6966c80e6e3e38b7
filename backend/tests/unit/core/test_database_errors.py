"""Responses to database errors: real exceptions of both drivers, as SQLAlchemy raises them."""

import sqlite3
from collections.abc import Iterator
from pathlib import Path

import asyncpg
import pytest
from sqlalchemy import Engine, create_engine, event, text
from sqlalchemy.dialects.postgresql.asyncpg import (
    AsyncAdapt_asyncpg_connection,
    AsyncAdapt_asyncpg_dbapi,
    PGDialect_asyncpg,
)
from sqlalchemy.exc import (
    DBAPIError,
    InvalidRequestError,
    MultipleResultsFound,
    NoResultFound,
    PendingRollbackError,
    SQLAlchemyError,
    StatementError,
)
from sqlalchemy.exc import TimeoutError as PoolTimeoutError
from sqlalchemy.exc import UnboundExecutionError
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm.exc import StaleDataError
from sqlalchemy.pool import QueuePool

from app.core.database_errors import database_error, is_unavailable
from app.core.errors import Conflict, InternalError, ServiceUnavailable

SECRET = "ada@example.com"

UNAVAILABLE = {
    "08000": "connection exception",
    "08001": "cannot establish a connection",
    "08003": "connection does not exist",
    "08004": "server rejected the connection",
    "08006": "connection failure",
    "25006": "read only transaction",
    "25P03": "idle in transaction timeout",
    "25P04": "transaction timeout",
    "26000": "a prepared statement that a pooler has lost",
    "40001": "serialization failure",
    "40P01": "deadlock",
    "53000": "insufficient resources",
    "53100": "disk full",
    "53200": "out of memory",
    "53300": "too many connections",
    "53400": "configuration limit exceeded",
    "55P03": "lock not available",
    "57014": "query canceled",
    "57P01": "admin shutdown",
    "57P02": "crash shutdown",
    "57P03": "cannot connect now",
    "57P04": "database dropped",
    "57P05": "idle session timeout",
}
BROKEN_RULES = {
    "23000": "integrity constraint violation",
    "23001": "restrict violation",
    "23503": "foreign key",
    "23505": "unique",
    "23P01": "exclusion",
}
BUGS = {
    "0A000": "feature not supported",
    "22001": "string too long",
    "22003": "number out of range",
    "22012": "division by zero",
    "22021": "character not in repertoire",
    "22P02": "invalid text representation",
    "23502": "not null",
    "23514": "check",
    "25001": "active transaction",
    "25P02": "in failed transaction",
    "42501": "insufficient privilege",
    "42601": "syntax error",
    "42703": "undefined column",
    "42P01": "undefined table",
    "P0001": "raised by a function",
    "XX000": "internal error",
    "XX001": "data corrupted",
    "99999": "of no known class",
}


def postgres(state: str) -> asyncpg.PostgresError:
    """The very object that asyncpg makes of a server's message."""
    fields = {"S": "ERROR", "C": state, "M": f"failed for {SECRET}", "D": f"Key (email)=({SECRET})"}
    return asyncpg.PostgresError.new(fields)


def from_asyncpg(
    error: Exception, *, statement: str | None = "SELECT 1", disconnected: bool = False
) -> SQLAlchemyError:
    """``error`` as SQLAlchemy raises it: translated by its dialect, then wrapped."""
    dbapi = AsyncAdapt_asyncpg_dbapi(asyncpg)  # type: ignore[no-untyped-call]  # as SQLAlchemy ships it
    with pytest.raises(dbapi.Error) as translated:
        AsyncAdapt_asyncpg_connection._handle_exception_no_connection(dbapi, error)
    wrapped = DBAPIError.instance(
        statement,
        None,
        translated.value,
        dbapi.Error,
        hide_parameters=True,
        connection_invalidated=disconnected,
        dialect=PGDialect_asyncpg(),  # type: ignore[no-untyped-call]  # as SQLAlchemy ships it
    )
    assert isinstance(wrapped, SQLAlchemyError)
    return wrapped


class TestPostgres:
    @pytest.mark.parametrize("state", UNAVAILABLE)
    def test_server_away_or_busy_is_unavailable(self, state: str) -> None:
        error = database_error(from_asyncpg(postgres(state)))

        assert type(error) is ServiceUnavailable
        assert error.headers["Retry-After"] == "1"

    @pytest.mark.parametrize("state", BROKEN_RULES)
    def test_violated_constraint_is_a_conflict(self, state: str) -> None:
        assert type(database_error(from_asyncpg(postgres(state)))) is Conflict

    @pytest.mark.parametrize("state", BUGS)
    def test_programming_error_is_an_internal_error(self, state: str) -> None:
        assert type(database_error(from_asyncpg(postgres(state)))) is InternalError

    def test_changed_table_under_a_prepared_statement_is_unavailable(self) -> None:
        error = asyncpg.exceptions.InvalidCachedStatementError("the statement plan is invalid")

        assert type(database_error(from_asyncpg(error))) is ServiceUnavailable

    @pytest.mark.parametrize("state", ["28000", "28P01", "3D000", "57P03", "53300", "XX000"])
    def test_failed_authentication_is_unavailable(self, state: str) -> None:
        assert is_unavailable(from_asyncpg(postgres(state), statement=None))

    @pytest.mark.parametrize("statement", ["SELECT 1", None])
    def test_closed_connection_is_unavailable(self, statement: str | None) -> None:
        error = asyncpg.InterfaceError("connection is closed")

        assert is_unavailable(from_asyncpg(error, statement=statement))

    def test_broken_connection_is_unavailable_with_any_error(self) -> None:
        assert is_unavailable(from_asyncpg(postgres("XX000"), disconnected=True))

    def test_value_of_the_wrong_type_is_an_internal_error(self) -> None:
        error = asyncpg.DataError("invalid input for query argument $1: 1099511627776")

        assert type(database_error(from_asyncpg(error))) is InternalError

    @pytest.mark.parametrize("state", ["57014", "23505", "42601"])
    def test_message_of_the_server_is_never_quoted(self, state: str) -> None:
        error = database_error(from_asyncpg(postgres(state)))

        assert SECRET not in error.message + str(error.details)
        assert "SELECT" not in error.message


class TestSqlite:
    @pytest.fixture
    def path(self, tmp_path: Path) -> Path:
        path = tmp_path / "errors.sqlite3"
        with sqlite3.connect(path) as connection:
            connection.execute(
                "CREATE TABLE parent (id INTEGER PRIMARY KEY, name TEXT UNIQUE NOT NULL CHECK (name <> ''))"
            )
            connection.execute("CREATE TABLE child (parent_id INTEGER REFERENCES parent)")
            connection.execute("INSERT INTO parent VALUES (1, 'one')")
        connection.close()
        return path

    @pytest.fixture
    def engine(self, path: Path) -> Iterator[Engine]:
        engine = create_engine(f"sqlite:///{path}", connect_args={"timeout": 0})
        event.listen(engine, "connect", lambda raw, _: raw.execute("PRAGMA foreign_keys = ON"))
        yield engine
        engine.dispose()

    def failure(self, engine: Engine, statement: str) -> SQLAlchemyError:
        with pytest.raises(SQLAlchemyError) as caught, engine.begin() as connection:
            connection.execute(text(statement))
        return caught.value

    def test_locked_file_is_unavailable(self, engine: Engine, path: Path) -> None:
        writer = sqlite3.connect(path, isolation_level=None)
        writer.execute("BEGIN EXCLUSIVE")

        error = self.failure(engine, "INSERT INTO parent VALUES (2, 'two')")
        writer.close()

        assert type(database_error(error)) is ServiceUnavailable

    def test_file_that_cannot_be_opened_is_unavailable(self, tmp_path: Path) -> None:
        engine = create_engine(f"sqlite:///{tmp_path}/no/such/folder.sqlite3")

        assert type(database_error(self.failure(engine, "SELECT 1"))) is ServiceUnavailable

    def test_read_only_file_is_unavailable(self, path: Path) -> None:
        engine = create_engine(f"sqlite:///file:{path}?mode=ro&uri=true")

        error = self.failure(engine, "INSERT INTO parent VALUES (2, 'two')")
        engine.dispose()

        assert type(database_error(error)) is ServiceUnavailable

    @pytest.mark.parametrize(
        "statement",
        [
            "INSERT INTO parent VALUES (1, 'again')",
            "INSERT INTO parent VALUES (2, 'one')",
            "INSERT INTO child VALUES (7)",
        ],
    )
    def test_violated_constraint_is_a_conflict(self, engine: Engine, statement: str) -> None:
        assert type(database_error(self.failure(engine, statement))) is Conflict

    @pytest.mark.parametrize(
        "statement", ["INSERT INTO parent VALUES (2, NULL)", "INSERT INTO parent VALUES (2, '')"]
    )
    def test_unvalidated_value_is_an_internal_error(self, engine: Engine, statement: str) -> None:
        error = self.failure(engine, statement)

        assert type(database_error(error)) is InternalError

    @pytest.mark.parametrize(
        "statement", ["SELECT * FROM missing", "SELECT missing FROM parent", "SELEC 1"]
    )
    def test_programming_error_is_an_internal_error(self, engine: Engine, statement: str) -> None:
        assert type(database_error(self.failure(engine, statement))) is InternalError


class TestSqlalchemy:
    def test_pool_timeout_is_unavailable(self) -> None:
        engine = create_engine(
            "sqlite://", poolclass=QueuePool, pool_size=1, max_overflow=0, pool_timeout=0.01
        )

        with engine.connect(), pytest.raises(PoolTimeoutError) as caught:
            engine.connect()
        engine.dispose()

        assert type(database_error(caught.value)) is ServiceUnavailable

    async def test_missing_database_is_unavailable(self) -> None:
        async with AsyncSession() as session:
            with pytest.raises(UnboundExecutionError) as caught:
                await session.execute(text("SELECT 1"))

        assert type(database_error(caught.value)) is ServiceUnavailable

    def test_stale_row_is_a_conflict(self) -> None:
        assert type(database_error(StaleDataError(f"0 rows matched for {SECRET}"))) is Conflict

    @pytest.mark.parametrize(
        "error",
        [
            NoResultFound("none"),
            MultipleResultsFound("two"),
            InvalidRequestError("closed"),
            PendingRollbackError("rolled back"),
            StatementError("wrong type", "SELECT 1", None, ValueError("x")),
        ],
    )
    def test_misused_session_is_an_internal_error(self, error: SQLAlchemyError) -> None:
        assert type(database_error(error)) is InternalError
