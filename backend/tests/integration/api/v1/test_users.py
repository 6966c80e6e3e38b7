"""Accounts over HTTP: /api/v1/users, and the same endpoints under their legacy path."""

import asyncio
import logging
from collections import Counter

import pytest
from fastapi import FastAPI
from httpx2 import AsyncClient, Response
from sqlalchemy.ext.asyncio import AsyncSession

from app.models.user import User
from app.repositories.user import UserRepository
from tests.fixtures.auth import PASSWORD, MakeUser, headers_of
from tests.fixtures.fastapi_app import MakeApp, client_for
from tests.fixtures.logs import collected

PREFIXES = ["/api/v1/users", "/users"]
UNKNOWN_ID = "01890a5d-ac96-774b-bcce-b302099a8057"

pytestmark = pytest.mark.parametrize("users", PREFIXES)


def without_request_id(response: Response) -> dict[str, object]:
    error: dict[str, object] = response.json()["error"]
    error.pop("request_id")
    return error


class TestCreateUser:
    async def test_created_account_is_returned_with_its_public_fields(
        self, client: AsyncClient, users: str
    ) -> None:
        response = await client.post(users, json={"email": "ada@example.com", "password": PASSWORD})

        assert response.status_code == 201
        body = response.json()
        assert body["email"] == "ada@example.com"
        assert body["is_active"] is True
        assert body["is_superuser"] is False
        assert body["created_at"].endswith("Z")

    async def test_stored_password_is_a_bcrypt_hash(
        self, client: AsyncClient, users: str, db: AsyncSession
    ) -> None:
        await client.post(users, json={"email": "ada@example.com", "password": PASSWORD})

        user = await UserRepository(db).get_by_email("ada@example.com")
        assert user is not None
        assert user.hashed_password.startswith("$2b$")
        assert PASSWORD not in user.hashed_password

    async def test_duplicate_email_is_a_conflict(
        self, client: AsyncClient, users: str, ada: User
    ) -> None:
        response = await client.post(users, json={"email": ada.email, "password": PASSWORD})

        assert response.status_code == 409
        assert response.json()["error"]["code"] == "conflict"

    async def test_case_variant_of_an_email_is_the_same_account(
        self, client: AsyncClient, users: str, ada: User
    ) -> None:
        response = await client.post(users, json={"email": "ADA@Example.COM", "password": PASSWORD})

        assert response.status_code == 409

    async def test_fifty_parallel_creates_of_one_email_give_one_account(
        self, make_app: MakeApp, users: str
    ) -> None:
        body = {"email": "ada@example.com", "password": PASSWORD}

        async with client_for(make_app(password_hash_queue_size=50)) as client:
            responses = await asyncio.gather(*(client.post(users, json=body) for _ in range(50)))

        assert Counter(response.status_code for response in responses) == {201: 1, 409: 49}

    @pytest.mark.parametrize(
        "field", ["is_superuser", "is_active", "id", "hashed_password", "created_at", "__class__"]
    )
    async def test_unknown_field_is_rejected_and_nothing_is_stored(
        self, client: AsyncClient, users: str, db: AsyncSession, field: str
    ) -> None:
        body = {"email": "ada@example.com", "password": PASSWORD, field: True}

        response = await client.post(users, json=body)

        assert response.status_code == 422
        assert response.json()["error"]["details"]["errors"][0]["loc"] == ["body", field]
        assert await UserRepository(db).list() == []


class TestReadMe:
    async def test_current_user_is_returned(
        self, client: AsyncClient, users: str, ada: User
    ) -> None:
        response = await client.get(f"{users}/me", headers=headers_of(ada))

        assert response.status_code == 200
        assert response.json()["id"] == str(ada.id)

    async def test_anonymous_is_unauthorized(self, client: AsyncClient, users: str) -> None:
        response = await client.get(f"{users}/me")

        assert response.status_code == 401
        assert response.json()["error"]["code"] == "unauthorized"
        assert response.json()["error"]["message"] == "Authentication is required"
        assert response.headers["WWW-Authenticate"] == "Bearer"

    async def test_deactivation_acts_on_the_next_call(
        self, client: AsyncClient, users: str, ada: User, db: AsyncSession
    ) -> None:
        assert (await client.get(f"{users}/me", headers=headers_of(ada))).status_code == 200

        await UserRepository(db).set_active(ada.id, False)
        await db.commit()

        assert (await client.get(f"{users}/me", headers=headers_of(ada))).status_code == 401


