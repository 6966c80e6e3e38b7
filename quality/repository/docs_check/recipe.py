"""Follows a recipe: writes the files that a document shows, and counts what that takes."""

import subprocess
from dataclasses import dataclass
from pathlib import Path

from quality.repository.docs_check.documents import Block


def apply(block: Block, root: Path) -> str | None:
    """Write what the block shows into its file under ``root``. Returns why that is not possible, if it is not."""
    path = root / (block.file or "")
    if block.how == "new":
        if path.exists():
            return f"{block.file} is there already"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(block.code, encoding="utf-8")
        return None
    if not path.is_file():
        return f"{block.file} does not exist"
    lines = path.read_text(encoding="utf-8").splitlines(keepends=True)
    places = [at for at, line in enumerate(lines) if line.strip().startswith(block.beside)]
    if len(places) != 1:
        return f"{len(places)} lines of {block.file} begin with {block.beside}"
    start, end = places[0], places[0] + 1
    lines[end if block.how == "below" else start : start if block.how == "above" else end] = [
        block.code
    ]
    path.write_text("".join(lines), encoding="utf-8")
    return None


@dataclass(frozen=True)
class Cost:
    """What a recipe takes: files that were not there, and lines of those that were."""

    new_files: tuple[str, ...]
    changed_files: tuple[str, ...]
    lines_added: int
    lines_removed: int

    def __str__(self) -> str:
        return (
            f"{len(self.new_files)} new files ({', '.join(self.new_files)}); {self.lines_added} lines written "
            f"in place of {self.lines_removed} in {', '.join(self.changed_files) or 'no other file'}"
        )


def cost(root: Path) -> Cost:
    """What differs in the clone at ``root`` from what was cloned."""
    new = git(root, "ls-files", "--others", "--exclude-standard").splitlines()
    changed = [line.split("\t") for line in git(root, "diff", "--numstat").splitlines()]
    return Cost(
        new_files=tuple(new),
        changed_files=tuple(name for _, _, name in changed),
        lines_added=sum(int(added) for added, _, _ in changed),
        lines_removed=sum(int(removed) for _, removed, _ in changed),
    )


def git(root: Path, *arguments: str) -> str:
    command = ["git", "-C", str(root), *arguments]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout
