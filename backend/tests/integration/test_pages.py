"""Pages of a list: every row once, whatever the order, the cursor or the changes meanwhile. The ids are those of traps."""

import base64
import enum
import json
import random
import re
from collections.abc import AsyncIterator
from contextlib import suppress
from datetime import UTC, datetime, timedelta

import pytest
from fastapi import FastAPI
from httpx2 import AsyncClient, Response
from sqlalchemy import String, delete, insert, select
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from app.core.errors import ValidationFailed
from app.db.base import Base
from app.db.types import uuid7
from app.models.mixins import IdMixin, TimestampMixin
from app.models.user import User
from app.repositories.base import BaseRepository
from app.repositories.pages import CURSOR_MAX_LENGTH, sorts, starts_with
from tests.fixtures.auth import headers_of
from tests.fixtures.books import SORTS, Book, app
from tests.fixtures.cache import statements
from tests.fixtures.plans import plan_of

__all__ = ["app", "statements"]  # the fixtures

BOOKS = "/api/v1/books"
NOON = datetime(2026, 1, 5, 12, tzinfo=UTC)
ORDERS = sorted(SORTS)


def book(owner: User, number: int, **values: object) -> dict[str, object]:
    """The values of one of many rows: each title and time is that of a third of them."""
    return {
        "id": uuid7(),
        "owner_id": owner.id,
        "title": "abc"[number % 3],
        "code": f"{owner.email}-{number:04}",
        "lent_at": NOON + timedelta(days=number % 3),
        **values,
    }


async def put(db: AsyncSession, *rows: dict[str, object]) -> None:
    await db.execute(insert(Book), list(rows))
    await db.commit()


async def pages(client: AsyncClient, user: User, **query: str | int) -> AsyncIterator[list[str]]:
    """The ids of each page, to the end."""
    after: dict[str, str] = {}
    while True:
        response = await client.get(BOOKS, params={**query, **after}, headers=headers_of(user))
        assert response.status_code == 200, response.text
        page = response.json()
        yield [item["id"] for item in page["items"]]
        if page["next"] is None:
            return
        after = {"after": page["next"]}


def cursor(*parts: object) -> str:
    return base64.urlsafe_b64encode(json.dumps(parts).encode()).decode().rstrip("=")


async def page_behind(client: AsyncClient, user: User, sort: str, after: str) -> Response:
    return await client.get(BOOKS, params={"sort": sort, "after": after}, headers=headers_of(user))


FOREIGN: list[tuple[str, object]] = [
    ("title", "a\0"),
    ("title", "\ud800"),
    ("title", "a" * 101),
    ("title", 1),
    ("title", None),
    ("lent", "9999-12-31T23:59:59-23:59"),
    ("lent", "2026-01-05"),
    ("lent", "2026-01-05T12:00:00"),
    ("lent", "2026-01-05 12:00:00+00:00"),
    ("created", "{00000000-0000-0000-0000-000000000000}"),
    ("created", "zzz"),
]
FORGED = [
    ("title", ""),
    ("title", "\U0010ffff" * 100),
    ("title", "' OR 1=1 --"),
    ("lent", "9999-12-31T23:59:59.999999+00:00"),
    ("lent", "0001-01-01T00:00:00+00:00"),
    ("created", "ffffffff-ffff-ffff-ffff-ffffffffffff"),
]


