"""What an attacker, or somebody in a hurry, can send to create an account."""

import json
import logging

import pytest
from fastapi import FastAPI
from httpx2 import AsyncClient, Response
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession

from app.auth.password import hash_password
from app.models.user import User
from app.repositories.user import UserRepository
from tests.fixtures.api_calls import app_on
from tests.fixtures.auth import PASSWORD
from tests.fixtures.env import FAST_HASH_ROUNDS
from tests.fixtures.fastapi_app import MakeApp, client_for
from tests.fixtures.hashing import recorded_hashing
from tests.fixtures.logs import collected, lines

JSON = {"Content-Type": "application/json"}
USERS = "/api/v1/users"
MARKER = "marker-that-must-not-appear"

pytestmark = pytest.mark.usefixtures("session_factory")


@pytest.fixture(scope="module")
def app(engine: AsyncEngine) -> FastAPI:
    return app_on(engine)


async def create(client: AsyncClient, password: str, email: str = "ada@example.com") -> Response:
    return await client.post(USERS, json={"email": email, "password": password})


async def log_in(client: AsyncClient, password: str, email: str = "ada@example.com") -> Response:
    return await client.post("/auth/login", data={"username": email, "password": password})


class TestPasswordSurvivesTheRoundTrip:
    @pytest.mark.parametrize(
        "password",
        [
            "correct horse battery staple", "        x", " padded ", "x" * 7 + "y", "🐎" * 63 + "🔋",
            "' OR 1=1 --", "%s%n{0.__class__}", "&username=x&a=b", "+%2B+%00", "\ufeffwith a mark",
            "пароль и ключ", "x" * 127 + "y",
        ],
    )  # fmt: skip
    async def test_any_printable_password_creates_and_logs_in(
        self, client: AsyncClient, password: str
    ) -> None:
        created = await create(client, password)
        logged_in = await log_in(client, password)
        stranger = await log_in(client, password[:-1] + "z")

        assert created.status_code == 201
        assert logged_in.status_code == 200
        assert stranger.status_code == 401

    @pytest.mark.parametrize("size", [71, 72, 73, 80])
    async def test_every_byte_counts(
        self, client: AsyncClient, db: AsyncSession, size: int
    ) -> None:
        created = await create(client, "x" * (size - 1) + "y")

        responses = [await log_in(client, "x" * (size - 1) + tail) for tail in ("y", "z", "", "yy")]

        user = await UserRepository(db).get_by_email("ada@example.com")
        assert created.status_code == 201
        assert [response.status_code for response in responses] == [200, 401, 401, 401]
        assert user is not None
        assert user.hashed_password.startswith("$2b$" if size <= 72 else "$bcrypt-sha256$")

    async def test_two_spellings_of_one_text_are_one_password(self, client: AsyncClient) -> None:
        await create(client, "p\u00e2t\u00e9 de foie")

        assert (await log_in(client, "pa\u0302te\u0301 de foie")).status_code == 200
        assert (await log_in(client, "pate de foie")).status_code == 401


