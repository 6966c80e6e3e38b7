"""The settings of telemetry, off by default."""

import re
from typing import Annotated, Literal, Self, get_args
from urllib.parse import unquote

from pydantic import AfterValidator, BaseModel, Field, SecretStr, model_validator

from app.core.settings.types import HEADER_NAME, any_case, url_parts

Mode = Literal["noop", "log", "prometheus", "otlp"]
HEADER_VALUE = re.compile(r"[!-~]([ -~]*[!-~])?")


def collector_url(value: str) -> str:
    """Raises ``ValueError``, which does not quote it, for anything but a scheme, a host and a port."""
    parts = url_parts(value, ("http", "https"))
    if not parts or "@" in value or value.rstrip("/") != f"{parts.scheme}://{parts.netloc}":
        raise ValueError("must be http://host:4318 or https://host:4318; credentials: OTLP_HEADERS")
    return value.rstrip("/")


def header_pairs(value: SecretStr) -> dict[str, str]:
    """Headers by name; values are percent-decoded, as OTEL_EXPORTER_OTLP_HEADERS are."""
    pairs = (pair.partition("=") for pair in value.get_secret_value().split(","))
    return {name.strip(): unquote(text.strip()) for name, _, text in pairs}


def can_be_sent(value: SecretStr) -> SecretStr:
    """Else the library would quote the value in the log, with each batch."""
    for name, text in header_pairs(value).items():
        if not HEADER_NAME.fullmatch(name) or not HEADER_VALUE.fullmatch(text):
            raise ValueError("must be name=value, separated by commas, in printable ASCII")
    return value


class TelemetrySettings(BaseModel):
    telemetry_mode: Annotated[Mode, any_case(*get_args(Mode))] = Field(
        "noop", description="Where counts and times go: noop, log, prometheus or otlp."
    )
    telemetry_sample_rate: float = Field(
        1.0, ge=0, le=1, description="Share of them that is written, for log."
    )
    metrics_host: str = Field("127.0.0.1", description="Where prometheus may ask.")
    metrics_port: int = Field(9464, ge=1, le=65_535, description="The same: a port of its own.")
    traces_sample_rate: float = Field(
        0.0, ge=0, le=1, description="Share of requests and jobs whose spans are sent. 0: off."
    )
    otlp_endpoint: Annotated[str, AfterValidator(collector_url)] | None = Field(
        None, description="http://host:4318, the collector for otlp and for traces."
    )
    otlp_headers: Annotated[SecretStr, AfterValidator(can_be_sent)] | None = Field(
        None, description="name=value,... that the collector asks for."
    )

    @model_validator(mode="after")
    def _collector_is_named(self) -> Self:
        traced = "TRACES_SAMPLE_RATE" if self.traces_sample_rate else ""
        needs = "TELEMETRY_MODE=otlp" if self.telemetry_mode == "otlp" else traced
        if needs and self.otlp_endpoint is None:
            raise ValueError(f"{needs} needs OTLP_ENDPOINT")
        return self

    def collector_headers(self) -> dict[str, str]:
        return header_pairs(self.otlp_headers) if self.otlp_headers else {}
