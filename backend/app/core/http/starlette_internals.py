"""The parts of Starlette's ``Request`` that its documentation does not promise stand here.

Relies on Starlette 1.10: ``Request.json`` keeps its result in ``_json``, ``Request.form`` asks ``_get_form``, which
keeps its in ``_form``. If Starlette asked somebody else, its lax parser would be back without a word:
``backend/tests/unit/core/test_internals.py`` fails then.
"""

from abc import abstractmethod
from typing import Any

from starlette.datastructures import FormData
from starlette.requests import Request


class ParsedRequest(Request):
    """A request whose subclass parses the body itself, once for every reader."""

    @abstractmethod
    async def parse_json(self) -> Any:
        """The body as JSON."""

    @abstractmethod
    async def parse_form(self) -> FormData:
        """The body as a form."""

    async def json(self) -> Any:
        if not hasattr(self, "_json"):
            self._json = await self.parse_json()
        return self._json

    async def _get_form(self, **limits: object) -> FormData:
        if self._form is None:
            self._form = await self.parse_form()
        return self._form
