"""Several hosts in ``DATABASE_URL``: one that times out does not use up the time of the others."""

import re
from contextlib import suppress
from typing import Any

import asyncpg

HOSTS = re.compile(r"(postgresql://(?:[^@/]*@)?)([^/]*)(/.*)")


def url_of_each_host(url: str) -> list[str]:
    """A ``DATABASE_URL`` of PostgreSQL, as the settings hold it, once for each of its hosts."""
    found = HOSTS.fullmatch(url)
    if found is None:
        return [url]
    before, hosts, after = found.groups()
    return [f"{before}{host}{after}" for host in hosts.split(",")]


async def connect_to_first(
    dsn: str, *, timeout: float, **arguments: Any  # noqa: ASYNC109  the name that asyncpg gives it
) -> asyncpg.Connection:
    """A connection to the first host of ``dsn`` that takes one; each gets an equal share of ``timeout`` seconds.

    asyncpg alone would spend all of them on a first host that does not respond. Raises what the last one raised.
    """
    *others, last = url_of_each_host(dsn)
    share = timeout / (len(others) + 1)
    for url in others:
        # The errors after which asyncpg itself tries the next host: unreachable, starting, or of the wrong role.
        with suppress(
            OSError, asyncpg.CannotConnectNowError, asyncpg.TargetServerAttributeNotMatched
        ):
            return await asyncpg.connect(dsn=url, timeout=share, **arguments)
    try:
        return await asyncpg.connect(dsn=last, timeout=share, **arguments)
    except asyncpg.TargetServerAttributeNotMatched as exc:
        raise ConnectionError("no host is the kind of server that was asked for") from exc
