"""URLs of database and Redis have one reading; what would be read otherwise than meant is rejected at the start."""

import pytest
from pydantic import ValidationError

from app.core.settings.problems import describe
from tests.fixtures.env import make_settings

LINE_LENGTH = 300


def postgres(url: str) -> str:
    accepted = make_settings(database_url=f"postgresql://{url}").database_url
    assert accepted is not None
    return accepted.get_secret_value().removeprefix("postgresql://")


def refusal(name: str, url: str) -> str:
    with pytest.raises(ValidationError) as caught:
        make_settings(**{name: url})
    (line,) = describe(caught.value)
    assert line.startswith(f"{name.upper()}: ")
    assert "\n" not in line
    assert len(line) < LINE_LENGTH
    return line


PASSWORDS_WITH_TWO_READINGS = [
    "mar#ker", "mar@ker", "mar/ker", "mar?ker", "12#marker", "12/marker", "12?marker", "12?marker=1",
    "mar%ker", "marker%", "marker%ff", "mar\tker", "mar\nker", "marker%00", "p@1/marker", "p?a=b&marker=c",
]  # fmt: skip


class TestPassword:
    @pytest.mark.parametrize("password", PASSWORDS_WITH_TWO_READINGS)
    @pytest.mark.parametrize(
        ("name", "scheme"),
        [("database_url", "postgresql"), ("database_url", "postgres"), ("redis_url", "redis")],
    )
    def test_ambiguous_password_is_rejected_and_not_repeated(
        self, name: str, scheme: str, password: str
    ) -> None:
        line = refusal(name, f"{scheme}://app:{password}@store/0")

        assert not [word for word in ("mar", "ker", password) if word in line.replace("number", "")]

    @pytest.mark.parametrize(
        ("written", "encoded"),
        [
            ("a:b", "a%3Ab"),
            ("a%23b", "a%23b"),
            ("a%40b", "a%40b"),
            ("a+b", "a%2Bb"),
            ("a b", "a%20b"),
            ("a[b", "a%5Bb"),
            ("a\\b", "a%5Cb"),
            ("ü", "%C3%BC"),
            ("℀", "%E2%84%80"),  # which urllib would reject: its compatibility form has a slash
        ],
    )
    def test_password_is_encoded_for_the_driver(self, written: str, encoded: str) -> None:
        assert postgres(f"app:{written}@db/app") == f"app:{encoded}@db/app"

    def test_password_among_the_options_hides_their_names(self) -> None:
        assert "marker" not in refusal("database_url", "postgresql://db/app?password=a&marker=b")


class TestAddress:
    @pytest.mark.parametrize(
        "address",
        [
            "db:0", "db:65536", "db:99999", "db:x", ":5432", "one,", ",two", "[::1", "[::g]", "a..b",
            "a" * 64 + ".example", "::1", "d b",
        ],
    )  # fmt: skip
    def test_malformed_address_is_rejected_with_an_example(self, address: str) -> None:
        assert "db.example.com:5432" in refusal("database_url", f"postgresql://{address}/app")

    @pytest.mark.parametrize(
        ("written", "meant"),
        [
            ("one,two:5433/app", "one,two:5433/app"),
            ("/app?host=/run/postgresql", "%2Frun%2Fpostgresql/app"),
            ("%2Frun%2Fpostgresql:5433/app", "%2Frun%2Fpostgresql:5433/app"),
            ("/app?host=one,two&port=5432,5433", "one:5432,two:5433/app"),
            ("/app?host=one,two&port=5433", "one:5433,two:5433/app"),
            ("/app?host=one:5432&host=two:5433", "one:5432,two:5433/app"),
            ("/?host=db&dbname=app&user=ada&password=p%23w", "ada:p%23w@db/app"),
            ("/app", "/app"),
        ],
    )
    def test_address_among_the_options_is_moved_to_the_host(self, written: str, meant: str) -> None:
        assert postgres(written) == meant

    @pytest.mark.parametrize(
        "query", ["host=other", "port=5433", "user=marker", "password=marker", "dbname=marker"]
    )
    def test_duplicate_address_is_rejected(self, query: str) -> None:
        assert "twice" in refusal("database_url", f"postgresql://ada:pw@db:5432/app?{query}")


