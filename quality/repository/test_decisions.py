"""The table of decisions lists every decision, by its own title."""

import re

from app.core.config import PROJECT_ROOT

DECISIONS = PROJECT_ROOT / "backend" / "docs" / "adr"


def test_every_decision_is_listed_once_in_order_under_its_title() -> None:
    listed = re.findall(
        r"^\| \[(\d{4})\]\((.+?)\) \| (.+) \|$",
        (DECISIONS / "README.md").read_text(encoding="utf-8"),
        re.MULTILINE,
    )

    written = [
        (path.name[:4], path.name, path.read_text(encoding="utf-8").splitlines()[0])
        for path in sorted(DECISIONS.glob("[0-9]*.md"))
    ]

    assert [(number, name, f"# {number}. {title}") for number, name, title in listed] == written
