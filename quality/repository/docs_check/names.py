"""Every name that a document uses exists: paths, anchors, routes, variables, make targets, modules, names of code.

What differs is one sentence in a list, so that a test can hold it against an empty one.
"""

import re
from collections.abc import Callable, Iterator

from quality.repository.docs_check import repository
from quality.repository.docs_check.code import modules, names, tests, variables
from quality.repository.docs_check.documents import Document
from quality.repository.docs_check.files import files, links, words

# What documents name although this repository has nothing of the kind, and why.
NOT_OURS = {
    "/api/v2": "what a breaking change will become",
    "/a/5/b/15": "an example of a path",
    "UV_EXCLUDE_NEWER": "uv's",
    "FORWARDED_ALLOW_IPS": "uvicorn's",
    "HttpOnly": "of cookies, which there are none",
    "SameSite": "of cookies, which there are none",
    "QueueHandler": "of the standard library",
    "QueueListener": "of the standard library",
    ".git": "git's",
    "text/plain": "a type of content",
}

ROUTE = re.compile(r"(?:([A-Z]{3,7}) )?(/(?:[\w.*{}$-]+/?)*)(?:\?\S*)?")
LOCAL_URL = re.compile(r"https?://(?:127\.0\.0\.1|localhost):(?:8000|8001|\$\w+)(/[\w.*{}$/-]*)?")


def unknown(document: Document) -> list[str]:
    """One sentence for each thing that ``document`` names and that does not exist."""
    found = [
        f"{document.path} names {kind} {name}"
        for kind, look in LOOKS.items()
        for name in look(document)
        if name not in NOT_OURS
    ]
    return list(dict.fromkeys(found))


def routes(document: Document) -> Iterator[str]:
    named = [found for span in document.spans if (found := ROUTE.fullmatch(span))]
    for found in named:
        if not is_served(found[1], found[2]):
            yield found[0]
    for url in LOCAL_URL.findall("\n".join([*document.links, *document.spans, *document.commands])):
        if not is_served(None, url):
            yield url


def is_served(method: str | None, path: str) -> bool:
    """Whether a route serves ``path``, or begins with it; ``{x}``, ``$X`` and ``*`` stand for anything."""
    wanted = [piece for piece in path.split("/") if piece]
    for known_method, known in repository.routes():
        pieces = [piece for piece in known.split("/") if piece]
        is_whole = len(wanted) == len(pieces)
        if method is not None and (method != known_method or not is_whole):
            continue
        if len(wanted) <= len(pieces) and all(map(same_piece, wanted, pieces)):
            return True
    return not wanted


def same_piece(wanted: str, known: str) -> bool:
    if known.startswith("{"):
        return wanted.startswith(("{", "$", "*")) or "-" in wanted
    return wanted in {known, "*"}


def targets(document: Document) -> Iterator[str]:
    for text in (*document.spans, *document.commands):
        for command in re.split(r"&&|\|\||[|;]", text):
            yield from (f"make {target}" for target in goals(command) - repository.targets())


def goals(command: str) -> set[str]:
    """The targets of a command that runs make; none for any other."""
    found = words(command)
    while found and "=" in found[0]:
        found = found[1:]
    if found[:1] != ["make"]:
        return set()
    return {word for word in found[1:] if re.fullmatch(r"[a-z][\w-]*", word)}


LOOKS: dict[str, Callable[[Document], Iterator[str]]] = {
    "the link": links,
    "the file": files,
    "the route": routes,
    "the variable": variables,
    "the command": targets,
    "the module": modules,
    "the test": tests,
    "the name": names,
}


def stale() -> list[str]:
    """Exceptions that nothing needs any more."""
    said = "\n".join(document.text for document in repository.documents())
    return [name for name in NOT_OURS if name not in said]
