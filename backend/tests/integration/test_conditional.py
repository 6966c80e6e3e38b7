"""Versions: what is lost by no update, and what a client that has a copy is spared. The ids are those of traps."""

import asyncio
from uuid import UUID

import pytest
from httpx2 import AsyncClient, Response
from sqlalchemy import insert
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm.exc import StaleDataError

from app.db.types import utc_now, uuid7
from app.models.user import User
from app.repositories.base import BaseRepository
from tests.fixtures.auth import headers_of
from tests.fixtures.books import Book, app
from tests.fixtures.cache import statements

__all__ = ["app", "statements"]  # the fixtures


class Shelf:
    """The requests of an account about one of its books."""

    def __init__(self, client: AsyncClient, owner: User, book_id: object) -> None:
        self.client, self.owner = client, owner
        self.path = f"/api/v1/books/{book_id}"

    async def read(self, **headers: str) -> Response:
        return await self.client.get(self.path, headers={**headers_of(self.owner), **headers})

    async def change(self, change: object, *matches: str) -> Response:
        headers = [*headers_of(self.owner).items(), *(("If-Match", each) for each in matches)]
        return await self.client.patch(self.path, json=change, headers=headers)


@pytest.fixture
async def shelf(client: AsyncClient, db: AsyncSession, ada: User) -> Shelf:
    book_id = uuid7()
    values = {"title": "Dune", "code": "1", "note": "lent", "lent_at": utc_now()}
    await db.execute(insert(Book).values(id=book_id, owner_id=ada.id, **values))
    await db.commit()
    return Shelf(client, ada, book_id)


class TestPatch:
    async def test_m1_what_is_left_out_stays_and_null_is_null(self, shelf: Shelf) -> None:
        first = await shelf.change({"title": "Emma"})
        second = await shelf.change({"note": None})

        assert (first.json()["title"], first.json()["note"]) == ("Emma", "lent")
        assert (second.json()["title"], second.json()["note"]) == ("Emma", None)
        assert [first.json()["version"], second.json()["version"]] == [2, 3]

    async def test_null_where_the_column_has_a_value_is_422(self, shelf: Shelf) -> None:
        assert (await shelf.change({"title": None})).status_code == 422

    async def test_change_of_nothing_is_no_new_version(self, shelf: Shelf) -> None:
        for change in ({}, {"title": "Dune"}):
            response = await shelf.change(change)

            assert response.status_code == 200
            assert response.headers["ETag"] == '"1"'

    async def test_a3_column_that_the_schema_does_not_name_is_422(self, shelf: Shelf) -> None:
        for name in ("id", "owner_id", "version", "code"):
            assert (await shelf.change({name: "1"})).status_code == 422, name

    async def test_change_is_three_statements_with_that_of_the_caller(
        self, shelf: Shelf, statements: list[str]
    ) -> None:
        statements.clear()

        await shelf.change({"title": "Emma"}, '"1"')

        assert [each.split()[0] for each in statements] == ["SELECT", "SELECT", "UPDATE"]


class TestIfMatch:
    async def test_u1_ten_changes_of_one_version_make_one(self, shelf: Shelf) -> None:
        responses = await asyncio.gather(
            *(shelf.change({"title": f"{number}"}, '"1"') for number in range(10))
        )

        won = [response for response in responses if response.status_code == 200]
        assert len(won) == 1
        assert {response.status_code for response in responses} <= {200, 409, 412}
        assert (await shelf.read()).json()["title"] == won[0].json()["title"]

    async def test_u1_row_that_was_changed_after_it_was_read_is_stale_without_if_match(
        self, shelf: Shelf, db: AsyncSession
    ) -> None:
        books = BaseRepository(db, Book)
        seen = await books.get_by_id(UUID(shelf.path.rpartition("/")[2]))
        assert seen is not None
        await db.commit()  # SQLite has one writer, who is about to be the request

        await shelf.change({"title": "Emma"})
        with pytest.raises(StaleDataError):
            await books.change(seen, {"title": "lost"})
        await db.rollback()

        assert (await shelf.read()).json()["title"] == "Emma"

    async def test_u1_matching_version_is_changed(self, shelf: Shelf) -> None:
        for version, match in enumerate(('"1"', "*", '"9", "3"', '"9" ,W/"2",\t"4"'), start=1):
            response = await shelf.change({"title": f"{version}"}, match)

            assert response.status_code == 200, match
            assert response.headers["ETag"] == f'"{version + 1}"'

    async def test_u1_other_version_is_412(self, shelf: Shelf) -> None:
        for match in ('"2"', 'W/"1"', '"11"', '"9", "3"', '"1,"', '""'):
            response = await shelf.change({"title": "Emma"}, match)

            assert response.status_code == 412, match
            assert response.json()["error"]["code"] == "precondition_failed"
        assert (await shelf.read()).json()["title"] == "Dune"

    async def test_u1_malformed_or_repeated_header_is_400(self, shelf: Shelf) -> None:
        malformed = ["1", "", '"1', '"1" "2"', 'w/"1"', '*, "1"']
        for matches in (*((each,) for each in malformed), ('"1"', '"1"'), ("*", "*")):
            response = await shelf.change({"title": "Emma"}, *matches)

            assert response.status_code == 400, matches
            assert response.json()["error"]["message"] == "If-Match is malformed"

    async def test_u1_missing_row_is_404_before_412(
        self, client: AsyncClient, shelf: Shelf, grace: User
    ) -> None:
        hers = Shelf(client, grace, shelf.path.rpartition("/")[2])

        assert (await hers.change({"title": "Emma"}, '"7"')).status_code == 404


class TestIfNoneMatch:
    async def test_known_version_is_304_without_body(self, shelf: Shelf) -> None:
        for match in ('"1"', 'W/"1"', '"7", "1"', "*"):
            response = await shelf.read(**{"If-None-Match": match})

            assert (response.status_code, response.content) == (304, b"")
            assert response.headers["ETag"] == '"1"'
            assert response.headers["Cache-Control"] == "no-store"

    async def test_other_version_is_sent(self, shelf: Shelf) -> None:
        for match in ('"2"', 'W/"11"', '""'):
            response = await shelf.read(**{"If-None-Match": match})

            assert response.status_code == 200, match
            assert response.headers["ETag"] == f'"{response.json()["version"]}"'

    async def test_malformed_header_is_400(self, shelf: Shelf) -> None:
        assert (await shelf.read(**{"If-None-Match": "1"})).status_code == 400
