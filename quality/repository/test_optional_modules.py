"""The contract's word for what becomes of an optional module without Redis stands where the promise is described."""

import re

import pytest

from app.core.config import PROJECT_ROOT

FAIL_OPEN = re.compile(r"fail(s|ing)?[ -]open", re.IGNORECASE)
DOCUMENTS = [
    "backend/docs/RATE_LIMITING.md",
    "backend/docs/CACHING.md",
    "backend/docs/PROD_HARDENING.md",
    "backend/docs/AUTH_MODEL.md",
    "backend/app/core/rate_limit/README.md",
    "backend/app/core/cache/README.md",
    "SECURITY.md",
    "AGENTS.md",
    ".env.example",
]


@pytest.mark.parametrize("document", DOCUMENTS)
def test_document_says_that_it_fails_open(document: str) -> None:
    text = " ".join((PROJECT_ROOT / document).read_text(encoding="utf-8").split())

    assert FAIL_OPEN.search(text)
