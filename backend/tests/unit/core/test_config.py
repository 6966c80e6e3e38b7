"""Settings: immutable, bounded, silent about secrets, strict where production is concerned."""

import os
import shlex
import subprocess
import sys
from itertools import pairwise
from pathlib import Path

import pytest
from pydantic import SecretStr, ValidationError

from app.core import config
from app.core.config import (
    PROJECT_ROOT,
    ConfigurationError,
    Settings,
    get_settings,
)
from app.core.settings.problems import describe
from app.db.session import build_engine
from tests.fixtures.env import make_settings
from tests.fixtures.server import server_environment

KEY = "k9$Vq2!mZ7rT4w8&xB1nL6pC3sD5fG0h"
PRODUCTION = {"app_env": "production", "jwt_secret_key": KEY}


class TestSettings:
    def test_settings_are_immutable(self) -> None:
        with pytest.raises(ValidationError):
            make_settings().log_level = "DEBUG"  # type: ignore[misc]  # the point of the test

    def test_get_settings_is_cached(self) -> None:
        assert get_settings() is get_settings()

    @pytest.mark.parametrize(
        ("name", "value"),
        [
            ("database_pool_size", 0),
            ("jwt_access_token_expires_minutes", 0),
            ("jwt_access_token_expires_minutes", 1_441),
            ("jwt_algorithm", "none"),
            ("jwt_algorithm", "RS256"),
            ("log_level", "LOUD"),
            ("max_body_bytes", -1),
            ("drain_seconds", -1),
            ("password_hash_rounds", 3),
            ("password_min_length", 7),
            ("database_statement_timeout_seconds", 0),
            ("allowed_hosts", "https://example.com"),
            ("cors_allowed_origins", "example.com"),
            ("cors_allowed_origins", "https://example.com/path"),
            ("cors_allowed_origins", "https://*.example.com"),
            ("cors_allowed_origins", "https://user:marker@example.com"),
            ("cors_allowed_origins", "https://example.com?"),
            ("cors_allowed_origins", "https://example.com#"),
            ("cors_allowed_origins", "https://example.com:0"),
            ("cors_allowed_origins", "https://example.com:99999"),
            ("cors_allowed_origins", "https://bücher.example"),
            ("cors_allowed_origins", "https://[::g]"),
            ("cors_allowed_origins", "https://"),
            ("cors_allowed_origins", "null"),
            ("cors_allowed_headers", "X Tenant"),
            ("cors_allowed_headers", "*"),
            ("allowed_hosts", "api.example.com:8000"),
            ("allowed_hosts", "[:::]"),
            ("allowed_hosts", "*example.com"),
            ("forwarded_allow_ips", "proxy.example.com"),
            ("forwarded_allow_ips", "10.0.0.5/24"),
            ("forwarded_allow_ips", "*, 10.0.0.5"),
            ("password_hash_workers", 0),
            ("database_url", "mysql://localhost/app"),
            ("database_url", "no url"),
            ("database_url", "sqlite://"),
            ("database_url", "sqlite:///:memory:"),
            ("database_url", "postgresql://app@db:port/app"),
            ("database_url", "postgresql://app:se:cret@db:54x/app"),
            ("redis_url", "http://localhost"),
            ("redis_url", "redis://:marker@cache:port/0"),
            ("redis_url", "redis://cache:99999/0"),
            ("redis_url", "redis://one,two/0"),
            ("redis_url", "redis://:mark#er@cache/0"),
            ("redis_url", "redis://cache/marker"),
            ("redis_url", "redis://cache/0/1"),
            ("redis_url", "redis://cache/0?socket_timeout=marker"),
            ("redis_url", "redis://cache?db=marker"),
            ("redis_url", "redis://cache?unknown=marker"),
            ("redis_url", "redis://cache?ssl_ca_certs=marker"),
            ("redis_url", "redis://cache?protocol=9"),
            ("redis_url", "redis://cache?retry=marker"),
            ("redis_url", "rediss://cache?ssl_cert_reqs=marker"),
        ],
    )
    def test_value_out_of_bounds_is_rejected_with_its_variable(
        self, name: str, value: object
    ) -> None:
        with pytest.raises(ValidationError) as caught:
            make_settings(**{name: value})

        (line,) = describe(caught.value)
        assert line.partition(":")[0] == name.upper()
        assert "marker" not in line

    @pytest.mark.parametrize(
        ("name", "value", "example"),
        [
            ("database_url", "postgresql://db:port/app", "db.example.com:5432"),
            ("redis_url", "redis://cache:port/0", "redis.example.com:6379"),
        ],
    )
    def test_malformed_url_is_rejected_with_an_example(
        self, name: str, value: str, example: str
    ) -> None:
        with pytest.raises(ValidationError, match=example):
            make_settings(**{name: value})

    @pytest.mark.parametrize(
        ("spelling", "dialect"),
        [
            ("postgres://localhost/app", "postgresql"),
            ("postgresql://localhost/app", "postgresql"),
            ("postgresql+asyncpg://localhost/app", "postgresql"),
            ("postgresql+psycopg2://localhost/app", "postgresql"),
            ("postgresql://ada:p:w@one:5432,[::1]:5433,two/app?sslmode=require", "postgresql"),
            ("postgresql:///app?host=/run/postgresql", "postgresql"),
            ("sqlite:///app.db", "sqlite"),
            ("sqlite+aiosqlite:///app.db", "sqlite"),
        ],
    )
    def test_common_schemes_of_a_database_url_are_accepted(
        self, spelling: str, dialect: str
    ) -> None:
        assert make_settings(database_url=spelling).database_dialect == dialect

    @pytest.mark.parametrize(
        "spelling",
        [
            "redis://cache",
            "redis://cache/",
            "redis://ada:p:w@[::1]:6379/15",
            "redis:///0",
            "redis://cache:6379?db=3&client_name=api",
            f"rediss://cache/0?ssl_ca_certs={__file__}&ssl_cert_reqs=required",
        ],
    )
    def test_redis_url_of_every_supported_scheme_is_accepted(self, spelling: str) -> None:
        accepted = make_settings(redis_url=spelling).redis_url

        assert accepted is not None
        assert accepted.get_secret_value() == spelling

    def test_lists_are_split_at_commas(self) -> None:
        settings = make_settings(allowed_hosts="api.example.com, *.example.org, [::1],")

        assert settings.allowed_hosts == ("api.example.com", "*.example.org", "[::1]")

    @pytest.mark.parametrize(
        ("name", "written", "meant"),
        [
            ("log_level", "debug", "DEBUG"),
            ("log_level", "warn", "WARNING"),
            ("log_level", ' "Info" ', "INFO"),
            ("log_json", " TRUE ", True),
            ("log_json", "'off'", False),
            ("jwt_algorithm", "hs512", "HS512"),
            ("telemetry_mode", "LOG", "log"),
            ("rate_limit_key_strategy", "IP", "ip"),
            ("max_body_bytes", " 2048 ", 2048),
            ("web_concurrency", "", 1),
            ("web_concurrency", "  ", 1),
            ("app_env", " test ", "test"),
            ("allowed_hosts", '"api.example.com"', ("api.example.com",)),
            ("allowed_hosts", "*", ()),
            ("allowed_hosts", "[0:0::1]", ("[::1]",)),
            (
                "forwarded_allow_ips",
                "10.0.0.5, 10.1.0.0/16,::1",
                ("10.0.0.5", "10.1.0.0/16", "::1"),
            ),
            ("forwarded_allow_ips", "*", ("*",)),
            ("redis_url", "redis://cache/0\n", SecretStr("redis://cache/0")),
            ("database_url", "'postgresql://db/app'", SecretStr("postgresql://db/app")),
            ("jwt_secret_key", " key\n", SecretStr(" key\n")),
        ],
    )
    def test_words_are_read_in_any_case(self, name: str, written: str, meant: object) -> None:
        assert getattr(make_settings(**{name: written}), name) == meant

    @pytest.mark.parametrize(
        ("app_env", "seconds"), [("local", 0), ("test", 0), ("production", 5), ("staging", 5)]
    )
    def test_drain_is_zero_in_local_and_test(self, app_env: str, seconds: int) -> None:
        given = PRODUCTION | {"app_env": app_env}

        assert Settings.model_validate(given).drain_seconds == seconds
        assert Settings.model_validate(given | {"drain_seconds": 7}).drain_seconds == 7

    def test_empty_value_is_the_default(self) -> None:
        assert make_settings(database_pool_size="", jwt_issuer="").database_pool_size == 10

    def test_database_url_has_no_default_outside_local(self) -> None:
        assert make_settings().database_url is None
        assert Settings.model_validate(PRODUCTION).database_url is None

    def test_database_url_is_a_sqlite_file_in_local(self) -> None:
        assert make_settings(app_env="local").database_dialect == "sqlite"

    @pytest.mark.parametrize(
        ("url", "path"),
        [
            ("sqlite:///var/app.db", f"{PROJECT_ROOT}/var/app.db"),
            ("sqlite+aiosqlite:///app.db", f"{PROJECT_ROOT}/app.db"),
            ("sqlite:///{tmp}/app%20data/app.db", "{tmp}/app data/app.db"),
        ],
    )
    def test_relative_sqlite_path_starts_at_the_root_of_the_repository(
        self, url: str, path: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.chdir(tmp_path)

        engine = build_engine(make_settings(database_url=url.format(tmp=tmp_path.as_posix())))

        assert engine is not None
        assert Path(str(engine.url.database)) == Path(path.format(tmp=tmp_path))

    @pytest.mark.parametrize("folder", ["feature%2Fx", "what?", "50%", "a b"])
    def test_local_database_works_in_a_folder_of_any_name(
        self, folder: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(config, "PROJECT_ROOT", Path("/srv") / folder)

        engine = build_engine(make_settings(app_env="local"))

        assert engine is not None
        assert Path(str(engine.url.database)) == Path("/srv") / folder / "var" / "local.sqlite3"


class TestModelDumpSafe:
    def test_dump_redacts_every_secret_and_those_inside_urls(self) -> None:
        settings = make_settings(
            jwt_secret_key="jwt-marker-0123456789",
            database_url="postgresql://ada:db-marker@db.example.com:5432/app",
            redis_url="redis://:redis-marker@cache.example.com/0",
        )

        safe = settings.model_dump_safe()

        assert "marker" not in str(safe)
        assert safe["database_url"] == "postgresql://ada:***@db.example.com:5432/app"
        assert safe["redis_url"] == "redis://:***@cache.example.com/0"

    @pytest.mark.parametrize(
        "url",
        [
            "postgresql://ada:marker@/app?host=/run/postgresql",
            "postgresql:///app?user=ada&password=marker",
            "postgresql://ada:p%40ss:marker@one,two:5433/app",
        ],
    )
    def test_dump_redacts_secrets_in_every_form_of_a_url(self, url: str) -> None:
        assert "marker" not in str(make_settings(database_url=url).model_dump_safe())

    def test_dump_shows_what_is_not_secret(self) -> None:
        safe = make_settings(database_url="sqlite:///var/app.db", jwt_issuer="me").model_dump_safe()

        assert safe["database_url"] == f"sqlite:///{PROJECT_ROOT.as_posix()}/var/app.db"
        assert safe["jwt_issuer"] == "me"

    def test_repr_shows_no_secret(self) -> None:
        settings = make_settings(
            jwt_secret_key="jwt-marker-0123456789", database_url="postgresql://u:db-marker@h/app"
        )

        assert "marker" not in f"{settings!r} {settings}"


class TestProduction:
    @pytest.mark.parametrize("app_env", ["production", "prod", "staging", "LOCAL", "dev"])
    @pytest.mark.parametrize(
        "key",
        [
            None,
            "",
            "changeme",
            "k" * 31,
            "a" * 64,
            "change-me-change-me-change-me-change-me",
            "this-is-my-secret-key-for-production-use",
            config.LOCAL_JWT_SECRET,
        ],
    )
    def test_missing_short_or_placeholder_key_is_rejected(
        self, app_env: str, key: str | None
    ) -> None:
        with pytest.raises(ValidationError) as caught:
            make_settings(app_env=app_env, jwt_secret_key=key, password_hash_rounds=12)

        assert "JWT_SECRET_KEY" in str(caught.value)
        if key:
            assert key not in str(caught.value)

    @pytest.mark.parametrize(("algorithm", "least"), [("HS256", 32), ("HS384", 48), ("HS512", 64)])
    def test_key_shorter_than_the_hash_is_rejected(self, algorithm: str, least: int) -> None:
        production = PRODUCTION | {"jwt_algorithm": algorithm}
        key = (KEY * 2)[:least]

        assert Settings.model_validate(production | {"jwt_secret_key": key}).is_production
        with pytest.raises(ValidationError, match="JWT_SECRET_KEY"):
            Settings.model_validate(production | {"jwt_secret_key": key[1:]})

    def test_cheap_password_hash_is_rejected(self) -> None:
        with pytest.raises(ValidationError, match="PASSWORD_HASH_ROUNDS"):
            Settings.model_validate(PRODUCTION | {"password_hash_rounds": 9})

    def test_production_needs_only_the_key(self) -> None:
        assert Settings.model_validate(PRODUCTION).is_production

    def test_docs_are_off_in_production_unless_enabled(self) -> None:
        assert Settings.model_validate(PRODUCTION).docs_enabled is False
        assert Settings.model_validate(PRODUCTION | {"docs_enabled": True}).docs_enabled is True

    def test_unwise_setting_is_warned_of(self) -> None:
        warnings = " ".join(Settings.model_validate(PRODUCTION).warnings())

        named = ("ALLOWED_HOSTS", "JWT_AUDIENCE", "LOGIN_THROTTLE_ENABLED", "DATABASE_URL")
        assert all(name in warnings for name in named)

    def test_trust_in_every_proxy_is_warned_of(self) -> None:
        unwise = Settings.model_validate(PRODUCTION | {"forwarded_allow_ips": "*"})

        assert "FORWARDED_ALLOW_IPS is *" in " ".join(unwise.warnings())

    def test_unknown_environment_counts_as_production(self) -> None:
        with pytest.raises(ValidationError, match="APP_ENV") as caught:
            Settings.model_validate({"app_env": "dev"})

        assert "counts as production" in str(caught.value)

    def test_complete_configuration_has_no_warnings(self) -> None:
        named = {
            "allowed_hosts": "api.example.com",
            "jwt_audience": "api",
            "jwt_issuer": "api",
            "database_url": "postgresql://app@db/app",
            "login_throttle_enabled": True,
            "redis_url": "redis://redis",
            "mail_mode": "smtp",
            "smtp_url": "smtps://mail",
            "mail_from": "api@example.com",
            "frontend_url": "https://app.example.com",
        }

        assert Settings.model_validate(PRODUCTION | named).warnings() == []

    def test_local_has_no_warnings(self) -> None:
        assert make_settings(app_env="local").warnings() == []


class TestGetSettings:
    @pytest.fixture
    def root(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
        monkeypatch.setattr(config, "PROJECT_ROOT", tmp_path)
        return tmp_path

    def test_env_file_is_read_in_local(self, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        (root / ".env").write_text("JWT_ISSUER=from-file\n")
        monkeypatch.delenv("APP_ENV")

        assert get_settings().jwt_issuer == "from-file"

    def test_process_environment_wins_over_the_env_file(
        self, root: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        (root / ".env").write_text("JWT_ISSUER=from-file\n")
        monkeypatch.delenv("APP_ENV")
        monkeypatch.setenv("JWT_ISSUER", "from-process")

        assert get_settings().jwt_issuer == "from-process"

    def test_empty_process_variable_hides_the_env_file(
        self, root: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        (root / ".env").write_text("REDIS_URL=redis://localhost\n")
        monkeypatch.delenv("APP_ENV")
        monkeypatch.setenv("REDIS_URL", "")

        assert get_settings().redis_url is None

    @pytest.mark.parametrize("app_env", ["test", "production"])
    def test_env_file_is_not_read_elsewhere(
        self, root: Path, monkeypatch: pytest.MonkeyPatch, app_env: str
    ) -> None:
        (root / ".env").write_text("JWT_ISSUER=from-file\n")
        monkeypatch.setenv("APP_ENV", app_env)
        monkeypatch.setenv("JWT_SECRET_KEY", KEY)

        assert get_settings().jwt_issuer is None

    def test_env_file_may_have_bom_crlf_quotes_and_unknown_names(
        self, root: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        (root / ".env").write_bytes(
            b'\xef\xbb\xbfJWT_ISSUER="quoted name"\r\nUNKNOWN=1\r\nJWT_AUDIENCE=plain\r\n'
        )
        monkeypatch.delenv("APP_ENV")

        assert (get_settings().jwt_issuer, get_settings().jwt_audience) == ("quoted name", "plain")

    @pytest.mark.parametrize(
        ("name", "meant"), [("LOG_LEVL", "LOG_LEVEL"), ("RATE_LIMIT_ENABLE", "RATE_LIMIT_ENABLED")]
    )
    def test_misspelt_name_in_the_env_file_is_warned_of(
        self, root: Path, monkeypatch: pytest.MonkeyPatch, name: str, meant: str
    ) -> None:
        (root / ".env").write_text(f"{name}=marker\nPOSTGRES_PASSWORD=x\n")
        monkeypatch.delenv("APP_ENV")

        with pytest.warns(UserWarning, match=meant) as caught:
            get_settings()

        assert "marker" not in str(caught[0].message)

    def test_env_file_that_is_not_utf_8_is_one_line(
        self, root: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        (root / ".env").write_bytes("JWT_ISSUER=me".encode("utf-16"))
        monkeypatch.delenv("APP_ENV")

        with pytest.raises(ConfigurationError, match=r"\.env is not UTF-8 text"):
            get_settings()

    def test_wrong_variables_are_named_without_their_values(
        self, root: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("DATABASE_POOL_SIZE", "marker-1")
        monkeypatch.setenv("DATABASE_URL", "marker-2://x")

        with pytest.raises(ConfigurationError) as caught:
            get_settings()

        message = str(caught.value)
        assert "DATABASE_POOL_SIZE" in message
        assert "DATABASE_URL" in message
        assert "marker" not in message
        assert "\n" not in message


@pytest.mark.slow
class TestMisconfiguredStart:
    def test_misconfigured_start_ends_with_one_line_without_the_value(self, tmp_path: Path) -> None:
        key = "changeme-marker"
        environment = server_environment(APP_ENV="production", JWT_SECRET_KEY=key)
        command = [sys.executable, "-m", "uvicorn", "app.main:app", "--port", "0"]

        done = subprocess.run(
            command, env=environment, cwd=tmp_path, capture_output=True, text=True, check=False
        )

        assert done.returncode != 0
        lines = (done.stdout + done.stderr).strip().splitlines()
        assert len(lines) == 1
        assert "JWT_SECRET_KEY" in lines[0]
        assert key not in lines[0]


class TestEnvExample:
    def variables(self) -> dict[str, str]:
        lines = (config.PROJECT_ROOT / ".env.example").read_text().splitlines()
        pairs = [line.removeprefix("#").partition("=") for line in lines if not is_prose(line)]
        return {name: value.strip('"') for name, _, value in pairs}

    @pytest.mark.skipif(os.name == "nt", reason="the shell is another one")
    def test_example_means_the_same_to_a_shell(self) -> None:
        path = shlex.quote(str(config.PROJECT_ROOT / ".env.example"))
        done = subprocess.run(
            ["/bin/sh", "-c", f"set -aeu; . {path}; env"],
            env={},
            capture_output=True,
            text=True,
            check=True,
        )
        sourced = dict(line.split("=", 1) for line in done.stdout.splitlines())
        lines = (config.PROJECT_ROOT / ".env.example").read_text().splitlines()
        commented = {line[1:].partition("=")[0] for line in lines if line.startswith("#")}

        assert done.stderr == ""
        assert {
            name: value for name, value in self.variables().items() if name not in commented
        } == {name: value for name, value in sourced.items() if name in self.variables()}

    def test_example_names_exactly_the_settings(self) -> None:
        assert set(self.variables()) == {name.upper() for name in Settings.model_fields}

    def test_example_shows_every_default(self) -> None:
        from_example = Settings.model_validate(
            {name.lower(): value for name, value in self.variables().items()}
        )

        assert from_example == Settings.model_validate({"app_env": "local"})

    def test_example_explains_every_variable(self) -> None:
        lines = (config.PROJECT_ROOT / ".env.example").read_text().splitlines()
        unexplained = [
            line
            for above, line in pairwise(lines)
            if not is_prose(line) and is_prose(above) and not above.startswith("# ")
        ]

        assert unexplained == []

    def test_every_setting_has_a_description(self) -> None:
        assert all(field.description for field in Settings.model_fields.values())


def is_prose(line: str) -> bool:
    """Comments begin with a space behind the #; a variable that is commented out does not."""
    return not line or line.startswith("# ")


def test_environment_is_read_by_config_alone() -> None:
    sources = (config.PROJECT_ROOT / "backend" / "app").rglob("*.py")
    readers = {path.name for path in sources if "os.environ" in path.read_text()}

    assert readers == {"config.py"}
    assert os.environ["APP_ENV"] == "test"
