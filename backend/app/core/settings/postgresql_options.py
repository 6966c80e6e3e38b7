"""Options of a PostgreSQL URL: handed on, left out, or rejected by name.

asyncpg sends every option that it does not know to the server, which then rejects each connection.
"""

from ssl import get_default_verify_paths

from app.core.settings.service_url import reject_missing_files, reject_option

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


def translated(given: dict[str, str], all_options: dict[str, str]) -> dict[str, str]:
    """The options that asyncpg gets. Raises ``ValueError`` for one that it could not apply.

    ``all_options`` decides whether names may be quoted: see ``reject_option``.
    """
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
    _check_tls(options)
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