class TestWeakPassword:
    @pytest.mark.parametrize(
        "password",
        ["", "1", "seven77", "        ", "aaaaaaaaaaaa", "ada@example.com", "ADA@EXAMPLE.COM", "x" * 129,
            "password123456", "12345678", "qwertyuiop", "iloveyou", "Ada12345"],
    )  # fmt: skip
    async def test_is_a_validation_error_of_the_password(
        self, client: AsyncClient, db: AsyncSession, password: str
    ) -> None:
        with recorded_hashing() as runs:
            response = await create(client, password)

        assert response.status_code == 422
        assert response.json()["error"]["code"] == "validation_error"
        (problem,) = response.json()["error"]["details"]["errors"]
        assert set(problem) == {"loc", "msg", "type"}
        assert problem["loc"] == ["body", "password"]
        assert runs == []
        assert await UserRepository(db).list() == []

    async def test_own_name_is_refused(self, client: AsyncClient) -> None:
        response = await create(client, "Ada.Lovelace", "ada.lovelace@example.com")

        assert response.status_code == 422

    async def test_own_address_is_refused_as_it_was_written(self, client: AsyncClient) -> None:
        response = await create(client, "ada@bücher.de", "ada@bücher.de")

        assert response.status_code == 422

    async def test_minimum_is_that_of_the_settings(self, make_app: MakeApp) -> None:
        async with client_for(make_app(password_min_length=15)) as client:
            short = await create(client, "fourteen-chars")
            enough = await create(client, "fifteen-chars-x")

        assert short.status_code == 422
        assert short.json()["error"]["details"]["errors"][0]["msg"] == (
            "Password should have at least 15 characters"
        )
        assert enough.status_code == 201

    async def test_those_who_have_one_already_can_still_log_in(
        self, client: AsyncClient, db: AsyncSession
    ) -> None:
        stored = hash_password("password123456", rounds=FAST_HASH_ROUNDS)
        await UserRepository(db).create("ada@example.com", stored)
        await db.commit()

        assert (await log_in(client, "password123456")).status_code == 200

    async def test_minimum_does_not_lock_out_those_who_have_less(
        self, make_app: MakeApp, client: AsyncClient
    ) -> None:
        await create(client, "8 chars!")

        async with client_for(make_app(password_min_length=15)) as stricter:
            assert (await log_in(stricter, "8 chars!")).status_code == 200


class TestTextThatIsRefused:
    @pytest.mark.parametrize("field", ["email", "password"])
    @pytest.mark.parametrize(
        "character",
        ["\0", "\t", "\n", "\r", "\x1b", "\x7f", "\x85", pytest.param("\ud800", id="surrogate")],
    )
    async def test_control_character_or_lone_surrogate_is_refused_at_the_edge(
        self, client: AsyncClient, db: AsyncSession, field: str, character: str
    ) -> None:
        body = {"email": "ada@example.com", "password": PASSWORD}
        body[field] = body[field][:3] + character + body[field][3:]

        response = await client.post(USERS, content=json.dumps(body), headers=JSON)

        assert response.status_code == 422
        (problem,) = response.json()["error"]["details"]["errors"]
        assert problem["loc"] == ["body", field]
        assert await UserRepository(db).list() == []

    @pytest.mark.parametrize("field", ["email", "password"])
    @pytest.mark.parametrize("value", [None, 12345678, True, 1.5, ["ada@example.com"], {"a": "b"}])
    async def test_value_that_is_no_text_is_refused(
        self, client: AsyncClient, field: str, value: object
    ) -> None:
        body = {"email": "ada@example.com", "password": PASSWORD, field: value}

        response = await client.post(USERS, json=body)

        assert response.status_code == 422

    @pytest.mark.parametrize("text", ["a" * 1_000_000, "e" + "\u0301" * 500_000])
    @pytest.mark.parametrize("field", ["email", "password"])
    async def test_megabyte_is_refused_without_hashing(
        self, client: AsyncClient, field: str, text: str
    ) -> None:
        body = {"email": "ada@example.com", "password": PASSWORD, field: text}

        with recorded_hashing() as runs:
            response = await client.post(USERS, json=body)

        assert response.status_code in {413, 422}
        assert runs == []


