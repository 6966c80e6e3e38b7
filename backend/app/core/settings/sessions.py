"""Settings of sessions."""

from pydantic import BaseModel, Field


class SessionSettings(BaseModel):
    """How long a login lasts, and what is kept of it."""

    session_days: int = Field(
        30, ge=1, le=365, description="A session ends so many days after its login."
    )
    session_idle_days: int = Field(
        14, ge=1, le=365, description="Or so many days after its last refresh."
    )
    sessions_per_account: int = Field(
        50, ge=1, le=1_000, description="One more ends the one that was unused for longest."
    )
    refresh_grace_seconds: int = Field(
        30, ge=0, le=120, description="A used refresh token may be repeated so long. 0: never."
    )
    recent_login_minutes: int = Field(
        15,
        ge=1,
        le=1_440,
        description="How long after its login a session may do sensitive things.",
    )
    security_event_days: int = Field(
        90, ge=1, le=3_650, description="How long the audit log keeps logins and logouts."
    )
