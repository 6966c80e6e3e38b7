"""A PostgreSQL URL, as libpq, SQLAlchemy and hosted databases write it, becomes one that asyncpg understands.

asyncpg sends every option that it does not know to the server, which then rejects each connection.
The table for people is in backend/docs/OPERATIONS.md.
"""

from ssl import get_default_verify_paths
from urllib.parse import quote

from app.core.settings.service_url import (
    ServiceUrl,
    canonical_address,
    parse,
    reject_missing_files,
    reject_option,
)

EXAMPLE = "db.example.com:5432"
ANY: frozenset[str] = frozenset()
SSL_MODES = {"disable", "allow", "prefer", "require", "verify-ca", "verify-full"}
VERIFYING = {"verify-ca", "verify-full"}
TLS_VERSIONS = {"TLSv1", "TLSv1.1", "TLSv1.2", "TLSv1.3"}
# libpq reads ssl=true as require too.
SSL = {mode: mode for mode in SSL_MODES} | {"true": "require", "false": "disable"}
FILES = ("sslrootcert", "sslcert", "sslkey", "sslcrl", "passfile")

# Handed on, with the values that are allowed.
KEPT = {
    "sslmode": SSL_MODES,
    "sslnegotiation": {"postgres", "direct"},
    "ssl_min_protocol_version": TLS_VERSIONS,
    "ssl_max_protocol_version": TLS_VERSIONS,
    "target_session_attrs": {
        "any",
        "primary",
        "standby",
        "prefer-standby",
        "read-write",
        "read-only",
    },
    "gsslib": {"gssapi", "sspi"},
    **dict.fromkeys((*FILES, "sslpassword", "options", "service", "krbsrvname"), ANY),
}
# Left out, because the application does it by itself or the driver never does it; again with the values allowed.
DROPPED = {
    "gssencmode": {"disable", "prefer"},
    "channel_binding": {"disable", "prefer"},
    "client_encoding": {"utf8", "UTF8", "utf-8", "auto"},
    "sslcompression": {"0"},
    "connect_timeout": ANY,
    "application_name": ANY,
    "fallback_application_name": ANY,
    "keepalives": ANY,
    "keepalives_idle": ANY,
    "keepalives_interval": ANY,
    "keepalives_count": ANY,
    "tcp_user_timeout": ANY,
}
INSTEAD = {
    "pgbouncer": "set DATABASE_POOLER",
    "statement_cache_size": "set DATABASE_POOLER",
    "prepared_statement_cache_size": "set DATABASE_POOLER",
    "channel_binding": "sslmode=verify-full protects against the same",
    "schema": "write options=-csearch_path%3Dname",
    "search_path": "write options=-csearch_path%3Dname",
    "pool_size": "set DATABASE_POOL_SIZE",
    "connection_limit": "set DATABASE_POOL_SIZE",
    "pool_timeout": "set DATABASE_POOL_TIMEOUT_SECONDS",
    "timeout": "set DATABASE_CONNECT_TIMEOUT_SECONDS",
    "command_timeout": "set DATABASE_STATEMENT_TIMEOUT_SECONDS",
    "statement_timeout": "set DATABASE_STATEMENT_TIMEOUT_SECONDS",
}


def canonical(rest: str) -> str:
    """The URL of ``rest``, what follows the scheme: hosts in front, everything encoded, only what asyncpg knows.

    Raises ``ValueError`` that names an option where one is to blame, and repeats no value.
    """
    url = parse(rest)
    given = dict(url.options)
    hosts = ",".join(canonical_address(text, EXAMPLE) for text in _hosts(url, given))
    user = _once(url.user, given, "user")
    password = _once(url.password or "", given, "password")
    database = _once(url.name, given, "dbname", "database")
    options = _translated(given, url.options)
    _check_tls(options)
    if "," in hosts and options.get("target_session_attrs") == "prefer-standby":
        raise ValueError(
            "cannot prefer a standby among several hosts: name standby, primary or any"
        )
    credentials = quote(user, safe="") + (f":{quote(password, safe='')}" if password else "")
    query = "&".join(f"{name}={quote(value, safe='')}" for name, value in options.items())
    return (
        f"postgresql://{credentials}{'@' if credentials else ''}{hosts}"
        f"/{quote(database, safe='')}{'?' if query else ''}{query}"
    )


def _once(in_front: str, given: dict[str, str], *names: str) -> str:
    """The value of a part, taken out of the options where it stands there. Raises ``ValueError`` for two values."""
    values = {in_front, *(given.pop(name, "") for name in names)} - {""}
    if len(values) > 1:
        raise ValueError("names its user, password or database twice")
    return values.pop() if values else ""


def _hosts(url: ServiceUrl, given: dict[str, str]) -> list[str]:
    """The addresses in front or, where none is, those among the options; none at all means libpq's default."""
    named, ports = given.pop("host", ""), given.pop("port", "")
    if url.hosts and (named or ports):
        raise ValueError("names its host or port twice")
    if not named:
        return [f"localhost:{ports}"] if ports else list(url.hosts)
    hosts = [quote(host, safe=":[]") for host in named.split(",")]
    if not ports:
        return hosts
    each = ports.split(",") if "," in ports else [ports] * len(hosts)
    if len(each) != len(hosts):
        raise ValueError("has another number of ports than of hosts")
    return [f"{host}:{port}" for host, port in zip(hosts, each, strict=True)]


def _translated(given: dict[str, str], all_options: dict[str, str]) -> dict[str, str]:
    """The options that asyncpg gets. Raises ``ValueError`` for one that it could not apply."""
    options: dict[str, str] = {}
    for name, value in given.items():
        known, meant = (
            ("sslmode", SSL.get(value.lower(), value)) if name == "ssl" else (name, value)
        )
        allowed = KEPT.get(known, DROPPED.get(known))
        hint = f": {INSTEAD[name]}" if name in INSTEAD else ""
        if allowed is None:
            raise reject_option(name, f"is not supported{hint}", all_options)
        if allowed and meant not in allowed:
            raise reject_option(
                name, f"must be one of {', '.join(sorted(allowed))}{hint}", all_options
            )
        if options.get(known, meant) != meant:
            raise ValueError("says ssl and sslmode, and they differ")
        if known in KEPT:
            options[known] = meant
    return options


def _check_tls(options: dict[str, str]) -> None:
    """Fill in the certificates of the system, and reject what could not connect."""
    if options.get("sslrootcert") == "system":  # libpq's word, which then always verifies
        if options.setdefault("sslmode", "verify-full") != "verify-full":
            raise ValueError("has sslrootcert=system, which needs sslmode=verify-full")
        options["sslrootcert"] = get_default_verify_paths().cafile or ""
        if not options["sslrootcert"]:
            raise ValueError("has sslrootcert=system, but this system has no file of certificates")
    mode = options.get("sslmode", "prefer")
    if mode in VERIFYING and "sslrootcert" not in options:
        raise ValueError(
            f"has sslmode={mode}, which needs sslrootcert=/path/to/ca.pem or sslrootcert=system"
        )
    if options.get("sslnegotiation") == "direct" and mode not in VERIFYING | {"require"}:
        raise ValueError("has sslnegotiation=direct, which needs sslmode=require or verify-full")
    reject_missing_files(options, FILES)
