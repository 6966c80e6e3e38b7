"""Which names of code in a document no code has: variables, modules, tests, functions and classes."""

import re
from collections.abc import Iterator

from quality.repository.docs_check import repository
from quality.repository.docs_check.documents import ROOT, Document
from quality.repository.docs_check.files import PATH, made

VARIABLE = re.compile(r"\b([A-Z][A-Z0-9]*(?:_[A-Z0-9]+)+)\b")
MODULE = re.compile(r"(?<![\w/])((?:app|tests|scripts|quality)(?:\.[A-Za-z_]\w*)+)")
TEST = re.compile(r"([\w/]+\.py)::(\S+)")
NAME = re.compile(r"@?(?:[A-Za-z]\w*\.)*([A-Za-z]\w*)(?:\(.*\))?")
LOOKS_LIKE_CODE = re.compile(r"[a-z]\w*_\w+|[A-Z]+[a-z]\w*[A-Z]\w*|[A-Z][A-Z0-9]*_[A-Z0-9_]+")


def variables(document: Document) -> Iterator[str]:
    """Settings, variables of the tools around them, and constants of the code are all words of the repository."""
    for text in (*document.spans, *document.commands):
        for name in VARIABLE.findall(text):
            if name not in repository.words():
                yield name


def modules(document: Document) -> Iterator[str]:
    own = made(document)
    for text in (*document.spans, *document.commands):
        for name in MODULE.findall(text):
            is_made = any(path.endswith(f"{name.replace('.', '/')}.py") for path in own)
            if not is_made and not is_importable(name):
                yield name


def is_importable(name: str) -> bool:
    """Whether ``app.core.config`` is a module or a package, or a word of one: ``app.core.config.Settings``."""
    parts = name.split(".")
    if repository.source(name) is not None:
        return True
    module = repository.source(".".join(parts[:-1]))
    if module:
        return re.search(rf"\b{parts[-1]}\b", module) is not None
    return parts[:-1] == ["app"] and parts[-1] in repository.words()  # of an instance: app.state


def tests(document: Document) -> Iterator[str]:
    for file, name in TEST.findall("\n".join(document.spans)):
        homes = [path for path in repository.files() if f"/{path}".endswith(f"/{file}")]
        last = name.rpartition("::")[2]
        if not any(re.search(rf"def {last}\b", text_of(home)) for home in homes):
            yield f"{file}::{name}"


def text_of(path: str) -> str:
    return (ROOT / path).read_text(encoding="utf-8")


def names(document: Document) -> Iterator[str]:
    """Names that can only be those of code: ``get_db``, ``UserRepository.create``, ``MAX_LIST``."""
    shown = {word for block in document.blocks for word in re.findall(r"\w+", block.code)}
    for span in document.spans:
        if not NAME.fullmatch(span) or PATH.fullmatch(span):
            continue
        pieces = re.findall(r"\w+", span.partition("(")[0])
        for piece in pieces:
            is_name = LOOKS_LIKE_CODE.fullmatch(piece) or (len(pieces) > 1 and "(" in span)
            if is_name and piece not in repository.words() | shown:
                yield span
