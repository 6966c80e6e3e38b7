"""Which files and links of a document lead nowhere."""

import re
import shlex
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

from quality.repository.docs_check import repository
from quality.repository.docs_check.documents import ROOT, SPAN, Document, read

SUFFIXES = [
    *("py", "md", "txt", "toml", "yml", "yaml", "json", "ini", "cfg", "conf", "sh", "lua", "mako"),
    *("png", "svg", "example"),
]
PATH = re.compile(
    rf"(?![/\d])(?:[\w.*{{}}/-]+(?:/|\.(?:{'|'.join(SUFFIXES)}))|\.\w[\w.-]*|[\w.-]+(?:/[\w.*-]+)+|[A-Z]\w+file)"
)
FIRST_CELL = re.compile(r"^\| (`[^|]*)\|", re.MULTILINE)


def links(document: Document) -> Iterator[str]:
    for link in document.links:
        if link.startswith(("http:", "https:", "mailto:")):
            continue
        name, _, anchor = link.partition("#")
        target = (ROOT / document.path.parent / name).resolve() if name else ROOT / document.path
        is_there = not name or exists(target)
        if not is_there or (anchor and anchor not in anchors_of(target, document)):
            yield link


def anchors_of(target: Path, document: Document) -> set[str]:
    return (document if target == ROOT / document.path else read(target)).anchors


def exists(path: Path) -> bool:
    return path == ROOT or (
        path.is_relative_to(ROOT) and path.relative_to(ROOT).as_posix() in repository.paths()
    )


def files(document: Document) -> Iterator[str]:
    own = made(document)
    for span in document.spans:
        if PATH.fullmatch(span) and not any(ways_to_find(span, document, own)):
            yield span
    if document.path.name == "README.md":  # the table of what lives in a folder means that folder
        for cell in FIRST_CELL.findall(document.prose):
            for name in SPAN.findall(cell):
                if PATH.fullmatch(name) and not exists(ROOT / document.path.parent / name):
                    yield name
    for command in document.commands:
        for word in words(command):
            if PATH.fullmatch(word) and "/" in word and not any(ways_to_find(word, document, own)):
                yield word


def ways_to_find(name: str, document: Document, own: set[str]) -> Iterator[bool]:
    """Whether ``name`` is a path from the root, from the document, a shortened one, or made by somebody."""
    plain = name.rstrip("/").removeprefix("./")
    yield not plain.strip("./*")
    yield exists((ROOT / document.path.parent / plain).resolve())
    if ".." not in plain:
        yield plain in repository.tails()
        yield "*" in plain and any(PurePosixPath(path).match(plain) for path in repository.paths())
        yield any(path == plain or f"/{path}".endswith(f"/{plain}") for path in own)
        yield repository.is_made_by_a_command(plain)
    yield f".{plain.rpartition('.')[2]}" == plain and plain[1:] in SUFFIXES  # `.md`: a kind of file


def made(document: Document) -> set[str]:
    """The files that the recipes of the documents make."""
    return {
        block.file
        for other in (*repository.documents(), document)
        for block in other.blocks
        if block.file
    }


def words(command: str) -> list[str]:
    try:
        return shlex.split(command, comments=True)
    except ValueError:  # a quotation over several lines
        return command.split()
