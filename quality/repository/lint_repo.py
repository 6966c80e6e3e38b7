"""Checks what the Python tools do not read: workflows, Dockerfile, Compose file, shell scripts; and looks for secrets.

    make lint-repo     everything, the whole history of git included
    python -m quality.repository.lint_repo --secrets FILE ...  these files alone, for the pre-commit hook

Each tool is first shown a fault and must refuse it: a tool that accepts everything looks like a clean repository.
"""

import secrets
import shutil
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
RULES = Path(__file__).parent / "secret_rules.yaml"

# Passwords that everybody may know: of the containers on a developer's machine, and of an address that leads nowhere.
PUBLIC = "^(app|nothing)$"
KINGFISHER = (
    *("kingfisher", "scan", "--quiet", "--redact", "--no-validate", "--no-update-check"),
    *("--rule", "all", "--rules-path", str(RULES), "--skip-regex", PUBLIC),
)
SCHEMA = ("check-jsonschema", "--quiet", "--builtin-schema")


@dataclass(frozen=True)
class Check:
    """A tool, the files that it reads, and a file that it must refuse."""

    what: str
    command: tuple[str, ...]
    files: tuple[str, ...]
    fault: tuple[str, str]


CHECKS = (
    Check(
        "workflows and Dependabot: nothing for an attacker to use",
        ("zizmor", "--offline", "--quiet", "--no-progress"),
        (".github",),
        (
            ".github/workflows/fault.yml",
            "on: pull_request_target\njobs: {a: {runs-on: x, steps: [{uses: actions/checkout@v1}]}}",
        ),
    ),
    Check(
        "workflows: well-formed",
        (*SCHEMA, "vendor.github-workflows"),
        (".github/workflows/*.yml",),
        (".github/workflows/fault.yml", "on: push\njobs: {a: {runs-on: x, step: []}}"),
    ),
    Check(
        "Dependabot: well-formed",
        (*SCHEMA, "vendor.dependabot"),
        (".github/dependabot.yml",),
        (".github/dependabot.yml", "version: 2\nupdates: [{package-ecosystem: pip}]"),
    ),
    Check(
        "Compose files: well-formed",
        (*SCHEMA, "vendor.compose-spec"),
        ("docker-compose*.yml", "deploy/*/compose.y*ml"),
        ("docker-compose.yml", "services: {app: {image: x, readonly: true}}"),
    ),
    Check("Dockerfile", ("hadolint",), ("Dockerfile",), ("Dockerfile", "FROM python:latest")),
    Check(
        "shell scripts",
        ("shellcheck", "--external-sources"),
        (".ci/*", "scripts/*.sh", "quality/**/*.sh", "deploy/**/*.sh"),
        ("scripts/fault.sh", "#!/bin/sh\nrm -r $1"),
    ),
)


def main() -> int:
    if sys.argv[1:2] == ["--secrets"]:
        return int(not passes(KINGFISHER, sys.argv[2:], ROOT))
    with ThreadPoolExecutor() as pool:
        results = zip(CHECKS, pool.map(holds, CHECKS), strict=True)
        kept = {check.what: is_held for check, is_held in results}
    kept["no secret, now or ever"] = finds_a_secret() and has_no_secret()
    for what, is_kept in kept.items():
        print(f"{'ok  ' if is_kept else 'FAIL'}  {what}")
    return int(not all(kept.values()))


def holds(check: Check) -> bool:
    return refuses_fault(check) and passes(check.command, matching(check, ROOT), ROOT)


def refuses_fault(check: Check) -> bool:
    with tempfile.TemporaryDirectory() as folder:
        name, content = check.fault
        Path(folder, name).parent.mkdir(parents=True, exist_ok=True)
        Path(folder, name).write_text(f"{content}\n", encoding="utf-8")
        refused = not passes(check.command, matching(check, Path(folder)), Path(folder), show=False)
    if not refused:
        print(f"{check.command[0]} accepts a fault: {check.what}", file=sys.stderr)
    return refused


def matching(check: Check, folder: Path) -> list[str]:
    found = sorted(path for pattern in check.files for path in folder.glob(pattern))
    return [str(path.relative_to(folder)) for path in found]


def finds_a_secret() -> bool:
    """Whether the scanner finds a signing key in a history."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        key = f"JWT_SECRET_KEY={secrets.token_urlsafe(48)}\n"
        (folder / "settings").write_text(key, encoding="utf-8")
        git(folder, "init", "--quiet")
        git(folder, "add", "settings")
        someone = ("-c", "user.name=x", "-c", "user.email=x@example.com")
        git(folder, *someone, "commit", "--quiet", "--no-verify", "--message", "a key")
        found = not passes(KINGFISHER, [str(folder / ".git")], folder, show=False)
    if not found:
        print("kingfisher does not find a key in a history", file=sys.stderr)
    return found


def has_no_secret() -> bool:
    """Whether nothing was ever committed, and nothing lies here to be committed, that looks like one."""
    if git(ROOT, "rev-parse", "--is-shallow-repository") == "true":
        sys.exit("The history is not here: git fetch --unshallow")
    history = git(ROOT, "rev-parse", "--path-format=absolute", "--git-common-dir")
    files = git(ROOT, "ls-files", "--cached", "--others", "--exclude-standard").splitlines()
    return passes(
        KINGFISHER, [history, *(name for name in files if Path(ROOT, name).is_file())], ROOT
    )


def git(folder: Path, *arguments: str) -> str:
    command = ["git", "-C", str(folder), *arguments]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


def passes(command: tuple[str, ...], files: list[str], folder: Path, *, show: bool = True) -> bool:
    """Run a tool of this environment on files, and show what it says when it finds something."""
    program = shutil.which(command[0], path=str(Path(sys.executable).parent))
    if program is None:
        sys.exit(f"{command[0]} is missing: make lint-repo installs it")
    done = subprocess.run(
        [program, *command[1:], *files],
        cwd=folder,
        stdin=subprocess.DEVNULL,  # without a file, some would wait for one here
        capture_output=True,
        text=True,
        check=False,
    )
    if show and done.returncode != 0:
        print(done.stdout, done.stderr, file=sys.stderr)
    return done.returncode == 0


if __name__ == "__main__":
    sys.exit(main())
