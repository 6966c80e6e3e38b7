"""How much a request makes the server hash: what is refused costs nothing, and no cost tells an account from none."""

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

USERS = "/api/v1/users"
LONG_PASSWORD = PASSWORD * 4
# More than the cheapest, so that a cheaper hash can exist.
ROUNDS = 6
MEGABYTES = ["a" * 1_000_000, "e" + "\u0301" * 150_000]
STORED = {
    "another password": hash_password("another", rounds=ROUNDS),
    "another long password": hash_password("another" * 11, rounds=ROUNDS),
    "older hash": hash_password("another", rounds=ROUNDS - 1),
    "much older hash": hash_password("another", rounds=ROUNDS - 2),
    "much older long hash": hash_password("another" * 11, rounds=ROUNDS - 2),
    "empty hash": "",
    "plain text": "another",
    "unknown scheme": "$argon2id$v=19$m=65536,t=3,p=4$abc$def",
    "cut hash": hash_password("another", rounds=ROUNDS)[:-1],
    "hash without digest": "$2b$06$",
    "impossible cost": "$2b$99$" + "." * 53,
    "inactive": hash_password(PASSWORD, rounds=ROUNDS),
    "inactive, long": hash_password(LONG_PASSWORD, rounds=ROUNDS),
    "inactive, older hash": hash_password(PASSWORD, rounds=ROUNDS - 2),
}

pytestmark = pytest.mark.usefixtures("session_factory")


@pytest.fixture(scope="module")
def app(engine: AsyncEngine) -> FastAPI:
    return app_on(engine, password_hash_rounds=ROUNDS)


async def log_in(client: AsyncClient, email: str, password: str = PASSWORD) -> Response:
    return await client.post("/auth/login", data={"username": email, "password": password})


def told(response: Response) -> object:
    return {**response.json()["error"], "request_id": None}


class TestFailedLogin:
    """Unknown address, wrong password, inactive account, unusable hash: one response for one amount of work."""

    @pytest.mark.parametrize("password", [PASSWORD, LONG_PASSWORD], ids=["short", "long"])
    @pytest.mark.parametrize("kind", STORED)
    async def test_nothing_distinguishes_an_account_from_none(
        self, client: AsyncClient, db: AsyncSession, kind: str, password: str
    ) -> None:
        user = await UserRepository(db).create("ada@example.com", STORED[kind])
        await UserRepository(db).set_active(user.id, not kind.startswith("inactive"))
        await db.commit()

        with recorded_hashing() as known_runs:
            known = await log_in(client, "ada@example.com", password)
        with recorded_hashing() as unknown_runs:
            unknown = await log_in(client, "nobody@example.com", password)

        assert known.status_code == unknown.status_code == 401
        assert told(known) == told(unknown)
        assert sum(run.cost for run in known_runs) == 2**ROUNDS
        assert sum(run.cost for run in unknown_runs) == 2**ROUNDS

    @pytest.mark.parametrize("username", ["no address", "ada@", "a" * 300, "\u212aate@example.com"])
    async def test_user_name_that_is_no_address_is_an_unknown_one(
        self, client: AsyncClient, username: str
    ) -> None:
        with recorded_hashing() as runs:
            response = await log_in(client, username)

        assert response.status_code == 401
        assert told(response) == told(await log_in(client, "nobody@example.com"))
        assert sum(run.cost for run in runs) == 2**ROUNDS


class TestRefusal:
    @pytest.mark.parametrize("text", MEGABYTES)
    async def test_of_a_megabyte_costs_no_hash(self, client: AsyncClient, text: str) -> None:
        with recorded_hashing() as runs:
            responses = [await log_in(client, "ada@example.com", text)]
            for field in ("email", "password"):
                body = {"email": "ada@example.com", "password": PASSWORD, field: text}
                responses.append(await client.post(USERS, json=body))

        assert {response.status_code for response in responses} <= {413, 422}
        assert runs == []

    async def test_of_a_weak_password_costs_no_hash(self, client: AsyncClient) -> None:
        with recorded_hashing() as runs:
            for password in ("1", "aaaaaaaaaaaa", "password123456", "ada@example.com", "x" * 129):
                body = {"email": "ada@example.com", "password": password}
                assert (await client.post(USERS, json=body)).status_code == 422

        assert runs == []

    async def test_of_a_duplicate_costs_as_much_as_a_new_account(
        self, client: AsyncClient, ada: User
    ) -> None:
        costs = []
        for email, status in ((ada.email, 409), ("lin@example.com", 201)):
            with recorded_hashing() as runs:
                response = await client.post(USERS, json={"email": email, "password": PASSWORD})
            assert response.status_code == status
            costs.append([run.cost for run in runs])

        assert costs[0] == costs[1]
