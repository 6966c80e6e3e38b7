"""The settings of telemetry, off by default."""

from typing import Annotated, Literal

from pydantic import BaseModel, Field

from app.core.settings.types import any_case


class TelemetrySettings(BaseModel):
    telemetry_mode: Annotated[Literal["noop", "log"], any_case("noop", "log")] = Field(
        "noop", description="Where counts and times go: nowhere, or into the log."
    )
    telemetry_sample_rate: float = Field(
        1.0, ge=0, le=1, description="Share of them that is written."
    )
