"""Fixtures live in tests/fixtures, one module for each concern. The environment comes first."""

from pathlib import Path

import pytest

pytest_plugins = [
    "tests.fixtures.env",
    "tests.fixtures.logs",
    "tests.fixtures.db",
    "tests.fixtures.fastapi_app",
    "tests.fixtures.auth",
    "tests.fixtures.redis",
    "tests.fixtures.cache",
    "tests.fixtures.jobs",  # before the matrix, which imports test modules that import it
    "tests.fixtures.callers",
    "tests.fixtures.server",
    "tests.fixtures.migrations",
    "tests.fixtures.faults",
    "tests.fixtures.database_failures",
    "tests.fixtures.collector",
    "tests.fixtures.throttle",
]

TESTS = Path(__file__).parent


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The folder is the marker: tests/unit and tests/integration."""
    for item in items:
        if TESTS not in item.path.parents:
            continue
        kind = item.path.relative_to(TESTS).parts[0]
        if kind in {"unit", "integration"}:
            item.add_marker(kind)
