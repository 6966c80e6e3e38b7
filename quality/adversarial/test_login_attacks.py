"""What an attacker can send to the login, and what its answers give away: nothing."""

import gzip
import logging
from urllib.parse import urlencode

import pytest
from fastapi import FastAPI
from httpx2 import AsyncClient, Response
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession

from app.auth.password import hash_password
from app.models.user import User
from app.repositories.user import UserRepository
from tests.fixtures.api_calls import app_on
from tests.fixtures.auth import PASSWORD
from tests.fixtures.hashing import recorded_hashing
from tests.fixtures.logs import collected, lines

FORM = {"Content-Type": "application/x-www-form-urlencoded"}
MARKER = "marker-that-must-not-appear"
VALID = {"username": "ada@example.com", "password": PASSWORD}
LONG_PASSWORD = PASSWORD * 4

# More than the cheapest, so that a cheaper hash can exist.
ROUNDS = 6

pytestmark = pytest.mark.usefixtures("session_factory")


@pytest.fixture(scope="module")
def app(engine: AsyncEngine) -> FastAPI:
    return app_on(engine)


async def log_in(client: AsyncClient, email: str, password: str = PASSWORD) -> Response:
    return await client.post("/auth/login", data={"username": email, "password": password})


def error_of(response: Response) -> dict[str, object]:
    """The error without its request id, after a look at the envelope."""
    error: dict[str, object] = response.json()["error"]
    assert error.pop("request_id") == response.headers["X-Request-ID"]
    assert isinstance(error["details"], dict)
    return error


class TestFailedLogin:
    """Unknown address, wrong password, inactive account, unusable hash: one answer for one amount of work."""

    @pytest.fixture(scope="class")
    @classmethod
    def app(cls, engine: AsyncEngine) -> FastAPI:
        return app_on(engine, password_hash_rounds=ROUNDS)

    @pytest.mark.parametrize("password", [PASSWORD, LONG_PASSWORD], ids=["short", "long"])
    @pytest.mark.parametrize(
        "stored",
        [
            hash_password("another", rounds=ROUNDS),
            hash_password("another" * 11, rounds=ROUNDS),
            hash_password("another", rounds=ROUNDS - 1),
            hash_password("another", rounds=ROUNDS - 2),
            hash_password("another" * 11, rounds=ROUNDS - 2),
            "",
            "another",
            "$argon2id$v=19$m=65536,t=3,p=4$abc$def",
            hash_password("another", rounds=ROUNDS)[:-1],
            "$2b$06$",
            "$2b$99$" + "." * 53,
        ],
        ids=[
            "another password", "another long password", "older hash", "much older hash",
            "much older long hash", "empty hash", "plain text", "unknown scheme", "cut hash",
            "hash without digest", "impossible cost",
        ],
    )  # fmt: skip
    async def test_nothing_distinguishes_an_account_from_none(
        self, client: AsyncClient, db: AsyncSession, stored: str, password: str
    ) -> None:
        await UserRepository(db).create("ada@example.com", stored)
        await db.commit()

        with recorded_hashing() as known_runs:
            known = await log_in(client, "ada@example.com", password)
        with recorded_hashing() as unknown_runs:
            unknown = await log_in(client, "nobody@example.com", password)

        assert known.status_code == unknown.status_code == 401
        assert error_of(known) == error_of(unknown)
        assert sum(run.cost for run in known_runs) == 2**ROUNDS
        assert sum(run.cost for run in unknown_runs) == 2**ROUNDS

    @pytest.mark.parametrize("rounds", [ROUNDS, ROUNDS - 2])
    @pytest.mark.parametrize("password", [PASSWORD, LONG_PASSWORD], ids=["short", "long"])
    async def test_nothing_distinguishes_an_inactive_account_from_none(
        self, client: AsyncClient, db: AsyncSession, password: str, rounds: int
    ) -> None:
        stored = hash_password(password, rounds=rounds)
        user = await UserRepository(db).create("ada@example.com", stored)
        await UserRepository(db).set_active(user.id, False)
        await db.commit()

        with recorded_hashing() as runs:
            inactive = await log_in(client, "ada@example.com", password)
        unknown = await log_in(client, "nobody@example.com", password)

        assert inactive.status_code == unknown.status_code == 401
        assert error_of(inactive) == error_of(unknown)
        assert sum(run.cost for run in runs) == 2**ROUNDS

    @pytest.mark.parametrize("username", ["no address", "ada@", "a" * 300, "\u212aate@example.com"])
    async def test_user_name_that_is_no_address_is_an_unknown_one(
        self, client: AsyncClient, username: str
    ) -> None:
        with recorded_hashing() as runs:
            response = await log_in(client, username)

        assert response.status_code == 401
        assert error_of(response) == error_of(await log_in(client, "nobody@example.com"))
        assert sum(run.cost for run in runs) == 2**ROUNDS

    async def test_response_is_an_envelope_with_a_challenge(self, client: AsyncClient) -> None:
        response = await log_in(client, "nobody@example.com")

        assert error_of(response) == {
            "code": "unauthorized",
            "message": "Wrong e-mail address or password",
            "details": {},
        }
        assert response.headers["WWW-Authenticate"] == "Bearer"

    async def test_unusable_hash_is_reported_to_the_operator(
        self, client: AsyncClient, db: AsyncSession
    ) -> None:
        await UserRepository(db).create("ada@example.com", "neither bcrypt nor anything")
        await db.commit()

        with collected(logging.INFO) as records:
            await log_in(client, "ada@example.com")

        messages = [record.getMessage() for record in records]
        assert "password_hash_malformed" in messages
        assert "authn_login_fail" in messages


