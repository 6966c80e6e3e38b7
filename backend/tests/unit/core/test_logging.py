"""Logging: one record is one line, nothing secret is in it, and a stalled reader stops nobody."""

import json
import logging
import os
import signal
import sys
import threading
import time
from collections.abc import Iterator
from types import FrameType
from unittest.mock import Mock

import pytest

from app.core.context import request_id_var
from app.core.log import writer as log_writer
from app.core.log.writer import QUEUE_SIZE, QueuedHandler
from app.core.logging import (
    JsonFormatter,
    TextFormatter,
    configure_logging,
    stdout_descriptor,
)
from tests.fixtures.env import make_settings


def record(message: str = "hello", **extra: object) -> logging.LogRecord:
    return logging.getLogger("test").makeRecord(
        "test", logging.INFO, __file__, 1, message, (), None, extra=extra
    )


class Pipe:
    """A log handler that writes into a pipe, and the reader at its other end."""

    def __init__(self) -> None:
        self.reader, self.writer = os.pipe()
        self.handlers: list[QueuedHandler] = []

    def handler(self, size: int = QUEUE_SIZE) -> QueuedHandler:
        handler = QueuedHandler(self.writer, size)
        self.handlers.append(handler)
        return handler

    def stop_reading(self) -> None:
        """Close the reader: whoever writes gets an error instead of waiting."""
        if self.reader >= 0:
            os.close(self.reader)
            self.reader = -1

    def close(self) -> None:
        self.stop_reading()
        for handler in self.handlers:
            handler.close()
        os.close(self.writer)


@pytest.fixture
def pipe() -> Iterator[Pipe]:
    pipe = Pipe()
    yield pipe
    pipe.close()


class TestJsonFormatter:
    def test_formatter_writes_one_object_with_time_level_logger_and_message(self) -> None:
        line = json.loads(JsonFormatter().format(record()))

        assert line.pop("time").endswith("+00:00")
        assert line == {"level": "INFO", "logger": "test", "message": "hello"}

    def test_formatter_adds_what_came_as_extra(self) -> None:
        assert json.loads(JsonFormatter().format(record(order_id=7)))["order_id"] == 7

    def test_formatter_adds_the_request_id(self) -> None:
        token = request_id_var.set("abc")
        try:
            assert json.loads(JsonFormatter().format(record()))["request_id"] == "abc"
        finally:
            request_id_var.reset(token)

    @pytest.mark.parametrize(
        "hostile", ['a"b', "a\nb", "\x1b[31m", "\ud800", '","level":"FATAL', "\u2028", "%s%n{0}"]
    )
    def test_formatter_keeps_hostile_text_inside_one_line(self, hostile: str) -> None:
        line = JsonFormatter().format(record(hostile, value=hostile))

        assert "\n" not in line
        assert line.isascii()
        assert json.loads(line)["message"] == hostile

    def test_formatter_writes_a_traceback_without_the_values_of_a_database_row(self) -> None:
        message = "broken\nDETAIL:  Key (note)=(marker\nmarker) exists.\n[SQL: INSERT]"
        try:
            raise ValueError(message)
        except ValueError:
            failed = record()
            failed.exc_info = sys.exc_info()

        exception = json.loads(JsonFormatter().format(failed))["exception"]

        assert "ValueError: broken" in exception
        assert "[SQL: INSERT]" in exception
        assert "marker" not in exception


class TestTextFormatter:
    def test_formatter_writes_message_and_extra_on_one_line(self) -> None:
        line = TextFormatter().format(record("two\nlines", path="a b", status=200))

        assert line.endswith('INFO test two\\nlines path="a b" status=200')

    def test_formatter_appends_the_traceback(self) -> None:
        try:
            raise ValueError("broken")
        except ValueError:
            failed = record()
            failed.exc_info = sys.exc_info()

        assert TextFormatter().format(failed).splitlines()[-1] == "ValueError: broken"


