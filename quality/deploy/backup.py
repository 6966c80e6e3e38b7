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


def script(name: str, url: str, argument: Path, **given: str) -> subprocess.CompletedProcess[str]:
    environment = {"PATH": os.environ["PATH"], "DATABASE_URL": url, **given}
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
    report.exactly("D-05 backup.sh", (0, ""), (done.returncode, done.stderr))
    dump = Path(done.stdout.strip())
    target = await empty(source, "restored")
    restored = script("restore.sh", target, dump)
    report.exactly(
        "D-05 restore.sh into an empty database", (0, ""), (restored.returncode, restored.stderr)
    )
    expected, found = await sums(source), await sums(target)
    report.at_most(
        f"D-05 dump, restore and compare {ACCOUNTS:,} accounts",
        MOST_SECONDS,
        perf_counter() - began,
        "s",
    )
    report.exactly(
        "D-05 tables that differ",
        [],
        [name for name in expected if found.get(name) != expected[name]],
    )
    waiting = "SELECT count(*) FROM jobs WHERE failed_at IS NULL"
    dead = "SELECT count(*) FROM jobs WHERE error = 'restored'"
    report.exactly(
        "D-05 jobs that wait, and that are dead",
        (0, JOBS),
        (await one(target, waiting), await one(target, dead)),
    )
    await use(report, folder, target)
    again = script("restore.sh", target, dump)
    report.exactly(
        "D-05 a database that is not empty",
        (1, True),
        (again.returncode, "into an empty one" in again.stderr),
    )
    await container(report, folder, source)
    half, other = folder / "half.dump", await empty(source, "half")
    cut_in_half(dump, half)
    refused = script("restore.sh", other, half)
    tables = await one(other, "SELECT count(*) FROM pg_tables WHERE schemaname = 'public'")
    report.exactly("D-05 half a dump: exit code and tables", (1, 0), (refused.returncode, tables))
    failed = script("backup.sh", f"{source}_gone", folder)
    report.exactly(
        "D-05 a backup that fails leaves nothing",
        (True, [dump.name, half.name]),
        (failed.returncode != 0, names(folder)),
    )


async def container(report: Report, folder: Path, source: str) -> None:
    """With RUN the programs see no file of this machine: dumps go through standard input and output."""
    run, dumps = folder / "run", folder / "nightly"
    run.write_text(f'#!/bin/sh\ncase "$*" in *{folder}*) exit 9 ;; esac\ncd / && exec "$@"\n')
    run.chmod(0o755)
    made = []
    for _ in range(2):
        made.append(Path(script("backup.sh", source, dumps, RUN=str(run), KEPT="1").stdout.strip()))
        await asyncio.sleep(1.1)  # a name has seconds
    report.exactly(
        "D-05 by RUN, one kept: dumps, and who may read them",
        ([made[1]], "0o600"),
        ([*dumps.iterdir()], oct(made[1].stat().st_mode & 0o777)),
    )
    target = await empty(source, "run")
    restored = script("restore.sh", target, made[1], RUN=str(run))
    report.exactly(
        "D-05 by RUN: restore.sh, and accounts",
        (0, "", ACCOUNTS + 1),
        (restored.returncode, restored.stderr, await one(target, "SELECT count(*) FROM users")),
    )


async def use(report: Report, folder: Path, url: str) -> None:
    """The schema is the one of the code, and an account of the dump can log in."""
    alembic(variables(url), "check")
    form = f"username=ada%40example.com&password={PASSWORD.replace(' ', '+')}".encode()
    kind = ("Content-Type", "application/x-www-form-urlencoded")
    async with serving(folder, variables(url)) as server:
        response = await Connection(server.port).request("POST", "/auth/login", [kind], form)
    report.exactly("D-05 a login on what was restored", OK, response.status)


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
            for name in ("restored", "half", "run"):
                await one(
                    source,
                    f'DROP DATABASE IF EXISTS "{urlsplit(source).path[1:]}_{name}" WITH (FORCE)',
                )
    return report.exit_code()


if __name__ == "__main__":
    sys.exit(asyncio.run(main()))
