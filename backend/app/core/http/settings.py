"""The settings of HTTP: hosts, origins, limits of bodies and of concurrent requests."""

from pydantic import BaseModel, Field

from app.core.settings.types import HeaderNames, HostNames, Origins, Proxies


class HttpSettings(BaseModel):
    docs_enabled: bool | None = Field(
        None, description="Serve /docs and /openapi.json. Unset: only in local and test."
    )
    allowed_hosts: HostNames = Field(
        (), description="Host names that are served, comma separated. Empty: every name."
    )
    cors_allowed_origins: Origins = Field(
        (), description="Browser origins that may call, comma separated. Empty: none."
    )
    cors_allowed_headers: HeaderNames = Field(
        (), description="Request headers beyond those of the API and of tracing, comma separated."
    )
    forwarded_allow_ips: Proxies = Field(
        (),
        description="Proxies whose X-Forwarded-For is believed. uvicorn reads the same variable.",
    )
    hsts_seconds: int = Field(
        0, ge=0, le=63_072_000, description="Strict-Transport-Security max-age. 0: not sent."
    )
    max_body_bytes: int = Field(
        1_048_576,
        ge=1_024,
        le=1_073_741_824,
        description="Largest request body, where the route does not say otherwise (max_body_size).",
    )
    idempotency_key_hours: int = Field(
        24, ge=1, le=720, description="So long a repeated Idempotency-Key gets the same response."
    )
    max_concurrent_requests: int = Field(
        100, ge=0, le=100_000, description="Requests in flight in a process, then 503. 0: no limit."
    )
