"""The settings of the rate limit and of the login throttle, both off by default."""

from typing import Annotated, Literal

from pydantic import BaseModel, Field

from app.core.settings.types import any_case


class RateLimitSettings(BaseModel):
    rate_limit_enabled: bool = Field(
        False, description="Limit requests under /api/v1. Needs REDIS_URL."
    )
    rate_limit_requests: int = Field(
        100, ge=1, le=1_000_000, description="Requests of one key in any window."
    )
    rate_limit_window_seconds: int = Field(60, ge=1, le=86_400, description="Length of the window.")
    rate_limit_key_strategy: Annotated[
        Literal["user_or_ip", "ip"], any_case("user_or_ip", "ip")
    ] = Field(
        "user_or_ip", description="Count by verified account, else by address; or by address alone."
    )


class LoginThrottleSettings(BaseModel):
    login_throttle_enabled: bool = Field(
        False, description="Limit failed logins of an account and a client. Needs REDIS_URL."
    )
    login_throttle_attempts: int = Field(
        10, ge=1, le=100, description="Failures of one account from one client in any window."
    )
    login_throttle_window_seconds: int = Field(
        900, ge=1, le=86_400, description="Length of that window."
    )