class TestReadUser:
    async def test_own_account_is_returned(
        self, client: AsyncClient, users: str, ada: User
    ) -> None:
        response = await client.get(f"{users}/{ada.id}", headers=headers_of(ada))

        assert response.status_code == 200
        assert response.json()["email"] == ada.email

    async def test_other_user_gets_the_same_403_whether_or_not_the_account_exists(
        self, client: AsyncClient, users: str, ada: User, grace: User
    ) -> None:
        exists = await client.get(f"{users}/{grace.id}", headers=headers_of(ada))
        does_not = await client.get(f"{users}/{UNKNOWN_ID}", headers=headers_of(ada))

        assert exists.status_code == does_not.status_code == 403
        assert without_request_id(exists) == without_request_id(does_not)

    async def test_rejection_is_logged_with_the_current_user(
        self, client: AsyncClient, users: str, ada: User, grace: User
    ) -> None:
        with collected(logging.INFO) as records:
            await client.get(f"{users}/{grace.id}", headers=headers_of(ada))

        (event,) = (record for record in records if record.name == "app.auth.dependencies")
        assert event.getMessage() == "authz_denied"
        assert vars(event)["user_id"] == ada.id

    async def test_admin_reads_any_account(
        self, client: AsyncClient, users: str, ada: User, admin: User
    ) -> None:
        response = await client.get(f"{users}/{ada.id}", headers=headers_of(admin))

        assert response.status_code == 200
        assert response.json()["id"] == str(ada.id)

    async def test_admin_gets_404_for_an_unknown_account(
        self, client: AsyncClient, users: str, admin: User
    ) -> None:
        response = await client.get(f"{users}/{UNKNOWN_ID}", headers=headers_of(admin))

        assert response.status_code == 404
        assert response.json()["error"]["code"] == "not_found"

    async def test_demotion_acts_on_the_next_call(
        self, client: AsyncClient, users: str, ada: User, admin: User, db: AsyncSession
    ) -> None:
        demoted = await UserRepository(db).get_by_id(admin.id)
        assert demoted is not None
        demoted.is_superuser = False
        await db.commit()

        response = await client.get(f"{users}/{ada.id}", headers=headers_of(admin))

        assert response.status_code == 403

    async def test_anonymous_is_unauthorized_even_for_a_malformed_id(
        self, client: AsyncClient, users: str
    ) -> None:
        assert (await client.get(f"{users}/zzz")).status_code == 401

    @pytest.mark.parametrize(
        "malformed",
        [
            "0", "zzz", "1" * 10_00, "%7B01890a5d-ac96-774b-bcce-b302099a8057%7D",
            UNKNOWN_ID.upper(), UNKNOWN_ID.replace("-", ""), f"urn:uuid:{UNKNOWN_ID}",
        ],
    )  # fmt: skip
    async def test_malformed_id_is_a_validation_error(
        self, client: AsyncClient, users: str, admin: User, malformed: str
    ) -> None:
        response = await client.get(f"{users}/{malformed}", headers=headers_of(admin))

        assert response.status_code == 422
        assert response.json()["error"]["details"]["errors"][0]["loc"] == ["path", "user_id"]


async def test_legacy_path_can_be_called_beside_v1(
    app: FastAPI, users: str, make_user: MakeUser
) -> None:
    user = await make_user("lin@example.com")
    async with client_for(app) as client:
        response = await client.get(f"{users}/{user.id}", headers=headers_of(user))
    assert "hash" not in response.text
