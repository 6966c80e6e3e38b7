"""Runs what README and ONBOARDING say, in their order, on a fresh clone of what is committed: ``make docs-check``.

Every shell block is run and every file of the recipe is written. A command that comes again runs where it comes last:
`make test` at the end, on what the recipe has left: the tests that can see it, or all of them with args=--whole. Names are
checked first, without a clone.
"""

import argparse
import asyncio
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

from quality.repository import sizes
from quality.repository.docs_check import names, recipe, repository
from quality.repository.docs_check.documents import ROOT, Block, Document
from quality.repository.docs_check.shell import DOCKER, SERVICES, Failure, Shell
from quality.testkit.services import throwaway_database

WALKED = ("README.md", "backend/docs/ONBOARDING.md")
SERVER = "make run"
BOTH_WAYS = "make db-upgrade && make db-downgrade && make db-upgrade"
# What `make test` is given here. All of it, on a fresh clone and on real services, are other steps of the gate.
SEES_A_RESOURCE = (
    "-q backend/tests/integration/api/v1 backend/tests/integration/test_openapi.py "
    "backend/tests/integration/test_authorization_matrix.py backend/tests/integration/test_migrations.py "
    "backend/tests/integration/test_invariants.py backend/tests/integration/test_cli.py"
)
OF_THE_RECIPE = "-q -n 0 backend/tests/integration/api/v1/test_notes.py"
NEEDS_SERVICES = "-q -n 0 backend/tests/integration/test_rate_limit.py"
# Those that find a route by itself.
SEE_A_NEW_ROUTE = ('make attack args="--only A-46 A-47"', 'make fuzz args="--quick --seed 1"')
NOT_GIVEN = "DATABASE_URL and REDIS_URL are not given"
MOST_NEW_FILES = 6
MOST_LINES_WRITTEN = 3  # the line in the list, its import, and that of the permission

Step = tuple[Document, Block]


def main() -> int:
    parser = argparse.ArgumentParser(prog="make docs-check")
    parser.add_argument("--whole", action="store_true", help="run every test after the recipe")
    whole: bool = parser.parse_args().whole
    began = time.monotonic()
    found = [
        *(sentence for document in repository.documents() for sentence in names.unknown(document)),
        *(f"nothing needs the exception {name}" for name in names.stale()),
    ]
    measured = sizes.measure()
    sizes.show(measured)
    if measured["documents"] > sizes.MOST_DOCUMENTS:
        found.append("the product documents are too long")
    print("\n".join(found) or f"ok    every name in {len(repository.documents())} documents exists")
    given = {name: os.environ.get(name, "") for name in ("DATABASE_URL", "REDIS_URL")}
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder, "clone")
        clone = ["git", "clone", "--quiet", str(ROOT), str(root)]
        subprocess.run(clone, check=True)
        walk = Walk(Shell(root, given if all(given.values()) else {}), whole=whole)
        walk.all()
    print(f"{time.monotonic() - began:.0f} s")
    return int(bool(found or walk.failed))


class Walk:
    """One way through the documents; ``failed`` counts what did not go as they say."""

    def __init__(self, shell: Shell, *, whole: bool = False) -> None:
        self.shell = shell
        self.whole = whole
        self.failed = 0
        root = shell.root
        documents = [Document(Path(name), (root / name).read_text("utf-8")) for name in WALKED]
        self.steps = [
            (document, block)
            for document in documents
            for block in document.blocks
            if block.is_shell or block.file
        ]

    def all(self) -> None:
        for at, (document, block) in enumerate(self.steps):
            where = f"{document.path}:{block.line}"
            if block.file:
                self.attempt(f"{where}  {block.file}, {block.how}", partial(self.write, block))
            else:
                self.commands(where, block.code, later=self.steps[at + 1 :])
        for what, action in (
            ("the recipe's migration and tests on PostgreSQL", self.on_postgres),
            ("the recipe's endpoints, attacked and fuzzed", self.provoke),
        ):
            if self.shell.services:
                self.attempt(what, action)
            else:
                print(f"      not run, {NOT_GIVEN}: {what}")
        self.attempt("what the recipe takes", self.count)

    def commands(self, where: str, code: str, later: list[Step]) -> None:
        run = self.shell.run
        if DOCKER.search(code):
            self.attempt(f"{where}  (needs Docker: parsed)", partial(self.shell.parse, code))
        elif "#> " in code:
            self.attempt(
                f"{where}  quality/repository/smoke_test.sh",
                partial(run, "bash quality/repository/smoke_test.sh"),
            )
        elif not SERVICES.search(code):
            self.lines(where, code.splitlines(), later)
        elif self.shell.services:
            what = f"{where}  {code.strip()} ({NEEDS_SERVICES})"
            self.attempt(what, partial(run, self.shell.on_services(code), args=NEEDS_SERVICES))
        else:
            print(f"      {where}  not run, {NOT_GIVEN}: {code.strip()}")

    def lines(self, where: str, lines: list[str], later: list[Step]) -> None:
        lines = [line.partition("  #")[0].rstrip() for line in lines]
        again = {line for _, block in later if block.is_shell for line in block.code.splitlines()}
        for line in filter(again.__contains__, lines):
            print(f"      {where}  {line}: comes again below")
        left = [line for line in lines if line not in again]
        if SERVER in left:
            self.attempt(f"{where}  {SERVER}", partial(self.shell.serve, SERVER))
            left.remove(SERVER)
        if left:
            is_narrow = "make test" in left and not self.whole
            tests = {"args": SEES_A_RESOURCE} if is_narrow else {}
            what = "; ".join([*left, *tests.values()])
            self.attempt(f"{where}  {what}", partial(self.shell.run, "\n".join(left), **tests))

    def write(self, block: Block) -> None:
        if problem := recipe.apply(block, self.shell.root):
            raise Failure(problem)

    def on_postgres(self) -> None:
        async def run() -> None:
            async with throwaway_database("docs") as url:
                await asyncio.to_thread(self.shell.run, BOTH_WAYS, DATABASE_URL=url)
                await asyncio.to_thread(
                    self.shell.run, "make test", args=OF_THE_RECIPE, DATABASE_URL=url
                )

        asyncio.run(run())

    def provoke(self) -> None:
        for command in SEE_A_NEW_ROUTE:
            self.shell.run(command, **self.shell.services)

    def count(self) -> None:
        cost = recipe.cost(self.shell.root)
        print(f"      {cost}")
        if len(cost.new_files) > MOST_NEW_FILES or cost.lines_added > MOST_LINES_WRITTEN:
            raise Failure(f"at most {MOST_NEW_FILES} and {MOST_LINES_WRITTEN} are promised")

    def attempt(self, what: str, action: Callable[[], object]) -> None:
        began = time.monotonic()
        try:
            action()
        except (Failure, subprocess.TimeoutExpired) as error:
            self.failed += 1
            print(f"FAIL  {what}: {error}", flush=True)
        else:
            print(f"ok    {what} ({time.monotonic() - began:.1f} s)", flush=True)


if __name__ == "__main__":
    sys.exit(main())
