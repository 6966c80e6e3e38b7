"""ERROR_MODEL.md names every error, with its status, and every header that it always sends."""

import pytest

from app.core.config import PROJECT_ROOT
from app.core.errors import BY_STATUS, AppError

DOCUMENT = (PROJECT_ROOT / "backend" / "docs" / "ERROR_MODEL.md").read_text(encoding="utf-8")


@pytest.mark.parametrize(("status", "cls"), BY_STATUS.items())
def test_every_error_has_its_row(status: int, cls: type[AppError]) -> None:
    rows = [
        line for line in DOCUMENT.splitlines() if line.startswith(f"| {status} | `{cls.code}` |")
    ]

    assert len(rows) == 1
    assert all(header in rows[0] for header in cls.headers)
