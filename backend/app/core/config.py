"""The only reader of the environment. Settings are immutable, bounded and never print a secret."""

import os
import warnings
from functools import lru_cache, partial
from pathlib import Path
from typing import Any, Self

from pydantic import Field, SecretStr, ValidationError, field_validator, model_validator
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

from app.core.cache.settings import CacheSettings
from app.core.http.settings import HttpSettings
from app.core.log.settings import LogSettings
from app.core.mail.settings import MailSettings
from app.core.rate_limit.settings import LoginThrottleSettings, RateLimitSettings
from app.core.redis.settings import RedisSettings
from app.core.runtime.settings import RuntimeSettings
from app.core.settings import problems
from app.core.settings.auth import AuthSettings
from app.core.settings.database import DatabaseSettings
from app.core.settings.jobs import JobSettings
from app.core.settings.production import NOT_PRODUCTION, ProductionRules
from app.core.settings.secret_files import SUFFIX, secret_names, secrets_in_files
from app.core.settings.sessions import SessionSettings
from app.core.settings.types import unquoted
from app.core.settings.urls import from_root, without_secrets
from app.core.telemetry.settings import TelemetrySettings

PROJECT_ROOT = Path(__file__).resolve().parents[3]
LOCAL_DATABASE = "sqlite:///var/local.sqlite3"
LOCAL_FRONTEND = "http://localhost:3000"
LOCAL_JWT_SECRET = "local-development-secret-that-is-refused-in-production-and-long-enough-for-HS512"  # noqa: S105  rejected outside local and test
KEYS = {
    "jwt_secret_key",
    "jwt_accepted_secret_keys",
}  # what stands around them may be a part of them
DRAIN_SECONDS = 5.0  # in production


class ConfigurationError(SystemExit):
    """The settings are unusable. Left alone, it ends the process with one line and exit code 1."""


def defaults_in(app_env: object) -> dict[str, object]:
    """Settings whose default depends on APP_ENV."""
    if app_env not in NOT_PRODUCTION:
        return {
            "docs_enabled": False,
            "drain_seconds": DRAIN_SECONDS,
            "worker_in_process": True,
            "mail_mode": "off",
        }
    is_local = app_env == "local"
    return {
        "docs_enabled": True,
        "drain_seconds": 0,
        "jwt_secret_key": LOCAL_JWT_SECRET,
        "worker_in_process": is_local,
        "mail_mode": "console" if is_local else "memory",
        "frontend_url": LOCAL_FRONTEND,
        **({"database_url": LOCAL_DATABASE} if is_local else {}),
    }


class Settings(
    ProductionRules,
    LogSettings,
    HttpSettings,
    RuntimeSettings,
    DatabaseSettings,
    RedisSettings,
    RateLimitSettings,
    LoginThrottleSettings,
    CacheSettings,
    TelemetrySettings,
    JobSettings,
    MailSettings,
    AuthSettings,
    SessionSettings,
    BaseSettings,
):
    """Everything that can be configured, with its default, its bounds and what it means: one class for each section.

    Built directly, it reads the process environment only; ``get_settings`` adds the ``.env`` file.
    Raises ``pydantic.ValidationError`` without the offending values in its text.
    """

    model_config = SettingsConfigDict(
        frozen=True,
        extra="ignore",
        env_file_encoding="utf-8-sig",
        hide_input_in_errors=True,
        validate_default=True,
    )

    app_name: str = Field(
        "FastAPI Backend Template", min_length=1, max_length=60, description="Title in the docs."
    )

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        named, in_dotenv = (partial(secrets_in_files, s) for s in (env_settings, dotenv_settings))
        return init_settings, named, env_settings, in_dotenv, dotenv_settings  # type: ignore[return-value]  # functions are sources too

    @model_validator(mode="before")
    @classmethod
    def _fill_defaults(cls, values: Any) -> Any:
        """An empty or blank value is the default, which may depend on APP_ENV; quotes around a value are removed.

        In a key both are kept: another service may have it with them.
        """
        if not isinstance(values, dict):
            return values
        plain = {
            name: value if name in KEYS and str(value).strip() else unquoted(value)
            for name, value in values.items()
        }
        given = {k: value for k, value in plain.items() if value is not None and value != ""}
        return defaults_in(given.get("app_env", "local")) | given

    @field_validator("database_url")
    @classmethod
    def _from_project_root(cls, url: SecretStr | None) -> SecretStr | None:
        return url and from_root(PROJECT_ROOT, url)

    @model_validator(mode="after")
    def _modules_have_what_they_need(self) -> Self:
        for name in ("rate_limit_enabled", "login_throttle_enabled", "cache_enabled"):
            if getattr(self, name) and self.redis_url is None:
                raise ValueError(f"{name.upper()} needs REDIS_URL")
        if self.telemetry_mode == "prometheus" and self.web_concurrency > 1:
            raise ValueError(
                "TELEMETRY_MODE=prometheus is for WEB_CONCURRENCY=1: with more, use otlp"
            )
        if self.auth_user_cache_enabled and not self.cache_enabled:
            raise ValueError("AUTH_USER_CACHE_ENABLED needs CACHE_ENABLED")
        return self

    def model_dump_safe(self) -> dict[str, Any]:
        """The settings as JSON types, every secret redacted, those inside URLs too."""
        safe = self.model_dump(mode="json")
        for name in ("database_url", "redis_url", "smtp_url"):
            secret: SecretStr | None = getattr(self, name)
            safe[name] = without_secrets(secret.get_secret_value()) if secret else None
        return safe


def env_file() -> Path | None:
    """The ``.env`` of a developer: read unless the process environment names another APP_ENV."""
    wanted = os.environ.get("APP_ENV", "local") in {"", "local"}  # noqa: TID251  the one reader
    return PROJECT_ROOT / ".env" if wanted else None


def read_settings(**given: Any) -> Settings:
    """The settings of the environment and of ``.env``; what is ``given`` wins.

    Raises ``pydantic.ValidationError``, and ``ConfigurationError`` for a file that is no text.
    """
    try:
        return Settings(_env_file=env_file(), **given)
    except UnicodeDecodeError:
        raise ConfigurationError("Configuration error: .env is not UTF-8 text") from None


def misspelt_names() -> list[str]:
    """One line for each name in ``.env`` that is none of ours and resembles one."""
    files = [f"{name}{SUFFIX}" for name in secret_names(Settings.model_fields)]
    names = [name.upper() for name in (*Settings.model_fields, *files)]
    return problems.misspelt_names(env_file(), names)


@lru_cache
def get_settings() -> Settings:
    """The settings of this process, read once.

    Raises ``ConfigurationError`` that names every wrong variable and no value.
    """
    try:
        settings = read_settings()
    except ValidationError as error:
        found = "; ".join(problems.describe(error))
        raise ConfigurationError(f"Configuration error: {found}") from None
    for line in misspelt_names():
        warnings.warn(line, stacklevel=2)
    return settings
