"""The fixtures of the product's suite, for the tests of the drawer."""

import pytest

from tests import conftest as product

pytest_plugins = product.pytest_plugins


def pytest_configure(config: pytest.Config) -> None:
    """Here and not in pytest.ini, because mutation testing has settings of its own."""
    config.addinivalue_line("markers", "attack(described): one of the catalogue")
