"""Telemetry as log records: enough to see that the extension point works, and to count with any log store."""

import logging
from random import random

logger = logging.getLogger("app.telemetry")


class LogTelemetry:
    """Writes the share ``sample_rate`` (0 to 1) of what it is told. Each record carries the rate."""

    def __init__(self, sample_rate: float) -> None:
        self.sample_rate = sample_rate

    def increment(self, name: str, **labels: str) -> None:
        self._write({"metric": name, "count": 1, "labels": labels})

    def timing(self, name: str, seconds: float, **labels: str) -> None:
        self._write({"metric": name, "seconds": round(seconds, 6), "labels": labels})

    def gauge(self, name: str, value: float, **labels: str) -> None:
        self._write({"metric": name, "value": round(value, 6), "labels": labels})

    def _write(self, fields: dict[str, object]) -> None:
        # The labels keep to themselves: as fields they could collide with those of a log record, which raises.
        if random() < self.sample_rate:  # noqa: S311  a sample, not a secret
            logger.info("metric", extra={**fields, "sample_rate": self.sample_rate})
