"""The path that the router sees, and its template: /users/{user_id}, never /users/0192..."""

from collections.abc import Iterator
from typing import Any

from fastapi.routing import RouteContext, iter_route_contexts
from starlette.types import Scope

from app.core.http.fastapi_internals import effective_context

UNMATCHED = "__unmatched__"


def route_template(scope: Scope) -> str:
    """The path as it was declared; ``UNMATCHED`` where no route matched.

    Guessing from ``path`` and ``path_params`` would let /a/5/b/15 invent names of its own.
    Unknown paths and the files of a mounted folder share one name, so that a scanner cannot add any.
    """
    template: str | None = getattr(effective_route(scope), "path_format", None)
    return template or UNMATCHED


def effective_route(scope: Scope) -> Any:
    """The route that took the request, with prefix, dependencies and limits of every router around it.

    ``scope["route"]`` lacks what an included router adds, so FastAPI's own note of it comes first, unless that is
    one about the mount that this application stands in. ``None`` where there is no route.
    """
    route = scope.get("route")
    context = effective_context(scope)
    return context if context is not None and context.original_route is route else route


def routes_at(scope: Scope) -> Iterator[RouteContext]:
    """Every route at the path of the request, whatever its methods."""
    path = route_path(scope)
    for route in iter_route_contexts(scope["app"].routes if "app" in scope else ()):
        regex = getattr(route, "path_regex", None)
        if regex is not None and regex.match(path):
            yield route


def route_path(scope: Scope) -> str:
    """The path as the router matches it: without the prefix of a proxy in front or of a mount."""
    path: str = scope["path"]
    root: str = scope.get("root_path", "")
    if root and path.startswith(f"{root}/"):
        return path[len(root) :]
    return path
