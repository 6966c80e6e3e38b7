"""Which new passwords are refused. Length decides, not composition (NIST SP 800-63B-4, section 3.1.1.2)."""

from app.core.config import Settings
from app.core.errors import ValidationFailed


def check_new_password(password: str, email: str, settings: Settings) -> None:
    """Raise ``ValidationFailed`` for a password that is too short or that anybody would try first."""
    if len(password) < settings.password_min_length:
        raise _refused(f"Password should have at least {settings.password_min_length} characters")
    if len(set(password)) == 1:
        raise _refused("Password should have more than one character repeated")
    if password.lower() in {email, email.partition("@")[0]}:
        raise _refused("Password should not be the e-mail address")


def _refused(message: str) -> ValidationFailed:
    problem = {"loc": ["body", "password"], "msg": message, "type": "password_too_weak"}
    return ValidationFailed(details={"errors": [problem]})
