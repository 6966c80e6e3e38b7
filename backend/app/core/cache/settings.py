"""The settings of the cache, off by default."""

from pydantic import BaseModel, Field


class CacheSettings(BaseModel):
    cache_enabled: bool = Field(False, description="Cache what endpoints read. Needs REDIS_URL.")
    cache_default_ttl_seconds: int = Field(
        60, ge=1, le=3_600, description="How long an entry lives at most."
    )
    auth_user_cache_enabled: bool = Field(
        False, description="Read the current user from the cache. Needs CACHE_ENABLED."
    )
    auth_user_cache_ttl_seconds: int = Field(
        10, ge=1, le=60, description="How late a deactivation may act where Redis missed it."
    )
