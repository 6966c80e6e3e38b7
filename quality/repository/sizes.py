"""How many lines there are of what: ``python -m quality.repository.sizes``, and a part of ``make docs-check``.

Two promises: the tests of the product are at most 2.2 times the application, its documents at most 3,400 lines.
"""

import sys
from pathlib import Path

from quality.repository.docs_check.documents import ROOT
from quality.repository.docs_check.repository import files

TESTS_PER_LINE = 2.2
MOST_DOCUMENTS = (
    3_400  # 3,000, and 400 for jobs, mail, accounts, roles, telemetry and four ways to deploy
)
NOT_COUNTED = {".png", ".svg"}
PLACES: dict[str, str | tuple[str, ...]] = {
    "application": "backend/app/",
    "tests": "backend/tests/",
    "migrations and scripts": ("backend/alembic/", "scripts/"),
    "quality": "quality/",
    "locks": "requirements/",
}


def main() -> int:
    found = measure()
    show(found)
    return int(not all(keeps(found).values()))


def measure() -> dict[str, int]:
    """Lines of files that are committed, or could be, by where they are."""
    lines = {name: count(ROOT / name) for name in files() if Path(name).suffix not in NOT_COUNTED}
    found = {
        what: sum(size for name, size in lines.items() if name.startswith(place))
        for what, place in PLACES.items()
    }
    found["documents"] = sum(size for name, size in lines.items() if is_product_document(name))
    found["everything"] = sum(lines.values())
    return found


def keeps(found: dict[str, int]) -> dict[str, bool]:
    """Each promise, and whether it is kept."""
    ratio = found["tests"] / found["application"]
    return {
        f"tests are {ratio:.2f} times the application, at most {TESTS_PER_LINE}": ratio <= TESTS_PER_LINE,
        f"product documents have at most {MOST_DOCUMENTS:,} lines": found["documents"] <= MOST_DOCUMENTS,
    }  # fmt: skip


def show(found: dict[str, int]) -> None:
    for what, size in found.items():
        print(f"{size:12,}  {what}")
    for what, is_kept in keeps(found).items():
        print(f"{'ok  ' if is_kept else 'FAIL'}  {what}")


def is_product_document(name: str) -> bool:
    """Those of the root and of ``backend/docs``; the README of a folder belongs to the folder."""
    return name.endswith(".md") and ("/" not in name or name.startswith("backend/docs/"))


def count(path: Path) -> int:
    return len(path.read_bytes().splitlines())


if __name__ == "__main__":
    sys.exit(main())
