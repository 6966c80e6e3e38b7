"""Jobs, and the last tick of each schedule."""

from datetime import datetime
from typing import Any

from sqlalchemy import JSON, Index, SmallInteger, String, text
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import Mapped, mapped_column

from app.db.base import Base
from app.db.types import UtcDateTime, utc_now
from app.models.mixins import IdMixin

NAME_MAX_LENGTH = 80
KEY_MAX_LENGTH = 200
ERROR_MAX_LENGTH = 500
WAITING = text("failed_at IS NULL")
DEAD = text("failed_at IS NOT NULL")
UNCLAIMED = text("key IS NOT NULL AND attempts = 0 AND failed_at IS NULL")


class Job(IdMixin, Base):
    """A row is a job that is not done: outbox and queue in one.

    ``run_at`` is when it is due; while a worker has it, that is the end of the worker's lease. A job with attempts and
    without an ``error`` is claimed or, once due again, lost: its worker has vanished. With ``failed_at`` it is dead.
    """

    __tablename__ = "jobs"

    name: Mapped[str] = mapped_column(String(NAME_MAX_LENGTH))
    key: Mapped[str | None] = mapped_column(String(KEY_MAX_LENGTH))
    payload: Mapped[dict[str, Any]] = mapped_column(JSON().with_variant(JSONB(), "postgresql"))
    run_at: Mapped[datetime] = mapped_column(UtcDateTime)
    attempts: Mapped[int] = mapped_column(SmallInteger, default=0, server_default="0")
    request_id: Mapped[str | None] = mapped_column(String(128))
    traceparent: Mapped[str | None] = mapped_column(String(55))
    error: Mapped[str | None] = mapped_column(String(ERROR_MAX_LENGTH))
    failed_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    created_at: Mapped[datetime] = mapped_column(UtcDateTime, default=utc_now)

    # No index over ``name``: the planner would take it and read every waiting row.
    __table_args__ = (
        Index("ix_jobs_due", "run_at", postgresql_where=WAITING, sqlite_where=WAITING),
        Index("ix_jobs_dead", "failed_at", postgresql_where=DEAD, sqlite_where=DEAD),
        Index(
            "uq_jobs_unclaimed",
            "name",
            "key",
            unique=True,
            postgresql_where=UNCLAIMED,
            sqlite_where=UNCLAIMED,
        ),
    )


class JobSchedule(Base):
    """The latest tick for which a schedule has made a job, or which it passed over when it was new."""

    __tablename__ = "job_schedules"

    name: Mapped[str] = mapped_column(String(NAME_MAX_LENGTH), primary_key=True)
    last_tick: Mapped[datetime] = mapped_column(UtcDateTime)
