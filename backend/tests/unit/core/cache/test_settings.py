"""A cache that cannot work stops the start, with a line that names the variable."""

import pytest
from pydantic import ValidationError

from app.core.cache.base import NullCache
from app.core.cache.redis import RedisCache
from app.core.config import ConfigurationError, get_settings
from app.core.resources import build_resources
from app.core.settings.problems import describe
from tests.fixtures.env import make_settings

REDIS = "redis://127.0.0.1:1/0"
ON = {"redis_url": REDIS, "cache_enabled": True}


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"cache_enabled": True}, "CACHE_ENABLED needs REDIS_URL"),
        ({"redis_url": REDIS, "auth_user_cache_enabled": True},
         "AUTH_USER_CACHE_ENABLED needs CACHE_ENABLED"),
        *[(ON | {name: value}, name.upper())
          for name in ("cache_default_ttl_seconds", "auth_user_cache_ttl_seconds")
          for value in (0, -1, 3_601, "soon", 0.5)],
        (ON | {"auth_user_cache_ttl_seconds": 61}, "AUTH_USER_CACHE_TTL_SECONDS"),
    ],
)  # fmt: skip
def test_impossible_setting_is_rejected_by_name(changes: dict[str, object], named: str) -> None:
    with pytest.raises(ValidationError) as refused:
        make_settings(**changes)

    (line,) = describe(refused.value)
    assert line.startswith(named)


def test_failed_start_ends_with_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CACHE_ENABLED", "true")

    with pytest.raises(ConfigurationError) as refused:
        get_settings()

    assert refused.value.code == "Configuration error: CACHE_ENABLED needs REDIS_URL"


async def test_cache_is_off_by_default() -> None:
    resources = build_resources(make_settings())

    assert isinstance(resources.cache, NullCache)
    assert isinstance(resources.user_cache, NullCache)
    assert resources.redis is None


async def test_modules_are_switched_on_independently() -> None:
    cached = build_resources(make_settings(**ON))
    both = build_resources(make_settings(**ON, auth_user_cache_enabled=True))

    assert isinstance(cached.cache, RedisCache)
    assert isinstance(cached.user_cache, NullCache)
    assert both.user_cache is both.cache
