"""Lines go to a file descriptor through one thread of each process; no logging call waits for it."""

import logging
import os
import queue
import select
import threading
import time

from app.core.log.child_processes import at_end_of_multiprocessing_child, call_in_children
from app.core.log.json_lines import unformattable

QUEUE_SIZE = 10_000
BATCH = 500
GATHER_SECONDS = 0.02
FLUSH_SECONDS = 1.0  # at exit: how long a stalled reader may hold up the end of the process
RETRY_SECONDS = 0.1  # how often who waits for a non-blocking descriptor looks whether it should end


class QueuedHandler(logging.Handler):
    """Writes to ``fd`` from a thread that the first record of a process starts; ``dropped`` counts what was not written.

    A process that was forked begins again: what was queued before is its parent's to write.
    """

    def __init__(self, fd: int, size: int = QUEUE_SIZE) -> None:
        super().__init__()
        self._fd = fd
        self._size = size
        self._begin()
        call_in_children(self._begin)

    def _begin(self) -> None:
        self.dropped = 0
        # Its put() takes no lock, so a record made by a signal handler cannot meet itself in here.
        self._lines: queue.SimpleQueue[str | None] = queue.SimpleQueue()
        self._begun = b""  # the end of a line whose beginning is written
        self._closing = threading.Event()
        self._give_up_at = 0.0  # monotonic; once it is closing
        self._done = threading.Event()
        self._unstarted = [self._write_all]  # who pops it starts the thread: nobody else can

    def emit(self, record: logging.LogRecord) -> None:
        try:
            line = self._line(record)
        except Exception:  # noqa: BLE001  no room on the stack, even: the work goes on
            self.dropped += 1
            return
        if self._lines.qsize() >= self._size:
            self.dropped += 1
        else:
            self._lines.put(line)
        if self._unstarted:
            self._start()

    def close(self) -> None:
        """Write what is queued, but give up after ``FLUSH_SECONDS``."""
        self._give_up_at = time.monotonic() + FLUSH_SECONDS
        self._closing.set()
        self._lines.put(None)
        if not self._unstarted:
            self._done.wait(FLUSH_SECONDS)
        super().close()

    def _line(self, record: logging.LogRecord) -> str:
        try:
            return self.format(record)
        except Exception as error:  # noqa: BLE001  a bad format string must not fail the request
            return unformattable(record, error)

    def _start(self) -> None:
        try:
            work = self._unstarted.pop()
        except IndexError:
            return  # a signal handler or another thread was first
        try:
            threading.Thread(target=work, name="log-writer", daemon=True).start()
        except RuntimeError:  # the system has no thread to spare: the next record asks again
            self._unstarted.append(work)
        else:
            at_end_of_multiprocessing_child(self.close)

    def _write_all(self) -> None:
        reported = 0
        lines, closing, done = self._lines, self._closing, self._done
        ended = False
        while not ended and (line := lines.get()) is not None:
            # A line that nobody waits for does not wake this thread, which would ask for the GIL.
            if lines.qsize() < BATCH:
                closing.wait(GATHER_SECONDS)
            batch = [line]
            while len(batch) < BATCH and not lines.empty():
                queued = lines.get()
                if queued is None:
                    ended = True
                    break
                batch.append(queued)
            reported = self._write_and_count(batch, reported)
        done.set()

    def _write_and_count(self, batch: list[str], reported: int) -> int:
        """Write ``batch`` and, where more than ``reported`` were dropped, how many. Returns what the log has been told."""
        dropped = self.dropped
        notice = [f'{{"level": "WARNING", "message": "log_records_dropped", "dropped": {dropped}}}']
        if dropped <= reported:
            notice.clear()
        lost = self._write(batch + notice)
        self.dropped += max(
            0, lost - len(notice)
        )  # the notice is the last line: lost before any other
        return dropped if notice and not lost else reported

    def _write(self, batch: list[str]) -> int:
        """Returns how many lines are not written. One that was begun is finished by the next call."""
        lines = [f"{line}\n".encode("utf-8", "backslashreplace") for line in batch]
        data = memoryview(self._begun + b"".join(lines))
        try:
            while data:
                data = data[self._write_some(data) :]
        except (OSError, ValueError):
            pass  # closed pipe, full disk, a number that select does not take: the application goes on
        left = len(data)
        lost = 0
        while lost < len(lines) and left >= len(lines[-1 - lost]):
            left -= len(lines[-1 - lost])
            lost += 1
        self._begun = bytes(data[:left])
        return lost

    def _write_some(self, data: memoryview) -> int:
        """Standard output that another program has made non-blocking is waited for like any other, but not after the end."""
        try:
            return os.write(self._fd, data)
        except BlockingIOError:
            if self._closing.is_set() and time.monotonic() > self._give_up_at:
                raise
            select.select([], [self._fd], [], RETRY_SECONDS)
            return 0
