"""The settings of Redis. Sections that need it check that it is set."""

from pydantic import BaseModel, Field

from app.core.settings.urls import RedisUrl


class RedisSettings(BaseModel):
    redis_url: RedisUrl | None = Field(None, description="redis://... Optional.")
    readiness_requires_redis: bool = Field(
        False, description="Readiness fails when a configured Redis does not respond."
    )
