"""What a fork may remove is removed in throw-away clones of what is committed: ``python -m quality.repository.ejected``.

One clone loses this folder, is linted, then loses every document, workflow and deployment file, gets a README of one line
and a Make target of its own, and is tested. Another one runs ``make eject-quality``. The environment is that of the caller.
"""

import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from quality.eject import MARKED
from quality.repository.docs_check.documents import ROOT, Document

# Files that the tests must not read.
REMOVED = (
    "**/*.md",
    ".github/**",
    "**/Dockerfile",
    "**/*compose*.yml",
    ".pre-commit-config.yaml",
    "deploy/**",
)
BINARY = {".png", ".bin"}
TARGETS = re.compile(r"^([a-z][\w-]*):", re.MULTILINE)


def main() -> int:
    targets = TARGETS.findall((ROOT / "quality" / "quality.mk").read_text("utf-8"))
    with tempfile.TemporaryDirectory() as folder:
        removed, ejected = clone(Path(folder, "removed")), clone(Path(folder, "ejected"))
        shutil.rmtree(removed / "quality")
        results = [make(removed, "lint", "rm -r quality: make lint")]
        reduce(removed)
        results += [
            make(removed, "test", "a README of one line, a target more, no workflow: make test"),
            make(ejected, "eject-quality", "make eject-quality"),
            make(ejected, "lint", "then make lint"),
            make(ejected, "test", "then make test finds its tests", "args=--collect-only -q"),
            report("nothing mentions the folder or its targets", mentions(ejected, targets)),
            report("links lead somewhere", dead_links(ejected)),
            report("no other line has changed", changes_elsewhere(ejected)),
        ]
    return int(not all(results))


def clone(path: Path) -> Path:
    command = ["git", "clone", "--quiet", str(ROOT), str(path)]
    subprocess.run(command, check=True)
    return path


def tracked(root: Path, *patterns: str) -> list[Path]:
    command = ["git", "-C", str(root), "ls-files", "-z", *(f":(glob){name}" for name in patterns)]
    found = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    return [root / name for name in found.split("\0") if name and (root / name).is_file()]


def reduce(root: Path) -> None:
    for path in tracked(root, *REMOVED):
        path.unlink()
    (root / "README.md").write_text("# Ours\n", encoding="utf-8")
    with (root / "Makefile").open("a", encoding="utf-8") as makefile:
        makefile.write("\nours:\n\t@true\n")


def make(root: Path, target: str, what: str, *arguments: str) -> bool:
    """Run a target with the packages of this environment, and show what it prints when it fails."""
    kept = {name: os.environ[name] for name in ("PATH", "HOME", "SYSTEMROOT") if name in os.environ}
    command = ["make", target, *arguments]
    done = subprocess.run(
        command,
        cwd=root,
        env={**kept, "VIRTUAL_ENV": sys.prefix},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    return report(what, [] if done.returncode == 0 else done.stdout.splitlines()[-40:])


def mentions(root: Path, targets: list[str]) -> list[str]:
    words = re.compile(rf"\bquality\b|\bmake ({'|'.join(targets)})\b", re.IGNORECASE)
    return [
        f"{path.relative_to(root)}: {line.strip()}"
        for path in tracked(root)
        if path.suffix not in BINARY
        for line in path.read_text(encoding="utf-8").splitlines()
        if words.search(line)
    ]


def dead_links(root: Path) -> list[str]:
    return [
        f"{path.relative_to(root)}: {link}"
        for path in tracked(root, "**/*.md")
        for link in Document(path, path.read_text(encoding="utf-8")).links
        if ":" not in link and not (path.parent / link.partition("#")[0]).exists()
    ]


def changes_elsewhere(root: Path) -> list[str]:
    """Files in which a line was added, or more lines are gone than were marked."""
    command = ["git", "-C", str(root), "diff", "--numstat", "--diff-filter=M"]
    changed = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    rows = [line.split("\t") for line in changed.splitlines()]
    return [
        name
        for added, removed, name in rows
        if int(added) or int(removed) > marked_lines(ROOT / name)
    ]


def marked_lines(path: Path) -> int:
    """The lines of the marked regions, each with a blank line behind it."""
    return sum(found[0].count("\n") + 1 for found in MARKED.finditer(path.read_text("utf-8")))


def report(what: str, problems: list[str]) -> bool:
    print("\n".join([f"{'FAIL' if problems else 'ok  '}  {what}", *problems]), flush=True)
    return not problems


if __name__ == "__main__":
    sys.exit(main())
