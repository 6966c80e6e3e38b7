"""D-05: the scripts of deploy/backup with 100,000 accounts: ``make backup-drill``.

Needs PostgreSQL (DATABASE_URL) and its client programs. Exit code 1 if a promise is missed.
"""

import asyncio
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from time import perf_counter
from urllib.parse import urlsplit, urlunsplit

import asyncpg

from quality.testkit.client import Connection
from quality.testkit.report import Report
from quality.testkit.server import ROOT, alembic, serving, variables
from quality.testkit.services import PASSWORD, create_accounts, throwaway_database

SCRIPTS = ROOT / "deploy" / "backup"
ACCOUNTS = 100_000
JOBS = 50
MOST_SECONDS = 60
OK = 200
FILL = """
INSERT INTO users (id, email, hashed_password, is_active, is_superuser)
SELECT gen_random_uuid(), 'u' || n || '@example.com', repeat('x', 60), true, false FROM generate_series(1, $1::int) n
"""
ASK = """
INSERT INTO jobs (id, name, payload, run_at, created_at)
SELECT gen_random_uuid(), 'verification_mail', '{}', now() + interval '1 hour', now() FROM generate_series(1, $1::int)
"""
# Of each table, all rows in one number; jobs change in a restore.
SUM = "SELECT count(*), coalesce(sum(hashtextextended(t::text, 0)::numeric), 0) FROM {table} t"
TABLES = (
    "SELECT tablename FROM pg_tables WHERE schemaname = 'public' AND tablename <> 'jobs' ORDER BY 1"
)


def script(name: str, url: str, argument: Path) -> subprocess.CompletedProcess[str]:
    environment = {"PATH": os.environ["PATH"], "DATABASE_URL": url}
    command = ["sh", str(SCRIPTS / name), str(argument)]
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False)


def cut_in_half(dump: Path, half: Path) -> None:
    content = dump.read_bytes()
    half.write_bytes(content[: len(content) // 2])


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.glob("*dump*"))


async def sums(url: str) -> dict[str, tuple[int, int]]:
    connection = await asyncpg.connect(url)
    names = [row[0] for row in await connection.fetch(TABLES)]
    found = {name: tuple(await connection.fetchrow(SUM.format(table=name))) for name in names}
    await connection.close()
    return found


async def one(url: str, query: str, *values: object) -> object:
    connection = await asyncpg.connect(url)
    try:
        return await connection.fetchval(query, *values)
    finally:
        await connection.close()


async def measure(report: Report, folder: Path, source: str) -> None:
    await create_accounts(source, "ada@example.com")
    await one(source, FILL, ACCOUNTS)
    await one(source, ASK, JOBS)
    began = perf_counter()
    done = script("backup.sh", source, folder)
    report.exactly("backup.sh", (0, ""), (done.returncode, done.stderr))
    dump = Path(done.stdout.strip())
    target = await empty(source, "restored")
    restored = script("restore.sh", target, dump)
    report.exactly(
        "restore.sh into an empty database", (0, ""), (restored.returncode, restored.stderr)
    )
    expected, found = await sums(source), await sums(target)
    report.at_most(
        f"dump, restore and compare {ACCOUNTS:,} accounts",
        MOST_SECONDS,
        perf_counter() - began,
        "s",
    )
    report.exactly(
        "tables that differ", [], [name for name in expected if found.get(name) != expected[name]]
    )
    waiting = "SELECT count(*) FROM jobs WHERE failed_at IS NULL"
    dead = "SELECT count(*) FROM jobs WHERE error = 'restored'"
    report.exactly(
        "jobs that wait, and that are dead",
        (0, JOBS),
        (await one(target, waiting), await one(target, dead)),
    )
    await use(report, folder, target)
    again = script("restore.sh", target, dump)
    report.exactly(
        "a database that is not empty",
        (1, True),
        (again.returncode, "into an empty one" in again.stderr),
    )
    half, other = folder / "half.dump", await empty(source, "half")
    cut_in_half(dump, half)
    refused = script("restore.sh", other, half)
    tables = await one(other, "SELECT count(*) FROM pg_tables WHERE schemaname = 'public'")
    report.exactly("half a dump: exit code and tables", (1, 0), (refused.returncode, tables))
    failed = script("backup.sh", f"{source}_gone", folder)
    report.exactly(
        "a backup that fails leaves nothing",
        (True, [dump.name, half.name]),
        (failed.returncode != 0, names(folder)),
    )


async def use(report: Report, folder: Path, url: str) -> None:
    """The schema is the one of the code, and an account of the dump can log in."""
    alembic(variables(url), "check")
    form = f"username=ada%40example.com&password={PASSWORD.replace(' ', '+')}".encode()
    kind = ("Content-Type", "application/x-www-form-urlencoded")
    async with serving(folder, variables(url)) as server:
        response = await Connection(server.port).request("POST", "/auth/login", [kind], form)
    report.exactly("a login on what was restored", OK, response.status)


async def empty(source: str, name: str) -> str:
    """Another database on the same server; it is dropped with the first."""
    database = f"{urlsplit(source).path[1:]}_{name}"
    await one(source, f'CREATE DATABASE "{database}"')
    return urlunsplit(urlsplit(source)._replace(path=f"/{database}"))


async def main() -> int:
    report = Report()
    async with throwaway_database("backup") as source:
        try:
            with tempfile.TemporaryDirectory() as folder:
                await measure(report, Path(folder), source)
        finally:
            for name in ("restored", "half"):
                await one(
                    source,
                    f'DROP DATABASE IF EXISTS "{urlsplit(source).path[1:]}_{name}" WITH (FORCE)',
                )
    return report.exit_code()


if __name__ == "__main__":
    sys.exit(asyncio.run(main()))
