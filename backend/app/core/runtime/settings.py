"""The settings of the process: workers and shutdown."""

from pydantic import BaseModel, Field


class RuntimeSettings(BaseModel):
    web_concurrency: int = Field(
        1, ge=1, le=1_000, description="Worker processes. uvicorn reads the same variable."
    )
    drain_seconds: float | None = Field(
        None,
        ge=0,
        le=300,
        description="How long SIGTERM keeps serving while readiness says 503. Unset: 0 in local and test, else 5.",
    )
