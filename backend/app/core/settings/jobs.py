"""Settings of background work."""

from pathlib import Path

from pydantic import BaseModel, Field


class JobSettings(BaseModel):
    """Where jobs run, how many at a time, and how long dead ones are kept."""

    worker_in_process: bool = Field(
        True, description="Do jobs in the processes of the API. Unset: everywhere but in test."
    )
    worker_concurrency: int = Field(
        4, ge=1, le=100, description="Jobs in flight; at most what the database pool has room for."
    )
    worker_poll_seconds: float = Field(
        0.5, ge=0.05, le=60, description="Pause when nothing is due."
    )
    worker_drain_seconds: float = Field(
        25, ge=0, le=300, description="What SIGTERM leaves to jobs in flight, in a worker process."
    )
    worker_alive_file: Path | None = Field(
        None, description="A file that a living worker touches every 10 s."
    )
    jobs_dead_days: int = Field(
        30, ge=1, le=3_650, description="How long dead jobs are kept for an operator."
    )
