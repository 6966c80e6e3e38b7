"""L4. Lists over a million rows: each allowed pair of filter and order, and a page far behind."""

from pathlib import Path
from time import perf_counter
from typing import Any

from sqlalchemy import Select, select, text
from sqlalchemy.ext.asyncio import AsyncConnection, create_async_engine

from app.api.v1.routes.admin import conditions_of
from app.api.v1.routes.audit import FILTERS
from app.api.v1.schemas.admin import UserQuery
from app.models.audit import AuditEntry
from app.models.user import User
from app.repositories.audit import NEWEST_FIRST
from app.repositories.pages import Sort
from app.repositories.user import SORTS
from quality.testkit.report import Report
from quality.testkit.services import throwaway_database

ROWS = 1_000_000
PAGE = 21  # one more than a page of 20
BUFFERS = 200
FAR = 1.5
ROUNDS = 40

# A tenth of a per cent are admins, as many were deactivated, one in fifty has a role. Ids grow, as in life.
FILL = (
    "INSERT INTO roles (name, permissions) VALUES ('support', 'users:read')",
    """
    INSERT INTO users (id, email, hashed_password, is_active, is_superuser, role, created_at, updated_at)
    SELECT lpad(to_hex(n), 32, '0')::uuid, md5(n::text) || '@example.com', '', n % 1000 <> 7, n % 1000 = 3,
           CASE WHEN n % 50 = 1 THEN 'support' END, now(), now()
    FROM generate_series(1, {rows}) AS n
    """,
    """
    INSERT INTO audit_log (id, at, actor_id, action, subject_type, subject_id, details)
    SELECT lpad(to_hex(n), 32, '0')::uuid, now(), lpad(to_hex(n % 1000 + 1), 32, '0')::uuid,
           CASE WHEN n % 1000 = 0 THEN 'user.deleted' ELSE 'auth.login' END, 'user',
           lpad(to_hex(n % 100000 + 1), 32, '0')::uuid, '{{}}'
    FROM generate_series(1, {rows}) AS n
    """,
    "ANALYZE users",
    "ANALYZE audit_log",
)
FLAGS: tuple[dict[str, str], ...] = (
    {},
    {"is_active": "false"},
    {"is_superuser": "true"},
    {"role": "support"},
)
PAIRS: tuple[dict[str, str], ...] = (
    *({"sort": sort, **flags} for sort in ("created", "-created") for flags in FLAGS),
    *({"sort": sort} for sort in ("email", "-email")),
    *({"sort": sort, "email_prefix": p} for sort in ("email", "-email") for p in ("a", "abcdef")),
)


async def measure_lists(report: Report, folder: Path) -> None:
    async with throwaway_database("lists") as url:
        engine = create_async_engine(url.replace("postgresql://", "postgresql+asyncpg://"))
        async with engine.connect() as connection:
            for statement in FILL:
                await connection.execute(text(statement.format(rows=ROWS)))
            await connection.commit()
            most = 0
            for name, query in queries():
                buffers = await buffers_of(connection, query)
                print(f"{buffers:>6} buffers  {name}")
                most = max(most, buffers)
            report.at_most("buffers of a page of any allowed filter and order", BUFFERS, most)
            for order in SORTS.values():
                ratio = await far_behind(connection, order)
                report.at_most(f"page behind row 500,000 by {order.name} / first page", FAR, ratio)
        await engine.dispose()


def queries() -> list[tuple[str, Select[Any]]]:
    """What the routes ask for each pair that they allow."""
    found: list[tuple[str, Select[Any]]] = []
    for pair in PAIRS:
        asked = UserQuery.model_validate(pair)
        found.append((str(pair), page(SORTS[asked.order]).where(*conditions_of(asked))))
    values = {"action": "user.deleted"}
    for name, column in FILTERS.items():
        value = values.get(name) or f"{5:032x}"
        entries = (
            select(AuditEntry).where(column == value).order_by(*NEWEST_FIRST.order_by).limit(PAGE)
        )
        found.append((f"audit log by {name}", entries))
    return found


def page(order: Sort) -> Select[Any]:
    return select(User).order_by(*order.order_by).limit(PAGE)


async def buffers_of(connection: AsyncConnection, query: Select[Any]) -> int:
    """The pages of the cache and the disk that PostgreSQL reads for ``query``."""
    compiled = query.compile(connection.engine.sync_engine, compile_kwargs={"literal_binds": True})
    explain = text(f"EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) {compiled}".replace(":", r"\:"))
    [plan] = await connection.scalar(explain)
    root: dict[str, int] = plan["Plan"]
    return root["Shared Hit Blocks"] + root["Shared Read Blocks"]


async def far_behind(connection: AsyncConnection, order: Sort) -> float:
    """What the page behind row 500,000 takes, of the first one. They take turns; the fastest of each, which no neighbour has slowed."""
    row = (await connection.execute(page(order).offset(ROWS // 2).limit(1))).one()
    first, far = page(order), page(order).where(order.behind(order.cursor_of(row)))
    taken: dict[str, list[float]] = {"first": [], "far": []}
    for _ in range(ROUNDS):
        for name, query in (("first", first), ("far", far)):
            began = perf_counter()
            (await connection.execute(query)).all()
            taken[name].append(perf_counter() - began)
    return min(taken["far"]) / min(taken["first"])