class TestQueuedHandler:
    def test_handler_writes_what_was_logged_before_it_closed(self, pipe: Pipe) -> None:
        handler = pipe.handler()
        for number in range(100):
            handler.emit(record(f"line {number}"))

        handler.close()

        written = os.read(pipe.reader, 65_536).decode()
        assert written.splitlines() == [f"line {number}" for number in range(100)]

    def test_handler_drops_and_counts_records_when_the_queue_is_full(self, pipe: Pipe) -> None:
        handler = pipe.handler(size=10)
        big = record("x" * 100_000)

        started = time.monotonic()
        for _ in range(200):
            handler.emit(big)

        assert handler.dropped > 100
        assert time.monotonic() - started < 5

    def test_dropped_records_are_reported_when_the_reader_is_back(self, pipe: Pipe) -> None:
        handler = pipe.handler(size=10)
        for _ in range(200):
            handler.emit(record("x" * 100_000))

        with os.fdopen(os.dup(pipe.reader)) as stream:
            for line in stream:
                if "log_records_dropped" in line:
                    break

        assert 0 < json.loads(line)["dropped"] <= handler.dropped

    def test_handler_can_be_used_by_a_signal_handler_that_interrupts_it(self, pipe: Pipe) -> None:
        handler = pipe.handler(size=1_000_000)
        handler.setFormatter(JsonFormatter())
        interrupted = 0

        def log_too(signum: int, frame: FrameType | None) -> None:
            nonlocal interrupted
            interrupted += 1
            handler.handle(record("from the signal handler"))

        previous = signal.signal(signal.SIGALRM, log_too)
        signal.setitimer(signal.ITIMER_REAL, 0.0005, 0.0005)
        try:
            deadline = time.monotonic() + 0.5
            while time.monotonic() < deadline:
                handler.handle(record("from the code that it interrupts"))
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)
            signal.signal(signal.SIGALRM, previous)

        assert interrupted > 50

    def test_handler_survives_a_closed_pipe(self, pipe: Pipe) -> None:
        pipe.stop_reading()
        handler = pipe.handler()

        handler.emit(record())
        handler.close()

        assert handler.dropped == 1

    def test_handler_survives_a_process_that_was_started_without_standard_output(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(sys, "__stdout__", None)
        monkeypatch.setattr(sys, "stdout", None)
        handler = QueuedHandler(stdout_descriptor())

        handler.emit(record())
        handler.close()

        assert handler.dropped == 1

    def test_handler_survives_a_record_that_cannot_be_formatted(self, pipe: Pipe) -> None:
        handler = pipe.handler()
        broken = record("%d")
        broken.args = ("not a number",)

        handler.emit(broken)
        handler.close()

        line = json.loads(os.read(pipe.reader, 1_000))
        assert (line["level"], line["logger"], line["message"]) == ("INFO", "test", "%d")
        assert line["time"].endswith("+00:00")
        assert "%d format" in line["unformattable"]

    def test_handler_starts_its_thread_with_the_first_record_and_no_second_one(
        self, pipe: Pipe
    ) -> None:
        before = threading.active_count()
        handler = pipe.handler()
        assert threading.active_count() == before

        for _ in range(3):
            handler.emit(record())

        assert threading.active_count() == before + 1

    def test_failed_start_of_the_thread_is_retried(
        self, pipe: Pipe, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        handler = pipe.handler()
        with monkeypatch.context() as patch:
            patch.setattr(threading.Thread, "start", Mock(side_effect=RuntimeError("no thread")))
            handler.emit(record("first"))

        handler.emit(record("second"))
        handler.close()

        assert os.read(pipe.reader, 1_000) == b"first\nsecond\n"


@pytest.mark.skipif(os.name == "nt", reason="Windows has no non-blocking standard output")
class TestNonBlockingDescriptor:
    """Standard output that is shared with a program that has made it non-blocking, as Node does."""

    @pytest.fixture(autouse=True)
    def non_blocking(self, pipe: Pipe) -> None:
        os.set_blocking(pipe.writer, False)

    def test_writer_loses_breaks_and_repeats_no_line(self, pipe: Pipe) -> None:
        handler = pipe.handler()
        received = bytearray()

        def read() -> None:
            while not received.endswith(b"last\n"):
                received.extend(os.read(pipe.reader, 5_000))

        reader = threading.Thread(target=read)
        reader.start()
        sent = [f"{number} {'x' * 200}" for number in range(3_000)]
        for message in [*sent, "last"]:
            handler.emit(record(message))
        reader.join(10)
        handler.close()

        assert received.decode().splitlines() == [*sent, "last"]
        assert handler.dropped == 0

    def test_writer_counts_exactly_the_lines_that_are_not_written(
        self, pipe: Pipe, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(log_writer, "FLUSH_SECONDS", 0.1)
        handler = pipe.handler()
        for number in range(3_000):
            handler.emit(record(f"{number} {'x' * 200}"))

        handler.close()
        assert handler._done.wait(10)

        os.close(pipe.writer)
        with os.fdopen(os.dup(pipe.reader)) as stream:
            lines = stream.read().splitlines()
        pipe.writer = os.open(os.devnull, os.O_WRONLY)
        begun = len(lines[-1]) < len(lines[-2])
        assert [line.split()[0] for line in lines] == [str(number) for number in range(len(lines))]
        assert handler.dropped == 3_000 - len(lines)
        assert begun == bool(handler._begun)

    def test_writer_finishes_a_line_before_it_begins_another(
        self, pipe: Pipe, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        handler = pipe.handler()
        write, room = os.write, iter([3, 0])

        def some(fd: int, data: bytes) -> int:
            if (step := next(room, len(data))) == 0:
                raise OSError("no space left on the device")
            return write(fd, data[:step])

        monkeypatch.setattr(os, "write", some)
        handler._write(["first", "lost"])
        handler._write(["last"])

        assert os.read(pipe.reader, 1_000) == b"first\nlast\n"


class TestConfigureLogging:
    def test_logging_called_twice_leaves_one_handler(self) -> None:
        configure_logging(make_settings())
        configure_logging(make_settings())

        handlers = logging.getLogger().handlers
        assert len([handler for handler in handlers if isinstance(handler, QueuedHandler)]) == 1

    @pytest.mark.parametrize("name", ["uvicorn", "uvicorn.error", "alembic"])
    def test_libraries_speak_through_it(self, name: str) -> None:
        logging.getLogger(name).addHandler(logging.StreamHandler())

        configure_logging(make_settings())

        assert logging.getLogger(name).handlers == []
        assert logging.getLogger(name).propagate

    def test_uvicorns_access_log_is_off(self) -> None:
        configure_logging(make_settings())

        assert logging.getLogger("uvicorn.access").disabled

    @pytest.mark.parametrize(
        ("message", "is_logged"),
        [
            ("unable to perform operation on <TCPTransport>; the handler is closed", False),
            ("unable to perform operation on <TCPTransport>", True),
        ],
    )
    def test_write_to_a_closed_connection_is_no_error(self, message: str, is_logged: bool) -> None:
        configure_logging(make_settings())
        error = RuntimeError(message)
        broken = logging.LogRecord("x", logging.ERROR, "", 1, "", (), (type(error), error, None))

        assert bool(logging.getLogger("uvicorn.error").filter(broken)) is is_logged
        assert logging.getLogger("uvicorn.error").filter(record())

    def test_level_is_a_setting(self) -> None:
        configure_logging(make_settings(log_level="WARNING"))

        assert logging.getLogger().level == logging.WARNING
