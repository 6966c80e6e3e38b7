"""Types for what comes in from outside: bounded, canonical, safe for a database and a log."""

from datetime import UTC, datetime
from typing import Annotated
from uuid import UUID

from pydantic import AfterValidator, AwareDatetime, BeforeValidator, Field

# No control characters, NUL among them. A lone surrogate is refused by pydantic's own string check.
SafeStr = Annotated[str, Field(pattern=r"^[^\x00-\x1f\x7f-\x9f]*$")]
"""Text of one line, for JSON, forms, paths and queries alike. Every use adds its own ``max_length``."""


def canonical_uuid(value: object) -> object:
    """``value``, unless it is another spelling of a UUID than the canonical one: then ``ValueError``.

    RFC 9562, section 4: one spelling for each id, so that caches, limits and logs agree about it.
    """
    if isinstance(value, str) and str(UUID(value)) != value:
        raise ValueError("must be a UUID in its canonical form")
    return value


CanonicalUuid = Annotated[UUID, BeforeValidator(canonical_uuid)]


def in_utc(value: datetime) -> datetime:
    """``value`` in UTC; ``ValueError`` where it falls out of the years 1 to 9999 on the way."""
    try:
        return value.astimezone(UTC)
    except OverflowError:
        raise ValueError("must be a time between the years 1 and 9999 in UTC") from None


Moment = Annotated[AwareDatetime, AfterValidator(in_utc)]
"""A date and time with its offset, for a ``UtcDateTime``: without one nobody can know which moment it means."""
