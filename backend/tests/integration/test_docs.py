"""/docs: works without the internet and behind a prefix, logs in, and is off in production unless asked for."""

import re
from urllib.parse import urljoin, urlsplit

import pytest
from fastapi import FastAPI
from httpx2 import AsyncClient
from sqlalchemy.ext.asyncio import AsyncEngine

from app.models.user import User
from tests.fixtures.api_calls import app_on, client_behind
from tests.fixtures.auth import PASSWORD, bearer
from tests.fixtures.fastapi_app import client_for

ROOTS = ["", "/prefix", "/two/levels"]
PATHS = ["/docs", "/openapi.json", "/docs/assets/start.js", "/docs/assets/favicon.png"]
ASSETS = {
    "/docs/assets/swagger-ui-bundle.js": "text/javascript",
    "/docs/assets/swagger-ui.css": "text/css",
    "/docs/assets/favicon.png": "image/png",
}
PRODUCTION = {
    "app_env": "production",
    "jwt_secret_key": "n0t-a-pl4ceh0lder-but-32-bytes-of-k3y",
    "password_hash_rounds": 12,
}


@pytest.fixture(scope="module")
def app(engine: AsyncEngine) -> FastAPI:
    return app_on(engine, app_name="Things & <Tests>")


def references(page: str) -> list[str]:
    return re.findall(r'(?:href|src|action)="([^"]*)"', page)


class TestPage:
    async def test_page_requests_its_own_server_alone(self, client: AsyncClient) -> None:
        page = await client.get("/docs")

        assert page.status_code == 200
        assert page.headers["Content-Type"] == "text/html; charset=utf-8"
        assert references(page.text)
        assert all(urlsplit(reference).netloc == "" for reference in references(page.text))
        assert "//" not in page.text

    @pytest.mark.parametrize("root", ROOTS)
    async def test_page_refers_to_existing_files(self, app: FastAPI, root: str) -> None:
        async with client_behind(app, root) as client:
            page = await client.get(f"{root}/docs")
            responses = [await client.get(reference) for reference in references(page.text)]

        assert page.status_code == 200
        assert [response.status_code for response in responses] == [200] * len(responses)
        assert len(responses) == 4

    @pytest.mark.parametrize("root", ROOTS)
    async def test_page_loads_the_schema_of_this_server(self, app: FastAPI, root: str) -> None:
        async with client_behind(app, root) as client:
            script = await client.get(f"{root}/docs/assets/start.js")
            url = re.findall(r'url: "([^"]*)"', script.text)
            schema = await client.get(url[0])

        assert script.headers["Content-Type"].startswith("text/javascript")
        assert url == [f"{root}/openapi.json"]
        assert schema.json()["openapi"].startswith("3.")

    async def test_page_needs_no_other_host_for_styles_and_scripts(
        self, client: AsyncClient
    ) -> None:
        style = await client.get("/docs/assets/swagger-ui.css")
        script = await client.get("/docs/assets/start.js")

        assert re.findall(r"@import|url\((?!['\"]?data:)", style.text) == []
        assert "//" not in script.text

    async def test_page_has_no_inline_script(self, client: AsyncClient) -> None:
        page = await client.get("/docs")

        assert page.text.count("<script") == page.text.count("></script>") == 2
        assert re.findall(r"<[^>]* on\w+=", page.text) == []

    async def test_page_escapes_the_name_of_the_application(self, client: AsyncClient) -> None:
        page = await client.get("/docs")

        assert "<title>Things &amp; &lt;Tests&gt;</title>" in page.text

    async def test_page_ignores_a_hostile_root_path(self, app: FastAPI) -> None:
        root = '/"><script>alert(1)</script>'

        async with client_behind(app, root) as client:
            page = await client.get("/docs")
            script = await client.get("/docs/assets/start.js")

        assert "<script>alert" not in page.text
        assert '""><script>' not in script.text


