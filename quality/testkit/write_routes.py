"""The application with routes that write a row, each with one more promise: ``quality.testkit.write_routes:app``."""

from datetime import timedelta

from pydantic import BaseModel
from starlette.requests import Request
from starlette.responses import Response

from app.api.v1.once import Once, OnceDep
from app.auth.dependencies import CurrentUser
from app.core.app_factory import create_app
from app.core.http.routing import Router
from app.db.session import DbSession
from app.db.types import uuid7
from app.jobs.base import JobKind, JobPayload
from app.jobs.queue import enqueue
from app.repositories.idempotency_key import IdempotencyKeyRepository
from app.repositories.user import UserRepository

KIND = JobKind("benchmark", JobPayload)
LIFETIME = timedelta(hours=24)


class Written(BaseModel):
    email: str


router = Router()


@router.post("/write", status_code=204)
async def write(db: DbSession) -> None:
    await create(db)


@router.post("/write-and-enqueue", status_code=204)
async def write_and_enqueue(db: DbSession) -> None:
    await create(db)
    await enqueue(db, KIND, JobPayload())


@router.post("/write-as-caller", status_code=201)
async def write_as_caller(caller: CurrentUser, db: DbSession) -> Written:
    return await create(db)


@router.post("/write-once", status_code=201)
async def write_once(once: OnceDep, db: DbSession) -> Written:
    return await once.run(Written, lambda: create(db))


@router.post("/write-each-once", status_code=201)
async def write_each_once(
    request: Request, response: Response, caller: CurrentUser, db: DbSession
) -> Written:
    """With a new key for each request, for a client that repeats its bytes."""
    keys = IdempotencyKeyRepository(db, caller.id)
    once = Once(request, response, keys, str(uuid7()), LIFETIME)
    return await once.run(Written, lambda: create(db))


async def create(db: DbSession) -> Written:
    user = await UserRepository(db).create(f"{uuid7()}@example.com", "-")
    return Written(email=user.email)


app = create_app()
app.include_router(router)
