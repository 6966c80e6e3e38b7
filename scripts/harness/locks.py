"""Who waits for whom in a PostgreSQL database."""

import asyncpg


async def waiting_sessions(database: asyncpg.Connection) -> int:
    """How many sessions of this database wait for a lock. Ask outside of a transaction, which sees one moment only."""
    waiting: int = await database.fetchval(
        "SELECT count(*) FROM pg_stat_activity"
        " WHERE datname = current_database() AND wait_event_type = 'Lock'"
    )
    return waiting
