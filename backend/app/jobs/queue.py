"""Ask for a job, in the transaction of the change that it belongs to."""

from datetime import timedelta

from sqlalchemy.ext.asyncio import AsyncSession

from app.core.context import request_id_var, sampled_traceparent
from app.db.types import utc_now, uuid7
from app.jobs.base import JobKind, PayloadT
from app.repositories.job import JobRepository

MAX_PAYLOAD_BYTES = 16_384


async def enqueue(
    db: AsyncSession,
    kind: JobKind[PayloadT],
    payload: PayloadT,
    *,
    key: str | None = None,
    delay: float = 0,
) -> None:
    """Make a job that is due in ``delay`` seconds. It exists if and when the transaction of ``db`` commits.

    While a job of this kind with this ``key`` waits unclaimed, no second one is made; so a payload with a key holds
    only what the key says. Raises ``ValueError`` for a payload of more than 16 KiB.
    """
    if len(payload.model_dump_json().encode()) > MAX_PAYLOAD_BYTES:
        raise ValueError(f"{kind.name}: a payload has at most {MAX_PAYLOAD_BYTES} bytes")
    now = utc_now()
    await JobRepository(db).add(
        kind.name,
        key,
        now + timedelta(seconds=delay),
        id=uuid7(),
        payload=payload.model_dump(mode="json"),
        request_id=request_id_var.get(),
        traceparent=sampled_traceparent(),
        created_at=now,
    )