class TestPages:
    @pytest.mark.parametrize(
        "asked",
        [("created", 100), ("title", 7), ("-title", 7), ("-code", 7), ("lent", 7), ("-lent", 7)],
    )
    async def test_l1_every_old_row_is_on_one_page_while_others_come_and_go(
        self, client: AsyncClient, db: AsyncSession, ada: User, grace: User, asked: tuple[str, int]
    ) -> None:
        sort, limit = asked
        rows = [book(ada, number) for number in range(60)]
        gone = [book(ada, number) for number in range(60, 90)]
        await put(db, *rows, *gone, book(grace, 1))

        found: list[str] = []
        async for page in pages(client, ada, sort=sort, limit=limit):
            assert len(page) <= limit
            found += page
            await put(db, book(ada, 1000 + len(found)))
            for row in gone[:3]:
                await db.execute(delete(Book).where(Book.id == row["id"]))
            del gone[:3]
            await db.commit()

        old = {str(row["id"]) for row in rows}
        assert sorted(set(found) & old) == sorted(old)
        assert len(found) == len(set(found))

    async def test_pages_are_in_the_order_asked_for(
        self, client: AsyncClient, db: AsyncSession, ada: User
    ) -> None:
        rows = [book(ada, number) for number in range(10)]
        await put(db, *rows)

        for sort in ORDERS:
            found = [row async for page in pages(client, ada, sort=sort, limit=4) for row in page]

            column = SORTS[sort].column.key
            by_value = sorted(rows, key=lambda row: (row[column], row["id"]))
            wanted = [str(row["id"]) for row in by_value]
            assert found == (wanted[::-1] if sort.startswith("-") else wanted)

    async def test_last_page_has_no_next(
        self, client: AsyncClient, db: AsyncSession, ada: User
    ) -> None:
        assert [len(page) async for page in pages(client, ada)] == [0]

        await put(db, *(book(ada, number) for number in range(8)))

        assert [len(page) async for page in pages(client, ada, limit=4)] == [4, 4]
        assert [len(page) async for page in pages(client, ada, limit=5)] == [5, 3]

    async def test_unknown_question_is_422(self, client: AsyncClient, ada: User) -> None:
        for query in ("limit=0", "limit=101", "sort=owner_id", "offset=3", "limit=1&limit=2"):
            response = await client.get(f"{BOOKS}?{query}", headers=headers_of(ada))

            assert response.status_code == 422, query

    async def test_fields_need_not_be_those_of_the_order(
        self, client: AsyncClient, db: AsyncSession, ada: User
    ) -> None:
        await put(db, *(book(ada, number) for number in range(3)))
        books = BaseRepository(db, Book, Book.owner_id == ada.id)

        first = await books.page(SORTS["-lent"], limit=2, fields=("title",))
        second = await books.page(SORTS["-lent"], limit=2, after=first.next, fields=("title",))

        assert first.items == [{"title": "c"}, {"title": "b"}]
        assert (second.items, second.next) == ([{"title": "a"}], None)

    async def test_field_may_have_another_name_in_the_table(
        self, client: AsyncClient, db: AsyncSession, ada: User
    ) -> None:
        await put(db, *(book(ada, number) for number in range(3)))
        order = sorts(Renamed.id, heading=Renamed.heading)["heading"]

        first = await BaseRepository(db, Renamed).page(order, limit=2, fields=("heading",))

        assert first.items == [{"heading": "a"}, {"heading": "b"}]
        assert first.next