class TestPassword:
    @pytest.mark.parametrize(
        "wrong",
        [PASSWORD.upper(), PASSWORD + " ", " " + PASSWORD, PASSWORD[:-1], PASSWORD + "\ufeff", "*", "%"],
    )  # fmt: skip
    async def test_close_is_not_enough(self, client: AsyncClient, ada: User, wrong: str) -> None:
        assert (await log_in(client, ada.email, wrong)).status_code == 401

    @pytest.mark.parametrize("character", ["\0", "\t", "\n", "\r", "\x1b", "\x7f", "\x85"])
    @pytest.mark.parametrize("field", ["username", "password", "scope", "client_id"])
    async def test_control_character_is_refused_at_the_edge(
        self, client: AsyncClient, ada: User, field: str, character: str
    ) -> None:
        form = VALID | {field: f"ada{character}"}

        response = await client.post("/auth/login", data=form)

        assert response.status_code == 422
        (problem,) = response.json()["error"]["details"]["errors"]
        assert problem["loc"] == ["body", field]

    @pytest.mark.parametrize("field", ["username", "password"])
    @pytest.mark.parametrize(
        "encoded",
        ["%ff", "%c3", "%c0%80", "%ed%a0%80", "%ed%a0%bd%ed%b8%80", "%f4%90%80%80"],
        ids=["byte", "cut", "overlong NUL", "surrogate", "surrogate pair", "beyond Unicode"],
    )
    async def test_invalid_utf8_is_a_bad_request(
        self, client: AsyncClient, ada: User, field: str, encoded: str
    ) -> None:
        body = urlencode({key: value for key, value in VALID.items() if key != field})

        response = await client.post(
            "/auth/login", content=f"{body}&{field}={encoded}", headers=FORM
        )

        assert response.status_code == 400
        assert error_of(response)["message"] == "The form is not valid UTF-8"

    @pytest.mark.parametrize("text", ["a" * 1_000_000, "e" + "\u0301" * 150_000])
    async def test_megabyte_is_refused_without_hashing(
        self, client: AsyncClient, text: str
    ) -> None:
        with recorded_hashing() as runs:
            response = await log_in(client, "ada@example.com", text)

        assert response.status_code in {413, 422}
        assert runs == []

    async def test_more_than_a_password_can_have_is_refused(self, client: AsyncClient) -> None:
        assert (await log_in(client, "ada@example.com", "x" * 128)).status_code == 401
        assert (await log_in(client, "ada@example.com", "x" * 129)).status_code == 422


