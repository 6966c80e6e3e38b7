"""/docs and /openapi.json from this server alone: no other host is asked for scripts or styles."""

import json
from html import escape
from importlib.resources import files
from pathlib import Path

from fastapi import FastAPI
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, Response

from app.core.errors import NotFound
from app.core.http.routing import Router

ASSETS = {
    "swagger-ui-bundle.js": "text/javascript",
    "swagger-ui.css": "text/css",
    "favicon.png": "image/png",
}
# Swagger UI sets style attributes and draws icons from data: URLs; it loads nothing from elsewhere.
CONTENT_SECURITY_POLICY = (
    "default-src 'none'; script-src 'self'; connect-src 'self'; img-src 'self' data:; "
    "style-src 'self' 'unsafe-inline'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
)
PAGE = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<title>{title}</title>
<link rel="icon" href="{root}/docs/assets/favicon.png">
<link rel="stylesheet" href="{root}/docs/assets/swagger-ui.css">
</head>
<body>
<div id="swagger-ui"></div>
<script src="{root}/docs/assets/swagger-ui-bundle.js"></script>
<script src="{root}/docs/assets/start.js"></script>
</body>
</html>
"""
START = """SwaggerUIBundle({{
  url: {url},
  dom_id: "#swagger-ui",
  deepLinking: true,
  persistAuthorization: false,
  presets: [SwaggerUIBundle.presets.apis, SwaggerUIBundle.SwaggerUIStandalonePreset],
}});
"""

router = Router(include_in_schema=False)


def root_path(request: Request) -> str:
    """Where this server is mounted as the client sees it: empty, or /prefix."""
    path: str = request.scope.get("root_path", "")
    return path.rstrip("/")


@router.get("/openapi.json")
async def openapi(request: Request) -> Response:
    app: FastAPI = request.app
    schema = app.openapi()
    if root := root_path(request):
        schema = {**schema, "servers": [{"url": root}]}
    return JSONResponse(schema)


@router.get("/docs")
async def swagger_ui(request: Request) -> Response:
    page = PAGE.format(title=escape(request.app.title), root=escape(root_path(request)))
    return HTMLResponse(page, headers={"Content-Security-Policy": CONTENT_SECURITY_POLICY})


@router.get("/docs/assets/start.js")
async def start_script(request: Request) -> Response:
    url = json.dumps(f"{root_path(request)}/openapi.json")
    return Response(START.format(url=url), media_type="text/javascript")


@router.get("/docs/assets/{name}")
async def asset(name: str) -> Response:
    if name not in ASSETS:
        raise NotFound
    # The pinned package that ships Swagger UI; only its static files are used.
    path = Path(str(files("fastapi_offline") / "static" / name))
    # Always whole: a file response would also serve ranges, and reject them in plain text.
    content = await run_in_threadpool(path.read_bytes)
    return Response(
        content, media_type=ASSETS[name], headers={"Cache-Control": "public, max-age=86400"}
    )
