"""What was rejected is not logged: where it stood, which rule it broke and where in the code are."""

import json
import logging
import re
import warnings
from typing import Any

import pytest
from fastapi import BackgroundTasks, FastAPI
from fastapi.exceptions import ResponseValidationError
from httpx2 import ASGITransport, AsyncClient
from pydantic import BaseModel, ConfigDict, ValidationError
from sqlalchemy import Integer, Uuid, literal, select, text
from sqlalchemy.ext.asyncio import AsyncEngine

from app.core.logging import JsonFormatter, TextFormatter
from app.db.session import DbSession
from tests.fixtures.api_calls import app_on
from tests.fixtures.db import is_postgres
from tests.fixtures.fastapi_app import client_for
from tests.fixtures.logs import collected

MARKER = "marker-6f1c"
EMAIL = f"{MARKER}@example.com"
WRONG = {"email": EMAIL, "hashed_password": f"$2b$12${MARKER}"}

needs_postgres = pytest.mark.skipif(not is_postgres(), reason="DATABASE_URL is not PostgreSQL")


class Out(BaseModel):
    model_config = ConfigDict(extra="forbid")

    email: str
    age: int


class Wrapper(Exception):
    """An exception of the application, about another one."""


def reject() -> None:
    Out.model_validate(WRONG)


def cause() -> None:
    try:
        reject()
    except ValidationError as error:
        raise Wrapper("wrapped") from error


def context() -> None:
    try:
        reject()
    except ValidationError:
        raise Wrapper("wrapped")  # noqa: B904  what is raised while another one is handled


def group() -> None:
    try:
        cause()
    except Wrapper as error:
        raise ExceptionGroup("several", [ExceptionGroup("inner", [error])]) from None


def quoted() -> None:
    try:
        reject()
    except ValidationError as error:
        raise Wrapper(f"failed: {error}") from None


def of_fastapi() -> None:
    raise ResponseValidationError([{"loc": ("response", "age"), "type": "missing", "input": WRONG}])


FAILURES = [reject, cause, context, group, quoted, of_fastapi]


@pytest.fixture(scope="module")
def app(engine: AsyncEngine) -> FastAPI:
    app = app_on(engine)

    @app.get("/wrong", response_model=Out)
    async def wrong() -> dict[str, str]:
        return WRONG

    for failure in FAILURES:
        add_failing_routes(app, failure)

    @app.get("/warned", response_model=None)
    async def warned() -> None:
        age: Any = EMAIL
        Out.model_construct(email=EMAIL, age=age).model_dump()

    @app.get("/argument")
    async def argument(db: DbSession) -> None:
        await db.execute(select(literal(7, Integer) + literal(MARKER, Integer)))

    @app.get("/cast")
    async def cast_in_the_database(db: DbSession) -> None:
        await db.execute(text("SELECT CAST(CAST(:value AS TEXT) AS INTEGER)"), {"value": MARKER})

    @app.get("/before")
    async def before(db: DbSession) -> None:
        await db.execute(select(literal(MARKER, Uuid())))

    return app


def add_failing_routes(app: FastAPI, failure: Any) -> None:
    @app.get(f"/{failure.__name__}")
    async def now() -> None:
        failure()

    @app.get(f"/{failure.__name__}/later")
    async def later(tasks: BackgroundTasks) -> None:
        tasks.add_task(failure)


async def logged(app: FastAPI, path: str, status: int = 500) -> str:
    """The records of one request, in both formats; the client sees nothing of the failure."""
    with collected(logging.INFO) as records:
        transport = ASGITransport(app=app, raise_app_exceptions=False)
        async with AsyncClient(transport=transport, base_url="http://testserver") as client:
            response = await client.get(path)

    assert response.status_code == status
    assert status == 200 or response.json()["error"]["code"] == "internal_error"
    as_json = [json.loads(JsonFormatter().format(record)) for record in records]
    (exception,) = [line["exception"] for line in as_json if "exception" in line]
    written = "\n".join([str(as_json), *map(TextFormatter().format, records)])
    assert exception in written
    assert MARKER not in written
    return str(exception)


async def test_a_response_that_does_not_fit_its_model(app: FastAPI) -> None:
    exception = await logged(app, "/wrong")

    assert (
        "fastapi.exceptions.ResponseValidationError: validation errors for GET /wrong: 2"
        in exception
    )
    assert '["response", "age"]: missing' in exception
    assert '["response", "hashed_password"]: extra_forbidden' in exception
    assert f'File "{__file__}", line' in exception
    assert "in wrong" in exception


@pytest.mark.parametrize("when", ["", "/later"])
@pytest.mark.parametrize("failure", FAILURES)
async def test_a_validation_error_however_it_is_raised(
    app: FastAPI, failure: Any, when: str
) -> None:
    exception = await logged(app, f"/{failure.__name__}{when}", 200 if when else 500)

    assert '"age"]: missing' in exception or failure is quoted
    assert f"in {failure.__name__}" in exception or failure is group


async def test_a_warning_of_the_serializer(app: FastAPI) -> None:
    with collected(logging.INFO) as records, warnings.catch_warnings():
        warnings.simplefilter("always")
        logging.captureWarnings(False)
        logging.captureWarnings(True)  # pytest had taken them meanwhile
        async with client_for(app) as client:
            await client.get("/warned")
        logging.captureWarnings(False)

    (line,) = [JsonFormatter().format(record) for record in records if record.name == "py.warnings"]
    assert "field_name='age'" in line
    assert MARKER not in line


@needs_postgres
@pytest.mark.parametrize("path", ["/argument", "/cast"])
async def test_a_value_that_the_database_refuses(app: FastAPI, path: str) -> None:
    exception = await logged(app, path)

    assert "[SQL: SELECT" in exception
    assert re.search(r"\nasyncpg\.exceptions\.\w+: \(not logged\)\n", exception)


async def test_a_value_that_never_reaches_the_driver(app: FastAPI) -> None:
    exception = await logged(app, "/before")

    assert "Error: (not logged)\n[SQL: SELECT" in exception
