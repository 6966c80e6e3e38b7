"""The settings of telemetry, off by default."""

from typing import Annotated, Literal, Self
from urllib.parse import unquote, urlsplit

from pydantic import AfterValidator, BaseModel, Field, SecretStr, model_validator

from app.core.settings.types import any_case

MODES = ("noop", "log", "prometheus", "otlp")


def collector_url(value: str) -> str:
    """Raises ``ValueError``, which does not quote it, for anything but a scheme, a host and a port."""
    try:
        parts = urlsplit(value)
        plain = f"{parts.scheme}://{parts.netloc}"
        usable = parts.scheme in ("http", "https") and parts.hostname and parts.port != 0
    except ValueError:
        usable = False
    if not usable or "@" in value or value.rstrip("/") != plain:
        raise ValueError("must be http://host:4318 or https://host:4318; credentials: OTLP_HEADERS")
    return plain


def header_pairs(value: SecretStr) -> SecretStr:
    pairs = value.get_secret_value().split(",")
    if not all(name.strip() and equals for name, equals, _ in (p.partition("=") for p in pairs)):
        raise ValueError("must be name=value, separated by commas")
    return value


class TelemetrySettings(BaseModel):
    telemetry_mode: Annotated[Literal["noop", "log", "prometheus", "otlp"], any_case(*MODES)] = (
        Field("noop", description="Where counts and times go: noop, log, prometheus or otlp.")
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
    otlp_headers: Annotated[SecretStr, AfterValidator(header_pairs)] | None = Field(
        None, description="name=value,... that the collector asks for."
    )

    @model_validator(mode="after")
    def _collector_is_named(self) -> Self:
        for needs, why in (
            (self.telemetry_mode == "otlp", "TELEMETRY_MODE=otlp"),
            (self.traces_sample_rate > 0, "TRACES_SAMPLE_RATE"),
        ):
            if needs and self.otlp_endpoint is None:
                raise ValueError(f"{why} needs OTLP_ENDPOINT")
        return self

    def collector_headers(self) -> dict[str, str]:
        """``otlp_headers`` by name; values are percent-decoded, as OTEL_EXPORTER_OTLP_HEADERS are."""
        if self.otlp_headers is None:
            return {}
        pairs = (pair.partition("=") for pair in self.otlp_headers.get_secret_value().split(","))
        return {name.strip(): unquote(value.strip()) for name, _, value in pairs}
