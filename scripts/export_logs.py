"""Chooses log records of a run and writes them as JSON lines, or as CSV for a spreadsheet.

    make export-logs args="app.log --status 5xx --csv"
    docker compose logs app | make export-logs args="--request-id e71b8a58-cb40-4e02-b1e3-181dc097fe98"
    make export-logs args="app.log --level WARNING --since 2026-01-05T09:00 --until 2026-01-05T10:00"

Reads and writes line by line, so a file may be larger than the memory. What is no record is counted on standard error.
"""

import argparse
import csv
import json
import re
import sys
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, BinaryIO, TextIO

MAX_LINE_BYTES = 1_048_576
COLUMNS = (
    *("time", "level", "logger", "message", "request_id"),
    *("method", "route", "path", "status", "duration_ms", "client"),
)
REST = "more"  # what a record holds besides, as JSON
FORMULA = re.compile(r"[=+\-@\t\r]")
LEVELS = ["DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL"]

# A log record is any JSON object, hence Any.
Record = dict[str, Any]
Question = Callable[[Record], bool]


@dataclass
class Selection:
    """The records that match every filter; ``skipped`` counts the lines that are no record."""

    questions: list[Question]
    skipped: int = 0

    def of(self, stream: BinaryIO) -> Iterator[Record]:
        for line in lines(stream):
            record = record_in(line)
            if record is None:
                self.skipped += 1
            elif all(question(record) for question in self.questions):
                yield record


def main(arguments: list[str] | None = None) -> int:
    options = parse(arguments)
    selection = Selection(questions(options))
    write = write_csv if options.csv else write_json
    try:
        with opened(options.file) as stream, standard_output() as out:
            write(selection.of(stream), out)
    except BrokenPipeError:
        pass  # who reads has had enough
    except OSError as error:
        sys.exit(f"{options.file}: {error.strerror}")
    if selection.skipped:
        print(f"{selection.skipped} lines were no log records", file=sys.stderr)
    return 0


def opened(file: Path | None) -> BinaryIO:
    return file.open("rb") if file else sys.stdin.buffer


def standard_output() -> TextIO:
    """In UTF-8 on every system. What UTF-8 cannot hold, such as half of a pair, is escaped."""
    number = sys.stdout.fileno()
    return open(number, "w", encoding="utf-8", errors="backslashreplace", closefd=False)


def parse(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="make export-logs", description=__doc__.partition("\n")[0]
    )
    parser.add_argument("file", nargs="?", type=Path, help="the log; standard input without one")
    parser.add_argument("--request-id", help="of one request alone")
    parser.add_argument("--level", choices=LEVELS, help="at least")
    parser.add_argument("--since", type=moment, help="2026-01-05T09:00, in UTC unless it says so")
    parser.add_argument("--until", type=moment, help="and before this")
    parser.add_argument("--status", type=statuses, help="404, or 5xx for all of them")
    parser.add_argument("--csv", action="store_true", help="a table, not JSON lines")
    return parser.parse_args(arguments)


def moment(text: str) -> datetime:
    time = datetime.fromisoformat(text)
    return time if time.tzinfo else time.replace(tzinfo=UTC)


def statuses(text: str) -> re.Pattern[str]:
    if not re.fullmatch("[1-5](xx|[0-9]{2})", text):
        raise ValueError(text)
    return re.compile(text.replace("x", "[0-9]"))


def questions(options: argparse.Namespace) -> list[Question]:
    """One for each option that was given."""
    known: dict[str, Question] = {
        "request_id": lambda record: record.get("request_id") == options.request_id,
        "level": lambda record: record.get("level") in LEVELS[LEVELS.index(options.level) :],
        "since": lambda record: (at := time_of(record)) is not None and at >= options.since,
        "until": lambda record: (at := time_of(record)) is not None and at < options.until,
        "status": lambda record: bool(options.status.fullmatch(str(record.get("status")))),
    }
    return [question for name, question in known.items() if getattr(options, name) is not None]


def time_of(record: Record) -> datetime | None:
    try:
        return moment(str(record.get("time")))
    except ValueError:
        return None


def lines(stream: BinaryIO) -> Iterator[bytes]:
    """The lines that are not blank, none longer than the limit: of a longer one the rest is thrown away."""
    while line := stream.readline(MAX_LINE_BYTES):
        rest = line
        while len(rest) == MAX_LINE_BYTES and not rest.endswith(b"\n"):
            rest = stream.readline(MAX_LINE_BYTES)
        if line.strip():
            yield line


def record_in(line: bytes) -> Record | None:
    """The JSON object at the end of a line, behind what Compose may have written before it."""
    try:
        record = json.loads(line[line.index(b"{") :])
    except (ValueError, RecursionError):
        return None
    return record if isinstance(record, dict) else None


def write_json(records: Iterable[Record], out: TextIO) -> None:
    for record in records:
        print(json.dumps(record), file=out)


def write_csv(records: Iterable[Record], out: TextIO) -> None:
    table = csv.writer(out, lineterminator="\n")
    table.writerow([*COLUMNS, REST])
    for record in records:
        rest = {name: value for name, value in record.items() if name not in COLUMNS}
        cells = [record.get(name, "") for name in COLUMNS]
        table.writerow(map(harmless, [*cells, json.dumps(rest) if rest else ""]))


def harmless(value: object) -> str:
    """A cell that no spreadsheet takes for a formula: a client chooses its request id."""
    text = str(value)
    return f"'{text}" if isinstance(value, str) and FORMULA.match(text) else text


if __name__ == "__main__":
    sys.exit(main())
