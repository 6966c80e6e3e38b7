"""One canonical form for each mailbox: what is stored, looked up and compared."""

import unicodedata

from email_validator import SPECIAL_USE_DOMAIN_NAMES, EmailNotValidError, validate_email

from app.models.user import EMAIL_MAX_LENGTH

NOT_VALID = "This is not a valid e-mail address"
RESERVED = "The domain of this e-mail address is reserved, like localhost, .local and .test: no mail reaches it"


def canonical_email(text: str) -> str:
    """``text`` as the one address of its mailbox: no blanks around it, NFC, IDNA domain in ASCII, lower case.

    Raises ``ValueError`` for anything that is not a plain address, and for look-alikes: local parts are
    ASCII (RFC 5321), and a character that merely resembles another one is rejected instead of replaced.
    Its message says which domains are reserved (RFC 6761, RFC 6762), because their form is that of an address.
    """
    address = unicodedata.normalize("NFC", text).strip(" ")
    too_long = len(address) > EMAIL_MAX_LENGTH
    if too_long or unicodedata.normalize("NFKC", address) != address or _imitates_ascii(text):
        raise ValueError(NOT_VALID)
    try:
        valid = validate_email(address, check_deliverability=False, allow_smtputf8=False)
    except EmailNotValidError:
        raise ValueError(RESERVED if _is_reserved(address) else NOT_VALID) from None
    canonical = f"{valid.local_part}@{valid.ascii_domain}".lower()
    if len(canonical) > EMAIL_MAX_LENGTH:
        raise ValueError(NOT_VALID)
    return canonical


def _is_reserved(address: str) -> bool:
    """Whether the domain is a name for special use, such as localhost, or lies under one."""
    domain = address.rpartition("@")[2].lower()
    return domain.rpartition(".")[2] in SPECIAL_USE_DOMAIN_NAMES


def _imitates_ascii(text: str) -> bool:
    """Whether normalising alone would make ASCII of a character: the Kelvin sign is a K even in NFC."""
    return any(not char.isascii() and unicodedata.normalize("NFC", char).isascii() for char in text)
