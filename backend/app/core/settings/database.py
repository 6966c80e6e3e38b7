"""The settings of the database. They are here because app.core may not import app.db."""

from typing import Literal

from pydantic import BaseModel, Field

from app.core.settings.types import Seconds
from app.core.settings.urls import DatabaseUrl


class DatabaseSettings(BaseModel):
    database_url: DatabaseUrl | None = Field(
        None, description="postgresql://... or sqlite:///... Unset in local: var/local.sqlite3."
    )
    database_pooler: Literal["none", "transaction"] = Field(
        "none", description="Whether PgBouncer or the like is between, in whichever mode."
    )
    database_pool_size: int = Field(
        10, ge=1, le=500, description="Connections a process keeps; there is no overflow."
    )
    database_pool_recycle_seconds: int = Field(
        1_800, ge=1, le=86_400, description="Age at which a pooled connection is replaced."
    )
    database_pool_timeout_seconds: Seconds = Field(
        2, description="Longest wait for a free connection, then 503."
    )
    database_connect_timeout_seconds: Seconds = Field(
        2, description="Longest wait for a new connection, then 503."
    )
    database_statement_timeout_seconds: Seconds = Field(
        2.5, description="Longest statement of a request, then 503."
    )
    database_lock_timeout_seconds: Seconds = Field(
        2, description="Longest wait for a lock, then 503."
    )

    @property
    def database_dialect(self) -> Literal["postgresql", "sqlite"] | None:
        """Which database ``database_url`` names, if any."""
        if self.database_url is None:
            return None
        url = self.database_url.get_secret_value()
        return "postgresql" if url.startswith("postgresql:") else "sqlite"
