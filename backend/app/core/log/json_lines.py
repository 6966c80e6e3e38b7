"""A record becomes one line of strict JSON (RFC 8259), whatever its arguments and fields are."""

import json
import logging
import math
from datetime import UTC, datetime
from functools import lru_cache

from app.core.log.exceptions import without_values

DEEPEST = 16  # levels of nesting that a cleaned value keeps

# Made once: json.dumps would make an encoder for every record. Cycles are found by the depth of the stack.
encode_clean = json.JSONEncoder(default=str, check_circular=False, allow_nan=False).encode


def encode(value: object) -> str:
    """``value`` as JSON in ASCII, on one line. What JSON cannot say is said as text."""
    try:
        return encode_clean(value)
    except Exception:  # noqa: BLE001  an object may raise anything when asked for its text
        return encode_clean(cleaned(value))


def cleaned(value: object, around: tuple[int, ...] = ()) -> object:
    """A copy of exact dicts, lists and what JSON has. ``around``: the ids of the containers that ``value`` is in."""
    if not isinstance(value, dict | list | tuple):
        return scalar(value)
    if len(around) == DEEPEST or id(value) in around:
        return "..."
    around = (*around, id(value))
    if isinstance(value, dict):
        return {key_of(key): cleaned(one, around) for key, one in dict.items(value)}
    items = list.__iter__(value) if isinstance(value, list) else tuple.__iter__(value)
    return [cleaned(one, around) for one in items]


def scalar(value: object) -> object:
    if value is None or isinstance(value, bool | str):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else float.__repr__(value)
    return whole(value) if isinstance(value, int) else text(value)


def key_of(key: object) -> str:
    return key if isinstance(key, str) else text(key)


def whole(value: int) -> int | str:
    """A number with more digits than Python converts (``sys.set_int_max_str_digits``) is written in base 16."""
    try:
        int.__repr__(value)
    except ValueError:
        return hex(value)
    return value


def text(value: object) -> str:
    for render in (str, repr):
        try:
            return render(value)
        except Exception:  # noqa: BLE001, S112  whatever it raises, it has no text
            continue
    return f"<{type(value).__name__} without a text>"


def timestamp(seconds: float) -> str:
    """RFC 3339 in UTC with milliseconds; ``seconds`` themselves where they are out of range."""
    try:
        whole, rest = divmod(seconds, 1)
        return f"{_second(whole)}.{int(rest * 1000):03}+00:00"
    except (ValueError, OverflowError, OSError, TypeError):
        return text(seconds)


# Many records share their second, and making a datetime and its text is a tenth of what a record costs.
@lru_cache(maxsize=2)
def _second(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).replace(tzinfo=None).isoformat()


def unformattable(record: logging.LogRecord, error: Exception) -> str:
    """The line of a record that its formatter failed on: the message as it was before its arguments."""
    return encode(
        {
            "time": timestamp(record.created),
            "level": record.levelname,
            "logger": record.name,
            **reason_of(record, error),
        }
    )


def reason_of(record: logging.LogRecord, error: Exception) -> dict[str, object]:
    """The message without its arguments, and why it has none. Neither has a value that a library quotes."""
    reason = without_values(text(error))
    return {"message": without_values(text(record.msg)), "unformattable": reason}
