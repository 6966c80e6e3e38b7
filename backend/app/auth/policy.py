"""Rules for new passwords. Length decides, not composition (NIST SP 800-63B-4, section 3.1.1.2)."""

import unicodedata

from app.auth.common_passwords import is_guessable
from app.auth.emails import canonical_email
from app.core.config import Settings
from app.core.errors import ValidationFailed

PASSWORD_MAX_LENGTH = 128

# NUL and its like, and lone surrogates: login rejects them, so nobody could use them.
UNUSABLE = {"Cc", "Cs"}


def check_new_password(
    password: str, email: str, settings: Settings, *, field: str = "password"
) -> None:
    """Raise ``ValidationFailed`` about ``field`` for a password that is too short or too common.

    It is checked as it will be compared, in NFC. ``email`` is the canonical address of the account.
    """
    if len(password) > PASSWORD_MAX_LENGTH:
        raise _rejected(f"Password should have at most {PASSWORD_MAX_LENGTH} characters", field)
    text = unicodedata.normalize("NFC", password)
    if any(unicodedata.category(char) in UNUSABLE for char in text):
        raise _rejected("Password should not contain control characters", field)
    if len(text) < settings.password_min_length:
        raise _rejected(
            f"Password should have at least {settings.password_min_length} characters", field
        )
    if len(set(text)) == 1:
        raise _rejected("Password should have more than one character repeated", field)
    local_part, name = email.partition("@")[0], settings.app_name
    if text.lower() == local_part or _is_address(text, email):
        raise _rejected("Password should not be the e-mail address", field)
    if is_guessable(text, (email, local_part, name, *name.split())):
        raise _rejected("Password should not be one that is easy to guess", field)


def _is_address(text: str, email: str) -> bool:
    try:
        return canonical_email(text) == email
    except ValueError:
        return False


def _rejected(message: str, field: str) -> ValidationFailed:
    return ValidationFailed.about("body", field, msg=message, kind="password_too_weak")
