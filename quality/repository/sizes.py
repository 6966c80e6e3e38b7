"""How many lines there are of what: ``python -m quality.repository.sizes``.

Fails where the product's tests are more than 2.2 times the application, or its documents more than 3,000 lines.
"""

import sys
from pathlib import Path

from quality.repository.docs_check.documents import ROOT
from quality.repository.docs_check.repository import files

TESTS_PER_LINE = 2.2
MOST_DOCUMENTS = 3_000
NOT_COUNTED = {".png", ".svg"}


def main() -> int:
    lines = {name: count(ROOT / name) for name in files() if Path(name).suffix not in NOT_COUNTED}
    sizes = {
        "application": total(lines, "backend/app/", ".py"),
        "tests": total(lines, "backend/tests/", ""),
        "migrations and scripts": total(lines, ("backend/alembic/", "scripts/"), ".py"),
        "documents": sum(size for name, size in lines.items() if is_product_document(name)),
        "quality": total(lines, "quality/", ""),
        "locks": total(lines, "requirements/", ""),
        "everything": sum(lines.values()),
    }
    for what, size in sizes.items():
        print(f"{size:7,}  {what}")
    ratio = sizes["tests"] / sizes["application"]
    print(f"{ratio:7.2f}  tests to application, at most {TESTS_PER_LINE}")
    return int(ratio > TESTS_PER_LINE or sizes["documents"] > MOST_DOCUMENTS)


def total(lines: dict[str, int], folders: str | tuple[str, ...], suffix: str) -> int:
    return sum(
        size for name, size in lines.items() if name.startswith(folders) and name.endswith(suffix)
    )


def is_product_document(name: str) -> bool:
    """Those of the root and of ``backend/docs``; the README of a folder belongs to the folder."""
    return name.endswith(".md") and ("/" not in name or name.startswith("backend/docs/"))


def count(path: Path) -> int:
    return len(path.read_bytes().splitlines())


if __name__ == "__main__":
    sys.exit(main())
