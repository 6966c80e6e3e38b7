"""What exists: files, make targets, variables, routes, words of the code."""

import re
import subprocess
from functools import cache
from pathlib import Path

from fastapi.routing import iter_route_contexts

from app.core.app_factory import create_app
from app.core.config import Settings
from quality.repository.docs_check.documents import ROOT, Document, read

DOCUMENTS = (".md",)
MAKEFILES = ("Makefile", "quality/quality.mk")


def git(*arguments: str) -> str:
    command = ["git", "-C", str(ROOT), *arguments]
    return subprocess.run(command, check=False, capture_output=True, text=True).stdout


@cache
def files() -> frozenset[str]:
    """Everything that is committed, or could be."""
    names = git("ls-files", "--cached", "--others", "--exclude-standard").splitlines()
    return frozenset(name for name in names if (ROOT / name).is_file())


@cache
def paths() -> frozenset[str]:
    """Those files and their folders."""
    folders = {folder.as_posix() for name in files() for folder in Path(name).parents}
    return files() | folders


@cache
def tails() -> frozenset[str]:
    """The same, and how a document may shorten them: ``auth/jwt.py`` for ``backend/app/auth/jwt.py``."""
    found = (Path(path).parts for path in paths())
    return frozenset("/".join(parts[start:]) for parts in found for start in range(len(parts)))


@cache
def is_made_by_a_command(path: str) -> bool:
    """Whether git ignores it: ``.venv``, ``var/``."""
    top = path.partition("/")[0]
    return any(git("check-ignore", "--no-index", name) for name in (path, f"{top}/"))


@cache
def documents() -> tuple[Document, ...]:
    return tuple(read(ROOT / name) for name in sorted(files()) if name.endswith(DOCUMENTS))


@cache
def targets() -> frozenset[str]:
    text = "\n".join((ROOT / name).read_text(encoding="utf-8") for name in MAKEFILES)
    return frozenset(re.findall(r"^([a-z][\w-]*):", text, re.MULTILINE))


@cache
def routes() -> frozenset[tuple[str, str]]:
    """Method and path of everything that is served."""
    app = create_app(Settings(app_env="test"))
    return frozenset(
        (method, str(route.path))
        for route in iter_route_contexts(app.routes)
        for method in {
            *(route.methods or ()),
            *(("HEAD",) if "GET" in (route.methods or ()) else ()),
        }
    )


@cache
def words() -> frozenset[str]:
    """Every word of the files that are no documents."""
    found: set[str] = set()
    for name in files():
        if not name.endswith((*DOCUMENTS, ".png", ".svg")) and name not in {
            "quality/repository/docs_check/names.py",
            "quality/repository/test_docs_names.py",
        }:
            text = (ROOT / name).read_text(encoding="utf-8", errors="ignore")
            found.update(re.findall(r"\w+", text))
    return frozenset(found)


@cache
def source(module: str) -> str | None:
    """The code of ``app.core.config``, or of the ``__init__`` of a package; ``None`` if there is neither."""
    folder = "" if module.partition(".")[0] in {"scripts", "quality"} else "backend/"
    stem = folder + module.replace(".", "/")
    for name in (f"{stem}.py", f"{stem}/__init__.py"):
        if name in files():
            return (ROOT / name).read_text(encoding="utf-8")
    return None