class TestCursor:
    async def test_l2_cursor_of_another_order_is_422(
        self, client: AsyncClient, db: AsyncSession, ada: User
    ) -> None:
        await put(db, book(ada, 1), book(ada, 2))
        first = await client.get(
            BOOKS, params={"sort": "title", "limit": 1}, headers=headers_of(ada)
        )

        responses = {
            sort: await page_behind(client, ada, sort, first.json()["next"]) for sort in ORDERS
        }

        assert {sort for sort, response in responses.items() if response.is_success} == {"title"}
        error = responses["-title"].json()["error"]["details"]["errors"][0]
        assert (error["loc"], error["type"]) == (["query", "after"], "cursor")

    async def test_l2_cursor_of_another_account_shows_only_ones_own_rows(
        self, client: AsyncClient, db: AsyncSession, ada: User, grace: User
    ) -> None:
        hers = book(grace, 0, title="0")
        await put(db, book(ada, 0), hers, book(grace, 1))

        response = await page_behind(client, ada, "title", cursor("title", "0", str(hers["id"])))

        assert [item["title"] for item in response.json()["items"]] == ["a"]

    async def test_l2_value_that_the_column_does_not_hold_is_422(
        self, client: AsyncClient, ada: User
    ) -> None:
        for sort, value in FOREIGN:
            response = await page_behind(client, ada, sort, cursor(sort, value, str(ada.id)))

            assert response.status_code == 422, value

    async def test_l2_forged_value_of_the_column_begins_elsewhere(
        self, client: AsyncClient, ada: User
    ) -> None:
        for sort, value in FORGED:
            response = await page_behind(client, ada, sort, cursor(sort, value, str(ada.id)))

            assert response.status_code == 200, value

    async def test_l2_text_that_is_no_cursor_is_422(self, client: AsyncClient, ada: User) -> None:
        deep = base64.urlsafe_b64encode(b"[" * 1_700).decode().rstrip("=")

        real = SORTS["created"].cursor_of(Book(**book(ada, 1)))
        for sent in (
            f"{real[:9]}!{real[9:]}",
            "",
            "=",
            "a",
            "%%%",
            "\xe9",
            "bnVsbA",
            "W10",
            "e30",
            "MQ",
            deep,
        ):
            assert len(sent) <= CURSOR_MAX_LENGTH
            assert (await page_behind(client, ada, "created", sent)).status_code == 422, sent

    @pytest.mark.parametrize("sort", ["title", "-lent", "created"])
    def test_l2_mutated_cursor_is_one_of_this_order_or_422(self, ada: User, sort: str) -> None:
        seeded = random.Random(17)
        real = SORTS[sort].cursor_of(Book(**book(ada, 1)))
        read = 0

        for _ in range(3_500):
            mutated = list(real)
            for _ in range(seeded.randint(1, 3)):
                mutated[seeded.randrange(len(mutated))] = seeded.choice("ABZaz09-_=~\xe9\x01")
            with suppress(ValidationFailed):
                SORTS[sort].behind("".join(mutated))
                read += 1

        assert 0 < read < 3_500

    @pytest.mark.parametrize("sort", ["title", "-lent", "created"])
    async def test_l2_mutated_cursor_shows_only_ones_own_rows_or_is_422(
        self, client: AsyncClient, db: AsyncSession, ada: User, grace: User, sort: str
    ) -> None:
        rows = [book(ada, number) for number in range(9)]
        await put(db, *rows, *(book(grace, number) for number in range(9)))
        own = {str(row["id"]) for row in rows}
        seeded, real = random.Random(18), SORTS[sort].cursor_of(Book(**rows[4]))
        places = [seeded.randrange(len(real)) for _ in range(60)]
        forged = [real[:at] + seeded.choice("ABZaz09-_") + real[at + 1 :] for at in places]
        statuses = set()

        for mutated in (real, *forged):
            response = await page_behind(client, ada, sort, mutated)

            statuses.add(response.status_code)
            if response.is_success:
                assert {item["id"] for item in response.json()["items"]} <= own, mutated
        assert statuses == {200, 422}


class TestPrefix:
    """L5: the range of a prefix is what begins with it, for each class of code points."""

    CHARACTERS = tuple("azZ~éß\u07ff\u0800\ud7ff\ue000\uffff\U00010000\U0010fffe")

    async def test_l5_prefix_finds_what_begins_with_it(
        self, client: AsyncClient, db: AsyncSession, ada: User
    ) -> None:
        last = "\U0010ffff"
        titles = [f"xy{c}{end}" for c in (*self.CHARACTERS, last) for end in ("", "a", last)]
        await put(db, *(book(ada, n, title=title) for n, title in enumerate(titles)))

        for character in self.CHARACTERS:
            query: dict[str, str | int] = {"title_prefix": f"xy{character}", "limit": 100}
            response = await client.get(BOOKS, params=query, headers=headers_of(ada))

            found = {item["title"] for item in response.json()["items"]}
            assert found == {title for title in titles if title.startswith(f"xy{character}")}

    async def test_l5_last_code_point_at_the_end_is_422(
        self, client: AsyncClient, ada: User
    ) -> None:
        response = await client.get(
            BOOKS, params={"title_prefix": "a\U0010ffff"}, headers=headers_of(ada)
        )

        assert response.status_code == 422
        error = response.json()["error"]["details"]["errors"][0]
        assert (error["loc"], error["type"]) == (["query", "title_prefix"], "prefix")

    async def test_l5_every_text_begins_with_the_empty_one(
        self, db: AsyncSession, ada: User, app: FastAPI
    ) -> None:
        await put(db, book(ada, 1), book(ada, 2, title=""))

        found = await db.scalars(select(Book.title).where(starts_with(Book.title, "", "prefix")))

        assert {*found} == {"b", ""}
        await db.rollback()  # else the table could not be dropped


