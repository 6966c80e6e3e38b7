"""Text that means something to an interpreter means nothing here: it is compared, stored or refused as it is."""

import logging
from urllib.parse import quote

import pytest
from httpx2 import AsyncClient
from sqlalchemy.ext.asyncio import AsyncSession

from app.models.user import User
from app.repositories.user import UserRepository
from tests.fixtures.auth import PASSWORD, headers_of
from tests.fixtures.logs import collected, lines

# For SQL, for str.format and %, for a template engine, for a shell, for an LDAP filter, for a spreadsheet.
PAYLOADS = [
    "' OR '1'='1", "' OR 1=1 --", "'; DROP TABLE users; --", "ada@example.com' --", "\\' OR 1=1#", "%", "_da@example.com",
    "') UNION SELECT hashed_password FROM users --", "1; SELECT pg_sleep(5)", "{0.__class__.__mro__}", "%s%s%n", "%(name)s",
    "${7*7}", "{{7*7}}", "<script>alert(1)</script>", "$(id)", "`id`", "| cat /etc/passwd", "*)(uid=*", "=1+1", "\\u0027",
]  # fmt: skip


@pytest.mark.parametrize("payload", PAYLOADS)
class TestPayload:
    async def test_as_user_name_is_an_unknown_account(
        self, client: AsyncClient, ada: User, payload: str
    ) -> None:
        for username in (payload, f"{payload}@example.com"):
            response = await client.post(
                "/auth/login", data={"username": username, "password": PASSWORD}
            )

            assert response.status_code == 401

    async def test_as_password_is_a_password(self, client: AsyncClient, payload: str) -> None:
        password = f"{payload} and more"
        account = {"email": "lin@example.com", "password": password}

        created = await client.post("/api/v1/users", json=account)
        other = {"username": account["email"], "password": f"{payload} and mora"}
        refused = await client.post("/auth/login", data=other)
        admitted = await client.post("/auth/login", data={**other, "password": password})

        assert [response.status_code for response in (created, refused, admitted)] == [
            201,
            401,
            200,
        ]

    async def test_as_address_is_no_address(
        self, client: AsyncClient, db: AsyncSession, payload: str
    ) -> None:
        account = {"email": payload, "password": PASSWORD}

        response = await client.post("/api/v1/users", json=account)

        users = await UserRepository(db).list()
        assert (response.status_code, [user.email for user in users]) in [
            (422, []),
            (201, [payload]),  # "_da@example.com" is a mailbox like any other
        ]

    async def test_in_a_path_or_a_query_is_no_id(
        self, client: AsyncClient, admin: User, payload: str
    ) -> None:
        hidden = quote(payload, safe="")
        paths = (f"/api/v1/users/{hidden}", f"/api/v1/users/{admin.id}{hidden}")

        for path in paths:
            response = await client.get(path, headers=headers_of(admin))
            assert response.status_code in {404, 422}
        response = await client.get(f"/api/v1/users/me?id={hidden}", headers=headers_of(admin))
        assert response.json()["id"] == str(admin.id)

    async def test_in_the_log_is_a_text_in_a_line(self, client: AsyncClient, payload: str) -> None:
        with collected(logging.INFO) as records:
            await client.get(f"/{quote(payload, safe='')}")

        (summary,) = (record for record in records if record.name == "app.request")
        assert vars(summary)["path"] == f"/{payload}"
        assert len(lines([summary]).splitlines()) == 1
