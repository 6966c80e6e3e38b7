"""ERROR_MODEL.md and the tree of errors say the same."""

from app.core.errors import BY_STATUS
from tests.fixtures.error_table import DOCUMENT, SHOWN, WRITE, as_markdown, prose


def test_documentation_shows_every_error_to_the_letter() -> None:
    document = DOCUMENT.read_text(encoding="utf-8")

    shown = SHOWN.findall(document)

    assert shown == [as_markdown(prose(document))], "python -m tests.fixtures.error_table mends it"


def test_every_error_says_when_it_is_raised() -> None:
    assert WRITE not in DOCUMENT.read_text(encoding="utf-8")


def test_every_header_that_an_error_always_sends_is_named() -> None:
    written = prose(DOCUMENT.read_text(encoding="utf-8"))

    missing = [
        (cls.code, header)
        for cls in BY_STATUS.values()
        for header in cls.headers
        if header not in written[cls.code].also_sent
    ]

    assert missing == []


def test_an_error_that_is_new_asks_for_its_sentence() -> None:
    assert as_markdown({}).count(WRITE) == len(BY_STATUS)
