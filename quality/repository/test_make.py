"""Targets that refuse what would do harm, before they start anything."""

import re
import shutil
import subprocess

import pytest

from app.core.config import PROJECT_ROOT


@pytest.mark.skipif(shutil.which("make") is None, reason="the commands also work without make")
@pytest.mark.parametrize("msg", ["", " "])
def test_a_revision_needs_a_name(msg: str) -> None:
    # PYTHON=false: whatever follows the refusal would fail in its own words and write nothing.
    command = ["make", "db-revision", f"msg={msg}", "PYTHON=false"]

    response = subprocess.run(
        command, cwd=PROJECT_ROOT, capture_output=True, text=True, check=False
    )

    assert response.returncode != 0
    assert (
        response.stderr.splitlines()[0]
        == 'A revision needs a name: make db-revision msg="add orders"'
    )


def test_help_shows_at_most_twenty_targets_of_the_product() -> None:
    makefile = (PROJECT_ROOT / "Makefile").read_text(encoding="utf-8")

    assert len(re.findall(r"^[a-z][\w-]*:.*## ", makefile, re.MULTILINE)) <= 20
