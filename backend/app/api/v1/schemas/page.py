"""What a list is asked for, and how it is returned."""

from typing import Annotated, Generic, TypeVar

from pydantic import BaseModel, ConfigDict, Field

from app.core.http.fields import SafeStr
from app.repositories.base import MAX_LIST
from app.repositories.pages import CURSOR_MAX_LENGTH

ItemT = TypeVar("ItemT")


class PageQuery(BaseModel):
    """A subclass adds ``sort`` as a ``Literal`` of the orders, and a field for each filter: ``Annotated[Q, Query()]``."""

    model_config = ConfigDict(extra="forbid")

    limit: Annotated[int, Field(ge=1, le=MAX_LIST)] = 20
    after: Annotated[SafeStr, Field(max_length=CURSOR_MAX_LENGTH)] | None = Field(
        default=None, description="The `next` of the page before, with the same `sort`."
    )


class PageOf(BaseModel, Generic[ItemT]):
    """Filled from a ``Page`` of rows: ``PageOf[NotePublic].model_validate(page)``."""

    model_config = ConfigDict(from_attributes=True)

    items: list[ItemT]
    next: str | None = Field(description="What to send as `after` for more; null at the end.")