class TestPlan:
    async def test_page_is_two_statements_with_that_of_the_caller(
        self, client: AsyncClient, db: AsyncSession, ada: User, statements: list[str]
    ) -> None:
        await put(db, *(book(ada, number) for number in range(5)))
        statements.clear()

        response = await client.get(BOOKS, params={"limit": 2}, headers=headers_of(ada))

        assert response.json()["next"]
        assert len(statements) == 2
        assert "LIMIT" in statements[1]

    async def test_l3_page_is_read_from_an_index_in_its_order(
        self, client: AsyncClient, db: AsyncSession, ada: User
    ) -> None:
        for order in SORTS.values():
            at = order.cursor_of(Book(**book(ada, 1)))
            scope = [] if order.column.key == "code" else [Book.owner_id == ada.id]
            query = select(Book).where(*scope, order.behind(at)).order_by(*order.order_by)

            plan = await plan_of(db, query.limit(21))

            assert "ix_books_of_test" in plan, plan
            assert not re.search("Seq Scan|Sort|Bitmap|TEMP B-TREE", plan), plan


class OwnBase(DeclarativeBase):
    """Separate metadata: no table is made of these."""

    type_annotation_map = Base.type_annotation_map


class Renamed(IdMixin, OwnBase):
    """The books once more, with an attribute that has another name than its column."""

    __tablename__ = Book.__tablename__

    heading: Mapped[str] = mapped_column("title", String(100))


class Kind(enum.Enum):
    ROUND_TRIP = "round-trip"


class Column(IdMixin, TimestampMixin, OwnBase):
    __tablename__ = "columns"

    text: Mapped[str] = mapped_column(String(255))
    maybe: Mapped[str | None] = mapped_column(String(40))
    long: Mapped[str] = mapped_column(String(256))
    boundless: Mapped[str]
    number: Mapped[int]
    kind: Mapped[Kind]


class TestSort:
    @pytest.mark.parametrize("name", ["maybe", "long", "boundless", "number", "kind", "created_at"])
    def test_column_that_cannot_be_paged_by_is_rejected_at_import(self, name: str) -> None:
        with pytest.raises(TypeError, match=name):
            sorts(Column.id, x=getattr(Column, name))

    @pytest.mark.parametrize("character", ["\U0010ffff", "\x01", '"', "\x7f"])
    def test_longest_text_fits_into_a_cursor(self, character: str) -> None:
        order = sorts(Column.id, text=Column.text)["text"]

        cursor = order.cursor_of(Column(id=uuid7(), text=character * 255))

        assert len(cursor) <= CURSOR_MAX_LENGTH
        order.behind(cursor)

    def test_each_column_has_an_order_in_both_directions(self) -> None:
        found = sorts(Column.id, text=Column.text)

        assert {name: order.descending for name, order in found.items()} == {
            "text": False,
            "-text": True,
        }
        assert [order.key for order in found.values()] == [Column.id, Column.id]

    def test_cursor_has_no_padding(self) -> None:
        order = sorts(Column.id, text=Column.text)["text"]

        cursors = [order.cursor_of(Column(id=uuid7(), text="a" * length)) for length in range(3)]

        assert [cursor for cursor in cursors if "=" in cursor] == []
