"""The order of the layers, which decides what sees what."""

import pytest
from starlette.middleware import Middleware
from starlette.types import Message, Scope

from app.core.config import Settings
from app.core.middleware import concurrency, cors, middleware_stack
from app.core.middleware.body_limit import BodyLimitMiddleware
from app.core.middleware.concurrency_limit import ConcurrencyLimitMiddleware
from app.core.middleware.cors import EnvelopeCORSMiddleware
from app.core.middleware.error_boundary import ErrorBoundaryMiddleware
from app.core.middleware.request_guard import RequestGuardMiddleware
from app.core.middleware.request_id import RequestIdMiddleware
from app.core.middleware.request_logging import RequestLoggingMiddleware
from app.core.middleware.security_headers import SecurityHeadersMiddleware
from app.core.rate_limit.middleware import RateLimitMiddleware, RateLimitScope
from app.core.resources import build_resources
from tests.fixtures.env import make_settings
from tests.unit.core.middleware.asgi import body, http_scope, read_all, run

LIMITED = RateLimitScope(prefix="/api/v1/", exempt=frozenset(), user_key=lambda scope: None)


def stack(settings: Settings) -> list[Middleware]:
    return middleware_stack(settings, build_resources(settings), LIMITED)


EVERYTHING = make_settings(
    cors_allowed_origins="https://app.example.com",
    telemetry_mode="log",
    rate_limit_enabled=True,
    redis_url="redis://127.0.0.1:1",  # never asked here
)
START_AND_BODY = ["http.response.start", "http.response.body"]


class TestMiddlewareStack:
    def test_stack_names_the_layers_from_the_outside_in(self) -> None:
        ours: list[object] = [
            RequestIdMiddleware,
            SecurityHeadersMiddleware,
            ConcurrencyLimitMiddleware,
            RequestLoggingMiddleware,
            EnvelopeCORSMiddleware,
            RateLimitMiddleware,
            ErrorBoundaryMiddleware,
            RequestGuardMiddleware,
            BodyLimitMiddleware,
        ]

        assert [layer.cls for layer in stack(EVERYTHING) if layer.cls in ours] == ours

    @pytest.mark.parametrize("app_env", ["local", "test"])
    def test_stack_is_the_same_in_every_environment(self, app_env: str) -> None:
        production = make_settings(
            app_env="production",
            jwt_secret_key="n0t-a-pl4ceh0lder-of-32-bytes!!!x",
            password_hash_rounds=12,
        )

        here = [layer.cls for layer in stack(make_settings(app_env=app_env))]

        assert here == [layer.cls for layer in stack(production)]

    def test_stack_has_no_cors_layer_without_origins(self) -> None:
        assert cors(make_settings()) == []

    def test_module_that_is_off_has_no_layer(self) -> None:
        layers: set[object] = {layer.cls for layer in stack(make_settings())}

        assert RateLimitMiddleware not in layers

    def test_limit_of_0_has_no_layer(self) -> None:
        settings = make_settings(max_concurrent_requests=0)

        assert concurrency(settings, build_resources(settings), frozenset()) == []

    def test_layers_get_the_settings(self) -> None:
        settings = make_settings(
            max_body_bytes=2_048,
            allowed_hosts="a.example",
            hsts_seconds=1,
            max_concurrent_requests=7,
        )

        arguments: dict[str, object] = {}
        for layer in stack(settings):
            arguments |= layer.kwargs

        assert {
            name: arguments[name]
            for name in ("hsts_seconds", "allowed_hosts", "max_bytes", "limit")
        } == {
            "hsts_seconds": 1,
            "allowed_hosts": ("a.example",),
            "max_bytes": 2_048,
            "limit": 7,
        }


@pytest.mark.parametrize("layer", stack(EVERYTHING), ids=lambda layer: layer.cls.__name__)
class TestEveryLayer:
    async def test_layer_passes_the_lifespan_unchanged(self, layer: Middleware) -> None:
        seen: list[tuple[object, ...]] = []

        async def below(*given: object) -> None:
            seen.append(given)

        async def receive() -> Message:
            raise AssertionError

        async def send(message: Message) -> None:
            raise AssertionError

        scope: Scope = {"type": "lifespan"}
        await layer.cls(below, *layer.args, **layer.kwargs)(scope, receive, send)

        assert len(seen) == 1
        assert all(one is other for one, other in zip(seen[0], (scope, receive, send), strict=True))

    async def test_layer_passes_the_body(self, layer: Middleware) -> None:
        app = layer.cls(read_all, *layer.args, **layer.kwargs)

        sent = await run(app, http_scope((b"host", b"testserver")), *body(b"12", b"345"))

        assert [message["type"] for message in sent] == START_AND_BODY
        assert sent[-1]["body"] == b"5"
