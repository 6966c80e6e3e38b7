"""Everything that a document names exists, and the check that says so finds each kind of mistake."""

from pathlib import Path

import pytest

from app.core.config import PROJECT_ROOT
from app.core.settings.postgresql_options import DROPPED, KEPT
from quality.repository.docs_check import names, repository
from quality.repository.docs_check.documents import Document

DOCUMENTS = pytest.mark.parametrize("document", repository.documents(), ids=lambda it: str(it.path))


def saying(text: str, path: str = "backend/docs/X.md") -> Document:
    return Document(Path(path), text)


@DOCUMENTS
def test_document_names_nothing_that_does_not_exist(document: Document) -> None:
    assert names.unknown(document) == []


def test_no_exception_is_left_over() -> None:
    assert names.stale() == []


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("[x](GONE.md)", "the link GONE.md"),
        ("# Here\n[x](#gone)", "the link #gone"),
        ("`app/gone.py`", "the file app/gone.py"),
        ("```bash\npython scripts/gone.py\n```", "the file scripts/gone.py"),
        ("`DELETE /api/v1/users/me`", "the route DELETE /api/v1/users/me"),
        ("```bash\ncurl -s http://localhost:8000/gone | cat\n```", "the route /gone"),
        ("```bash\nGONE_SETTING=1 make test\n```", "the variable GONE_SETTING"),
        ("```bash\nmake test && X=1 make gone  # why\n```", "the command make gone"),
        ("`app.core.config.Gone`", "the module app.core.config.Gone"),
        ("`quality.gone`", "the module quality.gone"),
        ("`unit/db/test_types.py::test_gone`", "the test unit/db/test_types.py::test_gone"),
        ("`UserRepository.vanish(x)`", "the name UserRepository.vanish(x)"),
    ],
)
def test_each_kind_of_name_is_looked_for(text: str, sentence: str) -> None:
    assert f"backend/docs/X.md names {sentence}" in names.unknown(saying(text))


def test_table_of_a_folder_names_what_lives_in_that_folder() -> None:
    moved = saying(
        "| file | what |\n|---|---|\n| `user.py` | elsewhere |", "backend/app/db/README.md"
    )

    assert names.unknown(moved) == ["backend/app/db/README.md names the file user.py"]


@pytest.mark.parametrize(
    "text",
    [
        "[x](../../README.md#use-it) and [`y`](adr/) and https://example.com/gone",
        "# One `word` (or two)\n[x](#one-word-or-two)",
        "`backend/app/auth/jwt.py`, `auth/jwt.py`, `jwt.py`, `app/auth/`, `requirements/*.txt`, `.venv`",
        "`GET /api/v1/users/{user_id}`, `/api/v1/users`, `/auth`, <http://127.0.0.1:8000/docs>",
        '`DATABASE_URL=postgresql://app@db/app`, `make test args="-k login"`, `make fmt lint test`',
        "`app.core.config.Settings`, `make quality bench`, `quality.fuzz`, `async def f(x)`, `Cache-Control: no-store`",
        "`unit/db/test_types.py`, `get_settings()`, `UserRepository.create`",
        "`app/models/gift.py`, new:\n\n```python\nclass GoldenGift: ...\n```\n\n`GoldenGift` is in `gift.py`.",
    ],
)
def test_what_exists_is_accepted(text: str) -> None:
    assert names.unknown(saying(text)) == []


def test_every_option_of_a_database_url_has_a_row_in_operations() -> None:
    page = (PROJECT_ROOT / "backend" / "docs" / "OPERATIONS.md").read_text(encoding="utf-8")

    assert [name for name in (*KEPT, *DROPPED, "ssl") if f"`{name}`" not in page] == []
