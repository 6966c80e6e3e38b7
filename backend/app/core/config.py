"""The only reader of the environment. Settings are immutable, bounded and never print a secret."""

import os
import warnings
from collections.abc import Iterable
from difflib import get_close_matches
from functools import lru_cache
from pathlib import Path, PurePath
from typing import Annotated, Any, Literal, Self

from dotenv import dotenv_values
from pydantic import Field, SecretStr, ValidationError, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from app.core.settings.types import (
    DatabaseUrl,
    HeaderNames,
    HostNames,
    Origins,
    Proxies,
    RedisUrl,
    Seconds,
    any_case,
    unquoted,
    without_secrets,
)

PROJECT_ROOT = Path(__file__).resolve().parents[3]
LOCAL_DATABASE = "sqlite:///var/local.sqlite3"
LOCAL_JWT_SECRET = "local-development-secret-that-is-refused-in-production-and-long-enough-for-HS512"  # noqa: S105  refused outside local and test

# RFC 7518, section 3.2: an HMAC key is at least as long as the hash.
JWT_SECRET_MIN_BYTES = {"HS256": 32, "HS384": 48, "HS512": 64}
PRODUCTION_HASH_ROUNDS_MIN = 10
DRAIN_SECONDS = 5.0  # in production
SPARE_CONNECTIONS = 13  # 3 that PostgreSQL keeps for superusers, 10 for a migrator and for people
ALIKE = 0.85  # of two names: one letter in seven differs
PASSWORD_FLOOR = 8  # characters; PASSWORD_MIN_LENGTH may ask for more
PRODUCTION_NAMES = ("production", "prod", "staging")
COUNTS_AS_PRODUCTION = (
    "every APP_ENV but local and test counts as production; .env is read in local only"
)
PLACEHOLDERS = ("change", "secret", "example", "placeholder", "your-", "password")


LogLevel = Annotated[
    Literal["DEBUG", "INFO", "WARNING", "ERROR"],
    any_case("DEBUG", "INFO", "WARNING", "ERROR", warn="WARNING"),
]


class ConfigurationError(SystemExit):
    """The settings are unusable. Left alone, it ends the process with one line and exit code 1."""


