"""The parts of a job: a kind with its typed payload, its handler, its schedules."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, Generic, TypeVar
from uuid import UUID

from pydantic import BaseModel, ConfigDict
from sqlalchemy.ext.asyncio import AsyncSession

from app.core.config import Settings
from app.core.mail.base import Mailer

LONGEST_TIMEOUT_SECONDS = 300


class JobPayload(BaseModel):
    """Ids and words, never a secret: it lies in the database and is shown to operators.

    It is read by newer and by older releases: a new field has a default, and any other change is a new kind.
    """

    model_config = ConfigDict(frozen=True, extra="ignore")


PayloadT = TypeVar("PayloadT", bound=JobPayload)


@dataclass(frozen=True)
class JobKind(Generic[PayloadT]):
    """A name that stays, and what its jobs carry.

    Raises ``ValueError`` for a timeout above 300 s: longer work is split into several jobs.
    """

    name: str
    payload: type[PayloadT]
    timeout_seconds: float = 30
    max_attempts: int = 10

    def __post_init__(self) -> None:
        if not 0 < self.timeout_seconds <= LONGEST_TIMEOUT_SECONDS:
            raise ValueError(f"{self.name}: a job takes at most {LONGEST_TIMEOUT_SECONDS} s")


@dataclass(frozen=True)
class JobContext:
    """The dependencies of a handler.

    ``db`` is a session whose transaction ends with the job: effect and completion commit together. A handler may commit
    it midway, and must before slow input or output. ``job_id`` is the idempotency key for effects elsewhere.
    """

    db: AsyncSession
    settings: Settings
    mailer: Mailer
    job_id: UUID
    attempt: int


class PermanentFailure(Exception):
    """Trying again is of no use: the job is dead at once. The message is kept and shown to operators."""


@dataclass(frozen=True)
class Handler(Generic[PayloadT]):
    """A kind and the function that does its jobs."""

    kind: JobKind[PayloadT]
    run: Callable[[JobContext, PayloadT], Awaitable[None]]


@dataclass(frozen=True)
class Schedule(Generic[PayloadT]):
    """A job for every time that a cron expression names, in UTC (crontab(5), five fields)."""

    cron: str
    kind: JobKind[PayloadT]
    payload: PayloadT

    @property
    def name(self) -> str:
        return self.kind.name


AnyHandler = Handler[Any]
AnySchedule = Schedule[Any]
