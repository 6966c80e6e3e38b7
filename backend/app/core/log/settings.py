"""The settings of logging."""

from typing import Annotated, Literal

from pydantic import BaseModel, Field

from app.core.settings.types import any_case

LogLevel = Annotated[
    Literal["DEBUG", "INFO", "WARNING", "ERROR"],
    any_case("DEBUG", "INFO", "WARNING", "ERROR", warn="WARNING"),
]


class LogSettings(BaseModel):
    log_level: LogLevel = Field("INFO", description="Least severe level that is logged.")
    log_json: bool = Field(True, description="One JSON object a line, or readable text.")
