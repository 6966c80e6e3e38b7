"""A mail, and the port that takes it. Only a job sends mail, because a mail of a request is lost when its process ends."""

import re
from dataclasses import dataclass
from typing import Protocol

from email_validator import EmailNotValidError, validate_email

CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]")
MAX_SUBJECT = 200


class MailRefused(Exception):
    """This mail will never be taken, however often it is tried: the message says why and holds no address."""


class MailDelayed(Exception):
    """It was not taken this time: the message says why and holds no address."""


@dataclass(frozen=True)
class Mail:
    """One message to one address, as text and, where ``html`` is given, as a page beside it.

    Raises ``ValueError`` for an address or a subject that could be read as a second header or a second recipient.
    """

    to: str
    subject: str
    text: str
    html: str | None = None

    def __post_init__(self) -> None:
        if CONTROL.search(self.subject) or not 0 < len(self.subject) <= MAX_SUBJECT:
            raise ValueError(f"a subject is one line of at most {MAX_SUBJECT} characters")
        object.__setattr__(self, "to", ascii_address(self.to))


def ascii_address(text: str) -> str:
    """The one address that ``text`` is, its domain as DNS knows it (RFC 5890). Raises ``ValueError``."""
    try:
        found = validate_email(text, check_deliverability=False).ascii_email
    except EmailNotValidError:
        found = None
    if found is None:  # with letters before the @ that not every server takes (RFC 6531)
        raise ValueError("not an address that every mail server takes")
    return found


class Mailer(Protocol):
    """Takes a mail, or raises ``MailRefused`` where trying again is of no use and ``MailDelayed`` where it is."""

    async def send(self, mail: Mail, mail_id: str) -> None:
        """Hand ``mail`` over. A second time with the same id is the same mail again."""


class NullMailer:
    """Drops every mail."""

    async def send(self, mail: Mail, mail_id: str) -> None:
        """Do nothing."""
