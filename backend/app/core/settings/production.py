"""Settings with which production does not start, and those it warns of. The rules go across the sections."""

import logging
from typing import Self

from pydantic import Field, model_validator

from app.core.http.settings import HttpSettings
from app.core.mail.settings import MailSettings
from app.core.rate_limit.settings import LoginThrottleSettings
from app.core.settings.auth import AuthSettings
from app.core.settings.database import DatabaseSettings

NOT_PRODUCTION = ("local", "test")
PRODUCTION_NAMES = ("production", "prod", "staging")
COUNTS_AS_PRODUCTION = (
    "every APP_ENV but local and test counts as production; .env is read in local only"
)

logger = logging.getLogger(__name__)


class ProductionRules(
    HttpSettings, DatabaseSettings, LoginThrottleSettings, MailSettings, AuthSettings
):
    app_env: str = Field(
        "local", description="Where it runs. Anything but local and test counts as production."
    )

    @model_validator(mode="after")
    def _safe_in_production(self) -> Self:
        if self.is_production and (
            found := [*self.problems_in_production(), *self.mail_problems()]
        ):
            hint = "" if self.app_env in PRODUCTION_NAMES else f" ({COUNTS_AS_PRODUCTION})"
            raise ValueError("; ".join(found) + hint)
        return self

    @property
    def is_production(self) -> bool:
        """Whether the safety checks of production apply: everywhere but in local and test."""
        return self.app_env not in NOT_PRODUCTION

    def warnings(self) -> list[str]:
        """Warnings about settings that are allowed but unwise in production. Empty elsewhere."""
        if not self.is_production:
            return []
        unwise = {
            "DATABASE_URL is not set: only the probes will work": self.database_url is None,
            "ALLOWED_HOSTS is empty: every Host header is accepted": not self.allowed_hosts,
            "JWT_AUDIENCE is not set: tokens are not bound to this service": not self.jwt_audience,
            "JWT_ISSUER is not set: tokens are not bound to their issuer": not self.jwt_issuer,
            "LOGIN_THROTTLE_ENABLED is off: guesses are not limited": not self.login_throttle_enabled,
            "MAIL_MODE is off: no mail is sent": self.mail_mode == "off",
            "DOCS_ENABLED is on: the documentation is public": bool(self.docs_enabled),
            "CORS_ALLOWED_ORIGINS contains *: any website may call": "*"
            in self.cors_allowed_origins,
            "FORWARDED_ALLOW_IPS is *: each client can claim any address": self.forwarded_allow_ips
            == ("*",),
            "DATABASE_URL is SQLite: one writer, one machine": self.database_dialect == "sqlite",
        }
        return [sentence for sentence, applies in unwise.items() if applies]


def log_production_warnings(settings: ProductionRules) -> None:
    """One warning at the start for everything that production allows and should not need."""
    if warnings := settings.warnings():
        logger.warning("unsafe_configuration", extra={"reasons": warnings})
