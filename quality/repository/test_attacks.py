"""The list of attacks: complete, each once, and as the document says."""

import re

import pytest

from app.core.config import PROJECT_ROOT
from quality.adversarial.catalogue import NOT_HERE, catalogue

# Between them are attacks on what does not exist here: tokens that are renewed, tenants, jobs.
NUMBERS = {f"A-{number:02}" for number in (*range(1, 72), *range(81, 96))}


def test_every_number_is_attacked_here_or_held_elsewhere() -> None:
    numbers = [attack.id for attack in catalogue()] + list(NOT_HERE)

    assert NUMBERS - set(numbers) == set()
    assert len(set(numbers)) == len(numbers)


@pytest.mark.parametrize("reason", NOT_HERE.values(), ids=NOT_HERE.keys())
def test_what_holds_it_elsewhere_exists(reason: str) -> None:
    makefile = (PROJECT_ROOT / "quality" / "quality.mk").read_text(encoding="utf-8")
    chaos = (PROJECT_ROOT / "quality" / "docs" / "CHAOS.md").read_text(encoding="utf-8")
    files = re.findall(r"[\w/.-]+/[\w.-]+", reason)
    targets = re.findall(r"`make ([a-z-]+)", reason)
    sections = re.findall(r"section (\w+)", reason)

    assert files or targets
    assert [file for file in files if not (PROJECT_ROOT / file).is_file()] == []
    assert [target for target in targets if f"\n{target}:" not in makefile] == []
    assert [section for section in sections if f"\n| `{section}` |" not in chaos] == []
