"""The errors: one status, one code, one message each, and no state shared between two of them."""

import re

import pytest

from app.core import errors
from app.core.errors import (
    BY_STATUS,
    AppError,
    Conflict,
    PayloadTooLarge,
    RateLimited,
    ServiceUnavailable,
    Unauthorized,
)

CONTRACT = {
    401: "unauthorized",
    403: "forbidden",
    404: "not_found",
    409: "conflict",
    422: "validation_error",
    429: "rate_limited",
    500: "internal_error",
}
CLASSES: list[type[AppError]] = list(BY_STATUS.values())


class TestTable:
    @pytest.mark.parametrize(("status", "code"), CONTRACT.items())
    def test_table_holds_the_codes_of_the_contract(self, status: int, code: str) -> None:
        assert BY_STATUS[status].code == code

    def test_table_in_the_docstring_is_correct(self) -> None:
        known: list[type[AppError]] = [AppError, *CLASSES]
        written = re.findall(r"(\w+) +(\d{3}) +(\w+)", errors.__doc__ or "")

        assert {(name, int(status), code) for name, status, code in written} <= {
            (cls.__name__, cls.status, cls.code) for cls in known
        }

    def test_table_has_one_class_for_each_status_and_code(self) -> None:
        assert len(CLASSES) == len(AppError.__subclasses__())
        assert len({cls.code for cls in CLASSES}) == len(CLASSES)


@pytest.mark.parametrize("cls", CLASSES)
class TestEveryError:
    def test_error_has_its_own_status_and_code(self, cls: type[AppError]) -> None:
        assert 400 <= cls.status < 600
        assert re.fullmatch(r"[a-z]+(_[a-z]+)*", cls.code)

    def test_error_has_a_message(self, cls: type[AppError]) -> None:
        assert cls().message == str(cls()) == cls.message
        assert re.fullmatch(r"[A-Z][a-z]+( [a-z]+| URL)*", cls.message)

    def test_message_can_be_given(self, cls: type[AppError]) -> None:
        assert cls("Another").message == str(cls("Another")) == "Another"

    def test_details_and_headers_are_not_shared(self, cls: type[AppError]) -> None:
        details, headers = {"a": 1}, {"X-A": "1"}

        error = cls(details=details, headers=headers)
        error.details["b"] = 2
        details["c"] = 3

        assert error.details == {"a": 1, "b": 2}
        assert cls().details == {}
        assert "X-A" not in cls().headers
        assert error.headers == {**cls.headers, "X-A": "1"}


class TestHeaders:
    def test_unauthorized_has_a_challenge(self) -> None:
        assert Unauthorized().headers == {"WWW-Authenticate": "Bearer"}
        assert Unauthorized(headers={"X-A": "1"}).headers["WWW-Authenticate"] == "Bearer"

    def test_rejected_body_closes_the_connection(self) -> None:
        assert PayloadTooLarge().headers == {"Connection": "close"}

    @pytest.mark.parametrize("cls", [RateLimited, ServiceUnavailable])
    def test_temporary_errors_have_retry_after_in_seconds(self, cls: type[AppError]) -> None:
        assert cls().headers == {"Retry-After": "1"}

    def test_given_headers_win(self) -> None:
        challenge = {"WWW-Authenticate": 'Bearer error="invalid_token"'}

        assert Unauthorized(headers=challenge).headers == challenge


def test_subclass_inherits_code_and_message() -> None:
    class SeatTaken(Conflict):
        message = "The seat is taken"

    assert (SeatTaken().status, SeatTaken().code) == (409, "conflict")
    assert SeatTaken().message == "The seat is taken"
