"""The fixtures of the product's suite, for the tests of the drawer."""

from tests import conftest as product

pytest_plugins = product.pytest_plugins
