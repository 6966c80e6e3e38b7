"""The settings of Redis. What needs it says so in its own section."""

from pydantic import BaseModel, Field

from app.core.settings.urls import RedisUrl


class RedisSettings(BaseModel):
    redis_url: RedisUrl | None = Field(None, description="redis://... Optional.")
    readiness_requires_redis: bool = Field(
        False, description="Readiness fails when a configured Redis does not respond."
    )
