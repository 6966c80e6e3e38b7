"""Which errors mean that a connection to PostgreSQL is lost."""

import asyncpg

LOST_CLASSES = ("08", "57P")  # connection exception; the server ends the session
LOST_STATES = {
    "25006",  # read only: a standby, while another server may have taken over
    "25P03",  # idle in transaction: the server ends the session
    "25P04",  # transaction timeout: likewise
    "26000",  # a prepared statement that the server does not know: a pooler has changed it
}
# Exceptions of the driver on a dead transport, besides its own errors; RuntimeError is uvloop's.
EXPECTED = (OSError, TimeoutError, RuntimeError)


def is_lost(exc: BaseException) -> bool:
    """Whether a connection on which the driver raised ``exc`` may never be used again.

    Only what the server itself says about a statement leaves it well. Everything else may have been raised in the
    middle of an exchange: a timeout, a cancellation, an error of the transport or of the driver.
    """
    if isinstance(exc, asyncpg.PostgresError):
        state = exc.sqlstate or ""
        return state.startswith(LOST_CLASSES) or state in LOST_STATES
    return True
