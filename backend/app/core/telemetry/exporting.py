"""The start and the end of what tells other processes. The end takes 1.5 s at most, also where the other side hangs."""

import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from threading import Thread
from time import monotonic

from app.core.context import LOGGED
from app.core.telemetry.base import Exporter

STOP_SECONDS = 1.5  # and what an exit takes by itself

logger = logging.getLogger(__name__)


@contextmanager
def exporting(exporters: Sequence[Exporter]) -> Iterator[None]:
    """While inside, they run. Raises ``OSError``, logged in one line, where one cannot."""
    started = []
    try:
        for exporter in exporters:
            exporter.start()
            started.append(exporter)
    except OSError as exc:
        logger.log(logging.ERROR, "telemetry_unavailable", extra={"reason": str(exc)})
        exc.add_note(LOGGED)
        stop(started)
        raise
    try:
        yield
    finally:
        stop(started)


def stop(exporters: Sequence[Exporter]) -> None:
    """In threads that end with the process: no library keeps its own deadline while the other side dribbles."""
    deadline = monotonic() + STOP_SECONDS
    threads = [Thread(target=exporter.stop, daemon=True) for exporter in exporters]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(max(deadline - monotonic(), 0))
