"""What a document consists of: links, names between backticks, fenced blocks."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from textwrap import dedent

ROOT = Path(__file__).resolve().parents[3]

FENCE = re.compile(r"^( *)```(\w*)\n(.*?)^\1```$", re.DOTALL | re.MULTILINE)
SPAN = re.compile(r"`([^`\n]+)`")
LINK = re.compile(r"\]\(([^)\s]+)\)|<(https?://[^>]+)>")
HEADING = re.compile(r"^#+ (.+)$", re.MULTILINE)
# The line in front of a block of a recipe: a new file, or the line of a file beside which the block goes.
FILE = re.compile(r"^`([^`\n]+)`, (new|above|below|instead of)(?: `([^\n]+)`)?:\n+\Z", re.MULTILINE)


@dataclass(frozen=True)
class Block:
    """A fenced block and the line that it begins on.

    In a recipe, ``file`` is where it goes: ``how`` is new, or above, below or instead of the line that begins with
    ``beside``.
    """

    language: str
    code: str
    line: int
    file: str | None = None
    how: str = ""
    beside: str = ""

    @property
    def is_shell(self) -> bool:
        return self.language in {"bash", "sh", "shell"}


@dataclass(frozen=True)
class Document:
    """One document; ``path`` is relative to the root of the repository."""

    path: Path
    text: str

    @cached_property
    def blocks(self) -> tuple[Block, ...]:
        return tuple(self._blocks())

    def _blocks(self) -> Iterator[Block]:
        for found in FENCE.finditer(self.text):
            before = self.text[: found.start()]
            place = FILE.search(before)
            yield Block(
                found[2],
                dedent(found[3]) if found[1] else found[3],
                before.count("\n") + 1,
                *(place.groups(default="") if place else ()),
            )

    @cached_property
    def prose(self) -> str:
        """The text without its blocks."""
        return FENCE.sub("", self.text)

    @property
    def spans(self) -> list[str]:
        return SPAN.findall(self.prose)

    @property
    def links(self) -> list[str]:
        return [found[1] or found[2] for found in LINK.finditer(self.prose)]

    @property
    def anchors(self) -> set[str]:
        """The names of its headings, as a link spells them."""
        plain = [heading.lower().replace("`", "") for heading in HEADING.findall(self.prose)]
        return {re.sub(r"[^\w -]", "", heading).replace(" ", "-") for heading in plain}

    @property
    def commands(self) -> list[str]:
        """Every line of its shell blocks, without comments and with continued lines joined."""
        code = "\n".join(block.code for block in self.blocks if block.is_shell)
        lines = code.replace("\\\n", " ").splitlines()
        return [line for line in lines if line.strip() and not line.lstrip().startswith("#")]


def read(path: Path) -> Document:
    return Document(path.relative_to(ROOT), path.read_text(encoding="utf-8"))
