"""The fixtures of the product's suite, for the tests of the drawer."""

from tests.conftest import pytest_plugins as pytest_plugins
