"""D-04: migrations that BASE lacks do not break BASE, which serves beside them in every deployment.

    make migration-check BASE=origin/main

squawk reads their SQL; then the code of BASE, in a worktree of its own, serves on the new schema: ``verify`` and the smoke
test of its README must pass. Needs PostgreSQL (DATABASE_URL). A migration that contracts says so with
``CONTRACTS = "<release>"``, which allows it to drop; ``ACCEPTS = {"<rule>": "<reason>"}`` allows it one thing more.
"""

import asyncio
import json
import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import asyncpg

from alembic.config import Config
from alembic.script import Script, ScriptDirectory
from quality.testkit.report import Report
from quality.testkit.server import HOST, ROOT, alembic, serving, variables
from quality.testkit.services import throwaway_database

VERSIONS = "backend/alembic/versions"
RULES = frozenset(
    (
        *("adding-required-field", "adding-not-nullable-field", "adding-foreign-key-constraint"),
        *("changing-column-type", "constraint-missing-not-valid", "disallowed-unique-constraint"),
        *("ban-drop-column", "ban-drop-table", "renaming-column", "renaming-table"),
        "require-concurrent-index-creation",
    )
)
SPARED = frozenset(("ban-drop-column", "ban-drop-table"))  # for a migration that contracts
POSTGRESQL = f"postgresql://nobody@{HOST}/nothing"  # for its dialect: nothing connects
SHELL = 'exec "$@" 2>&1'  # mail is printed on standard error
SMOKE_TEST = ROOT / "quality" / "repository" / "smoke_test.sh"


def git(*arguments: str) -> str:
    command = ["git", "-C", str(ROOT), *arguments]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def head_of(base: str) -> str:
    """The newest revision that BASE knows. Raises ``CalledProcessError`` where there is no such commit."""
    names = git("ls-tree", "--name-only", base, f"{VERSIONS}/").split()
    texts = [git("show", f"{base}:{name}") for name in names if name.endswith(".py")]
    known = {
        found[1]
        for text in texts
        if (found := re.search(r'^revision\b.*"(.+)"', text, re.MULTILINE))
    }
    before = {
        found[1]
        for text in texts
        if (found := re.search(r'^down_revision\b.*"(.+)"', text, re.MULTILINE))
    }
    (head,) = known - before
    return head


def newer_than(base_head: str) -> list[Script]:
    scripts = ScriptDirectory.from_config(Config(str(ROOT / "backend" / "alembic.ini")))
    return [
        script
        for script in scripts.walk_revisions(base_head, "head")
        if script.revision != base_head
    ][::-1]


def sql_of(script: Script) -> str:
    step = f"{script.down_revision}:{script.revision}"
    return alembic(variables(POSTGRESQL), "upgrade", step, "--sql").stdout


def broken_rules(sql: str, spared: frozenset[str] = frozenset()) -> list[str]:
    """The rules that squawk finds broken, with its sentence."""
    done = subprocess.run(
        [
            str(Path(sys.executable).with_name("squawk")),
            "--reporter",
            "json",
            "--stdin-filepath",
            "migration.sql",
        ],
        input=sql,
        capture_output=True,
        text=True,
        check=False,
    )
    found: list[dict[str, Any]] = json.loads(done.stdout or "[]")  # Any: JSON
    return [
        f"{each['rule_name']}: {each['message']}"
        for each in found
        if each["rule_name"] in RULES - spared
    ]


def allowed_to(script: Script) -> frozenset[str]:
    contracts = SPARED if getattr(script.module, "CONTRACTS", "") else frozenset[str]()
    return contracts | getattr(script.module, "ACCEPTS", {}).keys()


async def execute(url: str, sql: str) -> None:
    connection = await asyncpg.connect(url)
    await connection.execute(sql)
    await connection.close()


async def walk(report: Report, folder: Path, base: str, change: str = "") -> None:
    """The code of BASE on the schema of this tree, and of one ``change`` more."""
    tree = folder / "base"
    git("worktree", "add", "--quiet", "--detach", str(tree), base)
    try:
        async with throwaway_database("migrations") as url:
            if change:
                await execute(url, change)
            environment = {
                **variables(url, APP_ENV="local"),
                "PYTHONPATH": str(tree / "backend"),
            }
            async with serving(folder, environment, shell=SHELL) as server:
                address = f"http://{HOST}:{server.port}"
                for name, command in {
                    f"verify of {base}": [
                        sys.executable,
                        str(tree / "scripts" / "verify.py"),
                        address,
                    ],
                    f"README of {base}": ["bash", str(SMOKE_TEST)],
                }.items():
                    given = {
                        **os.environ,
                        "URL": address,
                        "LOG": str(server.log),
                        "README": str(tree / "README.md"),
                    }
                    process = await asyncio.create_subprocess_exec(
                        *command, env=given, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
                    )
                    said, _ = await process.communicate()
                    report.exactly(
                        f"{name} on the new schema",
                        "ok",
                        "ok" if process.returncode == 0 else said.decode(),
                    )
    finally:
        git("worktree", "remove", "--force", str(tree))


async def main() -> int:
    base = sys.argv[1] if len(sys.argv) > 1 else "origin/main"
    report = Report()
    for script in newer_than(head_of(base)):
        found = broken_rules(sql_of(script), allowed_to(script))
        report.exactly(f"squawk on {script.revision}, {script.doc}", [], found)
    with tempfile.TemporaryDirectory() as folder:
        await walk(report, Path(folder), base)
    return report.exit_code()


if __name__ == "__main__":
    sys.exit(asyncio.run(main()))