class TestOptionsOfPostgres:
    @pytest.mark.parametrize(
        ("written", "meant"),
        [
            ("sslmode=require", "sslmode=require"),
            ("ssl=require", "sslmode=require"),
            ("ssl=true", "sslmode=require"),
            ("ssl=false", "sslmode=disable"),
            ("ssl=require&sslmode=require", "sslmode=require"),
            ("sslmode=require&channel_binding=prefer", "sslmode=require"),
            ("connect_timeout=10&application_name=web&gssencmode=prefer", ""),
            ("keepalives=1&keepalives_idle=30&keepalives_interval=5&keepalives_count=3", ""),
            ("target_session_attrs=read-write", "target_session_attrs=read-write"),
            ("options=-c%20search_path%3Da", "options=-c%20search_path%3Da"),
            ("sslmode=", ""),
        ],
    )
    def test_option_is_translated(self, written: str, meant: str) -> None:
        assert postgres(f"db/app?{written}") == f"db/app{'?' if meant else ''}{meant}"

    @pytest.mark.parametrize(
        ("query", "named"),
        [
            ("sslmode=bogus", "sslmode"),
            ("ssl=maybe", "ssl"),
            ("ssl=require&sslmode=disable", "sslmode"),
            ("channel_binding=require", "sslmode=verify-full"),
            ("gssencmode=require", "gssencmode"),
            ("sslmode=verify-full", "sslrootcert"),
            ("sslmode=require&sslrootcert=system", "verify-full"),
            ("sslrootcert=/marker.pem", "sslrootcert"),
            ("sslcert=/marker.pem", "sslcert"),
            ("sslkey=/marker.pem", "sslkey"),
            ("sslnegotiation=direct", "sslnegotiation"),
            ("target_session_attrs=marker", "target_session_attrs"),
            ("schema=marker", "search_path"),
            ("pool_size=5", "DATABASE_POOL_SIZE"),
            ("pgbouncer=true", "DATABASE_POOLER"),
            ("statement_cache_size=0", "DATABASE_POOLER"),
            ("prepared_statement_cache_size=0", "prepared_statement_cache_size"),
            ("command_timeout=5", "DATABASE_STATEMENT_TIMEOUT_SECONDS"),
            ("unknown=marker", "unknown"),
            ("sslmode=require&sslmode=disable", "twice"),
            ("marker", "percent-encoded"),
        ],
    )
    def test_unsupported_option_is_rejected_by_name(self, query: str, named: str) -> None:
        line = refusal("database_url", f"postgresql://db/app?{query}")

        assert named in line
        assert "marker" not in line

    def test_prefer_standby_needs_one_host(self) -> None:
        line = refusal("database_url", "postgresql://a,b/app?target_session_attrs=prefer-standby")

        assert "standby" in line


class TestSqlite:
    @pytest.mark.parametrize(
        "url", ["sqlite://app.db", "sqlite:app.db", "sqlite:///a.db?timeout=5"]
    )
    def test_sqlite_url_without_a_plain_path_is_rejected(self, url: str) -> None:
        assert "sqlite://" in refusal("database_url", url)


class TestOptionsOfRedis:
    @pytest.mark.parametrize(
        "query",
        ["max_connections=1", "decode_responses=true", "socket_timeout=9", "retry=1", "password=x"],
    )
    def test_option_that_overrides_the_gateway_is_rejected_by_name(self, query: str) -> None:
        line = refusal("redis_url", f"redis://cache?{query}")

        assert "option" in line
        assert query.partition("=")[0] in line or "password" in query

    @pytest.mark.parametrize(
        ("url", "named"),
        [
            ("redis://cache/1?db=2", "twice"),
            ("rediss://cache?ssl_ca_certs=/marker.pem", "ssl_ca_certs"),
            ("rediss://cache?ssl_certfile=/marker.pem", "ssl_certfile"),
            ("rediss://cache?ssl_keyfile=/marker.pem", "ssl_keyfile"),
        ],
    )
    def test_unsupported_option_is_rejected(self, url: str, named: str) -> None:
        line = refusal("redis_url", url)

        assert named in line
        assert "marker" not in line
