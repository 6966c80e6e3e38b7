"""Every record of the process leaves in one format, and none of them can stop the process.

A record is formatted where it is made and written by one thread of its own. Between the two is a
bounded queue: when the reader of stdout stalls, records are dropped and counted, never waited for.
"""

import atexit
import json
import logging
import os
import queue
import sys
import threading
from datetime import UTC, datetime
from typing import Final, TextIO

from app.core.config import Settings
from app.core.context import LOGGED, request_id_var
from app.core.log_exceptions import rendered, without_values

QUEUE_SIZE = 10_000
BATCH = 500
GATHER_SECONDS = 0.02
NO_DESCRIPTOR = -1
FLUSH_SECONDS = 1.0  # at exit: how long a stalled reader may hold up the end of the process

HANDSHAKE = '%s - "WebSocket %s"'  # uvicorn/protocols/websockets
CLOSED = "the handler is closed"  # uvloop/handles/handle.pyx

STANDARD_ATTRIBUTES: Final = frozenset(
    logging.LogRecord("", 0, "", 0, "", (), None).__dict__
) | frozenset(("message", "asctime", "taskName", "color_message"))


# Made once: json.dumps would make an encoder for every record. What it is given has no cycles.
encode = json.JSONEncoder(default=str, check_circular=False).encode


class LogFormatter(logging.Formatter):
    """Collects what a record says: the fixed fields, then whatever came with ``extra=``."""

    def fields(self, record: logging.LogRecord) -> dict[str, object]:
        fields: dict[str, object] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname,
            "logger": record.name,
            "message": without_values(record.getMessage()),
        }
        if request_id := request_id_var.get():
            fields["request_id"] = request_id
        fields |= {
            name: value
            for name, value in record.__dict__.items()
            if name not in STANDARD_ATTRIBUTES
        }
        if record.exc_info:
            fields["exception"] = rendered(record.exc_info)
        return fields


class JsonFormatter(LogFormatter):
    """One JSON object a line. ASCII only, so no input can break the line or the terminal."""

    def format(self, record: logging.LogRecord) -> str:
        return encode(self.fields(record))


class TextFormatter(LogFormatter):
    """For eyes: time, level, logger, message, then name=value. Input is escaped as in JSON."""

    def format(self, record: logging.LogRecord) -> str:
        fields = self.fields(record)
        exception = fields.pop("exception", None)
        head = [str(fields.pop(name)) for name in ("time", "level", "logger", "message")]
        rest = [f"{name}={json.dumps(value, default=str)}" for name, value in fields.items()]
        line = " ".join(map(printable, head + rest))
        return f"{line}\n{exception}" if exception else line


def printable(text: str) -> str:
    """``text`` with every control character escaped: one record stays one line."""
    return text if text.isprintable() else text.encode("unicode_escape").decode("ascii")


class QueuedHandler(logging.Handler):
    """Writes to a file descriptor from a thread of its own; ``dropped`` counts what did not fit."""

    def __init__(self, fd: int, size: int = QUEUE_SIZE) -> None:
        super().__init__()
        self.dropped = 0
        self._fd = fd
        self._size = size
        # Its put() takes no lock, so a record made by a signal handler cannot meet itself in here.
        self._lines: queue.SimpleQueue[str | None] = queue.SimpleQueue()
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._write_all, name="log-writer", daemon=True)
        self._thread.start()

    def emit(self, record: logging.LogRecord) -> None:
        try:
            line = self.format(record)
        except Exception:  # noqa: BLE001  a bad format string must not fail the request
            line = json.dumps({"level": "ERROR", "message": "unformattable", "at": record.pathname})
        if self._lines.qsize() >= self._size:
            self.dropped += 1
        else:
            self._lines.put(line)

    def close(self) -> None:
        """Write what is queued, but give up after ``FLUSH_SECONDS``."""
        self._closing.set()
        self._lines.put(None)
        self._thread.join(FLUSH_SECONDS)
        super().close()

    def _write_all(self) -> None:
        reported = 0
        while (line := self._lines.get()) is not None:
            # Who puts a line while nobody waits for it does not wake this thread, which would ask for the GIL.
            if self._lines.qsize() < BATCH:
                self._closing.wait(GATHER_SECONDS)
            batch = [line]
            while len(batch) < BATCH and not self._lines.empty():
                queued = self._lines.get()
                if queued is None:
                    self._write(batch)
                    return
                batch.append(queued)
            if self.dropped > reported:
                reported = self.dropped
                batch.append(
                    f'{{"level": "WARNING", "message": "records dropped", "dropped": {reported}}}'
                )
            self._write(batch)

    def _write(self, batch: list[str]) -> None:
        data = ("\n".join(batch) + "\n").encode("utf-8", "backslashreplace")
        try:
            while data:
                data = data[os.write(self._fd, data) :]
        except OSError:
            self.dropped += len(batch)  # closed pipe, full disk: the application goes on


def has_a_client(record: logging.LogRecord) -> bool:
    """Whether a record is about more than an answer whose client has gone.

    uvloop raises for what asyncio drops in silence: a write to a closed connection. uvicorn stops in time, except
    for requests that wait behind another one of the same connection; each would be an error with its traceback.
    """
    error = record.exc_info[1] if record.exc_info else None
    return not (isinstance(error, RuntimeError) and CLOSED in str(error))


def is_new(record: logging.LogRecord) -> bool:
    """Whether the server says something that was not logged already, with less.

    An exception that the request id layer has logged; the handshake of a WebSocket, which it writes with the query string.
    """
    error = record.exc_info[1] if record.exc_info else None
    return LOGGED not in getattr(error, "__notes__", ()) and HANDSHAKE not in str(record.msg)


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
    for name in ("uvicorn", "uvicorn.error", "uvicorn.access", "alembic"):
        library = logging.getLogger(name)
        library.handlers.clear()
        library.propagate = True
    for keeps in (has_a_client, is_new):
        logging.getLogger("uvicorn.error").addFilter(keeps)
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
