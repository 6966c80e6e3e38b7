"""Route templates: the name of a route for logs, never a value that a client chose."""

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio
from fastapi import FastAPI
from httpx2 import ASGITransport, AsyncClient
from starlette.staticfiles import StaticFiles
from starlette.types import Receive, Scope, Send

from app.core.http.route_template import UNMATCHED, route_template
from app.core.http.routing import Router


def build() -> FastAPI:
    leaf = Router(prefix="/users")

    async def read() -> None: ...

    for path in (
        "/me",
        "/{user_id}",
        "/{user_id}/posts/{post_id}",
        "/number/{number:int}",
        "/file/{path:path}",
    ):
        leaf.add_api_route(path, read)

    branch = Router(prefix="/orgs/{org}")
    branch.include_router(leaf)
    app = FastAPI(redirect_slashes=False)
    app.include_router(leaf, prefix="/api/v1")
    app.include_router(branch)

    @app.get("/plain/{item}")
    async def plain() -> None: ...

    app.mount("/static", StaticFiles(directory="."))
    return app


class Recorder:
    """Outermost layer that notes the template after the request, as the log does."""

    def __init__(self, app: FastAPI) -> None:
        self.app = app
        self.template = ""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self.app(scope, receive, send)
        self.template = route_template(scope)


@pytest.fixture(scope="module")
def recorder() -> Recorder:
    return Recorder(build())


@pytest_asyncio.fixture
async def client(recorder: Recorder) -> AsyncIterator[AsyncClient]:
    async with AsyncClient(transport=ASGITransport(recorder), base_url="http://test") as client:
        yield client


class TestRouteTemplate:
    @pytest.mark.parametrize(
        ("path", "template"),
        [
            ("/plain/x", "/plain/{item}"),
            ("/api/v1/users/me", "/api/v1/users/me"),
            ("/api/v1/users/0192", "/api/v1/users/{user_id}"),
            ("/api/v1/users/users", "/api/v1/users/{user_id}"),
            ("/api/v1/users/v1", "/api/v1/users/{user_id}"),
            ("/api/v1/users/s", "/api/v1/users/{user_id}"),
            ("/api/v1/users/%7Buser_id%7D", "/api/v1/users/{user_id}"),
            ("/api/v1/users/a%20b", "/api/v1/users/{user_id}"),
            ("/api/v1/users/5/posts/15", "/api/v1/users/{user_id}/posts/{post_id}"),
            ("/api/v1/users/15/posts/5", "/api/v1/users/{user_id}/posts/{post_id}"),
            ("/api/v1/users/7/posts/7", "/api/v1/users/{user_id}/posts/{post_id}"),
            ("/api/v1/users/posts/posts/posts", "/api/v1/users/{user_id}/posts/{post_id}"),
            ("/api/v1/users/number/007", "/api/v1/users/number/{number}"),
            ("/api/v1/users/file/a/b/c.txt", "/api/v1/users/file/{path}"),
            ("/orgs/acme/users/me", "/orgs/{org}/users/me"),
            ("/orgs/users/users/users", "/orgs/{org}/users/{user_id}"),
        ],
    )
    async def test_template_is_the_declared_path(
        self, client: AsyncClient, recorder: Recorder, path: str, template: str
    ) -> None:
        await client.get(path)

        assert recorder.template == template

    @pytest.mark.parametrize(
        "path", ["/", "/nothing", "/api/v1/users", "/api/v1/users/a/b/c/d", "/api/v1/users/me/"]
    )
    async def test_unknown_paths_share_one_template(
        self, client: AsyncClient, recorder: Recorder, path: str
    ) -> None:
        await client.get(path)

        assert recorder.template == UNMATCHED

    @pytest.mark.parametrize(
        ("method", "status"), [("POST", 405), ("DELETE", 405), ("HEAD", 200), ("FOO", 405)]
    )
    async def test_template_is_the_same_for_every_method(
        self, client: AsyncClient, recorder: Recorder, method: str, status: int
    ) -> None:
        response = await client.request(method, "/api/v1/users/0192")

        assert response.status_code == status
        assert recorder.template == "/api/v1/users/{user_id}"

    async def test_template_has_no_root_path(self, recorder: Recorder) -> None:
        transport = ASGITransport(recorder, root_path="/prefix")

        async with AsyncClient(transport=transport, base_url="http://test") as client:
            await client.get("/prefix/api/v1/users/0192")

        assert recorder.template == "/api/v1/users/{user_id}"

    async def test_template_of_a_mounted_folder_does_not_name_its_files(
        self, client: AsyncClient, recorder: Recorder
    ) -> None:
        templates = set()
        for name in ("pytest.ini", "README.md", "nothing"):
            await client.get(f"/static/{name}")
            templates.add(recorder.template)

        assert templates == {UNMATCHED}

    def test_template_of_a_request_that_was_rejected_before_routing_is_unmatched(self) -> None:
        assert route_template({"type": "http", "path": "/users/0192"}) == UNMATCHED