class TestEmail:
    @pytest.mark.parametrize(
        ("first", "second"),
        [
            ("ada@example.com", "ADA@Example.COM"),
            ("ada@bücher.de", "ada@xn--bcher-kva.de"),
            ("ada@bücher.de", "ada@XN--BCHER-KVA.de"),
            ("ada@bücher.de", "ada@BÜCHER.de"),
            ("ada@bücher.de", "ada@bu\u0308cher.de"),
        ],
    )
    async def test_other_spelling_of_a_mailbox_is_the_same_account(
        self, client: AsyncClient, first: str, second: str
    ) -> None:
        created = await create(client, PASSWORD, first)

        again = await create(client, "another password", second)

        assert created.status_code == 201
        assert again.status_code == 409
        assert (await log_in(client, PASSWORD, second)).status_code == 200
        assert (await log_in(client, "another password", first)).status_code == 401

    async def test_tag_is_another_account(self, client: AsyncClient) -> None:
        assert (await create(client, PASSWORD, "ada@example.com")).status_code == 201
        assert (await create(client, PASSWORD, "ada+tag@example.com")).status_code == 201

    @pytest.mark.parametrize(
        "email",
        [
            "\u212aate@example.com", "\uff41da@example.com", "ad\u0131@example.com",
            "\u0430da@example.com", "a\u200bda@example.com", "Bob <bob@example.com>",
            "ada@example.com.", "a" * 243 + "@example.com", "ada", "", "@", "ada@localhost",
            "ada @example.com", "ada@ example.com", "ada@example.com,grace@example.com",
        ],
    )  # fmt: skip
    async def test_look_alike_or_anything_but_an_address_is_refused(
        self, client: AsyncClient, db: AsyncSession, email: str
    ) -> None:
        response = await create(client, PASSWORD, email)

        assert response.status_code == 422
        (problem,) = response.json()["error"]["details"]["errors"]
        assert problem["loc"] == ["body", "email"]
        assert await UserRepository(db).list() == []

    async def test_duplicate_costs_the_same_hashing_as_a_new_account(
        self, client: AsyncClient, ada: User
    ) -> None:
        with recorded_hashing() as duplicate:
            assert (await create(client, PASSWORD, ada.email)).status_code == 409
        with recorded_hashing() as new:
            assert (await create(client, PASSWORD, "lin@example.com")).status_code == 201

        assert [run.cost for run in duplicate] == [run.cost for run in new]


class TestSecrecy:
    @pytest.mark.parametrize(
        ("content", "status"),
        [
            (f'{{"email": "ada@example.com", "password": "{MARKER}"}}', 409),
            (f'{{"email": "lin", "password": "{MARKER}"}}', 422),
            (f'{{"email": "{MARKER}@example.com", "password": "{MARKER}"}}', 422),
            (f'{{"email": NaN, "password": "{MARKER}"}}', 400),
            (f'{{"password": "{MARKER}"}}', 422),
            (f'{{"email": "lin@example.com", "password": ["{MARKER}"]}}', 422),
            (f'{{"email": "lin@example.com", "password": "{MARKER}\\u0000"}}', 422),
            (f'{{"email": "lin@example.com", "password": "{MARKER}\\ud800"}}', 422),
            (f'{{"email": "lin@example.com", "password": "{MARKER * 9}"}}', 422),
            (f'{{"email": "lin@example.com", "password": "{MARKER}", "role": "{MARKER}"}}', 422),
            (f'{{"password": "{MARKER}", "password": "{MARKER}"}}', 400),
            (f'{{"password": "{MARKER}", ', 400),
            (f'"{MARKER}"', 422),
            (f'["{MARKER}"]', 422),
        ],
    )
    async def test_password_is_neither_in_the_response_nor_in_the_log(
        self, client: AsyncClient, ada: User, content: str, status: int
    ) -> None:
        with collected(logging.DEBUG) as records:
            response = await client.post(USERS, content=content, headers=JSON)

        assert response.status_code == status
        assert MARKER not in response.text
        assert '"app.request"' in lines(records)
        assert MARKER not in lines(records)

    async def test_account_that_is_created_shows_neither_password_nor_hash(
        self, client: AsyncClient, db: AsyncSession
    ) -> None:
        with collected(logging.INFO) as records:
            response = await create(client, MARKER)

        user = await UserRepository(db).get_by_email("ada@example.com")
        assert response.status_code == 201
        assert user is not None
        for shown in (response.text, str(response.headers), lines(records)):
            assert MARKER not in shown
            assert user.hashed_password not in shown
