"""Every record of the process leaves in one format, and none of them can stop the process.

A record is formatted where it is made and written by one thread of its own. Between the two is a
bounded queue: when the reader of stdout stalls, records are dropped and counted, never waited for.
"""

import atexit
import logging
import sys
from typing import Final, TextIO

from app.core.config import Settings
from app.core.context import LOGGED, request_id_var, trace_id, traceparent_var
from app.core.log.exceptions import rendered, without_values
from app.core.log.json_lines import encode, reason_of, text, timestamp
from app.core.log.writer import QueuedHandler

NO_DESCRIPTOR = -1

HANDSHAKE = '%s - "WebSocket %s"'  # uvicorn/protocols/websockets
CLOSED = "the handler is closed"  # uvloop/handles/handle.pyx

STANDARD_ATTRIBUTES: Final = frozenset(
    logging.LogRecord("", 0, "", 0, "", (), None).__dict__
) | frozenset(("message", "asctime", "taskName", "color_message"))
OWN: Final = frozenset(
    ("time", "level", "logger", "message", "request_id", "trace_id", "exception", "unformattable")
)


class LogFormatter(logging.Formatter):
    """Collects the fields of a record: the fixed ones, then those of ``extra=``.

    What ``extra`` names like a fixed field is kept as ``extra_<name>``.
    """

    def fields(self, record: logging.LogRecord) -> dict[str, object]:
        fields: dict[str, object] = {
            "time": timestamp(record.created),
            "level": record.levelname,
            "logger": record.name,
        }
        try:
            fields["message"] = without_values(record.getMessage())
        except Exception as error:  # noqa: BLE001  arguments of a caller may raise anything
            fields |= reason_of(record, error)
        if request_id := request_id_var.get():
            fields["request_id"] = request_id
        if traceparent := traceparent_var.get():
            fields["trace_id"] = trace_id(traceparent)
        extra = {k: v for k, v in record.__dict__.items() if k not in STANDARD_ATTRIBUTES}
        if OWN.isdisjoint(extra) and {*map(type, extra)} <= {str}:
            fields |= extra
        else:
            for name, value in extra.items():
                fields[free_name(name, fields)] = value
        if record.exc_info:
            fields["exception"] = rendered(record.exc_info)
        return fields


class JsonFormatter(LogFormatter):
    """One JSON object a line. ASCII only, so no input can break the line or the terminal."""

    def format(self, record: logging.LogRecord) -> str:
        return encode(self.fields(record))


class TextFormatter(LogFormatter):
    """For people: time, level, logger, message, then name=value. Input is escaped as in JSON."""

    def format(self, record: logging.LogRecord) -> str:
        fields = self.fields(record)
        exception = fields.pop("exception", None)
        head = [text(fields.pop(name)) for name in ("time", "level", "logger", "message")]
        rest = [f"{name}={encode(value)}" for name, value in fields.items()]
        line = " ".join(map(printable, head + rest))
        return f"{line}\n{exception}" if exception else line


def free_name(name: object, fields: dict[str, object]) -> str:
    """``name`` as text that is neither ours nor taken."""
    found = name if type(name) is str else text(name)
    while found in OWN or found in fields:
        found = f"extra_{found}"
    return found


def printable(part: str) -> str:
    """``part`` with every control character escaped: one record stays one line."""
    return part if part.isprintable() else part.encode("unicode_escape").decode("ascii")


def has_a_client(record: logging.LogRecord) -> bool:
    """Whether a record is about more than a response whose client has gone.

    uvloop raises where asyncio silently drops: a write to a closed connection. uvicorn stops in time, except
    for requests that wait behind another one of the same connection; each would be an error with its traceback.
    """
    error = record.exc_info[1] if record.exc_info else None
    return not (isinstance(error, RuntimeError) and CLOSED in str(error))


def is_new(record: logging.LogRecord) -> bool:
    """Whether the server says something that was not logged already, with less.

    An exception that we have logged, also as the text of a start that failed; the handshake of a WebSocket, which it
    writes with the query string.
    """
    error = record.exc_info[1] if record.exc_info else None
    said = str(record.msg)
    return not (LOGGED in getattr(error, "__notes__", ()) or LOGGED in said or HANDSHAKE in said)


def configure_logging(settings: Settings) -> None:
    """Send the records of every logger through one handler. Safe to call again."""
    root = logging.getLogger()
    for old in [handler for handler in root.handlers if isinstance(handler, QueuedHandler)]:
        root.removeHandler(old)
        atexit.unregister(old.close)
        old.close()
    handler = QueuedHandler(stdout_descriptor())
    handler.setFormatter(JsonFormatter() if settings.log_json else TextFormatter())
    atexit.register(handler.close)
    root.addHandler(handler)
    root.setLevel(settings.log_level)
    logging.captureWarnings(True)
    # What no formatter here writes, and every record would look up (the HOWTO of logging, "Optimization").
    logging.logThreads = logging.logProcesses = logging.logMultiprocessing = False
    for name in ("uvicorn", "uvicorn.error", "uvicorn.access", "alembic"):
        library = logging.getLogger(name)
        library.handlers.clear()
        library.propagate = True
    for keeps in (has_a_client, is_new):
        logging.getLogger("uvicorn.error").addFilter(keeps)
    logging.getLogger("app.core.middleware.request_id").addFilter(has_a_client)
    logging.getLogger("uvicorn.error").setLevel(logging.INFO)  # at DEBUG it writes WebSocket frames
    logging.getLogger("alembic.runtime.plugins").setLevel(logging.WARNING)
    logging.getLogger("aiosqlite").setLevel(logging.INFO)  # at DEBUG it writes parameters
    logging.getLogger("app.db.pool").setLevel(logging.WARNING)  # SQLAlchemy's words under our name
    # The request log line says more than uvicorn's, and says it without the query string.
    logging.getLogger("uvicorn.access").disabled = True


def stdout_descriptor() -> int:
    """The process's real standard output, also where ``sys.stdout`` was replaced.

    Started without one, its number belongs to whatever was opened next: then every write fails, and is counted.
    """
    stdout: TextIO | None = sys.__stdout__ or sys.stdout
    return NO_DESCRIPTOR if stdout is None else stdout.fileno()
