"""A PostgreSQL URL, as libpq, SQLAlchemy and hosted databases write it, becomes one that asyncpg understands.

The table for people is in backend/docs/OPERATIONS.md.
"""

from urllib.parse import quote

from app.core.settings.postgresql_options import translated
from app.core.settings.service_url import ServiceUrl, canonical_address, parse

EXAMPLE = "db.example.com:5432"


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
    options = translated(given, url.options)
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
