"""D-04: what squawk says of migrations that break the release before, and of those that do not."""

from pathlib import Path

import pytest

from quality.deploy.migrations import SPARED, broken_rules, walk
from quality.testkit.report import Report
from tests.fixtures.db import is_postgres

EXPANDS = """
BEGIN;
ALTER TABLE users ADD COLUMN nickname VARCHAR(80);
ALTER TABLE users ADD COLUMN visits INTEGER DEFAULT 0 NOT NULL;
CREATE TABLE notes (id UUID PRIMARY KEY, owner UUID NOT NULL REFERENCES users (id));
CREATE INDEX ix_notes_owner ON notes (owner);
COMMIT;
"""

# Without a lock, and not for what is there: nothing is wrong with it but that the release before does not know it.
NARROWS = "ALTER TABLE users ADD CONSTRAINT c CHECK (length(email) > 99) NOT VALID;"


@pytest.mark.parametrize(
    ("sql", "rule"),
    [
        ("ADD COLUMN a text NOT NULL", "adding-required-field"),
        ("ALTER COLUMN display_name SET NOT NULL", "adding-not-nullable-field"),
        ("DROP COLUMN email", "ban-drop-column"),
        ("RENAME COLUMN email TO mail", "renaming-column"),
        ("RENAME TO accounts", "renaming-table"),
        ("ALTER COLUMN email TYPE varchar(20)", "changing-column-type"),
        ("ADD CONSTRAINT f FOREIGN KEY (id) REFERENCES o (id)", "adding-foreign-key-constraint"),
        ("ADD CONSTRAINT c CHECK (email <> '')", "constraint-missing-not-valid"),
        ("ADD CONSTRAINT u UNIQUE (email)", "disallowed-unique-constraint"),
    ],
)
def test_d_04_change_of_a_table_that_breaks_the_release_before_is_found(
    sql: str, rule: str
) -> None:
    found = broken_rules(f"BEGIN;\nALTER TABLE users {sql};\nCOMMIT;\n")

    assert rule in [line.partition(":")[0] for line in found]


@pytest.mark.parametrize(
    ("sql", "rule"),
    [
        ("DROP TABLE jobs", "ban-drop-table"),
        ("CREATE INDEX i ON users (email)", "require-concurrent-index-creation"),
        ("CREATE UNIQUE INDEX i ON users (email)", "require-concurrent-index-creation"),
    ],
)
def test_d_04_statement_that_breaks_the_release_before_is_found(sql: str, rule: str) -> None:
    assert [line.partition(":")[0] for line in broken_rules(f"{sql};")] == [rule]


@pytest.mark.slow
@pytest.mark.skipif(not is_postgres(), reason="DATABASE_URL is not PostgreSQL")
async def test_d_04_change_that_no_rule_knows_is_refused_by_the_release_before(
    tmp_path: Path,
) -> None:
    assert broken_rules(f"BEGIN;\n{NARROWS}\nCOMMIT;\n") == []
    report = Report()

    await walk(report, tmp_path, "HEAD", NARROWS)

    assert report.missed == ["README of HEAD on the new schema"]


def test_change_that_expands_is_allowed() -> None:
    assert broken_rules(EXPANDS) == []


def test_migration_that_contracts_may_drop() -> None:
    assert broken_rules("ALTER TABLE users DROP COLUMN email;", SPARED) == []
