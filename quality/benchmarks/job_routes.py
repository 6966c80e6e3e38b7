"""The application with two routes that write a row, one of which asks for a job: ``quality.benchmarks.job_routes:app``."""

from app.core.app_factory import create_app
from app.core.http.routing import Router
from app.db.session import DbSession
from app.db.types import uuid7
from app.jobs.base import JobKind, JobPayload
from app.jobs.queue import enqueue
from app.repositories.user import UserRepository

KIND = JobKind("benchmark", JobPayload)

router = Router()


@router.post("/write", status_code=204)
async def write(db: DbSession) -> None:
    await UserRepository(db).create(f"{uuid7()}@example.com", "-")


@router.post("/write-and-enqueue", status_code=204)
async def write_and_enqueue(db: DbSession) -> None:
    await UserRepository(db).create(f"{uuid7()}@example.com", "-")
    await enqueue(db, KIND, JobPayload())


app = create_app()
app.include_router(router)
