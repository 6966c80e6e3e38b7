"""The audit log, for who may read it."""

from typing import Annotated

from fastapi import Query

from app.api.v1.schemas.audit import AuditPublic, AuditQuery
from app.api.v1.schemas.error import errors
from app.api.v1.schemas.page import PageOf
from app.auth.dependencies import AuditReader
from app.core.http.routing import Router
from app.db.session import DbSession
from app.models.audit import AuditEntry
from app.repositories.audit import NEWEST_FIRST
from app.repositories.base import BaseRepository

router = Router(prefix="/admin/audit", tags=["admin"])

FILTERS = {name: getattr(AuditEntry, name) for name in ("actor_id", "subject_id", "action")}


@router.get("", responses=errors(401, 403, 422, 429, 503))
async def list_entries(
    caller: AuditReader, db: DbSession, query: Annotated[AuditQuery, Query()]
) -> PageOf[AuditPublic]:
    """A page of what happened to accounts and roles, newest first."""
    where = [
        column == value
        for name, column in FILTERS.items()
        if (value := getattr(query, name)) is not None
    ]
    entries = BaseRepository(db, AuditEntry)
    page = await entries.page(
        NEWEST_FIRST, *where, limit=query.limit, after=query.after, fields=AuditPublic.model_fields
    )
    return PageOf[AuditPublic].model_validate(page)
