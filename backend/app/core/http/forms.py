"""The two encodings of a form, each with one reading: UTF-8, no single field twice, bounded in number and size."""

import re
from collections.abc import AsyncGenerator, Container, Mapping
from typing import Any
from urllib.parse import parse_qsl

from starlette.datastructures import FormData, Headers
from starlette.formparsers import MultiPartException, MultiPartParser

from app.core.errors import BadRequest
from app.core.http.content_type import parameters

FORM = "application/x-www-form-urlencoded"
MULTIPART = "multipart/form-data"
MAX_FORM_FIELDS = 100
MULTIPART_LIMITS = {"max_files": 10, "max_fields": MAX_FORM_FIELDS, "max_part_size": 65_536}
# RFC 2046, section 5.1.1.
BOUNDARY = re.compile(r"[0-9A-Za-z'()+_,./:=? -]{0,69}[0-9A-Za-z'()+_,./:=?-]")
CLOSE = {"Connection": "close"}  # the rest of the body is not read


def form_fields(body: bytes, repeatable: Container[str] = ()) -> list[tuple[str, str]]:
    """The fields of an urlencoded form. Raises ``BadRequest`` where one that is not ``repeatable`` comes twice."""
    try:
        fields = parse_qsl(
            body.decode("ascii"),
            keep_blank_values=True,
            errors="strict",
            max_num_fields=MAX_FORM_FIELDS,
        )
    except UnicodeDecodeError:
        raise BadRequest("The form is not valid UTF-8") from None
    except ValueError:
        raise BadRequest("The form has too many fields") from None
    single = [name for name, _ in fields if name not in repeatable]
    if len(set(single)) != len(single):
        raise BadRequest("The form contains the same field twice")
    return fields


class StrictMultiPartParser(MultiPartParser):
    """Files go to disk beyond 64 KiB each, whatever their number; what has two readings is a ``BadRequest``."""

    spool_max_size = 65_536

    def __init__(
        self,
        boundary: str,
        stream: AsyncGenerator[bytes, None],
        repeatable: Container[str],
        limits: Mapping[str, Any],
    ) -> None:
        """Raises ``BadRequest`` for a boundary that RFC 2046 does not know."""
        if not BOUNDARY.fullmatch(boundary):
            raise BadRequest("The form has no valid boundary", headers=CLOSE)
        # Written again, so that two parsers cannot find two boundaries in one header.
        headers = Headers({"content-type": f'{MULTIPART}; boundary="{boundary}"'})
        super().__init__(headers, self._until_the_end(stream), **limits)
        self.repeatable = repeatable
        self.ended = False

    def on_headers_finished(self) -> None:
        part = self._current_part
        sent = [value for name, value in part.item_headers if name == b"content-disposition"]
        kind, semicolon, rest = _text(b",".join(sent)).partition(";")
        found = parameters(semicolon + rest)
        if len(sent) != 1 or kind.strip().lower() != "form-data" or not found or "name*" in found:
            raise BadRequest("A part of the form has no valid Content-Disposition", headers=CLOSE)
        super().on_headers_finished()
        name = part.field_name
        if name not in self.repeatable and name in (name for name, _ in self.items):
            raise BadRequest("The form contains the same field twice", headers=CLOSE)

    def on_part_end(self) -> None:
        if self._current_part.file is None:
            _text(self._current_part.data)
        super().on_part_end()

    def on_end(self) -> None:
        self.ended = True

    async def _until_the_end(
        self, stream: AsyncGenerator[bytes, None]
    ) -> AsyncGenerator[bytes, None]:
        """An exception inside closes the files, also one whose part has not ended."""
        async for chunk in stream:
            yield chunk
        if not self.ended:
            raise BadRequest("The form ends before its last boundary")

    async def parse(self) -> FormData:
        """The form; its files are open. Raises ``BadRequest``, with the files closed."""
        try:
            return await super().parse()
        except MultiPartException as error:
            raise BadRequest(error.message, headers=CLOSE) from None


def _text(data: bytes | bytearray) -> str:
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError:
        raise BadRequest("The form is not valid UTF-8", headers=CLOSE) from None