class TestForm:
    @pytest.mark.parametrize("field", ["username", "password"])
    async def test_missing_field_is_a_validation_error(
        self, client: AsyncClient, field: str
    ) -> None:
        form = {key: value for key, value in VALID.items() if key != field}

        response = await client.post("/auth/login", data=form)

        assert response.status_code == 422
        (problem,) = response.json()["error"]["details"]["errors"]
        assert (problem["loc"], problem["type"]) == (["body", field], "missing")

    @pytest.mark.parametrize("field", ["username", "password"])
    async def test_empty_field_is_a_validation_error(self, client: AsyncClient, field: str) -> None:
        response = await client.post("/auth/login", data=VALID | {field: ""})

        assert response.status_code == 422

    async def test_no_body_is_a_validation_error(self, client: AsyncClient) -> None:
        response = await client.post("/auth/login")

        assert response.status_code == 422
        assert len(response.json()["error"]["details"]["errors"]) == 2

    @pytest.mark.parametrize(
        "extra", ["email", "is_superuser", "otp", "__class__", "user name", "x" * 2_000]
    )
    async def test_unknown_field_is_ignored(
        self, client: AsyncClient, ada: User, extra: str
    ) -> None:
        response = await client.post("/auth/login", data=VALID | {extra: "1"})
        empty = await client.post("/auth/login", data=VALID | {extra: ""})
        twice = await client.post("/auth/login", data=VALID | {extra: ["1", "1"]})

        assert [one.status_code for one in (response, empty, twice)] == [200, 200, 400]
        token = response.json()["access_token"]
        who = await client.get("/auth/me", headers={"Authorization": f"Bearer {token}"})
        assert who.json()["is_superuser"] is False

    @pytest.mark.parametrize("grant_type", ["x", "PASSWORD", "client_credentials", "password "])
    async def test_other_grant_is_a_validation_error(
        self, client: AsyncClient, ada: User, grant_type: str
    ) -> None:
        response = await client.post("/auth/login", data=VALID | {"grant_type": grant_type})

        assert response.status_code == 422

    @pytest.mark.parametrize("field", ["username", "password", "grant_type", "unknown"])
    @pytest.mark.parametrize("second", ["same", "other", ""])
    async def test_field_that_is_sent_twice_is_a_bad_request(
        self, client: AsyncClient, ada: User, field: str, second: str
    ) -> None:
        form = VALID | {field: VALID.get(field, "password")}
        twice = {"same": form[field], "other": "other", "": ""}[second]

        response = await client.post(
            "/auth/login", content=f"{urlencode(form)}&{urlencode({field: twice})}", headers=FORM
        )

        assert response.status_code == 400
        assert error_of(response)["message"] == "The form contains the same field twice"

    async def test_flood_of_fields_is_a_bad_request(self, client: AsyncClient, ada: User) -> None:
        flood = VALID | {f"field{number}": "x" for number in range(150)}

        response = await client.post("/auth/login", data=flood)

        assert response.status_code == 400
        assert error_of(response)["message"] == "The form has too many fields"

    @pytest.mark.parametrize("field", ["username", "scope", "client_id", "client_secret"])
    async def test_field_is_bounded(self, client: AsyncClient, ada: User, field: str) -> None:
        response = await client.post("/auth/login", data=VALID | {field: "x" * 2_000})

        assert response.status_code == 422

    @pytest.mark.parametrize(
        "options",
        [
            {"json": VALID},
            {"json": ["ada@example.com", PASSWORD]},
            {"files": {"username": (None, "ada@example.com"), "password": (None, PASSWORD)}},
            {"files": {"username": (None, "ada@example.com"), "password": ("p.txt", PASSWORD)}},
            {"content": urlencode(VALID)},
            {"content": urlencode(VALID), "headers": {"Content-Type": ""}},
            {"content": urlencode(VALID), "headers": {"Content-Type": "text/plain"}},
            {"content": urlencode(VALID), "headers": {"Content-Type": "multipart/form-data"}},
            {"content": "<login/>", "headers": {"Content-Type": "application/xml"}},
            {"content": urlencode(VALID).encode("utf-16"), "headers": FORM | {"Content-Encoding": "br"}},
            {
                "content": gzip.compress(urlencode(VALID).encode()),
                "headers": FORM | {"Content-Encoding": "gzip"},
            },
            *(
                {
                    "content": urlencode(VALID),
                    "headers": {"Content-Type": f"{FORM['Content-Type']}; charset={charset}"},
                }
                for charset in ("latin-1", "utf-16", "utf-7", "bogus")
            ),
        ],
        ids=[
            "JSON", "JSON array", "multipart", "file as password", "no type", "empty type", "text",
            "multipart without boundary", "XML", "brotli", "gzip", "latin-1", "utf-16", "utf-7",
            "bogus charset",
        ],
    )  # fmt: skip
    async def test_anything_but_a_plain_form_is_an_unsupported_type(
        self, client: AsyncClient, ada: User, options: dict[str, object]
    ) -> None:
        response = await client.request("POST", "/auth/login", **options)  # type: ignore[arg-type]

        assert response.status_code == 415
        assert error_of(response)["code"] == "unsupported_media_type"

    async def test_credentials_in_the_url_are_ignored(self, client: AsyncClient, ada: User) -> None:
        assert (await client.post("/auth/login", params=VALID)).status_code == 422

    @pytest.mark.parametrize("charset", ["utf-8", "UTF-8", "us-ascii"])
    async def test_harmless_charset_is_accepted(
        self, client: AsyncClient, ada: User, charset: str
    ) -> None:
        response = await client.post(
            "/auth/login",
            content=urlencode(VALID),
            headers={"Content-Type": f"{FORM['Content-Type']}; charset={charset}"},
        )

        assert response.status_code == 200


class TestSecrecy:
    @pytest.mark.parametrize(
        ("form", "status"),
        [
            ({"username": "ada@example.com"}, 401),
            ({"username": "nobody@example.com"}, 401),
            ({}, 422),
            ({"username": "ada@example.com", "unknown": MARKER}, 401),
            ({"username": "ada@example.com", "grant_type": MARKER}, 422),
            ({"username": "ada\0@example.com"}, 422),
            ({"username": "ada@example.com", "client_secret": MARKER + "\0"}, 422),
        ],
    )
    async def test_password_is_neither_in_the_response_nor_in_the_log(
        self, client: AsyncClient, ada: User, form: dict[str, str], status: int
    ) -> None:
        with collected(logging.DEBUG) as records:
            response = await client.post("/auth/login", data={"password": MARKER, **form})

        assert response.status_code == status
        assert MARKER not in response.text
        assert '"app.request"' in lines(records)
        assert MARKER not in lines(records)

    @pytest.mark.parametrize("tail", ["%ff", f"&password={MARKER}", "&x" * 200])
    async def test_form_that_cannot_be_read_is_shown_nowhere(
        self, client: AsyncClient, tail: str
    ) -> None:
        with collected(logging.DEBUG) as records:
            response = await client.post(
                "/auth/login", content=f"password={MARKER}{tail}", headers=FORM
            )

        assert response.status_code == 400
        assert MARKER not in response.text
        assert '"app.request"' in lines(records)
        assert MARKER not in lines(records)
