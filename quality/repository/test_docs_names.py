"""Everything that a document names exists, and the check that says so finds each kind of mistake."""

import re
from pathlib import Path

import pytest

from app.core.config import PROJECT_ROOT
from app.core.settings.postgresql_url import DROPPED, KEPT
from quality.repository.docs_check import names, repository
from quality.repository.docs_check.documents import Document

DOCUMENTS = pytest.mark.parametrize("document", repository.documents(), ids=lambda it: str(it.path))


def saying(text: str, path: str = "backend/docs/X.md") -> Document:
    return Document(Path(path), text)


@DOCUMENTS
def test_document_names_nothing_that_does_not_exist(document: Document) -> None:
    assert names.unknown(document) == []


def test_every_setting_and_every_make_target_is_documented() -> None:
    assert names.undocumented() == []


def test_operations_lists_every_setting_and_nothing_else() -> None:
    text = (PROJECT_ROOT / "backend/docs/OPERATIONS.md").read_text(encoding="utf-8")
    section = text.partition("\n## Settings\n")[2].partition("\n## ")[0]
    rows = [line for line in section.splitlines() if line.startswith("| ")]

    assert sorted(re.findall(r"`(\w+)`", "\n".join(rows))) == sorted(repository.settings())


def test_no_exception_is_left_over() -> None:
    assert names.stale() == []


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("[x](GONE.md)", "the link GONE.md"),
        ("[x](../../README.md#gone)", "the link ../../README.md#gone"),
        ("# Here\n[x](#gone)", "the link #gone"),
        ("![x](images/gone.png)", "the link images/gone.png"),
        ("[![x](gone.svg)](https://example.com)", "the link gone.svg"),
        ("`app/gone.py`", "the file app/gone.py"),
        ("`backend/gone/`", "the file backend/gone/"),
        ("`gone.py`", "the file gone.py"),
        ("`.gone`", "the file .gone"),
        ("```bash\npython scripts/gone.py\n```", "the file scripts/gone.py"),
        ("`GET /api/v1/gone`", "the route GET /api/v1/gone"),
        ("`DELETE /api/v1/users/me`", "the route DELETE /api/v1/users/me"),
        ("`GET /api/v1`", "the route GET /api/v1"),
        ("`/gone`", "the route /gone"),
        ("<http://127.0.0.1:8000/gone>", "the route /gone"),
        ("```bash\ncurl -s http://localhost:8000/gone | cat\n```", "the route /gone"),
        ("`GONE_SETTING=1`", "the variable GONE_SETTING"),
        ("```bash\nGONE_SETTING=1 make test\n```", "the variable GONE_SETTING"),
        ("`make gone`", "the command make gone"),
        ("`make test gone args=x`", "the command make gone"),
        ("```bash\nmake test && X=1 make gone  # why\n```", "the command make gone"),
        ("`app.core.gone`", "the module app.core.gone"),
        ("`app.core.config.Gone`", "the module app.core.config.Gone"),
        ("```bash\npython -m scripts.gone\n```", "the module scripts.gone"),
        ("`unit/db/test_types.py::test_gone`", "the test unit/db/test_types.py::test_gone"),
        ("`get_gone`", "the name get_gone"),
        ("`GoneMiddleware`", "the name GoneMiddleware"),
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
        "[x](../../README.md#run-it) and [`y`](adr/) and https://example.com/gone",
        "# One `word` (or two)\n[x](#one-word-or-two)",
        "`backend/app/auth/jwt.py`, `auth/jwt.py`, `jwt.py`, `app/auth/`, `requirements/*.txt`, `.venv`",
        "`GET /api/v1/users/{user_id}`, `/api/v1/users`, `/auth`, <http://127.0.0.1:8000/docs>",
        '`DATABASE_URL=postgresql://app@db/app`, `make test args="-k login"`, `make fmt lint test`',
        "`app.core.config.Settings`, `python -m app.cli routes`, `async def f(x)`, `Cache-Control: no-store`",
        "`unit/db/test_types.py`, `get_settings()`, `UserRepository.create`",
        "`app/models/gift.py`, new:\n\n```python\nclass GoldenGift: ...\n```\n\n`GoldenGift` is in `gift.py`.",
    ],
)
def test_what_exists_is_accepted(text: str) -> None:
    assert names.unknown(saying(text)) == []


def test_setting_or_target_that_no_document_names_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(repository, "settings", lambda: {"DATABASE_URL", "GONE_SETTING"})
    monkeypatch.setattr(repository, "targets", lambda: {"test", "gone"})

    assert names.undocumented() == [
        "no document names the setting GONE_SETTING",
        "no document names make gone",
    ]


def test_exception_that_nothing_needs_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(names.NOT_OURS, "a-name-that-nobody-uses", "a reason")

    assert names.stale() == ["a-name-that-nobody-uses"]


def test_every_option_of_a_database_url_has_a_row_in_operations() -> None:
    page = (PROJECT_ROOT / "backend" / "docs" / "OPERATIONS.md").read_text(encoding="utf-8")

    assert [name for name in (*KEPT, *DROPPED, "ssl") if f"`{name}`" not in page] == []
