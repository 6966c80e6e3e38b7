"""One spelling for each mailbox: what is stored, looked up and compared."""

import unicodedata

from email_validator import EmailNotValidError, validate_email

from app.models.user import EMAIL_MAX_LENGTH


def canonical_email(text: str) -> str:
    """``text`` as the one address of its mailbox: NFC, IDNA domain in ASCII, lower case.

    Raises ``ValueError`` for anything that is not a plain address, and for look-alikes: local parts are
    ASCII (RFC 5321), and a character that merely resembles another one is refused instead of replaced.
    """
    address = unicodedata.normalize("NFC", text)
    too_long = len(address) > EMAIL_MAX_LENGTH
    if too_long or unicodedata.normalize("NFKC", address) != address or _imitates_ascii(text):
        raise ValueError("This is not a valid e-mail address")
    try:
        valid = validate_email(address, check_deliverability=False, allow_smtputf8=False)
    except EmailNotValidError:
        raise ValueError("This is not a valid e-mail address") from None
    canonical = f"{valid.local_part}@{valid.ascii_domain}".lower()
    if len(canonical) > EMAIL_MAX_LENGTH:
        raise ValueError("This is not a valid e-mail address")
    return canonical


def _imitates_ascii(text: str) -> bool:
    """Whether normalising alone would make ASCII of a character: the Kelvin sign is a K even in NFC."""
    return any(not char.isascii() and unicodedata.normalize("NFC", char).isascii() for char in text)
