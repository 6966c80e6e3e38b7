"""The settings of telemetry: what a mode needs, and values that cannot work."""

import pytest
from pydantic import ValidationError

from app.core.settings.problems import describe
from tests.fixtures.env import make_settings

COLLECTOR = "http://collector:4318"


@pytest.mark.parametrize(
    ("given", "line"),
    [
        ({"telemetry_mode": "otlp"}, "TELEMETRY_MODE=otlp needs OTLP_ENDPOINT"),
        ({"traces_sample_rate": 0.1}, "TRACES_SAMPLE_RATE needs OTLP_ENDPOINT"),
        (
            {"telemetry_mode": "prometheus", "web_concurrency": 3},
            "TELEMETRY_MODE=prometheus is for WEB_CONCURRENCY=1: with more, use otlp",
        ),
    ],
)
def test_t_04_mode_without_what_it_needs_is_rejected(given: dict[str, object], line: str) -> None:
    with pytest.raises(ValidationError) as caught:
        make_settings(**given)

    assert describe(caught.value) == [line]


@pytest.mark.parametrize(
    "headers",
    [
        "marker",
        "a=b,=marker",
        "Authorization: Basic bWFya2VyOm1hcmtlcg==",  # a colon for =: the library would log it with each batch
        "Authorization: Bearer marker",
        "x marker=1",
        "a=marker%0d%0aHost: b",
        "a=marker%00",
        "a=marker%E2%82%AC",
        "a=mark\u00e9r",
    ],
)
def test_headers_that_http_cannot_carry_are_rejected(headers: str) -> None:
    with pytest.raises(ValidationError) as caught:
        make_settings(otlp_headers=headers)

    assert describe(caught.value) == [
        "OTLP_HEADERS: must be name=value, separated by commas, in printable ASCII"
    ]
    assert "mark" not in str(caught.value)


@pytest.mark.parametrize(
    "url",
    [
        "collector:4318",
        "grpc://collector:4317",
        "http://",
        "http://collector:0",
        "http://collector:marker",
        "http://user:marker@collector",
        "http://collector:4318/v1/traces",
        "http://collector?marker",
    ],
)
def test_endpoint_that_is_no_address_of_a_collector_is_rejected(url: str) -> None:
    with pytest.raises(ValidationError) as caught:
        make_settings(otlp_endpoint=url)

    (line,) = describe(caught.value)
    assert line.startswith("OTLP_ENDPOINT: must be http://host:4318")
    assert "marker" not in str(caught.value)


def test_endpoint_and_headers_are_read_as_people_write_them() -> None:
    settings = make_settings(otlp_endpoint=f"{COLLECTOR}/", otlp_headers="a=1%2C2, b = c=d")

    assert settings.otlp_endpoint == COLLECTOR
    assert settings.collector_headers() == {"a": "1,2", "b": "c=d"}
    assert "1%2C2" not in str(settings.model_dump_safe())