class TestAssets:
    @pytest.mark.parametrize(("path", "media_type"), ASSETS.items())
    async def test_assets_are_served_complete(
        self, client: AsyncClient, path: str, media_type: str
    ) -> None:
        response = await client.get(path)

        assert response.status_code == 200
        assert response.headers["Content-Type"].split(";")[0] == media_type
        assert int(response.headers["Content-Length"]) == len(response.content) > 1_000

    @pytest.mark.parametrize(
        "header",
        [
            ("Range", "bytes=0-0"),
            ("Range", "bytes=abc"),
            ("Range", "bytes=99999999-"),
            ("Range", "bytes=" + ",".join(["0-0"] * 3_000)),
            ("Range", "bytes=" + ",".join(f"{n}-{n}" for n in range(1_000))),
            ("Range", "bytes=" + "0" * 10_000 + "-"),
            ("Range", "x"),
            ("If-Range", "x"),
            ("If-None-Match", ",".join(f'"{n}"' for n in range(2_000))),
            ("If-None-Match", "*" * 10_000),
            ("If-Modified-Since", "x" * 10_000),
            ("Accept", "*/*;q=" + "0" * 10_000),
            ("Accept-Encoding", "gzip;q=1," * 1_000),
        ],
        ids=lambda header: f"{header[0]} {header[1][:12]}",
    )
    async def test_assets_ignore_a_range(
        self, client: AsyncClient, header: tuple[str, str]
    ) -> None:
        for path in ("/docs/assets/favicon.png", "/openapi.json"):
            whole = await client.get(path)
            response = await client.get(path, headers=dict([header]))

            assert response.status_code == 200
            assert response.content == whole.content
            assert "Accept-Ranges" not in response.headers

    @pytest.mark.parametrize(
        "name",
        [
            "redoc.standalone.js",
            "..%2f__init__.py",
            "%2e%2e",
            "nothing.js",
            "SWAGGER-UI.css",
            "a%20b",
        ],
    )
    async def test_assets_of_other_pages_do_not_exist(self, client: AsyncClient, name: str) -> None:
        response = await client.get(f"/docs/assets/{name}")

        assert response.status_code == 404
        assert response.json()["error"]["code"] == "not_found"


class TestAuthorize:
    @pytest.mark.parametrize("root", ROOTS)
    async def test_button_logs_in_through_auth_login(
        self, app: FastAPI, ada: User, root: str
    ) -> None:
        async with client_behind(app, root) as client:
            schema = (await client.get(f"{root}/openapi.json")).json()
            scheme = schema["components"]["securitySchemes"]["OAuth2PasswordBearer"]
            # Swagger UI hands a relative URL to the browser, which resolves it against the page.
            url = urljoin(f"{root}/docs", scheme["flows"]["password"]["tokenUrl"])
            form = {"grant_type": "password", "username": ada.email, "password": PASSWORD}
            response = await client.post(url, data=form)

        assert url == f"{root}/auth/login"
        assert response.status_code == 200

    @pytest.mark.parametrize("root", ROOTS)
    async def test_token_opens_the_operations_of_the_page(
        self, app: FastAPI, ada: User, root: str
    ) -> None:
        async with client_behind(app, root) as client:
            form = {"username": ada.email, "password": PASSWORD}
            token = (await client.post(f"{root}/auth/login", data=form)).json()["access_token"]
            schema = (await client.get(f"{root}/openapi.json")).json()
            # "Try it out" calls the first server, then the path.
            server = schema.get("servers", [{"url": ""}])[0]["url"]
            response = await client.get(f"{server}/api/v1/users/me", headers=bearer(token))

        assert server == root
        assert response.status_code == 200

    async def test_schema_of_one_prefix_is_not_cached_for_another(self, app: FastAPI) -> None:
        async with client_behind(app, "/prefix") as client:
            await client.get("/prefix/openapi.json")
        async with client_for(app) as client:
            schema = (await client.get("/openapi.json")).json()

        assert "servers" not in schema


class TestProduction:
    @pytest.mark.parametrize("path", PATHS)
    async def test_production_has_no_docs(self, engine: AsyncEngine, path: str) -> None:
        async with client_for(app_on(engine, **PRODUCTION)) as client:
            response = await client.get(path)

        assert response.status_code == 404
        assert response.json()["error"]["code"] == "not_found"

    @pytest.mark.parametrize("path", PATHS)
    async def test_production_has_docs_where_the_settings_ask_for_them(
        self, engine: AsyncEngine, path: str
    ) -> None:
        async with client_for(app_on(engine, **PRODUCTION, docs_enabled=True)) as client:
            response = await client.get(path)

        assert response.status_code == 200

    @pytest.mark.parametrize("path", PATHS)
    async def test_docs_can_be_off_in_local(self, engine: AsyncEngine, path: str) -> None:
        async with client_for(app_on(engine, docs_enabled=False)) as client:
            response = await client.get(path)

        assert response.status_code == 404

    @pytest.mark.parametrize("path", ["/redoc", "/docs/oauth2-redirect", "/api/v1/openapi.json"])
    async def test_production_serves_no_other_docs(self, client: AsyncClient, path: str) -> None:
        response = await client.get(path)

        assert response.status_code == 404
