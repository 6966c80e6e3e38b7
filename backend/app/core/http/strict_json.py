"""Strict JSON (RFC 8259): input that two parsers could read differently is rejected."""

import json
import math
from typing import Any, NoReturn

MAX_MEMBERS = 1_000  # of one object: each unknown name costs the validation far more than its bytes


class NotStrictJson(ValueError):
    """The text is not JSON, or JSON with more than one meaning. The message is safe to show."""


def loads(data: bytes) -> Any:
    """Parse UTF-8 JSON without duplicate names, NaN, infinities, byte order mark or excess.

    Raises ``NotStrictJson`` for everything else.
    """
    try:
        return json.loads(
            data.decode("utf-8"),
            object_pairs_hook=_unique,
            parse_constant=_reject,
            parse_float=_finite,
        )
    except UnicodeDecodeError:
        raise NotStrictJson("The body is not valid UTF-8") from None
    except json.JSONDecodeError as error:
        raise NotStrictJson(f"The body is not valid JSON (at character {error.pos})") from None
    except RecursionError:
        raise NotStrictJson("The JSON is nested too deeply") from None
    except NotStrictJson:
        raise
    except ValueError:
        raise NotStrictJson("The JSON contains a number that is too large") from None


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    if len(pairs) > MAX_MEMBERS:
        raise NotStrictJson("The JSON contains too many names")
    members = dict(pairs)
    if len(members) != len(pairs):
        raise NotStrictJson("The JSON contains the same name twice")
    return members


def _reject(constant: str) -> NoReturn:
    raise NotStrictJson(f"The JSON contains {constant}")


def _finite(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise NotStrictJson("The JSON contains a number that is too large")
    return number