class Settings(BaseSettings):
    """Everything that can be configured, with its default, its bounds and what it means.

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

    # Core
    app_env: str = Field(
        "local", description="Where it runs. Anything but local and test counts as production."
    )
    app_name: str = Field(
        "FastAPI Backend Template", min_length=1, max_length=60, description="Title in the docs."
    )
    log_level: LogLevel = Field("INFO", description="Least severe level that is logged.")
    log_json: bool = Field(True, description="One JSON object a line, or readable text.")
    docs_enabled: bool | None = Field(
        None, description="Serve /docs and /openapi.json. Unset: only in local and test."
    )

    # HTTP
    allowed_hosts: HostNames = Field(
        (), description="Host names that are answered, comma separated. Empty: every name."
    )
    cors_allowed_origins: Origins = Field(
        (), description="Browser origins that may call, comma separated. Empty: none."
    )
    cors_allowed_headers: HeaderNames = Field(
        (), description="Request headers beyond those of the API and of tracing, comma separated."
    )
    forwarded_allow_ips: Proxies = Field(
        (),
        description="Proxies whose X-Forwarded-For is believed. uvicorn reads the same variable.",
    )
    hsts_seconds: int = Field(
        0, ge=0, le=63_072_000, description="Strict-Transport-Security max-age. 0: not sent."
    )
    max_body_bytes: int = Field(
        1_048_576,
        ge=1_024,
        le=1_073_741_824,
        description="Largest request body, where the route does not say otherwise (max_body_size).",
    )
    max_concurrent_requests: int = Field(
        100, ge=0, le=100_000, description="Requests at work in a process, then 503. 0: no limit."
    )
    web_concurrency: int = Field(
        1, ge=1, le=1_000, description="Worker processes. uvicorn reads the same variable."
    )
    drain_seconds: float | None = Field(
        None,
        ge=0,
        le=300,
        description="How long SIGTERM keeps serving while readiness says 503. Unset: 0 in local and test, else 5.",
    )

    # Database and Redis
    database_url: DatabaseUrl | None = Field(
        None, description="postgresql://... or sqlite:///... Unset in local: var/local.sqlite3."
    )
    database_pooler: Literal["none", "transaction"] = Field(
        "none", description="Whether PgBouncer or the like is between, in whichever mode."
    )
    database_pool_size: int = Field(
        10, ge=1, le=500, description="Connections a process keeps; there is no overflow."
    )
    database_max_connections: int = Field(
        100,
        ge=1,
        le=100_000,
        description="PostgreSQL's max_connections, to check the pools against.",
    )
    database_pool_recycle_seconds: int = Field(
        1_800, ge=1, le=86_400, description="Age at which a pooled connection is replaced."
    )
    database_pool_timeout_seconds: Seconds = Field(
        2, description="Longest wait for a free connection, then 503."
    )
    database_connect_timeout_seconds: Seconds = Field(
        2, description="Longest wait for a new connection, then 503."
    )
    database_statement_timeout_seconds: Seconds = Field(
        2.5, description="Longest statement of a request, then 503."
    )
    database_lock_timeout_seconds: Seconds = Field(
        2, description="Longest wait for a lock, then 503."
    )
    redis_url: RedisUrl | None = Field(None, description="redis://... Optional.")
    readiness_requires_redis: bool = Field(
        False, description="Readiness fails when a configured Redis does not answer."
    )

    # Optional modules, each off by default and without effect when Redis is away
    rate_limit_enabled: bool = Field(
        False, description="Limit requests under /api/v1. Needs REDIS_URL."
    )
    rate_limit_requests: int = Field(
        100, ge=1, le=1_000_000, description="Requests of one key in any window."
    )
    rate_limit_window_seconds: int = Field(60, ge=1, le=86_400, description="Length of the window.")
    rate_limit_key_strategy: Annotated[
        Literal["user_or_ip", "ip"], any_case("user_or_ip", "ip")
    ] = Field(
        "user_or_ip", description="Count by verified account, else by address; or by address alone."
    )
    login_throttle_enabled: bool = Field(
        False, description="Limit failed logins of an account and a source. Needs REDIS_URL."
    )
    login_throttle_attempts: int = Field(
        10, ge=1, le=100, description="Failures of one account from one source in any window."
    )
    login_throttle_window_seconds: int = Field(
        900, ge=1, le=86_400, description="Length of that window."
    )
    cache_enabled: bool = Field(False, description="Cache what endpoints read. Needs REDIS_URL.")
    cache_default_ttl_seconds: int = Field(
        60, ge=1, le=3_600, description="How long an entry lives at most."
    )
    auth_user_cache_enabled: bool = Field(
        False, description="Read the caller from the cache. Needs CACHE_ENABLED."
    )
    auth_user_cache_ttl_seconds: int = Field(
        10, ge=1, le=60, description="How late a deactivation may act where Redis missed it."
    )
    telemetry_mode: Annotated[Literal["noop", "log"], any_case("noop", "log")] = Field(
        "noop", description="Where counts and times go: nowhere, or into the log."
    )
    telemetry_sample_rate: float = Field(
        1.0, ge=0, le=1, description="Share of them that is written."
    )

    # JWT and passwords
    jwt_secret_key: SecretStr | None = Field(
        None, description="Signing key, 32 bytes or more. Required outside local and test."
    )
    jwt_algorithm: Annotated[
        Literal["HS256", "HS384", "HS512"], any_case("HS256", "HS384", "HS512")
    ] = Field("HS256", description="The one algorithm that is issued and accepted.")
    jwt_access_token_expires_minutes: int = Field(
        60, ge=1, le=1_440, description="Lifetime of an access token."
    )
    jwt_issuer: str | None = Field(None, description="iss to issue and to require.")
    jwt_audience: str | None = Field(None, description="aud to issue and to require.")
    password_min_length: int = Field(
        PASSWORD_FLOOR, ge=PASSWORD_FLOOR, le=64, description="Fewest characters of a new password."
    )
    password_hash_rounds: int = Field(
        12, ge=4, le=16, description="bcrypt cost, a power of two. At least 10 in production."
    )
    password_hash_queue_size: int = Field(
        16, ge=1, le=10_000, description="Hashes that may wait for a core, then 503."
    )

    password_hash_workers: int | None = Field(
        None,
        ge=1,
        le=256,
        description="Threads that hash. Unset: the process's share of the processors, less one.",
    )

    @model_validator(mode="before")
    @classmethod
    def _empty_means_default(cls, values: Any) -> Any:
        """Blanks and quotes around a value mean nothing, except in a key: another service may have it with them."""
        if not isinstance(values, dict):
            return values
        plain = {
            name: value if name == "jwt_secret_key" and str(value).strip() else unquoted(value)
            for name, value in values.items()
        }
        return {name: value for name, value in plain.items() if value != ""}

    @model_validator(mode="after")
    def _local_defaults(self) -> Self:
        if self.app_env == "local" and self.database_url is None:
            self._set("database_url", SecretStr(LOCAL_DATABASE))
        if self.database_url is not None and self.database_dialect == "sqlite":
            url = from_project_root(self.database_url.get_secret_value())
            self._set("database_url", SecretStr(url))
        if not self.is_production and self.jwt_secret_key is None:
            self._set("jwt_secret_key", SecretStr(LOCAL_JWT_SECRET))
        if self.docs_enabled is None:
            self._set("docs_enabled", not self.is_production)
        if self.drain_seconds is None:
            self._set("drain_seconds", DRAIN_SECONDS if self.is_production else 0.0)
        return self

    @model_validator(mode="after")
    def _modules_have_what_they_need(self) -> Self:
        for name in ("rate_limit_enabled", "login_throttle_enabled", "cache_enabled"):
            if getattr(self, name) and self.redis_url is None:
                raise ValueError(f"{name.upper()} needs REDIS_URL")
        if self.auth_user_cache_enabled and not self.cache_enabled:
            raise ValueError("AUTH_USER_CACHE_ENABLED needs CACHE_ENABLED")
        return self

    @model_validator(mode="after")
    def _safe_in_production(self) -> Self:
        if self.is_production:
            problems = list(self._production_problems())
            if problems:
                hint = "" if self.app_env in PRODUCTION_NAMES else f" ({COUNTS_AS_PRODUCTION})"
                raise ValueError("; ".join(problems) + hint)
        return self

    def _production_problems(self) -> Iterable[str]:
        key = self.jwt_secret_key.get_secret_value() if self.jwt_secret_key else ""
        if not key:
            yield "JWT_SECRET_KEY is required"
        elif len(key.encode()) < (least := JWT_SECRET_MIN_BYTES[self.jwt_algorithm]):
            yield f"JWT_SECRET_KEY must have at least {least} bytes for {self.jwt_algorithm}"
        elif _looks_like_placeholder(key):
            yield "JWT_SECRET_KEY is a placeholder"
        if self.password_hash_rounds < PRODUCTION_HASH_ROUNDS_MIN:
            yield f"PASSWORD_HASH_ROUNDS must be at least {PRODUCTION_HASH_ROUNDS_MIN}"

    def _set(self, name: str, value: object) -> None:
        # The model is frozen for everybody else; its own validators fill what depends on APP_ENV.
        object.__setattr__(self, name, value)

    @property
    def is_production(self) -> bool:
        """Whether the safety checks of production apply: everywhere but in local and test."""
        return self.app_env not in {"local", "test"}

    def warnings(self) -> list[str]:
        """What is allowed but unwise in production, one sentence each. Empty elsewhere."""
        if not self.is_production:
            return []
        unwise = {
            "DATABASE_URL is not set: only the probes will answer": self.database_url is None,
            "ALLOWED_HOSTS is empty: every Host header is accepted": not self.allowed_hosts,
            "JWT_AUDIENCE is not set: tokens are not bound to this service": not self.jwt_audience,
            "JWT_ISSUER is not set: tokens are not bound to their issuer": not self.jwt_issuer,
            "LOGIN_THROTTLE_ENABLED is off: guesses are not limited": not self.login_throttle_enabled,
            "DOCS_ENABLED is on: the documentation is public": bool(self.docs_enabled),
            "CORS_ALLOWED_ORIGINS contains *: any website may call": "*"
            in self.cors_allowed_origins,
            "FORWARDED_ALLOW_IPS is *: each client can claim any address": self.forwarded_allow_ips
            == ("*",),
            "DATABASE_URL is SQLite: one writer, one machine": self.database_dialect == "sqlite",
            "WEB_CONCURRENCY times DATABASE_POOL_SIZE is more than DATABASE_MAX_CONNECTIONS spares": (
                self.database_dialect == "postgresql"
                and self.web_concurrency * self.database_pool_size + SPARE_CONNECTIONS
                > self.database_max_connections
            ),
        }
        return [sentence for sentence, applies in unwise.items() if applies]

    @property
    def database_dialect(self) -> Literal["postgresql", "sqlite"] | None:
        """Which database ``database_url`` names, if any."""
        if self.database_url is None:
            return None
        url = self.database_url.get_secret_value()
        return "postgresql" if url.startswith("postgresql:") else "sqlite"

    def model_dump_safe(self) -> dict[str, Any]:
        """The settings as JSON types, every secret redacted, those inside URLs too."""
        safe = self.model_dump(mode="json")
        for name in ("database_url", "redis_url"):
            secret: SecretStr | None = getattr(self, name)
            safe[name] = without_secrets(secret.get_secret_value()) if secret else None
        return safe


def from_project_root(url: str) -> str:
    """A SQLite URL whose path does not depend on the folder in which a process was started."""
    path, mark, options = url.removeprefix("sqlite:///").partition("?")
    if path.startswith(("file:", "sqlite:")):
        return url
    # As in a URL, because the driver decodes it: a checkout may be in a folder such as feature%2Fx.
    root = PROJECT_ROOT.as_posix().replace("%", "%25").replace("?", "%3F")
    return f"sqlite:///{PurePath(root, path).as_posix()}{mark}{options}"


def _looks_like_placeholder(key: str) -> bool:
    few_characters = 8  # 32 bytes of real randomness, in any encoding, have many more
    return len(set(key)) < few_characters or any(word in key.lower() for word in PLACEHOLDERS)


def describe(error: ValidationError) -> list[str]:
    """One line for each problem: the variable's name and what is wrong, never the value."""
    lines = []
    for problem in error.errors(include_url=False, include_context=False, include_input=False):
        message = problem["msg"].removeprefix("Value error, ")
        name = str(problem["loc"][0]).upper() if problem["loc"] else ""
        lines.append(f"{name}: {message}" if name else message)
    return lines


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
    """One line for each name in ``.env`` that is none of ours and resembles one, which then has no effect."""
    path = env_file()
    names = {name.upper() for name in Settings.model_fields}
    unknown = (
        {name.upper() for name in dotenv_values(path, encoding="utf-8-sig")} - names
        if path
        else set()
    )
    pairs = [(name, get_close_matches(name, names, n=1, cutoff=ALIKE)) for name in sorted(unknown)]
    return [f".env sets {name}: is {meant[0]} meant?" for name, meant in pairs if meant]


@lru_cache
def get_settings() -> Settings:
    """The settings of this process, read once.

    Raises ``ConfigurationError`` that names every wrong variable and no value.
    """
    try:
        settings = read_settings()
    except ValidationError as error:
        raise ConfigurationError(f"Configuration error: {'; '.join(describe(error))}") from None
    for line in misspelt_names():
        warnings.warn(line, stacklevel=2)
    return settings
