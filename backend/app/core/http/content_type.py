"""Content-Type in its one reading (RFC 9110, section 8.3.1), and the 415 for everything else."""

import re
from collections.abc import Mapping

from starlette.requests import Request

from app.core.errors import UnsupportedMediaType

NAME = r"[!#$%&'*+.^_`|~0-9A-Za-z-]+"
QUOTED = r'"(?:[\t \x21\x23-\x5b\x5d-\x7e\x80-\xff]|\\[\t \x21-\x7e\x80-\xff])*+"'
PARAMETER = re.compile(rf"[ \t]*+;[ \t]*+(?:({NAME})=({NAME}|{QUOTED}))?+")
MEDIA_TYPE = re.compile(rf"[ \t]*+({NAME}/{NAME})((?:{PARAMETER.pattern})*+)[ \t]*+")
UTF_8 = {"utf-8", "utf8", "us-ascii"}


def parameters(text: str) -> dict[str, str] | None:
    """The parameters behind a media type or a disposition, by their names in lower case.

    ``None`` where ``text`` is anything else, or says one name twice.
    """
    found: dict[str, str] = {}
    end = 0
    while parameter := PARAMETER.match(text, end):
        end = parameter.end()
        name, value = (parameter[1] or "").lower(), parameter[2] or ""
        if name in found:
            return None
        if name:
            found[name] = re.sub(r"\\(.)", r"\1", value[1:-1]) if value[0] == '"' else value
    return found if not text[end:].strip(" \t") else None


def check_content(request: Request, expected: str) -> Mapping[str, str]:
    """The parameters of the Content-Type. Raises 415 for another type, character set or coding.

    ``expected`` may be a range, ``image/*``. A parameter of RFC 2231 (``charset*=``) is rejected: HTTP has none.
    """
    sent = request.headers.getlist("content-type")
    media_type = MEDIA_TYPE.fullmatch(sent[0]) if len(sent) == 1 else None
    if media_type is None or not _within(media_type[1].lower(), expected):
        raise UnsupportedMediaType(f"The body must be {expected}")
    found = parameters(media_type[2])
    if found is None or any("*" in name for name in found):
        raise UnsupportedMediaType("The parameters of the Content-Type cannot be read")
    if found.get("charset", "utf-8").lower() not in UTF_8:
        raise UnsupportedMediaType("The body must be encoded in UTF-8")
    if request.headers.get("content-encoding", "").lower() not in {"", "identity"}:
        raise UnsupportedMediaType("The body must not be compressed")
    return found


def _within(media_type: str, expected: str) -> bool:
    return expected.lower() in {media_type, f"{media_type.partition('/')[0]}/*", "*/*"}
