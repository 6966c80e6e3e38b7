"""Requests and responses about the audit log."""

from datetime import datetime
from typing import Annotated, Any, Self
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field, model_validator

from app.api.v1.schemas.page import PageQuery
from app.core.http.fields import CanonicalUuid, SafeStr


class AuditQuery(PageQuery):
    """One filter at most: each has its index."""

    actor_id: CanonicalUuid | None = None
    subject_id: CanonicalUuid | None = None
    action: Annotated[SafeStr, Field(min_length=1, max_length=60)] | None = None

    @model_validator(mode="after")
    def _is_indexed(self) -> Self:
        if sum(each is not None for each in (self.actor_id, self.subject_id, self.action)) > 1:
            raise ValueError("actor_id, subject_id and action exclude each other")
        return self


class AuditPublic(BaseModel):
    """Who has done what to whom, and in which request."""

    model_config = ConfigDict(from_attributes=True)

    id: UUID
    at: datetime
    actor_id: UUID | None = Field(description="null for a command of an operator.")
    action: str
    subject_type: str
    subject_id: UUID | None
    request_id: str | None
    details: dict[str, Any]
