"""scripts/export_logs.py: which records it chooses, and how it writes them."""

import csv
import json
import subprocess
import sys
import tracemalloc
from io import BytesIO, StringIO
from pathlib import Path

import pytest

from app.core.config import PROJECT_ROOT
from scripts.export_logs import MAX_LINE_BYTES, Selection, parse, questions, write_csv
from tests.fixtures.server import server_environment

RECORDS = [
    {"time": "2026-01-05T09:00:00.000+00:00", "level": "INFO", "request_id": "a", "status": 200},
    {"time": "2026-01-05T09:30:00.000+00:00", "level": "WARNING", "request_id": "a", "status": 503},
    {"time": "2026-01-05T10:00:00.000+00:00", "level": "ERROR", "request_id": "b", "status": 500},
    {"level": "WARNING", "message": "log_records_dropped"},
]
LOG = "".join(f"{json.dumps(record)}\n" for record in RECORDS).encode()


def export(log: bytes, *arguments: str) -> subprocess.CompletedProcess[bytes]:
    command = [sys.executable, str(PROJECT_ROOT / "scripts" / "export_logs.py"), *arguments]
    return subprocess.run(
        command, input=log, env=server_environment(), capture_output=True, check=False
    )


def chosen(*arguments: str) -> list[int]:
    """The places in ``RECORDS`` of what these options choose."""
    found = Selection(questions(parse([*arguments]))).of(BytesIO(LOG))
    return [RECORDS.index(record) for record in found]


class TestSelection:
    @pytest.mark.parametrize(
        ("arguments", "expected"),
        [
            ([], [0, 1, 2, 3]),
            (["--request-id", "a"], [0, 1]),
            (["--level", "WARNING"], [1, 2, 3]),
            (["--level", "ERROR"], [2]),
            (["--since", "2026-01-05T09:30"], [1, 2]),
            (["--since", "2026-01-05T10:30+01:00"], [1, 2]),
            (["--until", "2026-01-05T09:30"], [0]),
            (["--status", "503"], [1]),
            (["--status", "5xx"], [1, 2]),
            (["--status", "5xx", "--request-id", "a"], [1]),
        ],
    )
    def test_a_record_passes_every_question(
        self, arguments: list[str], expected: list[int]
    ) -> None:
        assert chosen(*arguments) == expected

    @pytest.mark.parametrize(
        "arguments", [["--status", "9xx"], ["--since", "yesterday"], ["--level", "LOUD"]]
    )
    def test_an_option_that_means_nothing_ends_it(
        self, arguments: list[str], capsys: pytest.CaptureFixture[str]
    ) -> None:
        with pytest.raises(SystemExit, match="2"):
            parse(arguments)

        assert arguments[0] in capsys.readouterr().err


class TestWhatIsNoRecord:
    @pytest.mark.parametrize(
        "line",
        [b"Traceback (most recent call last):", b"[1]", b'{"half": ', b'{"\xff": 1}', b"{" * 9_999],
    )
    def test_is_left_out_and_counted(self, line: bytes) -> None:
        selection = Selection([])

        found = list(selection.of(BytesIO(line + b"\n" + LOG)))

        assert (found, selection.skipped) == (RECORDS, 1)

    def test_a_blank_line_is_not_counted(self) -> None:
        selection = Selection([])

        assert (list(selection.of(BytesIO(b"\n \n"))), selection.skipped) == ([], 0)

    def test_what_compose_writes_before_a_record_is_dropped(self) -> None:
        assert list(Selection([]).of(BytesIO(b'app-1  | {"status": 200}\n'))) == [{"status": 200}]

    def test_a_line_beyond_the_limit_is_one_line_and_costs_no_more_than_the_limit(self) -> None:
        endless = BytesIO(b"x" * (20 * MAX_LINE_BYTES) + b"\n" + LOG)
        selection = Selection([])

        tracemalloc.start()
        found = list(selection.of(endless))
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()

        assert (found, selection.skipped) == (RECORDS, 1)
        assert peak < 4 * MAX_LINE_BYTES


class TestCsv:
    def rows(self, record: dict[str, object]) -> list[dict[str, str]]:
        out = StringIO()
        write_csv([record], out)
        return list(csv.DictReader(StringIO(out.getvalue())))

    def test_has_a_column_for_each_known_field_and_one_for_the_rest(self) -> None:
        (row,) = self.rows({"status": 200, "path": "/health", "cause": "none"})

        assert (row["status"], row["path"], row["level"]) == ("200", "/health", "")
        assert json.loads(row["more"]) == {"cause": "none"}

    @pytest.mark.parametrize("id_", ["=1+1", "+1", "-1", "@a", "\tx"])
    def test_no_cell_is_a_formula(self, id_: str) -> None:
        (row,) = self.rows({"request_id": id_})

        assert row["request_id"] == f"'{id_}"

    def test_a_negative_number_stays_one(self) -> None:
        assert self.rows({"duration_ms": -0.5})[0]["duration_ms"] == "-0.5"


class TestCommand:
    def test_reads_standard_input_and_writes_json_lines(self) -> None:
        done = export(LOG + b"noise\n", "--status", "5xx")

        assert [json.loads(line) for line in done.stdout.splitlines()] == RECORDS[1:3]
        assert (done.returncode, done.stderr.strip()) == (0, b"1 lines were no log records")

    def test_reads_a_file_and_writes_csv_in_utf_8(self, tmp_path: Path) -> None:
        (tmp_path / "app.log").write_bytes(b'{"message": "caf\\u00e9 \\ud800"}\n')

        done = export(b"", str(tmp_path / "app.log"), "--csv")

        assert "café \\ud800".encode() in done.stdout
        assert (done.returncode, done.stderr) == (0, b"")

    def test_says_in_one_line_that_a_file_is_missing(self, tmp_path: Path) -> None:
        done = export(b"", str(tmp_path / "none.log"))

        assert done.returncode == 1
        assert done.stderr.splitlines() == [
            f"{tmp_path / 'none.log'}: No such file or directory".encode()
        ]
