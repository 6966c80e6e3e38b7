"""Schemathesis against the document of a running server: as nobody, as a user and as an admin, side by side."""

import asyncio
import json
import os
import sys
from pathlib import Path
from string import Template

from quality.fuzz.target import Target
from quality.fuzz.verdict import Verdict
from quality.testkit.report import Report
from quality.testkit.server import HOST, ROOT
from quality.testkit.services import PASSWORD, Account

CONFIG = Path(__file__).with_name("schemathesis.toml")
# Again after each 401: an operation of its own may have ended every session.
LOGIN = """
[auth.dynamic.openapi.OAuth2PasswordBearer]
path = "/api/v1/auth/login"
payload = { email = "${own_address}", password = "${password}" }
extract_selector = "/access_token"
"""
MOST = 0.75
EVERY_PHASE, RANDOM_PHASES = "examples,coverage,fuzzing,stateful", "fuzzing,stateful"


async def fuzz_schema(
    report: Report, target: Target, folder: Path, wanted: int, examples: int
) -> None:
    """Rounds with the seed and those that follow it, until so many cases were played or a round found something."""
    verdicts: list[Verdict] = []
    rounds = 0
    while sum(verdict.cases for verdict in verdicts) < wanted and all_clean(verdicts):
        verdicts += await play_round(target, folder, rounds, examples)
        rounds += 1
    cases = sum(verdict.cases for verdict in verdicts)
    report.row("schema: cases played", f">= {wanted:,}", f"{cases:,}", kept=cases >= wanted)
    report.exactly("schema: runs with findings", 0, len([v for v in verdicts if not v.is_clean]))
    operations = verdicts[0].report["operations"]["total"]
    accepted = set().union(*(verdict.accepted for verdict in verdicts))
    # Some want what only a mail or another response tells: those are accepted in corpus.py.
    report.row(
        "schema: operations that accepted something",
        f">= {MOST:.0%} of {operations}",
        str(len(accepted)),
        kept=len(accepted) >= MOST * operations,
    )


def all_clean(verdicts: list[Verdict]) -> bool:
    return all(verdict.is_clean for verdict in verdicts)


async def play_round(target: Target, folder: Path, number: int, examples: int) -> list[Verdict]:
    """One round, with the output of those that have found something."""
    identities = {"anonymous": None, "user": target.user, "admin": target.admin}
    # What is not random was played in the first round.
    options = ["--phases", RANDOM_PHASES if number else EVERY_PHASE]
    options += ["--max-examples", str(examples), "--seed", str(target.seed + number)]
    verdicts = await asyncio.gather(
        *(
            play(target, folder / f"{name}-{number}", account, options)
            for name, account in identities.items()
        )
    )
    for name, verdict in zip(identities, verdicts, strict=True):
        if not verdict.is_clean:
            print(f"\n== as {name}: st run {' '.join(options)}\n{verdict.output}", flush=True)
    return verdicts


async def play(
    target: Target, folder: Path, account: Account | None, options: list[str]
) -> Verdict:
    """Run Schemathesis as one identity, in a folder of its own."""
    config, result = prepared(target, folder, account), folder / "report.json"
    command = [sys.executable, "-m", "schemathesis.cli", "--config-file", str(config), "run"]
    command += [f"http://{HOST}:{target.server.port}/openapi.json", *options]
    command += ["--report-json-path", str(result)]
    process = await asyncio.create_subprocess_exec(
        *command,
        cwd=folder,
        env=environment(),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    try:
        output = (await process.communicate())[0].decode(errors="replace")
    finally:
        if process.returncode is None:
            process.kill()
    if not result.exists():
        raise RuntimeError(f"Schemathesis has not come to its end:\n{output}")
    return Verdict(output, json.loads(result.read_text(encoding="utf-8")))


def prepared(target: Target, folder: Path, account: Account | None) -> Path:
    """Make the folder with the configuration for this target in it."""
    folder.mkdir()
    logs_in = LOGIN if account else ""
    text = Template(CONFIG.read_text(encoding="utf-8") + logs_in).substitute(
        own_address=account.email if account else "",
        user_id=target.user.id,
        admin_id=target.admin.id,
        address=target.user.email,
        password=PASSWORD,
    )
    config = folder / CONFIG.name
    config.write_text(text, encoding="utf-8")
    return config


def environment() -> dict[str, str]:
    """The checks of this package are found, and nothing of the caller's is but PATH."""
    return {
        "PATH": os.environ.get("PATH", ""),
        "PYTHONPATH": os.pathsep.join((str(ROOT), str(ROOT / "backend"))),
        "SCHEMATHESIS_HOOKS": "quality.fuzz.checks",
    }
