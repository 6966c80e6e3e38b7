"""Exceptions in the log: the traceback stays, the values that libraries quote go."""

import asyncio
import gc
import logging
from collections.abc import Iterator

import pytest
from fastapi.exceptions import ResponseValidationError
from pydantic import TypeAdapter, ValidationError
from redis.exceptions import ResponseError
from sqlalchemy import Column, Integer, MetaData, Table, create_engine, select, text
from sqlalchemy.exc import OperationalError, PendingRollbackError, StatementError
from sqlalchemy.orm import Session

from app.core.exception_handlers import respond
from app.core.log.exceptions import MAX_PROBLEMS, message_of, problems, rendered, without_values
from tests.fixtures.logs import collected, lines

MARKER = "marker-6f1c"


def log_of(exc: BaseException) -> str:
    return rendered((type(exc), exc, exc.__traceback__))


class Database(Exception):
    """An exception of a driver."""

    def __init__(self, text: str, sqlstate: str) -> None:
        super().__init__(text)
        self.sqlstate = sqlstate


class TestProblems:
    def test_problems_are_counted_and_at_most_twenty_named(self) -> None:
        with pytest.raises(ValidationError) as raised:
            TypeAdapter(list[int]).validate_python([MARKER] * 50)

        told = problems(raised.value)

        assert told.startswith("validation errors for list[int]: 50\n  [0]: int_parsing\n")
        assert told.count("int_parsing") == MAX_PROBLEMS

    def test_problems_cannot_break_a_text_line(self) -> None:
        told = problems(
            ResponseValidationError([{"loc": ("a\n\x1b[31m" * 99,), "type": "missing"}])
        )

        _, problem = told.split("\n")
        assert problem.startswith('  ["a\\n\\u001b[31m')
        assert len(problem) < 300

    def test_problems_may_be_of_any_shape(self) -> None:
        assert (
            problems(ResponseValidationError([MARKER, {}])) == "validation errors: 1\n  null: None"
        )


class TestStatement:
    def test_statement_is_logged_without_its_parameters(self) -> None:
        table = Table("t", MetaData(), Column("id", Integer))
        with (
            create_engine("sqlite://").connect() as base,
            pytest.raises(OperationalError) as raised,
        ):
            base.execute(select(table).where(table.c.id == MARKER))

        assert MARKER in str(raised.value)
        assert "no such table: t\n[SQL: SELECT t.id" in log_of(raised.value)
        assert MARKER not in log_of(raised.value)

    def test_missing_parameter_is_named(self) -> None:
        with create_engine("sqlite://").connect() as base, pytest.raises(StatementError) as raised:
            base.execute(text("SELECT :one, :two"), {"one": MARKER})

        assert "required for bind parameter 'two'" in log_of(raised.value)
        assert MARKER not in log_of(raised.value)

    @pytest.mark.parametrize(("sqlstate", "is_told"), [("22P02", False), ("42P01", True)])
    def test_server_message_is_logged_unless_it_quotes_a_value(
        self, sqlstate: str, is_told: bool
    ) -> None:
        origin = Database(MARKER, sqlstate)
        origin.__cause__ = ValueError(MARKER)
        error = OperationalError("SELECT 1", None, origin)
        error.__cause__ = origin

        told = log_of(error)

        assert (MARKER in told) is is_told
        assert "ValueError" in told
        assert "[SQL: SELECT 1]" in told

    def test_detail_is_left_out_of_the_cause_of_a_503(self) -> None:
        with collected(logging.DEBUG) as records:
            respond(
                OperationalError("SELECT 1", None, Database(f"away\nDETAIL: {MARKER}", "57P01"))
            )

        assert "Database: away" in lines(records)
        assert MARKER not in lines(records)


class TestWithoutValues:
    @pytest.mark.parametrize(
        "quoting",
        [
            f"DETAIL:  Key (note)=({MARKER}\n{MARKER}) exists.",
            f"[type=x, input_value='{MARKER}, input_type=\n{MARKER}', input_type=str]",
            f"unknown command 'X', with args beginning with: '{MARKER}' ",
        ],
    )
    def test_message_of_a_quoting_library_is_cut_and_no_other(self, quoting: str) -> None:
        told = without_values(f"before {quoting}")

        assert MARKER not in told
        assert told.startswith("before ")
        assert without_values(MARKER) == MARKER

    def test_text_is_scanned_once(self) -> None:
        assert without_values("input_value=" * 100_000) == "input_value=(not logged)"

    def test_failed_session_does_not_quote_its_first_error(self) -> None:
        error = Database(MARKER, "22P02")
        session = Session(create_engine("sqlite://"))
        session.begin()
        nested = session.get_transaction()
        assert nested is not None
        nested._rollback_exception = error  # as a flush that fails leaves it
        nested._state = type(nested._state).DEACTIVE
        with pytest.raises(PendingRollbackError) as raised:
            session.execute(text("SELECT 1"))

        assert MARKER in str(raised.value)
        assert MARKER not in log_of(raised.value)

    def test_command_that_redis_does_not_know_is_cut_inside_an_exception_too(self) -> None:
        error = ResponseError(f"unknown command 'X', with args beginning with: '{MARKER}'")

        assert message_of(error, str(error)).startswith("unknown command 'X'")
        assert MARKER not in log_of(error)

    @pytest.fixture
    def loop(self) -> Iterator[asyncio.AbstractEventLoop]:
        loop = asyncio.new_event_loop()
        yield loop
        loop.close()

    @pytest.mark.parametrize("is_task", [True, False])
    def test_task_that_nobody_awaits_is_named_without_its_exception(
        self, loop: asyncio.AbstractEventLoop, is_task: bool
    ) -> None:
        async def fail() -> None:
            raise ResponseValidationError([{"loc": ("a",), "type": "missing", "input": MARKER}])

        async def leave() -> None:
            if is_task:
                _ = loop.create_task(fail())
            else:
                loop.create_future().set_exception(ResponseValidationError([{"input": MARKER}]))
            await asyncio.sleep(0)

        with collected(logging.DEBUG) as records:
            loop.run_until_complete(leave())
            gc.collect()

        told = lines(records)
        assert "exception was never retrieved" in told
        assert "ResponseValidationError: validation errors" in told
        assert MARKER not in told


def test_record_without_an_exception_has_no_cause() -> None:
    assert rendered((None, None, None)) == "no exception"
