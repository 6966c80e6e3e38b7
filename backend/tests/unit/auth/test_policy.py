"""New passwords, wherever they come from: what login would reject, or anybody would guess, is not stored."""

import pytest

from app.auth.policy import check_new_password
from app.core.errors import ValidationFailed
from tests.fixtures.env import make_settings


def refusal(password: str, *, email: str = "ada@example.com", min_length: int = 8) -> str | None:
    try:
        check_new_password(password, email, make_settings(password_min_length=min_length))
    except ValidationFailed as error:
        (problem,) = error.details["errors"]
        assert (problem["loc"], problem["type"]) == (["body", "password"], "password_too_weak")
        return str(problem["msg"])
    return None


class TestCheckNewPassword:
    @pytest.mark.parametrize(
        "password",
        ["correct horse battery staple", "83927461", "pâté8foie", "🐎" * 7 + "🔋", "        x", "x" * 127 + "y"],
    )  # fmt: skip
    def test_composition_is_not_checked(self, password: str) -> None:
        assert refusal(password) is None

    def test_minimum_is_that_of_the_settings(self) -> None:
        assert (
            refusal("fourteen-chars", min_length=15)
            == "Password should have at least 15 characters"
        )
        assert refusal("fifteen-chars-x", min_length=15) is None

    def test_combining_marks_do_not_lengthen_a_password(self) -> None:
        assert (
            refusal("e\u0301o\u0308a\u0300u\u0302") == "Password should have at least 8 characters"
        )

    @pytest.mark.parametrize("password", [" " * 8, "a" * 20, "e\u0301" * 8])
    def test_one_character_repeated_is_rejected(self, password: str) -> None:
        assert refusal(password) == "Password should have more than one character repeated"

    @pytest.mark.parametrize(
        ("password", "email"),
        [
            ("ada@example.com", "ada@example.com"),
            ("ADA@Example.com", "ada@example.com"),
            ("ada.lovelace", "ada.lovelace@example.com"),
            ("Ada.Lovelace", "ada.lovelace@example.com"),
            ("ada@bücher.de", "ada@xn--bcher-kva.de"),
            ("ada@xn--bcher-kva.de", "ada@xn--bcher-kva.de"),
        ],
    )
    def test_own_email_is_rejected_in_every_form(self, password: str, email: str) -> None:
        assert refusal(password, email=email) == "Password should not be the e-mail address"

    @pytest.mark.parametrize(
        "password",
        [
            "password123456",
            "12345678",
            "ada2026!",
            "ada@example.com1",
            "FastAPI-Backend-Template",
            "backend1",
        ],
    )
    def test_common_password_is_rejected(self, password: str) -> None:
        assert refusal(password) == "Password should not be one that is easy to guess"

    def test_application_name_is_that_of_the_settings(self) -> None:
        with pytest.raises(ValidationFailed):
            check_new_password("acme-2026", "ada@example.com", make_settings(app_name="Acme"))

        check_new_password("backend1", "ada@example.com", make_settings(app_name="Acme"))

    def test_email_of_another_account_is_accepted(self) -> None:
        assert refusal("grace@example.com") is None

    def test_password_longer_than_login_accepts_is_rejected(self) -> None:
        assert refusal("xy" * 65) == "Password should have at most 128 characters"

    @pytest.mark.parametrize("character", ["\0", "\t", "\x1b", "\x7f", "\x9f", "\ud800"])
    def test_character_that_login_rejects_is_rejected(self, character: str) -> None:
        assert refusal(f"love{character}lace") == "Password should not contain control characters"
