"""Settings of mail."""

import re
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, BaseModel, Field, SecretStr, model_validator

from app.core.settings.types import any_case, url_parts

PLAIN = re.compile(r"[!-~]+")  # printable ASCII without blanks: it stands in a mail
SCHEMES = ("smtps", "smtp", "smtp+plain")

MailMode = Literal["off", "console", "memory", "smtp"]


def usable_smtp_url(value: SecretStr) -> SecretStr:
    """Raises ``ValueError`` for what is no ``smtps://``, ``smtp://`` or ``smtp+plain://`` with a host."""
    if not url_parts(value.get_secret_value(), SCHEMES):
        raise ValueError(f"must be {'://, '.join(SCHEMES)}:// and a host")
    return value


def usable_frontend_url(value: str) -> str:
    """Without a slash at the end. Raises ``ValueError`` for what is no ``https://`` or ``http://`` with a host and at most a path."""
    parts = url_parts(value, ("https", "http"))
    if (
        not parts
        or parts.query
        or parts.fragment
        or "@" in parts.netloc
        or not PLAIN.fullmatch(value)
    ):
        raise ValueError("must be an address such as https://app.example.com, without ? and #")
    return value.rstrip("/")


class MailSettings(BaseModel):
    """Where mail goes."""

    mail_mode: Annotated[MailMode, any_case("off", "console", "memory", "smtp")] = Field(
        "off", description="off, console, memory or smtp. Unset: console in local, memory in test."
    )
    smtp_url: Annotated[SecretStr, AfterValidator(usable_smtp_url)] | None = Field(
        None, description="smtps://user:password@host, or smtp:// with STARTTLS. For smtp."
    )
    mail_from: str | None = Field(None, max_length=254, description="Address of the sender.")

    frontend_url: Annotated[str, AfterValidator(usable_frontend_url)] | None = Field(
        None, description="Where the links of mails lead. Unset in local: http://localhost:3000."
    )

    @model_validator(mode="after")
    def _mail_has_what_it_needs(self) -> Self:
        if self.mail_mode != "off" and self.frontend_url is None:
            raise ValueError(f"MAIL_MODE={self.mail_mode} needs FRONTEND_URL")
        if self.mail_mode == "smtp":
            for name in ("smtp_url", "mail_from"):
                if getattr(self, name) is None:
                    raise ValueError(f"MAIL_MODE=smtp needs {name.upper()}")
        return self

    def mail_problems(self) -> list[str]:
        """Problems that stop the start in production."""
        plain = self.smtp_url is not None and self.smtp_url.get_secret_value().startswith(
            "smtp+plain"
        )
        unsafe_link = self.frontend_url is not None and not self.frontend_url.startswith("https:")
        return [
            *(
                ["MAIL_MODE=console writes links that sign in"]
                if self.mail_mode == "console"
                else []
            ),
            *(["SMTP_URL must be encrypted"] if plain else []),
            *(["FRONTEND_URL must be https"] if unsafe_link else []),
        ]
